"""The typed readers of variables and their parsers: a value is understood, or refused with one clear sentence."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from registry_site.environment import (
    Environment,
    is_same_store,
    parse_blobs_url,
    parse_database_url,
    parse_index_tokens,
    parse_index_urls,
    parse_issuer,
)

pytestmark = pytest.mark.database_independent


def environment(value: str | None) -> Environment:
    return Environment("X_", {} if value is None else {"X_V": value})


def refusal(read: Callable[[Environment], Any], value: str) -> str:
    """Return the sentence with which a reader refuses a value; empty if it accepts the value."""
    try:
        read(environment(value))
    except ImproperlyConfigured as error:
        return str(error)
    return ""


def accepted(parse: Callable[[str], Any], texts: Iterable[str]) -> list[str]:
    """Return the texts that a parser does not refuse."""
    parsed = []
    for text in texts:
        try:
            parse(text)
        except ValueError:
            continue
        parsed.append(text)
    return parsed


# --- Numbers -----------------------------------------------------------------------------------------------------


def test_numbers_are_read() -> None:
    expected = {"1": 1, "007": 7, " 42 ": 42, "9" * 15: 10**15 - 1}
    assert {value: environment(value).number("V", 5) for value in expected} == expected


def test_other_texts_are_no_numbers() -> None:
    for value in ("0", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "ten", "٣", "²", "9" * 16, "1 2"):
        message = f"X_V={value!r} is not understood: give a whole number, 1 or more."
        assert refusal(lambda variables: variables.number("V", 5), value) == message


def test_numbers_have_bounds() -> None:
    def read(variables: Environment) -> int:
        return variables.number("V", 5, minimum=0, maximum=9)

    assert [read(environment(value)) for value in ("0", "9")] == [0, 9]
    assert refusal(read, "10") == "X_V='10' is not understood: give a whole number, 0 to 9."


# --- Words -------------------------------------------------------------------------------------------------------


def test_flags_are_read() -> None:
    expected = {"0": False, "1": True, " 1 ": True}
    assert {value: environment(value).flag("V", default=not flag) for value, flag in expected.items()} == expected


def test_other_texts_are_no_flags() -> None:
    for value in ("true", "yes", "on", "2", "-1", "no", "01"):
        message = f"X_V='{value}' is not understood: give one of 0, 1."
        assert refusal(lambda variables: variables.flag("V", default=False), value) == message


def test_other_words_are_no_choice() -> None:
    for value in ("Open", "OPEN", "opened", "open,closed", "1"):
        message = f"X_V='{value}' is not understood: give one of open, closed."
        assert refusal(lambda variables: variables.choice("V", "open", ("open", "closed")), value) == message


def test_words_are_split_at_blanks() -> None:
    assert environment("a  b\tc\nd").words("V", "x") == ["a", "b", "c", "d"]


def test_texts_are_split_at_commas() -> None:
    expected = {"a": ["a"], "a b": ["a b"], "a, b c ,d": ["a", "b c", "d"], ",, ,": [], "a,": ["a"]}
    assert {value: environment(value).texts("V") for value in expected} == expected


# --- Secrets -----------------------------------------------------------------------------------------------------


def secret(**variables: str) -> str:
    return Environment("X_", {f"X_{name}": value for name, value in variables.items()}).secret("V")


def test_secret_comes_from_variable_or_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" s3cret ü \n")
    assert secret() == ""
    assert secret(V=" s3cret ") == "s3cret"
    assert secret(V_FILE=str(tmp_path / "secret")) == "s3cret ü"


def test_secret_is_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\ncreated on Monday\n")
    assert secret(V_FILE=str(tmp_path / "secret")) == "s3cret"


def test_two_secrets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter22")
    with pytest.raises(ImproperlyConfigured) as refused:
        secret(V="hunter23", V_FILE=str(tmp_path / "secret"))
    assert str(refused.value) == f"X_V_FILE='{tmp_path}/secret' is not understood: X_V is set, too; give one of them."


def test_missing_secret_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        secret(V_FILE=str(tmp_path / "missing"))
    assert str(refused.value) == (
        f"X_V_FILE='{tmp_path}/missing' is not understood: give the path of a file that this user can read."
    )


@pytest.mark.parametrize("content", [b"hunter22\xff", b"", b"\n"], ids=["no text", "empty", "blank"])
def test_file_without_a_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ImproperlyConfigured) as refused:
        secret(V_FILE=str(tmp_path / "secret"))
    assert str(refused.value).startswith(f"X_V_FILE='{tmp_path}/secret' is not understood: ")
    assert "hunter22" not in str(refused.value)


# --- Files -------------------------------------------------------------------------------------------------------


def test_path_of_a_file_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").touch()
    monkeypatch.chdir(tmp_path)
    assert environment("key").file("V") == tmp_path / "key"


def test_other_paths_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").touch()
    monkeypatch.chdir(tmp_path)
    for value in ("missing", ".", "key/below", "/dev/null"):
        message = refusal(lambda variables: variables.file("V"), value)
        assert message.endswith("give the path of a file that this user can read.")


def test_directories_are_absolute_and_exist(tmp_path: Path) -> None:
    def read(variables: Environment) -> list[str]:
        return variables.directories("V")

    assert read(environment(f"{tmp_path}/:/:")) == [str(tmp_path), "/"]
    values = ("relative", ".", f"{tmp_path}/missing", f"/:{tmp_path}/missing", __file__)
    assert [value for value in values if not refusal(read, value)] == []


# --- Networks, addresses, origins --------------------------------------------------------------------------------


def test_networks_are_read() -> None:
    value = "10.0.0.0/8 2001:db8::1 192.0.2.9/24"
    assert environment(value).networks("V") == value


def test_other_texts_are_no_networks() -> None:
    values = ("10.0.0.0/33", "10.0.0", "example.com", "10.0.0.1,10.0.0.2", "10.0.0.1:80")
    assert [value for value in values if not refusal(lambda variables: variables.networks("V"), value)] == []


def test_addresses_are_read() -> None:
    expected = {
        "127.0.0.1:8000": ("127.0.0.1", 8000),
        "0.0.0.0:1": ("0.0.0.0", 1),
        "localhost:65535": ("localhost", 65535),
        "my-host.example:80": ("my-host.example", 80),
        "[::1]:8000": ("[::1]", 8000),
        "[::ffff:10.0.0.1]:80": ("[::ffff:10.0.0.1]", 80),
    }
    assert {value: environment(value).address("V", "localhost:1") for value in expected} == expected


BAD_ADDRESSES = """
    8000 :8000 localhost localhost: localhost:0 localhost:65536 localhost:-1 localhost:http localhost:٣ localhost:8000/
    ::1:8000 [1:2]:80 [....]:80 [nonsense]:80 http://localhost:80 unix:/tmp/socket ä:80
