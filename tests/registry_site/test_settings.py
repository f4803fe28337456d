"""Each `REGISTRY_*` variable, as a start reads it: its value has effect, or the start stops with one line."""

from pathlib import Path

import pytest

from registry_site.environment import (
    parse_blobs_url,
    parse_database_url,
    parse_index_tokens,
    parse_index_urls,
    parse_issuer,
)
from registry_site.settings import REGISTRY
from tests.support.servers import certificate
from tests.support.settings import read_settings, run_python

pytestmark = pytest.mark.database_independent

# --- Values that are understood ----------------------------------------------------------------------------------


def test_start_without_variables_has_its_defaults(tmp_path: Path) -> None:
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


def test_each_variable_has_its_effect(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("k" * 50)
    tokens = tmp_path / "tokens"
    tokens.write_text("sparse+https://b/index/ secret\n")
    tls = certificate(tmp_path / "tls")
    read = read_settings(
        tmp_path / "data",
        SECRET_KEY_FILE=str(key),
        BIND="[::]:9000",
        TLS_CERT=tls["REGISTRY_TLS_CERT"],
        TLS_KEY=tls["REGISTRY_TLS_KEY"],
        PUBLIC_URL="https://crates.example.com/",
        WORKERS="3",
        THREADS="4",
        SIGNUP="closed",
        EMAIL_ON_SIGNUP="required",
        EMAIL_VERIFICATION="1",
        EMAIL_URL="smtp+tls://clerk:p%40ss@mail.example.com",
        EMAIL_FROM="registry@example.com",
        MIN_PASSWORD_LENGTH="8",
        MAX_PASSWORD_LENGTH="128",
        SESSION_HOURS="2",
        MAX_LOGIN_FAILURES="3",
        TRUSTED_PROXIES="10.0.0.0/8 2001:db8::1",
        AUTH_REQUIRED="1",
        MAX_CRATE_SIZE="1000",
        PUBLISH_LIMIT_PER_10_SECONDS="0",
        MAX_PACKAGE_SIZE="2000",
        TRASH_DAYS="0",
        FILE_ROOTS=f"{tmp_path}/:/",
        MAX_FILE_SIZE="3000",
        FILE_LIST_COUNT="10",
        MAX_FILE_LIST_COUNT="20",
        FILE_CHALLENGE_SECONDS="5",
        FILE_SESSION_SECONDS="60",
        MAX_FILE_SESSION_SECONDS="70",
        FILE_HANDSHAKES_PER_MINUTE="8",
        SERVE_DEAD_FILES="0",
        X_ACCEL_PREFIX="/_files",
        ALLOWED_REGISTRIES="sparse+https://a/ sparse+https://b/",
        DATABASE_URL="postgres://u:p@db:5433/crates",
        CACHE_URL="redis://u:p@cache:6380/2",
        BLOBS_URL="s3://bucket/prefix?endpoint=http://s3:9000&region=eu-1&redirect=1",
        LOGIN="oidc",
        OIDC_ISSUER="https://id.example.com/realms/x",
        OIDC_CLIENT_ID="registry",
        OIDC_CLIENT_SECRET="s3cret/+ x",
        OIDC_SCOPES="profile groups",
        OIDC_USERNAME_CLAIM="preferred_username sub",
        OIDC_GROUPS_CLAIM="realm_access.roles",
        OIDC_ALLOWED_GROUPS="devs, two words ,",
        OIDC_ALLOWED_USERS="boss",
        OIDC_ADMIN_GROUPS="ops,more ops",
        MIRROR="off",
        MIRROR_UPSTREAM="sparse+https://a/index https://b/index/",
        MIRROR_TOKENS_FILE=str(tokens),
        MIRROR_INDEX_TTL="0",
        MIRROR_TIMEOUT="7",
        MIRROR_OFFLINE="1",
        METRICS_TOKEN="for prometheus",
        MIRROR_MIN_AGE_DAYS="14",
        MIRROR_LICENSES="MIT Apache-2.0",
        MIRROR_DENYLIST="evil-* time@<0.2.23",
        MIRROR_ADVISORIES=str(tmp_path),
        MIRROR_BLOBS_URL="s3://mirrored",
        PRIVATE_NAMES="acme-* tool",
    )
    expected = {
        "DATA_DIR": str(tmp_path / "data"),
        "SECRET_KEY": "k" * 50,
        "BIND_HOST": "[::]",
        "BIND_PORT": 9000,
        "TLS_CERT": tls["REGISTRY_TLS_CERT"],
        "TLS_KEY": tls["REGISTRY_TLS_KEY"],
        "PUBLIC_URL": "https://crates.example.com",
        "WORKERS": 3,
        "THREADS": 4,
        "SIGNUP_OPEN": False,
        "EMAIL_ON_SIGNUP": "required",
        "EMAIL_VERIFICATION": True,
        "EMAIL_HOST": "mail.example.com",
        "EMAIL_PORT": 587,
        "EMAIL_HOST_USER": "clerk",
        "EMAIL_HOST_PASSWORD": "p@ss",
        "EMAIL_USE_TLS": True,
        "DEFAULT_FROM_EMAIL": "registry@example.com",
        "SESSION_COOKIE_AGE": 7200,
        "MAX_LOGIN_FAILURES": 3,
        "TRUSTED_PROXIES": "10.0.0.0/8 2001:db8::1",
        "AUTH_REQUIRED": True,
        "MAX_CRATE_SIZE": 1000,
        "PUBLISH_LIMIT_PER_10_SECONDS": 0,
        "MAX_PACKAGE_SIZE": 2000,
        "TRASH_DAYS": 0,
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
        "MIRROR_INDEX_TTL": 0,
        "MIRROR_TIMEOUT": 7,
        "MIRROR_OFFLINE": True,
        "METRICS_TOKEN": "for prometheus",
        "MIRROR_MIN_AGE_DAYS": 14,
        "MIRROR_LICENSES": ["MIT", "Apache-2.0"],
        "MIRROR_DENYLIST": ["evil-*", "time@<0.2.23"],
        "MIRROR_ADVISORIES": [str(tmp_path)],
        "PRIVATE_NAMES": ["acme-*", "tool"],
        "SESSION_COOKIE_SECURE": True,
        "CSRF_COOKIE_SECURE": True,
        "CSRF_TRUSTED_ORIGINS": ["https://crates.example.com"],
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
    assert read["CACHES"]["rate_limits"]["LOCATION"] == "redis://u:p@cache:6380/2"
    assert read["STORAGES"]["blobs"]["OPTIONS"]["bucket_name"] == "bucket"
    assert read["STORAGES"]["mirror"]["OPTIONS"]["bucket_name"] == "mirrored"


def test_the_test_above_knows_every_variable() -> None:
    read = {"DATA_DIR", "SECRET_KEY_FILE", "BIND", "TLS_CERT", "TLS_KEY", "PUBLIC_URL", "WORKERS", "THREADS", "SIGNUP"}
    read |= {"EMAIL_ON_SIGNUP", "EMAIL_VERIFICATION", "EMAIL_URL", "EMAIL_FROM", "SESSION_HOURS", "MAX_LOGIN_FAILURES"}
    read |= {"MIN_PASSWORD_LENGTH", "MAX_PASSWORD_LENGTH", "TRUSTED_PROXIES", "MAX_PACKAGE_SIZE", "TRASH_DAYS"}
    read |= {
        "AUTH_REQUIRED",
        "MAX_CRATE_SIZE",
        "PUBLISH_LIMIT_PER_10_SECONDS",
        "ALLOWED_REGISTRIES",
        "DATABASE_URL",
        "CACHE_URL",
        "BLOBS_URL",
    }
    read |= {"FILE_ROOTS", "MAX_FILE_SIZE", "FILE_LIST_COUNT", "MAX_FILE_LIST_COUNT", "FILE_CHALLENGE_SECONDS"}
    read |= {
        "FILE_SESSION_SECONDS",
        "MAX_FILE_SESSION_SECONDS",
        "FILE_HANDSHAKES_PER_MINUTE",
        "SERVE_DEAD_FILES",
        "X_ACCEL_PREFIX",
    }
    read |= {"LOGIN", "OIDC_ISSUER", "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_SCOPES", "OIDC_USERNAME_CLAIM"}
    read |= {"OIDC_GROUPS_CLAIM", "OIDC_ALLOWED_GROUPS", "OIDC_ALLOWED_USERS", "OIDC_ADMIN_GROUPS"}
    read |= {"OIDC_CLIENT_SECRET_FILE"}  # in the place of OIDC_CLIENT_SECRET: a test of its own, below
    read |= {"MIRROR", "MIRROR_UPSTREAM", "MIRROR_TOKENS_FILE", "MIRROR_INDEX_TTL", "MIRROR_TIMEOUT", "MIRROR_OFFLINE"}
    read |= {"MIRROR_MIN_AGE_DAYS", "MIRROR_LICENSES", "MIRROR_DENYLIST", "MIRROR_ADVISORIES"}
    read |= {"MIRROR_BLOBS_URL", "PRIVATE_NAMES", "METRICS_TOKEN", "METRICS_TOKEN_FILE"}
    assert REGISTRY.names == {f"REGISTRY_{name}" for name in read}


@pytest.mark.parametrize("bind", ["0.0.0.0:8000", "[::]:8000"])
def test_address_of_all_interfaces_is_not_the_public_one(tmp_path: Path, bind: str) -> None:
    assert read_settings(tmp_path, BIND=bind)["PUBLIC_URL"] == "http://localhost:8000"


def test_host_of_the_public_address_is_answered(tmp_path: Path) -> None:
    read = read_settings(tmp_path, PUBLIC_URL="https://[2001:db8::1]:8443")
    assert "[2001:db8::1]" in read["ALLOWED_HOSTS"]
    assert "*" not in read["ALLOWED_HOSTS"]


@pytest.mark.parametrize("public_url", ["https://crates.example.com", "HTTPS://crates.example.com"])
def test_cookies_are_secure_behind_https(tmp_path: Path, public_url: str) -> None:
    read = read_settings(tmp_path, PUBLIC_URL=public_url)
    assert (read["SESSION_COOKIE_SECURE"], read["CSRF_COOKIE_SECURE"]) == (True, True)


@pytest.mark.parametrize("name", ["with space", "ümläut", "per%41cent", "ha#sh", "quest?ion", "a&b=c", "co:lon@at"])
def test_database_lies_in_the_data_directory_whatever_its_name(tmp_path: Path, name: str) -> None:
    read = read_settings(tmp_path / name)
    assert read["DATABASES"]["default"]["NAME"] == str(tmp_path / name / "registry.sqlite3")


def test_data_directory_is_made_for_this_user_alone(tmp_path: Path) -> None:
    read_settings(tmp_path / "new" / "data")
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700


# --- Single sign-on ----------------------------------------------------------------------------------------------

SSO = {"OIDC_ISSUER": "https://id.example.com", "OIDC_CLIENT_ID": "registry"}
PASSWORD_BACKEND, OIDC_BACKEND = "accounts.credentials.browser_sessions.PasswordBackend", "accounts.oidc.flow.Backend"


def test_without_an_issuer_one_signs_in_by_password(tmp_path: Path) -> None:
    read = read_settings(tmp_path)
    assert (read["PASSWORD_LOGIN"], read["OIDC_LOGIN"]) == (True, False)
    assert read["AUTHENTICATION_BACKENDS"] == [PASSWORD_BACKEND]


def test_with_an_issuer_one_signs_in_either_way(tmp_path: Path) -> None:
    read = read_settings(tmp_path, **SSO)
    assert (read["PASSWORD_LOGIN"], read["OIDC_LOGIN"]) == (True, True)
    assert read["AUTHENTICATION_BACKENDS"] == [PASSWORD_BACKEND, OIDC_BACKEND]
    assert (read["OIDC_RP_SCOPES"], read["OIDC_RP_CLIENT_SECRET"]) == ("openid profile email", "")
    assert (read["OIDC_USERNAME_CLAIM"], read["OIDC_GROUPS_CLAIM"]) == (["nickname", "preferred_username"], "groups")
    assert read["OIDC_ALLOWED_GROUPS"] == read["OIDC_ALLOWED_USERS"] == read["OIDC_ADMIN_GROUPS"] == []


def test_provider_can_be_left_unused(tmp_path: Path) -> None:
    read = read_settings(tmp_path, **SSO, LOGIN="password")
    assert (read["PASSWORD_LOGIN"], read["OIDC_LOGIN"]) == (True, False)
    assert read["AUTHENTICATION_BACKENDS"] == [PASSWORD_BACKEND]


def test_secret_of_the_client_can_be_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret/+ x\n")
    read = read_settings(tmp_path, **SSO, OIDC_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert read["OIDC_RP_CLIENT_SECRET"] == "s3cret/+ x"


GOOD_ISSUERS = """
    https://id.example.com https://id.example.com/ https://id.example.com:8443/realms/x https://[2001:db8::1]/x
    http://localhost:8080/realms/x http://127.0.0.1:9000 http://[::1]:9000
"""


@pytest.mark.parametrize("issuer", GOOD_ISSUERS.split())
def test_issuer_is_taken_literally(issuer: str) -> None:
    assert parse_issuer(issuer) == issuer


BAD_ISSUERS = """
    id.example.com //id.example.com ftp://id.example.com https:// https:/// http://id.example.com http://192.0.2.1
    http://localhost.example.com http://127.0.0.1.example.com http://localhost@id.example.com
    https://id.example.com?x=1 https://id.example.com/#top https://alice@id.example.com https://:pw@id.example.com
    https://[::1 https://id.example.com:port https://id.example.com:99999 https://id.example.com:0 javascript:alert(1)
"""


@pytest.mark.parametrize("issuer", [*BAD_ISSUERS.split(), "https://a b", "https://a\nb"])
def test_what_is_no_issuer_is_refused(issuer: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader makes a sentence of any
        parse_issuer(issuer)


# --- Addresses of databases and blobs ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "engine", "name"),
    [
        ("sqlite:////srv/registry.sqlite3", "registry_site.sqlite", "/srv/registry.sqlite3"),
        ("sqlite:///relative.sqlite3", "registry_site.sqlite", "relative.sqlite3"),
        ("postgres://u:p@db:5432/crates", "django.db.backends.postgresql", "crates"),
        ("postgresql://u:p@db/crates?sslmode=require", "django.db.backends.postgresql", "crates"),
        ("postgres:///crates", "django.db.backends.postgresql", "crates"),
    ],
)
def test_database_is_understood(url: str, engine: str, name: str) -> None:
    database = parse_database_url(url)
    assert (database["ENGINE"], database["NAME"]) == (engine, name)


def test_password_of_the_database_is_decoded() -> None:
    assert parse_database_url("postgres://u:p%40%2Fw@db/crates")["PASSWORD"] == "p@/w"


def test_sqlite_waits_for_its_lock_and_survives_power_cuts() -> None:
    options = parse_database_url("sqlite:////srv/registry.sqlite3")["OPTIONS"]
    assert (options["transaction_mode"], options["timeout"]) == ("IMMEDIATE", 20)
    assert options["init_command"] == "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"


def test_postgresql_keeps_the_options_that_were_given() -> None:
    options = parse_database_url("postgres://u:p@db/crates?sslmode=require")["OPTIONS"]
    assert (options["sslmode"], options["connect_timeout"]) == ("require", 5)


BAD_DATABASES = """
    x registry.sqlite3 /srv/registry.sqlite3 sqlite:// sqlite:/// sqlite://:memory: sqlite:///:memory:
    sqlite:////srv/registry.sqlite3?mode=ro sqlite:////srv/a#b/registry.sqlite3 mysql://db/crates http://db/crates
    postgres:// postgres://db postgres://db/ postgres://db:port/crates postgres://db:99999/crates
    postgres://[::1/crates postgres:crates
"""


@pytest.mark.parametrize("url", BAD_DATABASES.split())
def test_what_is_no_database_is_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader makes a sentence of any
        parse_database_url(url)


def test_blobs_are_understood() -> None:
    assert parse_blobs_url("s3://bucket/a/b/?endpoint=https://s3.example.com")["OPTIONS"] == {
        "bucket_name": "bucket",
        "location": "a/b",
        "endpoint_url": "https://s3.example.com",
        "region_name": "us-east-1",
        "redirect_clients": False,
    }


BAD_BLOBS = """
    x bucket /srv/blobs file:///srv/blobs s3:// s3:///prefix s3:bucket S4://bucket
    s3://bucket?regoin=eu s3://bucket?region s3://bucket?redirect=yes s3://bucket?redirect=2
    s3://bucket?endpoint=nonsense s3://key:secret@bucket
"""


@pytest.mark.parametrize("url", BAD_BLOBS.split())
def test_what_are_no_blobs_are_refused(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader makes a sentence of any
        parse_blobs_url(url)


BAD_UPSTREAMS = """
    index.crates.io ftp://index.crates.io/ git+https://a/ sparse+a https:// https:///index/ https://user:pass@a/index/
    https://a/index/?x=1 https://a/index/#x https://[::1/ https://a:port/ https://a:99999/ https://a:0/index/
"""


@pytest.mark.parametrize("url", BAD_UPSTREAMS.split())
def test_what_is_no_sparse_index_is_no_upstream(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reader makes a sentence of any
        parse_index_urls(f"https://good/ {url}")


def test_tokens_of_upstreams_are_read_from_their_lines(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("https://a/index one\n\nsparse+https://b/ two\n")
    assert parse_index_tokens(str(tmp_path / "tokens")) == {"https://a/index/": "one", "https://b/": "two"}


@pytest.mark.parametrize(
    "text", ["https://a/", "https://a/ one two", "a one", "https://a/ täken"], ids=["none", "two", "no URL", "no ASCII"]
)
def test_file_that_holds_no_tokens_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokens").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError):  # noqa: PT011 - the reader makes a sentence of any
        parse_index_tokens(str(tmp_path / "tokens"))


# --- Values that stop the start ----------------------------------------------------------------------------------


def refusal(data: Path, **variables: str) -> str:
    """The one line with which `manage.py check` ends."""
    done = run_python(data, "manage.py", "check", **variables)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Cannot start: ")
    return line.removeprefix("Cannot start: ")


BAD_VALUES = {
    "BIND": "8000",
    "TLS_CERT": "/missing.pem",
    "TLS_KEY": "/missing.pem",
    "PUBLIC_URL": "crates.example.com",
    "WORKERS": "0",
    "THREADS": "many",
    "SIGNUP": "yes",
    "AUTH_REQUIRED": "true",
    "MAX_CRATE_SIZE": "10M",
    "PUBLISH_LIMIT_PER_10_SECONDS": "-1",
    "DATABASE_URL": "mysql://localhost/registry",
    "CACHE_URL": "memcached://cache",
    "BLOBS_URL": "/srv/blobs",
    "DATA_DIR": "/dev/null/data",
    "SECRET_KEY_FILE": "/missing",
    "LOGIN": "openid",
    "OIDC_ISSUER": "http://id.example.com",
    "OIDC_CLIENT_SECRET_FILE": "/missing",
    "MIRROR": "1",
    "MIRROR_UPSTREAM": "crates.io",
    "MIRROR_TOKENS_FILE": "/missing",
    "MIRROR_INDEX_TTL": "-1",
    "MIRROR_TIMEOUT": "0",
    "MIRROR_OFFLINE": "on",
    "MIRROR_MIN_AGE_DAYS": "a week",
    "MIRROR_DENYLIST": "time@latest",
    "MIRROR_ADVISORIES": "/missing",
    "MIRROR_BLOBS_URL": "/srv/mirror",
}


@pytest.mark.parametrize(("name", "value"), BAD_VALUES.items())
def test_value_that_is_not_understood_stops_the_start_with_one_line(tmp_path: Path, name: str, value: str) -> None:
    assert refusal(tmp_path, **{name: value}).startswith(f"REGISTRY_{name}={value!r} is not understood: ")


@pytest.mark.parametrize("name", ["TLS_CERT", "TLS_KEY"])
def test_half_of_a_certificate_stops_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / "half.pem").touch()
    line = refusal(tmp_path, **{name: str(tmp_path / "half.pem")})
    assert line == "REGISTRY_TLS_CERT and REGISTRY_TLS_KEY are needed both, or neither."


def test_files_that_are_no_certificate_stop_the_start(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    swapped = refusal(tmp_path, TLS_CERT=tls["REGISTRY_TLS_KEY"], TLS_KEY=tls["REGISTRY_TLS_CERT"])
    assert swapped.startswith("REGISTRY_TLS_CERT and REGISTRY_TLS_KEY are no certificate with its key")


def test_short_key_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("short")
    assert refusal(tmp_path) == (f"The secret key in {tmp_path}/secret_key is too short: 5 characters, 50 are needed.")


def test_data_directory_that_is_a_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    line = refusal(tmp_path / "data")
    assert line.endswith("is not understood: the directory cannot be made (File exists).")


WITH_PASSWORD = """
    postgres://alice:hunter22@db:port/crates mysql://alice:hunter22@db/crates postgres://alice:hunter22@db
    postgres://alice:a/hunter22@db:port/crates postgres://alice:a@hunter22@db:port/crates
"""


@pytest.mark.parametrize("url", WITH_PASSWORD.split())
def test_refusal_keeps_the_password_of_the_database_to_itself(tmp_path: Path, url: str) -> None:
    line = refusal(tmp_path, DATABASE_URL=url)
    assert line.startswith("REGISTRY_DATABASE_URL")
    assert "hunter22" not in line


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
def test_half_of_a_provider_stops_the_start(tmp_path: Path, variables: dict[str, str], login: str) -> None:
    line = refusal(tmp_path, OIDC_CLIENT_SECRET="hunter22", **variables)
    assert line == f"To sign in by OpenID (REGISTRY_LOGIN={login}), {NEEDED}"


def test_query_of_an_issuer_stops_the_start(tmp_path: Path) -> None:
    line = refusal(tmp_path, OIDC_CLIENT_ID="registry", OIDC_ISSUER="https://id.example.com?x=1")
    assert line == (
        "REGISTRY_OIDC_ISSUER='https://id.example.com?x=1' is not understood: "
        "give the https URL that the provider names as its issuer."
    )


def test_password_in_an_issuer_is_kept_to_itself(tmp_path: Path) -> None:
    line = refusal(tmp_path, OIDC_CLIENT_ID="registry", OIDC_ISSUER="https://alice:hunter22@id.example.com")
    assert line.startswith("REGISTRY_OIDC_ISSUER='https://…@id.example.com' is not understood: ")


def test_two_secrets_stop_the_start_and_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter22")
    line = refusal(tmp_path, **SSO, OIDC_CLIENT_SECRET="hunter23", OIDC_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert line == (
        f"REGISTRY_OIDC_CLIENT_SECRET_FILE='{tmp_path}/secret' is not understood: "
        "REGISTRY_OIDC_CLIENT_SECRET is set, too; give one of them."
    )


def test_secret_that_is_no_text_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"hunter22\xff")
    line = refusal(tmp_path, **SSO, OIDC_CLIENT_SECRET_FILE=str(tmp_path / "secret"))
    assert line.startswith(f"REGISTRY_OIDC_CLIENT_SECRET_FILE='{tmp_path}/secret' is not understood: ")
    assert "hunter22" not in line


def test_good_values_pass_the_check(tmp_path: Path) -> None:
    done = run_python(tmp_path, "manage.py", "check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "System check identified no issues (0 silenced).\n"
