"""Clients and their keys: the verbs, what they leave behind, and where keys are not."""

import base64
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from files import clients, sessions
from files.models import Client, ClientKey, Rights, Session
from registry_site.errors import Conflict, Invalid, NotFound, Unavailable
from registry_site.models import AuditEvent
from tests.support.file_clients import KEY, READER_KEY, FileClient

Verb = Callable[[Client], object]
VERBS: dict[str, Verb] = {
    "rotate": lambda client: clients.rotate_key(client, READER_KEY, actor="test"),
    "disable": lambda client: clients.set_active(client, active=False, actor="test"),
    "enable": lambda client: clients.set_active(client, active=True, actor="test"),
    "end_sessions": lambda client: clients.end_sessions(client, actor="test"),
}


def last() -> tuple[str, str, str, dict[str, Any]]:
    """Return the newest audit event."""
    event = AuditEvent.objects.order_by("pk").last()
    assert event is not None
    return event.actor_name, event.action, event.target, event.detail


def dumped() -> str:
    out = StringIO()
    call_command("dumpdata", stdout=out)
    return out.getvalue()


# --- add ---------------------------------------------------------------------------------------------------------


def test_client_reads_and_writes_unless_told_otherwise(box: Client) -> None:
    assert (box.name, box.rights, box.roots, box.is_active) == ("box", Rights.WRITE, "", True)
    assert last() == ("test", "client.add", "box", {})


def test_client_has_what_it_was_given(file_root: Path, db: None) -> None:
    client = clients.add_client(
        "box",
        KEY,
        actor="test",
        rights=Rights.READ,
        roots=[str(file_root), f"{file_root}/weather"],
        description="On the roof",
        maintainer="Alice",
        email="alice@example.com",
    )
    client.refresh_from_db()
    assert (client.rights, client.roots) == ("READ", f"{file_root}\n{file_root}/weather")
    assert (client.description, client.maintainer, client.email) == ("On the roof", "Alice", "alice@example.com")


@pytest.mark.parametrize("name", ["a", "0", "box-7", "box_7", "box.example.com", "box@home", "A" * 100])
def test_good_names_are_taken(db: None, name: str) -> None:
    assert clients.get_client(clients.add_client(name, KEY, actor="test").name).name == name


@pytest.mark.parametrize(
    "name", ["", " ", "-box", ".box", "_box", "@box", "a b", "box\n", "bóx", "a/b", "a:b", "\0", "٣", "a" * 101]
)
def test_bad_names_are_refused(db: None, name: str) -> None:
    with pytest.raises(Invalid, match="cannot be the name of a client: give up to 100 letters, digits and"):
        clients.add_client(name, KEY, actor="test")
    assert not Client.objects.exists()


def test_name_is_taken_once(box: Client) -> None:
    with pytest.raises(Conflict, match=r"^There is a client box already\.$"):
        clients.add_client("box", READER_KEY, actor="test")
    assert (Client.objects.count(), AuditEvent.objects.count()) == (1, 1)
    assert clients.decrypt_key(ClientKey.objects.get().secret) == KEY


@pytest.mark.parametrize("size", [0, 15, 17, 33])
def test_client_with_a_bad_key_is_not_added(db: None, size: int) -> None:
    with pytest.raises(Invalid, match="This is no AES key"):
        clients.add_client("box", bytes(size), actor="test")
    assert not Client.objects.exists()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    "outside", ["/etc", "/", "relative", "", "{root}2", "{root}/..", "{root}/../etc", "{root}/a/./b"]
)
def test_client_of_a_directory_outside_is_not_added(file_root: Path, db: None, outside: str) -> None:
    with pytest.raises(Invalid, match="is not beneath REGISTRY_FILE_ROOTS"):
        clients.add_client("box", KEY, actor="test", roots=[str(file_root), outside.format(root=file_root)])
    assert not Client.objects.exists()


def test_unknown_client_is_missing(box: Client) -> None:
    with pytest.raises(NotFound, match=r"^There is no client 'BOX'\.$"):
        clients.get_client("BOX")


# --- Keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 24, 32])
def test_new_keys_are_random(size: int) -> None:
    keys = {clients.generate_key(size) for _ in range(100)}
    assert (len(keys), {len(key) for key in keys}) == (100, {size})


def test_key_is_read_back(box: Client) -> None:
    key = ClientKey.objects.get()
    assert (clients.decrypt_key(key.secret), key.cipher, key.bits) == (KEY, "AES_CBC", 128)


