"""Every setting, read once from the environment; the tables in docs/settings.md describe each variable."""

import os
import re
import ssl
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from registry_site.environment import (
    LOOPBACK_HOSTS,
    Environment,
    is_same_store,
    names_of_host,
    parse_blobs_url,
    parse_cache_url,
    parse_database_url,
    parse_email_url,
    parse_index_tokens,
    parse_index_urls,
    parse_issuer,
    parse_url_path,
    sqlite_database,
    url_host,
)
from registry_site.origins import with_plain_origin
from registry_site.secret_key import create_secret_key, derive_key, read_secret_keys

VERSION = "0.1.0"
BASE_DIR = Path(__file__).resolve().parent.parent
REGISTRY = Environment("REGISTRY_")

# --- Data directory and secret key --------------------------------------------------------------------------------

DATA_DIR = Path(REGISTRY.text("DATA_DIR", str(BASE_DIR / "data"))).resolve()
try:
    DATA_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
except OSError as error:
    raise REGISTRY.refusal("DATA_DIR", f"the directory cannot be made ({error.strerror})") from error
os.umask(0o077)  # all files from here on are for this user alone
if not os.access(DATA_DIR, os.W_OK | os.X_OK):
    raise REGISTRY.refusal("DATA_DIR", f"this user cannot write to {DATA_DIR}")

# A named key file must exist: to create a new one would hide a failed mount.
_key_file = REGISTRY.file("SECRET_KEY_FILE")
if _key_file is None:
    _key_file = DATA_DIR / "secret_key"
    create_secret_key(_key_file)
SECRET_KEY, *SECRET_KEY_FALLBACKS = read_secret_keys(_key_file)

# --- Address and TLS ----------------------------------------------------------------------------------------------

BIND_HOST, BIND_PORT = REGISTRY.address("BIND", "127.0.0.1:8000")
TLS_CERT = REGISTRY.file("TLS_CERT")
TLS_KEY = REGISTRY.file("TLS_KEY")
if (TLS_CERT is None) != (TLS_KEY is None):
    raise ImproperlyConfigured("REGISTRY_TLS_CERT and REGISTRY_TLS_KEY are needed both, or neither.")
if TLS_CERT:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(TLS_CERT, TLS_KEY)
    except (ssl.SSLError, OSError) as error:
        raise ImproperlyConfigured(
            f"REGISTRY_TLS_CERT and REGISTRY_TLS_KEY are no certificate with its key: {error}."
        ) from error

CA_FILE = REGISTRY.file("CA_FILE")
if CA_FILE:
    try:
        ssl.create_default_context(cafile=CA_FILE)
    except (ssl.SSLError, OSError) as error:
        raise REGISTRY.refusal("CA_FILE", "give a file with certificates in the form of PEM") from error

_visible_host = "localhost" if BIND_HOST in ("0.0.0.0", "[::]") else BIND_HOST  # noqa: S104 - compared, not bound
PUBLIC_URL = REGISTRY.origin("PUBLIC_URL", f"{'https' if TLS_CERT else 'http'}://{_visible_host}:{BIND_PORT}")
_public_host = url_host(PUBLIC_URL)
# Other names of this registry. A dependency on its index counts as one on this registry under each of them.
ALSO_KNOWN_AS = [
    name
    for origin in [PUBLIC_URL, *REGISTRY.origins("ALSO_KNOWN_AS")]
    for name in names_of_host(origin)
    if name != PUBLIC_URL
]
ALLOWED_HOSTS = [*dict.fromkeys([_public_host, _visible_host, *LOOPBACK_HOSTS, *map(url_host, ALSO_KNOWN_AS)])]
# Anybody on the way can forge a page that came without TLS: beside a public URL with TLS it is not trusted.
CSRF_TRUSTED_ORIGINS = [
    origin for origin in [PUBLIC_URL, *ALSO_KNOWN_AS] if origin.startswith("https:") or PUBLIC_URL.startswith("http:")
]