"""


def test_other_texts_are_no_addresses() -> None:
    for value in (*BAD_ADDRESSES.split(), "a:1 b:2"):
        message = f"X_V={value!r} is not understood: give host:port, such as 127.0.0.1:8000."
        assert refusal(lambda variables: variables.address("V", "localhost:1"), value) == message


def test_origins_are_written_as_browsers_do() -> None:
    expected = {
        "https://crates.example.com": "https://crates.example.com",
        "https://crates.example.com/": "https://crates.example.com",
        "http://127.0.0.1:8000": "http://127.0.0.1:8000",
        "http://[::1]:8000": "http://[::1]:8000",
        "https://xn--exmple-cua.com": "https://xn--exmple-cua.com",
        "HTTPS://crates.example.com": "https://crates.example.com",
        "https://Crates.Example.COM": "https://crates.example.com",
        "https://crates.example.com:443": "https://crates.example.com",
        "http://crates.example.com:80": "http://crates.example.com",
    }
    assert {value: environment(value).origin("V", "http://localhost") for value in expected} == expected


BAD_ORIGINS = """
    crates.example.com //crates.example.com ftp://crates.example.com https:// https:/// https:x https://h/path
    https://h/?q=1 https://h?q https://h#top https://h/;x https://h? https://h# https://h/?
    https://alice@h https://alice:pw@h https://@h https://:pw@h
    https://h:0 https://h:99999 https://h:http https://h:1:2 https://h: https://[::1
    https://a,b https://a\\b https://* https://*.example.com https://.example.com https://exämple.com https://a_b https://'
