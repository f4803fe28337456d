"""The typed readers of variables: understood, or refused with one clear sentence."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from registry_site.environment import Environment

pytestmark = pytest.mark.database_independent


def given(value: str | None) -> Environment:
    return Environment("X_", {} if value is None else {"X_V": value})


# --- Numbers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "number"), [("1", 1), ("007", 7), (" 42 ", 42), ("9" * 15, 10**15 - 1)])
def test_number_is_understood(value: str, number: int) -> None:
    assert given(value).number("V", 5) == number


@pytest.mark.parametrize("value", ["0", "-1", "+1", "1.5", "1e3", "0x10", "1_000", "ten", "٣", "²", "9" * 16, "1 2"])
def test_what_is_no_number_is_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        given(value).number("V", 5)
    assert str(refused.value) == f"X_V={value!r} is not understood: give a whole number, 1 or more."


def test_number_can_begin_at_zero() -> None:
    assert given("0").number("V", 5, minimum=0) == 0


# --- Words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "flag"), [("0", False), ("1", True), (" 1 ", True)])
def test_flag_is_understood(value: str, flag: bool) -> None:
    assert given(value).flag("V", default=not flag) is flag


@pytest.mark.parametrize("value", ["true", "yes", "on", "2", "-1", "no", "01"])
def test_what_is_no_flag_is_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^X_V='{value}' is not understood: give one of 0, 1.$"):
        given(value).flag("V", default=False)


@pytest.mark.parametrize("value", ["Open", "OPEN", "opened", "open,closed", "1"])
def test_what_is_no_choice_is_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^X_V='{value}' is not understood: give one of open, closed.$"):
        given(value).choice("V", "open", ("open", "closed"))


def test_words_are_split_at_blanks() -> None:
    assert given("a  b\tc\nd").words("V", "x") == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("value", "texts"), [("a", ["a"]), ("a b", ["a b"]), ("a, b c ,d", ["a", "b c", "d"]), (",, ,", []), ("a,", ["a"])]
)
def test_texts_are_split_at_commas(value: str, texts: list[str]) -> None:
    assert given(value).texts("V") == texts


# --- Secrets -----------------------------------------------------------------------------------------------------


def secret(**variables: str) -> str:
    return Environment("X_", {f"X_{name}": value for name, value in variables.items()}).secret("V")


def test_secret_is_the_variable_or_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(" s3cret ü \n")
    assert secret() == ""
    assert secret(V=" s3cret ") == "s3cret"
    assert secret(V_FILE=str(tmp_path / "secret")) == "s3cret ü"


def test_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\nmade on Monday\n")
    assert secret(V_FILE=str(tmp_path / "secret")) == "s3cret"


def test_two_secrets_are_refused_and_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hunter22")
    with pytest.raises(ImproperlyConfigured) as refused:
        secret(V="hunter23", V_FILE=str(tmp_path / "secret"))
    assert str(refused.value) == (f"X_V_FILE='{tmp_path}/secret' is not understood: X_V is set, too; give one of them.")


def test_missing_file_of_a_secret_is_refused(tmp_path: Path) -> None:
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


def test_file_is_found_wherever_the_process_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").touch()
    monkeypatch.chdir(tmp_path)
    assert given("key").file("V") == tmp_path / "key"


@pytest.mark.parametrize("value", ["missing", ".", "key/below", "/dev/null"])
def test_what_is_no_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    (tmp_path / "key").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImproperlyConfigured, match="give the path of a file that this user can read"):
        given(value).file("V")


# --- Addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("localhost:65535", ("localhost", 65535)),
        ("my-host.example:80", ("my-host.example", 80)),
        ("[::1]:8000", ("[::1]", 8000)),
        ("[::ffff:10.0.0.1]:80", ("[::ffff:10.0.0.1]", 80)),
    ],
)
def test_address_is_understood(value: str, address: tuple[str, int]) -> None:
    assert given(value).address("V", "localhost:1") == address


BAD_ADDRESSES = """
    8000 :8000 localhost localhost: localhost:0 localhost:65536 localhost:-1 localhost:http localhost:٣ localhost:8000/
    ::1:8000 [1:2]:80 [....]:80 [nonsense]:80 http://localhost:80 unix:/tmp/socket ä:80
"""


@pytest.mark.parametrize("value", [*BAD_ADDRESSES.split(), "a:1 b:2"])
def test_what_is_no_address_is_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        given(value).address("V", "localhost:1")
    assert str(refused.value) == f"X_V={value!r} is not understood: give host:port, such as 127.0.0.1:8000."


# --- Origins -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "origin"),
    [
        ("https://crates.example.com", "https://crates.example.com"),
        ("https://crates.example.com/", "https://crates.example.com"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://xn--exmple-cua.com", "https://xn--exmple-cua.com"),
        ("HTTPS://crates.example.com", "https://crates.example.com"),
        ("https://Crates.Example.COM", "https://crates.example.com"),
        ("https://crates.example.com:443", "https://crates.example.com"),
        ("http://crates.example.com:80", "http://crates.example.com"),
    ],
)
def test_origin_is_as_browsers_write_it(value: str, origin: str) -> None:
    assert given(value).origin("V", "http://localhost") == origin


BAD_ORIGINS = """
    crates.example.com //crates.example.com ftp://crates.example.com https:// https:/// https:x https://h/path
    https://h/?q=1 https://h?q https://h#top https://h/;x https://h? https://h# https://h/?
    https://alice@h https://alice:pw@h https://@h https://:pw@h
    https://h:0 https://h:99999 https://h:http https://h:1:2 https://h: https://[::1
    https://a,b https://a\\b https://* https://*.example.com https://.example.com https://exämple.com https://a_b https://'
"""


@pytest.mark.parametrize("value", [*BAD_ORIGINS.split(), "https://a b", "https://a\nb", "https://a\tb"])
def test_what_is_no_origin_is_refused(value: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        given(value).origin("V", "http://localhost")
    assert str(refused.value).startswith("X_V=")
    assert str(refused.value).endswith(
        " is not understood: give scheme and host only, such as https://crates.example.com."
    )


# --- All of them -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, "", "   ", "\t\n"])
def test_unset_or_empty_variable_means_its_default(value: str | None) -> None:
    variables = given(value)
    assert variables.text("V", "default") == "default"
    assert variables.number("V", 5) == 5
    assert variables.flag("V", default=True) is True
    assert variables.words("V", "a b") == ["a", "b"]
    assert variables.file("V") is None
    assert variables.texts("V") == []
    assert variables.secret("V") == ""
    assert variables.address("V", "localhost:1") == ("localhost", 1)
    assert variables.origin("V", "http://localhost") == "http://localhost"


def test_refusal_is_one_line_whatever_the_value() -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        given("a\nb\x1b[31m").number("V", 5)
    assert str(refused.value).isprintable()


def test_misspelt_variables_are_found() -> None:
    variables = Environment("X_", {"X_WORKERS": "2", "X_WROKERS": "3", "X_": "1", "PATH": "/bin", "Y_WORKERS": "4"})
    variables.number("WORKERS", 1)
    assert variables.unknown_names() == ["X_", "X_WROKERS"]


def test_variable_that_is_not_set_is_known_as_well() -> None:
    variables = Environment("X_", {})
    variables.text("V", "")
    assert variables.names == {"X_V"}