# Proxies whose X-Forwarded-For is believed; any other peer is the client itself.
TRUSTED_PROXIES = REGISTRY.networks("TRUSTED_PROXIES")

WORKERS = REGISTRY.number("WORKERS", 2, maximum=256)
THREADS = REGISTRY.number("THREADS", 16, maximum=1024)
# The percentage of a worker's connections and threads that one address may take.
ADDRESS_SHARE = REGISTRY.number("ADDRESS_SHARE", 75, maximum=100)
# Longer than proxies keep idle connections: one that we close first can meet a POST, which a proxy may not repeat.
KEEP_ALIVE = REGISTRY.number("KEEP_ALIVE", 75, minimum=0, maximum=3600)
# Bytes of memory of each worker for answers that it sends again.
INDEX_CACHE_SIZE = REGISTRY.number("INDEX_CACHE_SIZE", 64 * 1024 * 1024, minimum=0, maximum=2**40)


# --- Accounts, crates, packages and files -------------------------------------------------------------------------

SIGNUP_OPEN = REGISTRY.choice("SIGNUP", "open", ("open", "closed")) == "open"
SIGNUPS_PER_HOUR = REGISTRY.number("SIGNUPS_PER_HOUR", 100, minimum=0)
EMAIL_ON_SIGNUP = REGISTRY.choice("EMAIL_ON_SIGNUP", "optional", ("none", "optional", "required"))
EMAIL_VERIFICATION = REGISTRY.flag("EMAIL_VERIFICATION", default=False)
UNVERIFIED_DAYS = REGISTRY.number("UNVERIFIED_DAYS", 14, minimum=4, maximum=3650)  # a link is good for three
SHOW_EMAILS = REGISTRY.flag("SHOW_EMAILS", default=False)
MIN_PASSWORD_LENGTH = REGISTRY.number("MIN_PASSWORD_LENGTH", 6, maximum=1024)
MAX_PASSWORD_LENGTH = REGISTRY.number("MAX_PASSWORD_LENGTH", 64, maximum=1024)
if MIN_PASSWORD_LENGTH > MAX_PASSWORD_LENGTH:
    raise REGISTRY.refusal("MIN_PASSWORD_LENGTH", f"the longest password has {MAX_PASSWORD_LENGTH} characters")
SESSION_HOURS = REGISTRY.number("SESSION_HOURS", 24, maximum=24 * 3650)
MAX_LOGIN_FAILURES = REGISTRY.number("MAX_LOGIN_FAILURES", 10, maximum=1000)
REQUIRE_SECOND_FACTOR = REGISTRY.choice("REQUIRE_SECOND_FACTOR", "none", ("none", "staff", "all"))
AUTH_REQUIRED = REGISTRY.flag("AUTH_REQUIRED", default=False)
MAX_CRATE_SIZE = REGISTRY.number("MAX_CRATE_SIZE", 10 * 1024 * 1024)
MAX_PACKAGE_SIZE = REGISTRY.number("MAX_PACKAGE_SIZE", 100 * 1024 * 1024)
FILE_ROOTS = REGISTRY.directories("FILE_ROOTS")
MAX_FILE_SIZE = REGISTRY.number("MAX_FILE_SIZE", 1024 * 1024 * 1024)
FILE_LIST_COUNT = REGISTRY.number("FILE_LIST_COUNT", 100, maximum=1_000_000)
MAX_FILE_LIST_COUNT = REGISTRY.number("MAX_FILE_LIST_COUNT", 1000, maximum=1_000_000)
FILE_CHALLENGE_SECONDS = REGISTRY.number("FILE_CHALLENGE_SECONDS", 30, maximum=3600)
FILE_SESSION_SECONDS = REGISTRY.number("FILE_SESSION_SECONDS", 3600, maximum=10**9)
MAX_FILE_SESSION_SECONDS = REGISTRY.number("MAX_FILE_SESSION_SECONDS", 86400, maximum=10**9)
FILE_HANDSHAKES_PER_MINUTE = REGISTRY.number("FILE_HANDSHAKES_PER_MINUTE", 300, maximum=10**6)
SERVE_DEAD_FILES = REGISTRY.flag("SERVE_DEAD_FILES", default=True)
X_ACCEL_PREFIX = REGISTRY.read(
    "X_ACCEL_PREFIX", "", parse_url_path, "give a path without a slash at its end, such as /_files"
)
NAMESPACES_PER_DAY = REGISTRY.number("NAMESPACES_PER_DAY", 100, minimum=0)
INVITATIONS_PER_DAY = REGISTRY.number("INVITATIONS_PER_DAY", 50, minimum=0)
MIN_FREE_SPACE = REGISTRY.number("MIN_FREE_SPACE", 256 * 1024 * 1024, minimum=0)
TRASH_DAYS = REGISTRY.number("TRASH_DAYS", 14, minimum=0, maximum=3650)
AUDIT_DAYS = REGISTRY.number("AUDIT_DAYS", 0, minimum=0, maximum=36500)
if 0 < AUDIT_DAYS < 30:  # limits of changes and mails about them read the last days
    raise REGISTRY.refusal("AUDIT_DAYS", "give 30 days or more, or 0 to keep all events")
