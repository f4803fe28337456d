"""`manage.py addclient`, `rotatekey`, `disableclient` and `enableclient`: their output and their errors."""

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
ROTATED = "The client box has a new key.\nIts key, which is shown only now:\n"
NO_KEY = "This is no AES key: give 16, 24 or 32 bytes, as they are, in hexadecimal digits or in base64."


def run(*arguments: str, stderr: str = "") -> str:
    """Run a command, compare its standard error, and return its standard output."""
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err)
    assert err.getvalue() == stderr
    return out.getvalue()


def error_of(*arguments: str) -> str:
    """Return the error of a refused command."""
    with pytest.raises(CommandError) as refusal:
        run(*arguments)
    return str(refusal.value)


def key_of(name: str) -> bytes:
    return clients.decrypt_key(ClientKey.objects.get(client__name=name).secret)


def audit_events() -> list[tuple[str, str, str]]:
    return list(AuditEvent.objects.order_by("pk").values_list("actor_name", "action", "target"))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "box.key"
    path.write_bytes(READER_KEY)
    return path


def set_stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(content)))


# --- addclient ---------------------------------------------------------------------------------------------------


def printed_key(output: str) -> bytes:
    """Return the key that stands alone on standard output."""
    match = re.fullmatch(r"([0-9a-f]+)\n", output)
    assert match
    return bytes.fromhex(match[1])


@pytest.mark.parametrize("options", [[], ["--generate"]])
def test_generated_key_opens_a_session(options: list[str]) -> None:
    key = printed_key(run("addclient", "box", *options, stderr=ADDED))
    assert len(key) == 32
    assert FileClient("box", key).log_in()
    assert audit_events() == [("manage.py", "client.add", "box")]


@pytest.mark.parametrize("bits", [128, 192, 256])
def test_generated_key_has_the_requested_bits(bits: int) -> None:
    key = printed_key(run("addclient", "box", "--generate", "--bits", str(bits), stderr=ADDED))
    assert (key, len(key) * 8, ClientKey.objects.get().bits) == (key_of("box"), bits, bits)


