"""Each `REGISTRY_*` variable, as a new process reads it: its value has an effect, or the start stops with one line."""

from pathlib import Path

import pytest

from registry_site.settings import REGISTRY
from tests.support.servers import certificate
from tests.support.settings import read_refusals, read_settings, run_python

pytestmark = pytest.mark.database_independent

# --- Values that are accepted ------------------------------------------------------------------------------------


def test_settings_have_defaults(tmp_path: Path) -> None:
    read = read_settings(tmp_path)
    assert (read["BIND_HOST"], read["BIND_PORT"]) == ("127.0.0.1", 8000)
    assert read["PUBLIC_URL"] == "http://127.0.0.1:8000"
    assert (read["SIGNUP_OPEN"], read["AUTH_REQUIRED"], read["DEBUG"]) == (True, False, False)
    assert read["DATABASES"]["default"]["NAME"] == str(tmp_path / "registry.sqlite3")
    assert read["STORAGES"]["blobs"]["OPTIONS"]["location"] == str(tmp_path / "blobs")
    assert read["STORAGES"]["mirror"]["OPTIONS"]["location"] == str(tmp_path / "mirror")
    assert (read["MIRROR"], read["MIRROR_OFFLINE"], read["MIRROR_INDEX_TTL"]) == (True, False, 300)
    assert (read["MIRROR_UPSTREAM"], read["MIRROR_TOKENS"]) == (["https://index.crates.io/"], {})
    assert read["PRIVATE_NAMES"] == []


VARIABLES = {
    "BIND": "[::]:9000",
    "PUBLIC_URL": "https://crates.example.com/",
    "ALSO_KNOWN_AS": "https://crates HTTP://10.0.0.1:80",
    "WORKERS": "3",
    "THREADS": "4",
    "ADDRESS_SHARE": "50",
    "KEEP_ALIVE": "20",
    "INDEX_CACHE_SIZE": "1048576",
    "SIGNUP": "closed",
    "SIGNUPS_PER_HOUR": "0",
    "UNVERIFIED_DAYS": "30",
    "NAMESPACES_PER_DAY": "0",
    "INVITATIONS_PER_DAY": "7",
    "EMAIL_ON_SIGNUP": "required",
    "EMAIL_VERIFICATION": "1",
    "SHOW_EMAILS": "1",
    "EMAIL_URL": "smtp+tls://clerk:p%40ss@mail.example.com",
    "EMAIL_FROM": "registry@example.com",
    "MIN_PASSWORD_LENGTH": "8",
    "MAX_PASSWORD_LENGTH": "128",
    "SESSION_HOURS": "2",
    "REQUIRE_SECOND_FACTOR": "staff",
    "MAX_LOGIN_FAILURES": "3",
    "TRUSTED_PROXIES": "10.0.0.0/8 2001:db8::1",
    "AUTH_REQUIRED": "1",
    "MAX_CRATE_SIZE": "1000",
    "PUBLISH_LIMIT_PER_10_SECONDS": "0",
    "CRATE_CHANGES_PER_MINUTE": "7",
    "MAX_PACKAGE_SIZE": "2000",
    "MIN_FREE_SPACE": "4000",
    "README_IMAGES": "none",
    "TRASH_DAYS": "0",
    "AUDIT_DAYS": "365",
    "MAX_FILE_SIZE": "3000",
    "FILE_LIST_COUNT": "10",
    "MAX_FILE_LIST_COUNT": "20",
    "FILE_CHALLENGE_SECONDS": "5",
    "FILE_SESSION_SECONDS": "60",
    "MAX_FILE_SESSION_SECONDS": "70",
    "FILE_HANDSHAKES_PER_MINUTE": "8",
    "SERVE_DEAD_FILES": "0",
    "X_ACCEL_PREFIX": "/_files",
    "ALLOWED_REGISTRIES": "sparse+https://a/ sparse+https://b/",
    "DATABASE_URL": "postgres://u:p@db:5433/crates",
    "CACHE_URL": "redis://u:p@cache:6380/2",
    "LOG_FORMAT": "json",
    "LOG_LEVEL": "debug",
    "BLOBS_URL": "s3://bucket/prefix?endpoint=http://s3:9000&region=eu-1&redirect=1",
    "LOGIN": "oidc",
    "OIDC_ISSUER": "https://id.example.com/realms/x",
    "OIDC_CLIENT_ID": "registry",
    "OIDC_CLIENT_SECRET": "s3cret/+ x",
    "OIDC_SCOPES": "profile groups",
    "OIDC_USERNAME_CLAIM": "preferred_username sub",
    "OIDC_GROUPS_CLAIM": "realm_access.roles",
    "OIDC_ALLOWED_GROUPS": "devs, two words ,",
    "OIDC_ALLOWED_USERS": "boss",
    "OIDC_ADMIN_GROUPS": "ops,more ops",
    "MIRROR": "off",
    "MIRROR_UPSTREAM": "sparse+https://a/index https://b/index/",
    "MIRROR_HOSTS": "Files.internal 10.0.0.7/8",
    "MIRROR_INDEX_TTL": "0",
    "MIRROR_TIMEOUT": "7",
    "MIRROR_OFFLINE": "1",
    "METRICS_TOKEN": "for prometheus",
    "MIRROR_MIN_AGE_DAYS": "14",
    "MIRROR_LICENSES": "MIT Apache-2.0",
    "MIRROR_DENYLIST": "evil-* time@<0.2.23",
    "MIRROR_BLOBS_URL": "s3://mirrored",
    "PRIVATE_NAMES": "acme-* tool",
    "PUBLISH_UPSTREAM_NAMES": "1",
}
# Paths.
FILES = ("SECRET_KEY_FILE", "TLS_CERT", "TLS_KEY", "CA_FILE", "FILE_ROOTS", "MIRROR_TOKENS_FILE", "MIRROR_ADVISORIES")