PUBLISH_LIMIT_PER_10_SECONDS = REGISTRY.number("PUBLISH_LIMIT_PER_10_SECONDS", 150, minimum=0)
CRATE_CHANGES_PER_MINUTE = REGISTRY.number("CRATE_CHANGES_PER_MINUTE", 60, minimum=0)
# The default is cargo's name for crates.io, which it writes whatever index or mirror it uses.
ALLOWED_REGISTRIES = [
    with_plain_origin(url)
    for url in REGISTRY.words("ALLOWED_REGISTRIES", "https://github.com/rust-lang/crates.io-index")
]
if not all(re.match(r"(sparse\+)?https?://[^/]", url) for url in ALLOWED_REGISTRIES):
    raise REGISTRY.refusal("ALLOWED_REGISTRIES", "give index URLs such as sparse+https://crates.example.com/index/")

README_IMAGES = REGISTRY.choice("README_IMAGES", "all", ("all", "none"))

METRICS_TOKEN = REGISTRY.secret("METRICS_TOKEN")

# --- Mirror of crates.io ------------------------------------------------------------------------------------------

MIRROR = REGISTRY.choice("MIRROR", "on", ("on", "off")) == "on"
MIRROR_UPSTREAM = REGISTRY.read(
    "MIRROR_UPSTREAM",
    ["https://index.crates.io/"],
    parse_index_urls,
    "give URLs of sparse indexes, separated by blanks",
)
MIRROR_TOKENS = REGISTRY.read(
    "MIRROR_TOKENS_FILE", dict[str, str](), parse_index_tokens, "give a file with a URL and its token in each line"
)
# Further hosts of an upstream, to which it may redirect, and which may have private addresses.
MIRROR_HOSTS = REGISTRY.hosts("MIRROR_HOSTS")
MIRROR_INDEX_TTL = REGISTRY.number("MIRROR_INDEX_TTL", 300, minimum=0, maximum=10**7)
MIRROR_TIMEOUT = REGISTRY.number("MIRROR_TIMEOUT", 12, maximum=600)
MIRROR_OFFLINE = REGISTRY.flag("MIRROR_OFFLINE", default=False)
MIRROR_MIN_AGE_DAYS = REGISTRY.number("MIRROR_MIN_AGE_DAYS", 0, minimum=0, maximum=3650)
MIRROR_LICENSES = REGISTRY.words("MIRROR_LICENSES", "")
MIRROR_DENYLIST = REGISTRY.words("MIRROR_DENYLIST", "")
MIRROR_ADVISORIES = REGISTRY.directories("MIRROR_ADVISORIES")
PRIVATE_NAMES = REGISTRY.words("PRIVATE_NAMES", "")
PUBLISH_UPSTREAM_NAMES = REGISTRY.flag("PUBLISH_UPSTREAM_NAMES", default=False)