@pytest.mark.parametrize("source", ["file", "-"])
def test_key_is_read_and_not_printed(key_file: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    key = bytes(range(224, 248))
    encodings = {
        key: "bytes as they are",
        key.hex().encode(): "hexadecimal digits",
        key.hex().upper().encode() + b"\n": "hexadecimal digits",
        base64.b64encode(key): "base64",
        base64.b64encode(key) + b"\r\n": "base64",
        base64.urlsafe_b64encode(key).rstrip(b"="): "base64",
    }
    for number, (content, encoding) in enumerate(encodings.items()):
        key_file.write_bytes(content)
        set_stdin(monkeypatch, content)
        output = run("addclient", f"box{number}", "--key-file", str(key_file) if source == "file" else "-")
        lines = f"Added the client box{number}, which may read and write.", f"Key of 192 bits, read as {encoding}."
        assert output.splitlines() == list(lines)
        assert key_of(f"box{number}") == key


def test_read_only_client_is_added(key_file: Path) -> None:
    output = run("addclient", "box", "--read-only", "--key-file", str(key_file))
    assert output == "Added the client box, which may read only.\nKey of 256 bits, read as bytes as they are.\n"
    assert Client.objects.get().rights == "READ"


def test_directories_are_stored_without_slashes(file_root: Path) -> None:
    """A shell completes names of directories with a slash."""
    run("addclient", "box", "--root", str(file_root), "--root", f"{file_root}/weather/", stderr=ADDED)
    assert Client.objects.get().roots == f"{file_root}\n{file_root}/weather"


def test_details_of_a_client_are_stored() -> None:
    details = ["--description", "On the roof", "--maintainer", "Alice", "--email", "alice@example.com"]
    run("addclient", "box", *details, stderr=ADDED)
    client = Client.objects.get()
    assert (client.description, client.maintainer, client.email) == ("On the roof", "Alice", "alice@example.com")


@pytest.mark.parametrize("source", ["file", "-"])
def test_malformed_key_is_refused(key_file: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    for content in (b"", b"\n", b"short", b"\xfe" * 33, b"0" * 66, b"\xfe" * 5000):
        key_file.write_bytes(content)
        set_stdin(monkeypatch, content)
        assert error_of("addclient", "box", "--key-file", str(key_file) if source == "file" else "-") == NO_KEY


def test_unreadable_key_file_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none", "No such file or directory"), (tmp_path, "Is a directory")):
        message = f"The key cannot be read from {path}: {reason}."
        assert error_of("addclient", "box", "--key-file", str(path)) == message


def test_taken_name_is_refused(box: Client) -> None:
    assert error_of("addclient", "box") == "There is a client box already."
    assert (key_of("box"), Client.objects.count()) == (KEY, 1)


def test_malformed_name_is_refused() -> None:
    for name in ("a b", "a/b", "", ".box", "é"):
        assert error_of("addclient", name) == (
            f"{name!r} cannot be the name of a client: give up to 100 letters, digits and . _ @ -, "
            "the first of them a letter or a digit."
        )


def test_directory_outside_is_refused(file_root: Path) -> None:
    assert error_of("addclient", "box", "--root", "/etc") == (
        f"'/etc' is not beneath REGISTRY_FILE_ROOTS ({file_root})."
    )


def test_directory_needs_configured_roots(settings: Any) -> None:
    settings.FILE_ROOTS = []
    assert error_of("addclient", "box", "--root", "/srv") == "'/srv' is not beneath REGISTRY_FILE_ROOTS (none)."


def test_wrong_arguments_are_refused() -> None:
    reasons: dict[tuple[str, ...], str] = {
        (): "the following arguments are required: name",
        ("box", "--bits", "100"): "argument --bits: invalid choice: 100",
        ("box", "--bits", "x"): "argument --bits: invalid int value: 'x'",
        ("box", "--generate", "--key-file", "-"): "argument --key-file: not allowed with argument --generate",
        ("box", "--key-file"): "argument --key-file: expected one argument",
        ("box", "--root"): "argument --root: expected one argument",
        ("box", "other"): "unrecognized arguments: other",
    }
    for arguments, reason in reasons.items():
        assert reason in error_of("addclient", *arguments)


def test_key_file_has_its_own_size(key_file: Path) -> None:
    message = "--bits is for a key that is made up, and --key-file names one that is there."
    assert error_of("addclient", "box", "--key-file", str(key_file), "--bits", "256") == message


def test_malformed_details_are_refused() -> None:
    options = [("--description", "x" * 1001), ("--maintainer", "x" * 201), ("--email", "nonsense")]
    for option, value in (*options, ("--email", f"a@{'b' * 255}.c")):
        assert "\n" not in error_of("addclient", "box", option, value)
    assert not Client.objects.exists()


def test_refused_client_leaves_no_rows() -> None:
    for arguments in (["a b"], ["box", "--root", "/etc"], ["box", "--key-file", "/none"]):
        error_of("addclient", *arguments)
    assert not any(model.objects.exists() for model in (Client, ClientKey, AuditEvent))


# --- rotatekey ---------------------------------------------------------------------------------------------------


def test_rotated_key_opens_a_session(as_box: FileClient) -> None:
    key = printed_key(run("rotatekey", "box", stderr=ROTATED))
    assert not Session.objects.live().exists()
    assert FileClient("box", key).log_in()
    assert audit_events()[1:] == [("manage.py", "client.rotate", "box")]


def test_new_key_is_read_from_a_file(box: Client, key_file: Path) -> None:
    message = "The client box has a new key.\nKey of 256 bits, read as bytes as they are.\n"
    assert run("rotatekey", "box", "--key-file", str(key_file)) == message
    assert key_of("box") == READER_KEY


def test_new_key_is_read_from_standard_input(box: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    set_stdin(monkeypatch, READER_KEY.hex().encode())
    message = "The client box has a new key.\nKey of 256 bits, read as hexadecimal digits.\n"
    assert run("rotatekey", "box", "--key-file", "-") == message
    assert key_of("box") == READER_KEY


def test_malformed_new_key_changes_nothing(as_box: FileClient, key_file: Path) -> None:
    key_file.write_bytes(b"short")
    assert error_of("rotatekey", "box", "--key-file", str(key_file)) == NO_KEY
    assert (key_of("box"), audit_events()[1:]) == (KEY, [])
    assert sessions.authenticate(as_box.token).is_live


# --- disableclient and enableclient ------------------------------------------------------------------------------


def test_client_is_disabled(as_box: FileClient) -> None:
    assert run("disableclient", "box") == "The client box is disabled.\n"
    assert as_box.send("GET", "/").status_code == 401
    assert audit_events()[1:] == [("manage.py", "client.disable", "box")]


def test_disabled_client_stays_disabled(box: Client) -> None:
    run("disableclient", "box")
    assert run("disableclient", "box") == "Before already, the client box is disabled.\n"
    assert len(audit_events()) == 2


def test_client_is_enabled_with_its_old_key(machine: FileClient) -> None:
    run("disableclient", "box")
    assert run("enableclient", "box") == "The client box is enabled.\n"
    assert machine.log_in()
    assert audit_events()[2:] == [("manage.py", "client.enable", "box")]


def test_enabled_client_stays_enabled(box: Client) -> None:
    assert run("enableclient", "box") == "Before already, the client box is enabled.\n"
    assert len(audit_events()) == 1


def test_unknown_client_is_refused(box: Client) -> None:
    for command in ("rotatekey", "disableclient", "enableclient"):
        for name in ("stranger", "BOX", ""):
            assert error_of(command, name) == f"There is no client {name!r}."
        assert "the following arguments are required: name" in error_of(command)
    assert len(audit_events()) == 1