def test_each_variable_has_an_effect(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k" * 50)
    tokens = tmp_path / "tokens"
    tokens.write_text("sparse+https://b/index/ secret\n")
    tls = certificate(tmp_path / "tls")
    paths = {
        "SECRET_KEY_FILE": str(key),
        "TLS_CERT": tls["REGISTRY_TLS_CERT"],
        "TLS_KEY": tls["REGISTRY_TLS_KEY"],
        "CA_FILE": str(tmp_path / "tls" / "ca.pem"),
        "FILE_ROOTS": f"{tmp_path}/:/",
        "MIRROR_TOKENS_FILE": str(tokens),
        "MIRROR_ADVISORIES": str(tmp_path),
    }
    assert set(paths) == set(FILES)
    read = read_settings(tmp_path / "data", **VARIABLES, **paths)
    expected = {
        "DATA_DIR": str(tmp_path / "data"),
        "SECRET_KEY": "k" * 50,
        "BIND_HOST": "[::]",
        "BIND_PORT": 9000,
        "TLS_CERT": tls["REGISTRY_TLS_CERT"],
        "CA_FILE": str(tmp_path / "tls" / "ca.pem"),
        "TLS_KEY": tls["REGISTRY_TLS_KEY"],
        "PUBLIC_URL": "https://crates.example.com",
        "ALSO_KNOWN_AS": ["https://crates", "http://10.0.0.1"],
        "WORKERS": 3,
        "THREADS": 4,
        "ADDRESS_SHARE": 50,
        "KEEP_ALIVE": 20,
        "INDEX_CACHE_SIZE": 1048576,
        "SIGNUP_OPEN": False,
        "SIGNUPS_PER_HOUR": 0,
        "UNVERIFIED_DAYS": 30,
        "NAMESPACES_PER_DAY": 0,
        "INVITATIONS_PER_DAY": 7,
        "EMAIL_ON_SIGNUP": "required",
        "EMAIL_VERIFICATION": True,
        "SHOW_EMAILS": True,
        "EMAIL_BACKEND": "registry_site.mail.EmailBackend",
        "EMAIL_HOST": "mail.example.com",
        "EMAIL_PORT": 587,
        "EMAIL_HOST_USER": "clerk",
        "EMAIL_HOST_PASSWORD": "p@ss",
        "EMAIL_USE_TLS": True,
        "DEFAULT_FROM_EMAIL": "registry@example.com",
        "SESSION_COOKIE_AGE": 7200,
        "REQUIRE_SECOND_FACTOR": "staff",
        "MAX_LOGIN_FAILURES": 3,
        "TRUSTED_PROXIES": "10.0.0.0/8 2001:db8::1",
        "AUTH_REQUIRED": True,
        "MAX_CRATE_SIZE": 1000,
        "PUBLISH_LIMIT_PER_10_SECONDS": 0,
        "CRATE_CHANGES_PER_MINUTE": 7,
        "MAX_PACKAGE_SIZE": 2000,
        "MIN_FREE_SPACE": 4000,
        "README_IMAGES": "none",
        "TRASH_DAYS": 0,
        "AUDIT_DAYS": 365,
        "FILE_ROOTS": [str(tmp_path), "/"],
        "MAX_FILE_SIZE": 3000,
        "FILE_LIST_COUNT": 10,
        "MAX_FILE_LIST_COUNT": 20,
        "FILE_CHALLENGE_SECONDS": 5,
        "FILE_SESSION_SECONDS": 60,
        "MAX_FILE_SESSION_SECONDS": 70,
        "FILE_HANDSHAKES_PER_MINUTE": 8,
        "SERVE_DEAD_FILES": False,
        "X_ACCEL_PREFIX": "/_files",
        "ALLOWED_REGISTRIES": ["sparse+https://a/", "sparse+https://b/"],
        "MIRROR": False,
        "MIRROR_UPSTREAM": ["https://a/index/", "https://b/index/"],
        "MIRROR_TOKENS": {"https://b/index/": "secret"},
        "MIRROR_HOSTS": "Hosts(names=frozenset({'files.internal'}), networks=[IPv4Network('10.0.0.0/8')])",
        "MIRROR_INDEX_TTL": 0,
        "MIRROR_TIMEOUT": 7,
        "MIRROR_OFFLINE": True,
        "METRICS_TOKEN": "for prometheus",
        "MIRROR_MIN_AGE_DAYS": 14,
        "MIRROR_LICENSES": ["MIT", "Apache-2.0"],
        "MIRROR_DENYLIST": ["evil-*", "time@<0.2.23"],
        "MIRROR_ADVISORIES": [str(tmp_path)],
        "PRIVATE_NAMES": ["acme-*", "tool"],
        "PUBLISH_UPSTREAM_NAMES": True,
        "LOG_FORMAT": "json",
        "LOG_LEVEL": "DEBUG",
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "SESSION_COOKIE_NAME": "__Host-registry_session",
        "CSRF_COOKIE_NAME": "__Host-csrftoken",
        "CSRF_TRUSTED_ORIGINS": ["https://crates.example.com", "https://crates"],
        "PASSWORD_LOGIN": False,
        "OIDC_LOGIN": True,
        "OIDC_ISSUER": "https://id.example.com/realms/x",
        "OIDC_RP_CLIENT_ID": "registry",
        "OIDC_RP_CLIENT_SECRET": "s3cret/+ x",
        "OIDC_RP_SCOPES": "openid profile groups",
        "OIDC_USERNAME_CLAIM": ["preferred_username", "sub"],
        "OIDC_GROUPS_CLAIM": "realm_access.roles",
        "OIDC_ALLOWED_GROUPS": ["devs", "two words"],
        "OIDC_ALLOWED_USERS": ["boss"],
        "OIDC_ADMIN_GROUPS": ["ops", "more ops"],
        "AUTHENTICATION_BACKENDS": ["accounts.oidc.flow.Backend"],
    }
    assert {name: read[name] for name in expected} == expected
    assert read["AUTH_PASSWORD_VALIDATORS"][0]["OPTIONS"] == {"minimum": 8, "maximum": 128}
    assert read["DATABASES"]["default"]["HOST"] == "db"
    assert read["LOGGING"]["root"]["level"] == "WARNING"  # libraries log secrets at lower levels
    assert read["CACHES"]["rate_limits"]["LOCATION"] == "redis://u:p@cache:6380/2"
    assert read["STORAGES"]["blobs"]["OPTIONS"]["bucket_name"] == "bucket"
    assert read["STORAGES"]["mirror"]["OPTIONS"]["bucket_name"] == "mirrored"


def test_every_variable_has_a_test() -> None:
    """The test above sets all variables but these: the directory and files in the place of two variables."""
    others = {"DATA_DIR", "OIDC_CLIENT_SECRET_FILE", "METRICS_TOKEN_FILE"}
    assert set(REGISTRY.readings) == {f"REGISTRY_{name}" for name in others | set(VARIABLES) | set(FILES)}


@pytest.mark.parametrize("bind", ["0.0.0.0:8000", "[::]:8000"])
def test_public_url_is_not_all_interfaces(tmp_path: Path, bind: str) -> None:
    assert read_settings(tmp_path, BIND=bind)["PUBLIC_URL"] == "http://localhost:8000"


def test_host_of_the_public_url_is_allowed(tmp_path: Path) -> None:
    read = read_settings(tmp_path, PUBLIC_URL="https://[2001:db8::1]:8443")
    assert "[2001:db8::1]" in read["ALLOWED_HOSTS"]
    assert "*" not in read["ALLOWED_HOSTS"]


def test_other_names_are_allowed(tmp_path: Path) -> None:
    read = read_settings(
        tmp_path, PUBLIC_URL="https://crates.example.com", ALSO_KNOWN_AS="https://crates http://[::2]:1"
    )
    assert {"crates.example.com", "crates", "[::2]"} <= set(read["ALLOWED_HOSTS"])


def test_loopback_has_three_names(tmp_path: Path) -> None:
    names = ["http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"]
    for name in names:
        read = read_settings(tmp_path, PUBLIC_URL=name)
        assert {read["PUBLIC_URL"], *read["ALSO_KNOWN_AS"]} == set(names)


@pytest.mark.parametrize("public_url", ["https://crates.example.com", "HTTPS://crates.example.com"])
def test_cookies_are_secure_behind_https(tmp_path: Path, public_url: str) -> None:
    read = read_settings(tmp_path, PUBLIC_URL=public_url)
    assert (read["SESSION_COOKIE_SECURE"], read["CSRF_COOKIE_SECURE"]) == (True, True)


def test_data_directory_may_have_any_name(tmp_path: Path) -> None:
    directory = tmp_path / "with space ümläut per%41cent ha#sh quest?ion a&b=c co:lon@at"
    assert read_settings(directory)["DATABASES"]["default"]["NAME"] == str(directory / "registry.sqlite3")


def test_data_directory_is_for_this_user_alone(tmp_path: Path) -> None:
    read_settings(tmp_path / "new" / "data")
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700


# --- Single sign-on ----------------------------------------------------------------------------------------------

SSO = {"OIDC_ISSUER": "https://id.example.com", "OIDC_CLIENT_ID": "registry"}
PASSWORD_BACKEND, OIDC_BACKEND = "accounts.credentials.browser_sessions.PasswordBackend", "accounts.oidc.flow.Backend"


def test_password_login_needs_no_issuer(tmp_path: Path) -> None:
    read = read_settings(tmp_path)
    assert (read["PASSWORD_LOGIN"], read["OIDC_LOGIN"]) == (True, False)
    assert read["AUTHENTICATION_BACKENDS"] == [PASSWORD_BACKEND]


def test_issuer_allows_both_logins(tmp_path: Path) -> None:
    read = read_settings(tmp_path, **SSO)
    assert (read["PASSWORD_LOGIN"], read["OIDC_LOGIN"]) == (True, True)
    assert read["AUTHENTICATION_BACKENDS"] == [PASSWORD_BACKEND, OIDC_BACKEND]
    assert (read["OIDC_RP_SCOPES"], read["OIDC_RP_CLIENT_SECRET"]) == ("openid profile email", "")
    assert (read["OIDC_USERNAME_CLAIM"], read["OIDC_GROUPS_CLAIM"]) == (["nickname", "preferred_username"], "groups")
    assert read["OIDC_ALLOWED_GROUPS"] == read["OIDC_ALLOWED_USERS"] == read["OIDC_ADMIN_GROUPS"] == []


def test_oidc_login_can_be_off(tmp_path: Path) -> None:
    read = read_settings(tmp_path, **SSO, LOGIN="password")
    assert (read["PASSWORD_LOGIN"], read["OIDC_LOGIN"]) == (True, False)
    assert read["AUTHENTICATION_BACKENDS"] == [PASSWORD_BACKEND]


def test_client_secret_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret/+ x\n")
    read = read_settings(tmp_path, **SSO, OIDC_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert read["OIDC_RP_CLIENT_SECRET"] == "s3cret/+ x"


# --- Values that stop the start ----------------------------------------------------------------------------------


def refusal(data: Path, **variables: str) -> str:
    """Return the one line with which `manage.py check` ends."""
    done = run_python(data, "manage.py", "check", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Cannot start: ")
    return line.removeprefix("Cannot start: ")


BAD_VALUES = {
    "BIND": "8000",
    "TLS_CERT": "/missing.pem",
    "CA_FILE": "/dev/null",
    "TLS_KEY": "/missing.pem",
    "PUBLIC_URL": "crates.example.com",
    "ALSO_KNOWN_AS": "https://crates crates",
    "WORKERS": "0",
    "THREADS": "many",
    "ADDRESS_SHARE": "101",
    "KEEP_ALIVE": "-1",
    "INDEX_CACHE_SIZE": "-1",
    "SIGNUP": "yes",
    "AUTH_REQUIRED": "true",
    "MAX_CRATE_SIZE": "10M",
    "PUBLISH_LIMIT_PER_10_SECONDS": "-1",
    "CRATE_CHANGES_PER_MINUTE": "-1",
    "DATABASE_URL": "mysql://localhost/registry",
    "CACHE_URL": "memcached://cache",
    "LOG_FORMAT": "xml",
    "README_IMAGES": "some",
    "REQUIRE_SECOND_FACTOR": "some",
    "LOG_LEVEL": "loud",
    "BLOBS_URL": "/srv/blobs",
    "DATA_DIR": "/dev/null/data",
    "SECRET_KEY_FILE": "/missing",
    "LOGIN": "openid",
    "OIDC_ISSUER": "http://id.example.com",
    "OIDC_CLIENT_SECRET_FILE": "/missing",
    "MIRROR": "1",
    "MIRROR_UPSTREAM": "crates.io",
    "MIRROR_TOKENS_FILE": "/missing",
    "MIRROR_HOSTS": "10.0.0.0/99",
    "MIRROR_INDEX_TTL": "-1",
    "MIRROR_TIMEOUT": "0",
    "MIRROR_OFFLINE": "on",
    "MIRROR_MIN_AGE_DAYS": "a week",
    "MIRROR_ADVISORIES": "/missing",
    "MIRROR_BLOBS_URL": "/srv/mirror",
}


def test_bad_values_are_refused(tmp_path: Path) -> None:
    messages = read_refusals(tmp_path, BAD_VALUES)
    beginnings = {name: f"REGISTRY_{name}={value!r} is not understood: " for name, value in BAD_VALUES.items()}
    assert {name: text for name, text in messages.items() if not text.startswith(beginnings[name])} == {}


@pytest.mark.parametrize(("name", "value"), [("WORKERS", "0"), ("MIRROR_DENYLIST", "time@latest")])
def test_bad_value_stops_the_start(tmp_path: Path, name: str, value: str) -> None:
    assert refusal(tmp_path, **{name: value}).startswith(f"REGISTRY_{name}={value!r} is not understood: ")


@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_KEY"])
def test_half_of_a_certificate_stops_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "half.pem").touch()
    line = refusal(tmp_path, **{name: str(tmp_path / "half.pem")})
    assert line == "REGISTRY_TLS_CERT and REGISTRY_TLS_KEY are needed both, or neither."


def test_other_files_are_no_certificate(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    swapped = refusal(tmp_path, TLS_CERT=tls["REGISTRY_TLS_KEY"], TLS_KEY=tls["REGISTRY_TLS_CERT"])
    assert swapped.startswith("REGISTRY_TLS_CERT and REGISTRY_TLS_KEY are no certificate with its key")


SHARED_STORE = "give another bucket, prefix or folder than that of REGISTRY_BLOBS_URL."


def test_one_store_for_both_stops_the_start(tmp_path: Path) -> None:
    blobs, mirrored = "s3://bucket/p?endpoint=https://s3:443&region=eu-1", "s3://bucket/p/?endpoint=https://S3"
    line = refusal(tmp_path, BLOBS_URL=blobs, MIRROR_BLOBS_URL=mirrored)
    assert line == f"REGISTRY_MIRROR_BLOBS_URL={mirrored!r} is not understood: {SHARED_STORE}"
    read = read_settings(tmp_path, BLOBS_URL=blobs, MIRROR_BLOBS_URL="s3://bucket/q")
    assert read["STORAGES"]["mirror"]["OPTIONS"]["location"] == "q"


def test_link_to_one_folder_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "mirror").symlink_to(tmp_path / "blobs")
    assert refusal(tmp_path) == f"REGISTRY_MIRROR_BLOBS_URL='' is not understood: {SHARED_STORE}"


def test_short_key_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("short")
    assert refusal(tmp_path) == (f"The secret key in {tmp_path}/secret_key is too short: 5 characters, 50 are needed.")


def test_data_directory_cannot_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    line = refusal(tmp_path / "data")
    assert line.endswith("is not understood: the directory cannot be made (File exists).")


WITH_PASSWORD = """
    postgres://alice:hunter22@db:port/crates mysql://alice:hunter22@db/crates postgres://alice:hunter22@db
    postgres://alice:a/hunter22@db:port/crates postgres://alice:a@hunter22@db:port/crates
"""


def test_refusal_hides_the_database_password(tmp_path: Path) -> None:
    for url in WITH_PASSWORD.split():
        message = read_refusals(tmp_path, {"DATABASE_URL": url})["DATABASE_URL"]
        assert message.startswith("REGISTRY_DATABASE_URL")
        assert "hunter22" not in message


NEEDED = "REGISTRY_OIDC_ISSUER and REGISTRY_OIDC_CLIENT_ID are needed."


@pytest.mark.parametrize(
    ("variables", "login"),
    [
        ({"LOGIN": "oidc"}, "oidc"),
        ({"LOGIN": "both"}, "both"),
        ({"LOGIN": "oidc", "OIDC_CLIENT_ID": "registry"}, "oidc"),
        ({"OIDC_ISSUER": "https://id.example.com"}, "both"),
    ],
    ids=str,
)
def test_half_a_provider_stops_the_start(tmp_path: Path, variables: dict[str, str], login: str) -> None:
    line = refusal(tmp_path, OIDC_CLIENT_SECRET="hunter22", **variables)
    assert line == f"To sign in by OpenID (REGISTRY_LOGIN={login}), {NEEDED}"


def test_query_of_an_issuer_stops_the_start(tmp_path: Path) -> None:
    line = refusal(tmp_path, OIDC_CLIENT_ID="registry", OIDC_ISSUER="https://id.example.com?x=1")
    assert line == (
        "REGISTRY_OIDC_ISSUER='https://id.example.com?x=1' is not understood: "
        "give the https URL that the provider names as its issuer."
    )


def test_refusal_hides_the_password_of_an_issuer(tmp_path: Path) -> None:
    line = refusal(tmp_path, OIDC_CLIENT_ID="registry", OIDC_ISSUER="https://alice:hunter22@id.example.com")
    assert line.startswith("REGISTRY_OIDC_ISSUER='https://…@id.example.com' is not understood: ")


def test_two_secrets_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter22")
    line = refusal(tmp_path, **SSO, OIDC_CLIENT_SECRET="hunter23", OIDC_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert line == (
        f"REGISTRY_OIDC_CLIENT_SECRET_FILE='{tmp_path}/secret' is not understood: "
        "REGISTRY_OIDC_CLIENT_SECRET is set, too; give one of them."
    )


def test_secret_that_is_binary_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter22\xff")
    line = refusal(tmp_path, **SSO, OIDC_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert line.startswith(f"REGISTRY_OIDC_CLIENT_SECRET_FILE='{tmp_path}/secret' is not understood: ")
    assert "hunter22" not in line


def test_good_values_pass_the_check(tmp_path: Path) -> None:
    done = run_python(tmp_path, "manage.py", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "System check identified no issues (0 silenced).\n"
