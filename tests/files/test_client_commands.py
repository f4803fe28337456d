"""`manage.py addclient`, `rotatekey`, `disableclient` and `enableclient`, as an operator reads them."""

import base64
import re
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from files import clients, sessions
from files.models import Client, ClientKey, Session
from registry_site.models import AuditEvent
from tests.support.file_clients import KEY, READER_KEY, FileClient

pytestmark = pytest.mark.django_db
ADDED = "Added the client box, which may read and write.\nIts key, which is shown only now:\n"
NO_KEY = "This is no AES key: give 16, 24 or 32 bytes, as they are, in hexadecimal digits or in base64."


def run(*arguments: str, news: str = "") -> str:
    """What a command writes to standard output; `news` goes to standard error."""
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    assert err.getvalue() == news
    return out.getvalue()


def refused(*arguments: str) -> str:
    """The one line that an operator reads."""
    with pytest.raises(CommandError) as refusal:
        run(*arguments)
    return str(refusal.value)


def key_of(name: str) -> bytes:
    return clients.decrypt_key(ClientKey.objects.get(client__name=name).secret)


def history() -> list[tuple[str, str, str]]:
    return list(AuditEvent.objects.order_by("pk").values_list("actor_name", "action", "target"))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "box.key"
    path.write_bytes(READER_KEY)
    return path


def given(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(content)))


# --- addclient ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--generate"]])
def test_made_up_key_is_printed_once_and_works(options: list[str]) -> None:
    found = re.fullmatch(r"([0-9a-f]+)\n", run("addclient", "box", *options, news=ADDED))
    assert found
    assert len(found[1]) == 64
    assert FileClient("box", bytes.fromhex(found[1])).log_in()
    assert history() == [("manage.py", "client.add", "box")]


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_made_up_key_has_as_many_bits_as_told(bits: int) -> None:
    found = re.fullmatch(r"([0-9a-f]+)\n", run("addclient", "box", "--generate", "--bits", str(bits), news=ADDED))
    assert found
    assert (bytes.fromhex(found[1]), ClientKey.objects.get().bits) == (key_of("box"), bits)


@pytest.mark.parametrize(
    ("writing", "how"),
    [
        ("raw", "bytes as they are"),
        ("hex", "hexadecimal digits"),
        ("hex line", "hexadecimal digits"),
        ("base64", "base64"),
        ("base64 line", "base64"),
        ("url-safe", "base64"),
    ],
)
@pytest.mark.parametrize("place", ["file", "-"])
def test_key_is_read_and_not_printed(
    key_file: Path, monkeypatch: pytest.MonkeyPatch, place: str, writing: str, how: str
) -> None:
    key = bytes(range(224, 248))
    content = {
        "raw": key,
        "hex": key.hex().encode(),
        "hex line": key.hex().upper().encode() + b"\n",
        "base64": base64.b64encode(key),
        "base64 line": base64.b64encode(key) + b"\r\n",
        "url-safe": base64.urlsafe_b64encode(key).rstrip(b"="),
    }[writing]
    key_file.write_bytes(content)
    given(monkeypatch, content)
    assert run("addclient", "box", "--key-file", str(key_file) if place == "file" else "-") == (
        f"Added the client box, which may read and write.\nKey of 192 bits, read as {how}.\n"
    )
    assert key_of("box") == key


def test_client_that_only_reads_is_told_so(key_file: Path) -> None:
    told = run("addclient", "box", "--read-only", "--key-file", str(key_file))
    assert told == "Added the client box, which may read only.\nKey of 256 bits, read as bytes as they are.\n"
    assert Client.objects.get().rights == "READ"


def test_client_has_its_directories(file_root: Path) -> None:
    run("addclient", "box", "--root", str(file_root), "--root", f"{file_root}/weather", news=ADDED)
    assert Client.objects.get().roots == f"{file_root}\n{file_root}/weather"


def test_slash_at_the_end_of_a_directory_makes_no_difference(file_root: Path) -> None:
    """A shell completes names of directories so."""
    run("addclient", "box", "--root", f"{file_root}/", "--root", f"{file_root}/weather/", news=ADDED)
    assert Client.objects.get().roots == f"{file_root}\n{file_root}/weather"


def test_client_is_described() -> None:
    about = ["--description", "On the roof", "--maintainer", "Alice", "--email", "alice@example.com"]
    run("addclient", "box", *about, news=ADDED)
    client = Client.objects.get()
    assert (client.description, client.maintainer, client.email) == ("On the roof", "Alice", "alice@example.com")


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xfe" * 33, b"0" * 66, b"\xfe" * 5000])
@pytest.mark.parametrize("place", ["file", "-"])
def test_what_is_no_key_is_refused(key_file: Path, monkeypatch: pytest.MonkeyPatch, place: str, content: bytes) -> None:
    key_file.write_bytes(content)
    given(monkeypatch, content)
    assert refused("addclient", "box", "--key-file", str(key_file) if place == "file" else "-") == NO_KEY


def test_missing_key_file_is_refused(tmp_path: Path) -> None:
    place = tmp_path / "none"
    told = f"The key cannot be read from {place}: No such file or directory."
    assert refused("addclient", "box", "--key-file", str(place)) == told


def test_directory_is_no_key_file(tmp_path: Path) -> None:
    told = f"The key cannot be read from {tmp_path}: Is a directory."
    assert refused("addclient", "box", "--key-file", str(tmp_path)) == told