# --- Single sign-on by OpenID Connect -----------------------------------------------------------------------------

OIDC_ISSUER = REGISTRY.read("OIDC_ISSUER", "", parse_issuer, "give the https URL that the provider names as its issuer")
OIDC_RP_CLIENT_ID = REGISTRY.text("OIDC_CLIENT_ID", "")
OIDC_RP_CLIENT_SECRET = REGISTRY.secret("OIDC_CLIENT_SECRET")
OIDC_RP_SCOPES = " ".join(dict.fromkeys(["openid", *REGISTRY.words("OIDC_SCOPES", "openid profile email")]))
OIDC_ALLOWED_GROUPS = REGISTRY.texts("OIDC_ALLOWED_GROUPS")
OIDC_ALLOWED_USERS = REGISTRY.texts("OIDC_ALLOWED_USERS")
OIDC_ADMIN_GROUPS = REGISTRY.texts("OIDC_ADMIN_GROUPS")
OIDC_USERNAME_CLAIM = REGISTRY.words("OIDC_USERNAME_CLAIM", "nickname preferred_username")
OIDC_GROUPS_CLAIM = REGISTRY.text("OIDC_GROUPS_CLAIM", "groups")
LOGIN = REGISTRY.choice("LOGIN", "both" if OIDC_ISSUER else "password", ("password", "oidc", "both"))
PASSWORD_LOGIN, OIDC_LOGIN = LOGIN != "oidc", LOGIN != "password"
if OIDC_LOGIN and not (OIDC_ISSUER and OIDC_RP_CLIENT_ID):
    raise ImproperlyConfigured(
        f"To sign in by OpenID (REGISTRY_LOGIN={LOGIN}), REGISTRY_OIDC_ISSUER and REGISTRY_OIDC_CLIENT_ID are needed."
    )
# Settings of mozilla-django-oidc; accounts/oidc/flow.py gives it the provider's endpoints.
# RS256 makes it expect keys of the provider; accounts/oidc/id_tokens.py decides which algorithms are accepted.
OIDC_RP_SIGN_ALGO = "RS256"
OIDC_USE_PKCE = True
OIDC_MAX_STATES = 10
OIDC_STORE_ID_TOKEN = True  # to sign out at the provider, too
OIDC_AUTHENTICATION_CALLBACK_URL = "openid-callback"
OIDC_OP_LOGOUT_URL_METHOD = "accounts.oidc.flow.provider_logout_url"

# --- Django -------------------------------------------------------------------------------------------------------

DEBUG = False
ROOT_URLCONF = "registry_site.urls"
WSGI_APPLICATION = "registry_site.wsgi.application"
APPEND_SLASH = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = ["registry_site.date_formats"]
# More than fit into a request line: Django's own refusal would come outside of the views and their dialects.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000
FILE_UPLOAD_TEMP_DIR = DATA_DIR / "uploads"  # /tmp is often in memory
FILE_UPLOAD_TEMP_DIR.mkdir(exist_ok=True)
FILE_UPLOAD_HANDLERS = [
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "registry_site.storage.free_space.UploadHandler",
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "accounts.apps.RegistryAdminConfig",
    "accounts.apps.AccountsConfig",  # before Django's: its `changepassword` replaces theirs
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",  # for its file of htmx alone
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "registry_site.apps.RegistryConfig",
    "crates",
    "crates.mirror.apps.MirrorConfig",
    "namespaces",
    "packages",
    "files",
]