"""


def test_other_texts_are_no_origins() -> None:
    for value in (*BAD_ORIGINS.split(), "https://a b", "https://a\nb", "https://a\tb"):
        message = refusal(lambda variables: variables.origin("V", "http://localhost"), value)
        assert message.startswith("X_V=")
        assert message.endswith(" is not understood: give scheme and host only, such as https://crates.example.com.")


# --- All readers -------------------------------------------------------------------------------------------------


def test_empty_variable_means_its_default() -> None:
    for value in (None, "", "   ", "\t\n"):
        variables = environment(value)
        assert variables.text("V", "default") == "default"
        assert variables.number("V", 5) == 5
        assert variables.flag("V", default=True) is True
        assert variables.words("V", "a b") == ["a", "b"]
        assert variables.file("V") is None
        assert variables.directories("V") == []
        assert variables.networks("V") == ""
        assert variables.texts("V") == []
        assert variables.secret("V") == ""
        assert variables.address("V", "localhost:1") == ("localhost", 1)
        assert variables.origin("V", "http://localhost") == "http://localhost"


def test_refusal_is_one_line() -> None:
    message = refusal(lambda variables: variables.number("V", 5), "a\nb\x1b[31m")
    assert message
    assert message.isprintable()


def test_misspelt_variables_are_listed() -> None:
    variables = Environment("X_", {"X_WORKERS": "2", "X_WROKERS": "3", "X_": "1", "PATH": "/bin", "Y_WORKERS": "4"})
    variables.number("WORKERS", 1)
    assert variables.unknown_names() == ["X_", "X_WROKERS"]


def test_names_include_unset_variables() -> None:
    variables = Environment("X_", {})
    variables.text("V", "")
    assert set(variables.readings) == {"X_V"}


# --- Parsers -----------------------------------------------------------------------------------------------------

GOOD_ISSUERS = """
    https://id.example.com https://id.example.com/ https://id.example.com:8443/realms/x https://[2001:db8::1]/x
    http://localhost:8080/realms/x http://127.0.0.1:9000 http://[::1]:9000
"""
BAD_ISSUERS = """
    id.example.com //id.example.com ftp://id.example.com https:// https:/// http://id.example.com http://192.0.2.1
    http://localhost.example.com http://127.0.0.1.example.com http://localhost@id.example.com
    https://id.example.com?x=1 https://id.example.com/#top https://alice@id.example.com https://:pw@id.example.com
    https://[::1 https://id.example.com:port https://id.example.com:99999 https://id.example.com:0 javascript:alert(1)
"""


def test_issuer_is_kept_to_the_letter() -> None:
    assert [issuer for issuer in GOOD_ISSUERS.split() if parse_issuer(issuer) != issuer] == []


def test_other_texts_are_no_issuers() -> None:
    assert accepted(parse_issuer, [*BAD_ISSUERS.split(), "https://a b", "https://a\nb"]) == []


def test_database_urls_are_parsed() -> None:
    sqlite, postgresql = "registry_site.sqlite", "django.db.backends.postgresql"
    expected = {
        "sqlite:////srv/registry.sqlite3": (sqlite, "/srv/registry.sqlite3"),
        "sqlite:///relative.sqlite3": (sqlite, "relative.sqlite3"),
        "postgres://u:p@db:5432/crates": (postgresql, "crates"),
        "postgresql://u:p@db/crates?sslmode=require": (postgresql, "crates"),
        "postgres:///crates": (postgresql, "crates"),
    }
    parsed = {url: parse_database_url(url) for url in expected}
    assert {url: (database["ENGINE"], database["NAME"]) for url, database in parsed.items()} == expected


def test_password_of_the_database_is_decoded() -> None:
    assert parse_database_url("postgres://u:p%40%2Fw@db/crates")["PASSWORD"] == "p@/w"


def test_sqlite_waits_and_survives_power_cuts() -> None:
    options = parse_database_url("sqlite:////srv/registry.sqlite3")["OPTIONS"]
    assert (options["transaction_mode"], options["timeout"]) == ("IMMEDIATE", 20)
    assert options["init_command"] == "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"


def test_postgresql_keeps_options_of_its_url() -> None:
    options = parse_database_url("postgres://u:p@db/crates?sslmode=require")["OPTIONS"]
    assert (options["sslmode"], options["connect_timeout"]) == ("require", 5)


BAD_DATABASES = """
    x registry.sqlite3 /srv/registry.sqlite3 sqlite:// sqlite:/// sqlite://:memory: sqlite:///:memory:
    sqlite:////srv/registry.sqlite3?mode=ro sqlite:////srv/a#b/registry.sqlite3 mysql://db/crates http://db/crates
    postgres:// postgres://db postgres://db/ postgres://db:port/crates postgres://db:99999/crates
    postgres://[::1/crates postgres:crates postgres://db:0/crates