def test_taken_name_is_refused(box: Client) -> None:
    assert refused("addclient", "box") == "There is a client box already."
    assert (key_of("box"), Client.objects.count()) == (KEY, 1)


@pytest.mark.parametrize("name", ["a b", "a/b", "", ".box", "é"])
def test_bad_name_is_refused(name: str) -> None:
    assert refused("addclient", name) == (
        f"{name!r} cannot be the name of a client: give up to 100 letters, digits and . _ @ -, "
        "the first of them a letter or a digit."
    )


def test_directory_outside_is_refused(file_root: Path) -> None:
    assert refused("addclient", "box", "--root", "/etc") == (
        f"'/etc' is not beneath REGISTRY_FILE_ROOTS ({file_root})."
    )


def test_directory_is_refused_where_there_are_none(settings: Any) -> None:
    settings.FILE_ROOTS = []
    assert refused("addclient", "box", "--root", "/srv") == "'/srv' is not beneath REGISTRY_FILE_ROOTS (none)."


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "the following arguments are required: name"),
        (["box", "--bits", "100"], "argument --bits: invalid choice: 100"),
        (["box", "--bits", "x"], "argument --bits: invalid int value: 'x'"),
        (["box", "--generate", "--key-file", "-"], "argument --key-file: not allowed with argument --generate"),
        (["box", "--key-file"], "argument --key-file: expected one argument"),
        (["box", "--root"], "argument --root: expected one argument"),
        (["box", "other"], "unrecognized arguments: other"),
    ],
)
def test_wrong_arguments_are_told(arguments: list[str], reason: str) -> None:
    assert reason in refused("addclient", *arguments)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--description", "x" * 1001),
        ("--maintainer", "x" * 201),
        ("--email", "nonsense"),
        ("--email", f"a@{'b' * 255}.c"),
    ],
)
def test_what_a_form_would_refuse_is_refused(option: str, value: str) -> None:
    assert "\n" not in refused("addclient", "box", option, value)
    assert not Client.objects.exists()


@pytest.mark.parametrize("arguments", [["a b"], ["box", "--root", "/etc"], ["box", "--key-file", "/none"]])
def test_refused_client_leaves_nothing_behind(arguments: list[str]) -> None:
    refused("addclient", *arguments)
    assert not any(model.objects.exists() for model in (Client, ClientKey, AuditEvent))


# --- rotatekey ---------------------------------------------------------------------------------------------------


def test_new_key_is_printed_once_and_works(as_box: FileClient) -> None:
    news = "The client box has a new key.\nIts key, which is shown only now:\n"
    found = re.fullmatch(r"([0-9a-f]{64})\n", run("rotatekey", "box", news=news))
    assert found
    assert not Session.objects.live().exists()
    assert FileClient("box", bytes.fromhex(found[1])).log_in()
    assert history()[1:] == [("manage.py", "client.rotate", "box")]


def test_new_key_is_read_from_a_file(box: Client, key_file: Path) -> None:
    told = "The client box has a new key.\nKey of 256 bits, read as bytes as they are.\n"
    assert run("rotatekey", "box", "--key-file", str(key_file)) == told
    assert key_of("box") == READER_KEY


def test_new_key_is_read_from_standard_input(box: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    given(monkeypatch, READER_KEY.hex().encode())
    told = "The client box has a new key.\nKey of 256 bits, read as hexadecimal digits.\n"
    assert run("rotatekey", "box", "--key-file", "-") == told
    assert key_of("box") == READER_KEY


def test_new_key_that_is_none_changes_nothing(as_box: FileClient, key_file: Path) -> None:
    key_file.write_bytes(b"short")
    assert refused("rotatekey", "box", "--key-file", str(key_file)) == NO_KEY
    assert (key_of("box"), history()[1:]) == (KEY, [])
    assert sessions.authenticate(as_box.token).is_live


# --- disableclient and enableclient ------------------------------------------------------------------------------


def test_client_is_disabled(as_box: FileClient) -> None:
    assert run("disableclient", "box") == "The client box is disabled.\n"
    assert as_box.send("GET", "/").status_code == 401
    assert history()[1:] == [("manage.py", "client.disable", "box")]


def test_client_that_was_disabled_before_is_told_so(box: Client) -> None:
    run("disableclient", "box")
    assert run("disableclient", "box") == "Before already, the client box is disabled.\n"
    assert len(history()) == 2


def test_client_is_enabled_with_the_key_that_it_had(machine: FileClient) -> None:
    run("disableclient", "box")
    assert run("enableclient", "box") == "The client box is enabled.\n"
    assert machine.log_in()
    assert history()[2:] == [("manage.py", "client.enable", "box")]


def test_client_that_was_enabled_before_is_told_so(box: Client) -> None:
    assert run("enableclient", "box") == "Before already, the client box is enabled.\n"
    assert len(history()) == 1


@pytest.mark.parametrize("command", ["rotatekey", "disableclient", "enableclient"])
@pytest.mark.parametrize("name", ["stranger", "BOX", ""])
def test_unknown_client_is_refused(box: Client, command: str, name: str) -> None:
    assert refused(command, name) == f"There is no client {name!r}."
    assert len(history()) == 1


@pytest.mark.parametrize("command", ["rotatekey", "disableclient", "enableclient"])
def test_client_has_to_be_named(command: str) -> None:
    assert "the following arguments are required: name" in refused(command)