MIDDLEWARE = [
    "registry_site.server.health.accept_any_host",
    "registry_site.http.transport_security.require_tls",
    "registry_site.http.caching.control_caches",
    "django.middleware.security.SecurityMiddleware",
    "registry_site.http.client_address.ClientAddressMiddleware",
    "accounts.second_factor.header.read_one_time_code",
    "registry_site.http.request_log.RequestLogMiddleware",
    "registry_site.http.error_handlers.reject_nul_bytes",
    "registry_site.http.charsets.reject_unreadable_charset",
    "registry_site.http.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "registry_site.http.body_limits.BodyLimitMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "accounts.credentials.browser_sessions.BrowserSessionMiddleware",
    "registry_site.http.messages.LazyMessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "registry_site.http.content_security.ContentSecurityMiddleware",
    "registry_site.http.error_handlers.DomainErrorMiddleware",
    "accounts.pages.required_setup.require_second_factor",
    "registry_site.http.durable_answers.wait_for_what_was_read",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "registry_site.context_processors.site",
                "accounts.context_processors.account",
            ],
        },
    },
]

# --- Django: accounts and APIs ------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.credentials.browser_sessions.PasswordBackend"] * PASSWORD_LOGIN + [
    "accounts.oidc.flow.Backend"
] * OIDC_LOGIN
PASSWORD_RESET_TIMEOUT = 3600  # seconds that a link for a lost password is good
PASSWORD_HASHERS = ["accounts.passwords.hashers.Argon2idHasher", "accounts.passwords.hashers.PBKDF2PHCHasher"]
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {
        "NAME": "accounts.passwords.validators.LengthValidator",
        "OPTIONS": {"minimum": MIN_PASSWORD_LENGTH, "maximum": MAX_PASSWORD_LENGTH},
    },
    {"NAME": "accounts.passwords.validators.ContentValidator"},
    {"NAME": "accounts.credentials.revocation.RevokeSessionsOnPasswordChange"},
]
CSRF_FAILURE_VIEW = "registry_site.http.error_handlers.csrf_failure"
SESSION_COOKIE_AGE = SESSION_HOURS * 3600
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = PUBLIC_URL.startswith("https://")
# Browsers take a cookie with this prefix from this host alone: no sibling domain can set it. It needs TLS.
_cookie_prefix = "__Host-" if SESSION_COOKIE_SECURE else ""
SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = f"{_cookie_prefix}registry_session", f"{_cookie_prefix}csrftoken"

SIMPLE_JWT = {"ALGORITHM": "HS256", "SIGNING_KEY": derive_key(SECRET_KEY, "json web tokens").hex()}

REST_FRAMEWORK = {
    # Default is deny: a view without permission classes of its own refuses everybody.
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": ["registry_site.http.permissions.DenyAll"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["registry_site.http.parsers.StrictJSONParser"],
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS is no method here
    "DEFAULT_SCHEMA_CLASS": "registry_site.http.openapi.Schema",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "Entrepot",
    "DESCRIPTION": "One registry that speaks the APIs of Ktra and cargo, backup-repository, torrust-index, yapkg "
    "and the Outernet file registry.",
    "VERSION": VERSION,
    "OAS_VERSION": "3.1.1",
    "DEFAULT_GENERATOR_CLASS": "registry_site.http.openapi.Generator",
    "COMPONENT_SPLIT_REQUEST": True,
    "SORT_OPERATIONS": False,
    "SERVE_AUTHENTICATION": [
        "accounts.authentication.CargoTokenAuthentication",
        "accounts.authentication.BrowserSessionAuthentication",
    ],
    "SERVE_PERMISSIONS": ["accounts.permissions.ReadAccess"],
    "TAGS": [
        {"name": "Cargo", "description": "The registry as stock cargo uses it, and Ktra's users."},
        {"name": "Backups", "description": "backup-repository: users and sessions."},
        {"name": "Torrust", "description": "torrust-index: users."},
        {"name": "Yapkg", "description": "yapkg: users, app keys, namespaces and packages."},
        {"name": "Outernet", "description": "The Outernet file registry: clients with a key, and files."},
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

# --- Caches -------------------------------------------------------------------------------------------------------

# In the memory of each worker. Only counters may be shared: a cache can hold the keys of an OpenID provider, and
# whoever can write those signs in as anybody.
_local_cache = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 10_000}}
# Strangers fill these two, with names that they ask for and networks that they come from. So they are apart: a full
# cache drops entries. The counters have more room, since whoever drops them gets round the limits.
_local_counters = {**_local_cache, "LOCATION": "rate_limits", "OPTIONS": {"MAX_ENTRIES": 50_000}}
CACHES: dict[str, dict[str, Any]] = {
    "default": _local_cache,
    "mirror": {**_local_cache, "LOCATION": "mirror"},
    "local_rate_limits": _local_counters,
    "rate_limits": REGISTRY.read(
        "CACHE_URL",
        _local_counters,
        parse_cache_url,
        "give redis://user:password@host:port/number, or rediss://… for TLS",
    ),
}