@pytest.mark.parametrize("rotated", [False, True])
def test_key_is_nowhere_in_the_database(db: None, rotated: bool) -> None:
    key = clients.generate_key()
    client = clients.add_client("box", READER_KEY if rotated else key, actor="test")
    if rotated:
        clients.rotate_key(client, key, actor="test")
    FileClient("box", key).log_in()
    secret = ClientKey.objects.get().secret
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM files_clientkey")
        stored = repr(cursor.fetchall()) + dumped() + repr(base64.urlsafe_b64decode(secret))
    assert secret in stored
    for form in (key.hex(), key.hex().upper(), repr(key)[2:-1], str(key), base64.b64encode(key).decode()[:40]):
        assert form not in stored
    assert base64.urlsafe_b64encode(key).decode()[:40] not in stored


def test_key_is_unreadable_without_the_key_of_the_registry(machine: FileClient, settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 10, []
    with pytest.raises(Unavailable, match="encrypted under a key that REGISTRY_SECRET_KEY_FILE lacks"):
        clients.decrypt_key(ClientKey.objects.get().secret)


def test_key_survives_a_new_key_of_the_registry(machine: FileClient, settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
    assert machine.log_in()


# --- rotate, disable, enable, end_sessions -----------------------------------------------------------------------


def test_rotated_key_replaces_the_former(as_box: FileClient, box: Client) -> None:
    clients.rotate_key(box, READER_KEY, actor="test")
    key = ClientKey.objects.get()
    assert (clients.decrypt_key(key.secret), key.bits) == (READER_KEY, 256)
    assert last() == ("test", "client.rotate", "box", {"sessions_ended": 1})


def test_key_that_is_no_key_replaces_nothing(as_box: FileClient, box: Client) -> None:
    with pytest.raises(Invalid, match="This is no AES key"):
        clients.rotate_key(box, b"short", actor="test")
    assert clients.decrypt_key(ClientKey.objects.get().secret) == KEY
    assert sessions.authenticate(as_box.token).is_live
    assert last()[1] == "client.add"


def test_client_is_disabled_once(as_box: FileClient, box: Client) -> None:
    done = [clients.set_active(box, active=False, actor="test") for _ in range(2)]
    assert (done, Client.objects.get().is_active) == ([True, False], False)
    assert AuditEvent.objects.filter(action="client.disable").count() == 1


def test_sessions_of_a_disabled_client_end_then_and_not_later(as_box: FileClient, box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    assert last() == ("test", "client.disable", "box", {"sessions_ended": 1})
    assert Session.objects.get().ended_at is not None
    clients.set_active(box, active=True, actor="test")
    assert last() == ("test", "client.enable", "box", {"sessions_ended": 0})


def test_client_is_enabled_once(box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    done = [clients.set_active(box, active=True, actor="test") for _ in range(2)]
    assert (done, Client.objects.get().is_active) == ([True, False], True)
    assert AuditEvent.objects.filter(action="client.enable").count() == 1


def test_sessions_are_ended_once(as_box: FileClient, box: Client) -> None:
    as_box.log_in()
    assert [clients.end_sessions(box, actor="test") for _ in range(2)] == [2, 0]
    assert last() == ("test", "client.sessions", "box", {"sessions_ended": 2})
    assert AuditEvent.objects.filter(action="client.sessions").count() == 1


@pytest.mark.parametrize("verb", ["rotate", "disable", "end_sessions"])
def test_sessions_of_others_stay(as_box: FileClient, as_reader: FileClient, box: Client, verb: str) -> None:
    VERBS[verb](box)
    assert [session.client.name for session in Session.objects.live()] == ["reader"]


def test_object_that_is_out_of_date_decides_nothing(box: Client) -> None:
    clients.set_active(Client.objects.get(), active=False, actor="test")
    assert box.is_active
    assert not clients.set_active(box, active=False, actor="test")


# --- change ------------------------------------------------------------------------------------------------------


def test_change_stores_what_is_named(box: Client) -> None:
    box.rights, box.description = Rights.READ, "not to be stored"
    clients.update_client(box, ["rights"], actor="test")
    box.refresh_from_db()
    assert (box.rights, box.description) == (Rights.READ, "")
    assert last() == ("test", "client.change", "box", {"fields": ["rights"]})


def test_rights_that_are_taken_bite_on_the_next_request(as_box: FileClient, box: Client) -> None:
    box.rights = Rights.READ
    clients.update_client(box, ["rights"], actor="test")
    response = as_box.send("POST", "/", {"serve_path": "a.txt", "path": "/a.txt"})
    told = "The client box may only read."
    assert (response.status_code, response.json()) == (403, {"success": False, "error": told, "message": told})


def test_change_to_a_directory_outside_is_refused(box: Client, file_root: Path) -> None:
    box.roots = "/etc"
    with pytest.raises(Invalid, match=rf"^'/etc' is not beneath REGISTRY_FILE_ROOTS \({file_root}\)\.$"):
        clients.update_client(box, ["roots"], actor="test")
    box.refresh_from_db()
    assert box.roots == ""