"""


def test_other_urls_are_no_databases() -> None:
    assert accepted(parse_database_url, BAD_DATABASES.split()) == []


def test_blobs_url_is_parsed() -> None:
    assert parse_blobs_url("s3://bucket/a/b/?endpoint=https://s3.example.com")["OPTIONS"] == {
        "bucket_name": "bucket",
        "location": "a/b",
        "endpoint_url": "https://s3.example.com",
        "region_name": "us-east-1",
        "redirect_clients": False,
    }


def test_endpoint_may_have_a_path() -> None:
    options = parse_blobs_url("s3://my.bucket?endpoint=HTTPS://Host:443/storage/v1/s3/")["OPTIONS"]
    assert (options["bucket_name"], options["endpoint_url"]) == ("my.bucket", "https://host/storage/v1/s3")


BAD_BLOBS = """
    x bucket /srv/blobs file:///srv/blobs s3:// s3:///prefix s3:bucket S4://bucket
    s3://bucket?regoin=eu s3://bucket?region s3://bucket?redirect=yes s3://bucket?redirect=2
    s3://bucket?endpoint=nonsense s3://key:secret@bucket s3://key@bucket s3://Bad_Bucket! s3://BUCKET s3://cr
    s3://bucket:9000/p s3://bucket/../p s3://bucket/a/.. s3://bucket/./a s3://bucket//a s3://bucket/a%20b s3://bucket#x
    s3://bucket?endpoint=http:// s3://bucket?endpoint=http://h:99999 s3://bucket?endpoint=h:9000 s3://bucket?endpoint
    s3://bucket?endpoint=http://u:p@h s3://bucket?endpoint=ftp://h s3://bucket?endpoint=http://h/../x
    s3://a..b s3://a-.b s3://a.-b s3://192.168.1.1 s3://bucket?region=- s3://bucket?region=1
    s3://bucket?endpoint=http://a..b s3://bucket?endpoint=http://a-.b
    s3://bucket?region= s3://bucket?region=a&region=b s3://bucket?region=EU s3://bucket?x=1 s3://bucket?redirect=1#x
"""


def test_other_urls_are_no_blobs() -> None:
    assert accepted(parse_blobs_url, BAD_BLOBS.split()) == []
    too_long = [f"s3://bucket?endpoint=http://{'h' * 64}", f"s3://bucket/{'p' * 901}", f"s3://{'b' * 64}"]
    assert accepted(parse_blobs_url, too_long) == []


def test_names_of_one_service_are_one_store() -> None:
    stores = {
        "s3://bucket/p?endpoint=http://127.0.0.1:9000": "s3://bucket/p?endpoint=http://localhost:9000",
        "s3://bucket/p": "s3://bucket/p?endpoint=https://s3.amazonaws.com",
        "s3://bucket/path?endpoint=https://s3": "s3://path?endpoint=https://s3/bucket",
    }
    apart = [pair for pair in stores.items() if not is_same_store(*map(parse_blobs_url, pair))]
    assert apart == []
    assert not is_same_store(parse_blobs_url("s3://bucket/p"), parse_blobs_url("s3://bucket/p/q"))


BAD_UPSTREAMS = """
    index.crates.io ftp://index.crates.io/ git+https://a/ sparse+a https:// https:///index/ https://user:pass@a/index/
    https://a/index/?x=1 https://a/index/#x https://[::1/ https://a:port/ https://a:99999/ https://a:0/index/
"""


def test_other_urls_are_no_sparse_indexes() -> None:
    assert parse_index_urls("https://a sparse+https://b/index") == ["https://a/", "https://b/index/"]
    assert accepted(parse_index_urls, [f"https://good/ {url}" for url in BAD_UPSTREAMS.split()]) == []


def test_tokens_are_read_by_index(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("https://a/index one\n\nsparse+https://b/ two\n")
    assert parse_index_tokens(str(tmp_path / "tokens")) == {"https://a/index/": "one", "https://b/": "two"}


def test_other_files_hold_no_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    for text in ("https://a/", "https://a/ one two", "a one", "https://a/ täken"):
        path.write_text(text, encoding="utf-8")
        assert accepted(parse_index_tokens, [str(path)]) == []
    assert accepted(parse_index_tokens, [str(tmp_path / "missing")]) == []