# --- Mail ---------------------------------------------------------------------------------------------------------

_mail_settings = REGISTRY.read(
    "EMAIL_URL",
    {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"},
    parse_email_url,
    "give smtp://user:password@host:port, smtp+tls://… or smtp+ssl://…",
)
EMAIL_BACKEND = _mail_settings["EMAIL_BACKEND"]
EMAIL_HOST = _mail_settings.get("EMAIL_HOST", "")
EMAIL_PORT = _mail_settings.get("EMAIL_PORT", 0)
EMAIL_HOST_USER = _mail_settings.get("EMAIL_HOST_USER") or ""
EMAIL_HOST_PASSWORD = _mail_settings.get("EMAIL_HOST_PASSWORD") or ""
EMAIL_USE_TLS = _mail_settings.get("EMAIL_USE_TLS", False)
EMAIL_USE_SSL = _mail_settings.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = REGISTRY.text("EMAIL_FROM", f"Entrepot <entrepot@{_public_host}>")

# --- Database -----------------------------------------------------------------------------------------------------

DATABASES = {
    "default": REGISTRY.read(
        "DATABASE_URL",
        sqlite_database(str(DATA_DIR / "registry.sqlite3")),
        parse_database_url,
        "give sqlite:///path/to/file or postgres://user:password@host:port/name",
    )
}

# --- Blobs and static files ---------------------------------------------------------------------------------------

STORAGES: dict[str, Any] = {
    "blobs": REGISTRY.read(
        "BLOBS_URL",
        {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": DATA_DIR / "blobs"}},
        parse_blobs_url,
        "give s3://bucket/prefix?endpoint=https://…&region=…&redirect=0|1",
    ),
    "mirror": REGISTRY.read(
        "MIRROR_BLOBS_URL",
        {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": DATA_DIR / "mirror"}},
        parse_blobs_url,
        "give s3://bucket/prefix?endpoint=https://…&region=…&redirect=0|1",
    ),
    "staticfiles": {"BACKEND": "registry_site.http.static_files.HashedStaticFiles"},
}
# `mirror prune` deletes bytes that can be fetched again. Those of a crate that was published here cannot.
if is_same_store(STORAGES["blobs"], STORAGES["mirror"]):
    raise REGISTRY.refusal("MIRROR_BLOBS_URL", "give another bucket, prefix or folder than that of REGISTRY_BLOBS_URL")
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True

# --- Headers and logs ---------------------------------------------------------------------------------------------

X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'none'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
SECURE_REFERRER_POLICY = "same-origin"

LOG_FORMAT = REGISTRY.choice("LOG_FORMAT", "console", ("console", "json"))
LOG_LEVEL = REGISTRY.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error")).upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "console": {"()": "registry_site.logs.ConsoleFormatter"},
        "json": {"()": "registry_site.logs.JsonFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT}},
    # Libraries never log more than warnings: at lower levels they log queries, addresses and headers with secrets.
    "root": {"handlers": ["console"], "level": "ERROR" if LOG_LEVEL == "ERROR" else "WARNING"},
    "loggers": {
        **{room: {"level": LOG_LEVEL} for room in ("registry_site", "accounts", "crates", "files")},
        # The line of `request_log` says the same without the secrets that a path can have.
        "django.request": {"level": "CRITICAL"},
        "django.security.csrf": {"level": "CRITICAL"},
        "django.security.DisallowedHost": {"level": "CRITICAL"},
    },
}
