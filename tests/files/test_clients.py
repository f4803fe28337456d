"""Clients and their keys: the verbs, their audit events, and the encryption of keys."""

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
from tests.support.file_clients import KEY, READER_KEY, FileClient, failure

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


def dump_database() -> str:
    out = StringIO()
    call_command("dumpdata", stdout=out)
    return out.getvalue()


# --- add_client --------------------------------------------------------------------------------------------------


def test_new_client_may_read_and_write(box: Client) -> None:
    assert (box.name, box.rights, box.roots, box.is_active) == ("box", Rights.WRITE, "", True)
    assert last() == ("test", "client.add", "box", {})


def test_details_of_a_client_are_stored(file_root: Path, db: None) -> None:
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


def test_plain_names_are_accepted(db: None) -> None:
    for name in ("a", "0", "box-7", "box_7", "box.example.com", "box@home", "A" * 100):
        assert clients.get_client(clients.add_client(name, KEY, actor="test").name).name == name


def test_malformed_names_are_refused(db: None) -> None:
    names = ["", " ", "-box", ".box", "_box", "@box", "a b", "box\n", "bóx", "a/b", "a:b", "\0", "٣", "a" * 101]
    for name in names:
        with pytest.raises(Invalid, match="cannot be the name of a client: give up to 100 letters, digits and"):
            clients.add_client(name, KEY, actor="test")
    assert not Client.objects.exists()


def test_taken_name_is_refused(box: Client) -> None:
    with pytest.raises(Conflict, match=r"^There is a client box already\.$"):
        clients.add_client("box", READER_KEY, actor="test")
    assert (Client.objects.count(), AuditEvent.objects.count()) == (1, 1)
    assert clients.decrypt_key(ClientKey.objects.get().secret) == KEY


def test_client_with_a_malformed_key_is_not_added(db: None) -> None:
    for size in (0, 15, 17, 33):
        with pytest.raises(Invalid, match="This is no AES key"):
            clients.add_client("box", bytes(size), actor="test")
    assert not Client.objects.exists()
    assert not AuditEvent.objects.exists()


def test_directory_outside_of_roots_is_refused(file_root: Path, db: None) -> None:
    outside = ["/etc", "/", "relative", "", f"{file_root}2", f"{file_root}/..", f"{file_root}/../etc"]
    for directory in (*outside, f"{file_root}/a/./b"):
        with pytest.raises(Invalid, match="is not beneath REGISTRY_FILE_ROOTS"):
            clients.add_client("box", KEY, actor="test", roots=[str(file_root), directory])
    assert not Client.objects.exists()


def test_unknown_client_is_missing(box: Client) -> None:
    with pytest.raises(NotFound, match=r"^There is no client 'BOX'\.$"):
        clients.get_client("BOX")


# --- Keys --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 24, 32])
def test_new_keys_are_random(size: int) -> None:
    keys = {clients.generate_key(size) for _ in range(100)}
    assert (len(keys), {len(key) for key in keys}) == (100, {size})


def test_stored_key_is_decrypted(box: Client) -> None:
    key = ClientKey.objects.get()
    assert (clients.decrypt_key(key.secret), key.cipher, key.bits) == (KEY, "AES_CBC", 128)


@pytest.mark.parametrize("rotated", [False, True])
def test_key_is_stored_only_encrypted(db: None, rotated: bool) -> None:
    key = clients.generate_key()
    client = clients.add_client("box", READER_KEY if rotated else key, actor="test")
    if rotated:
        clients.rotate_key(client, key, actor="test")
    FileClient("box", key).log_in()
    secret = ClientKey.objects.get().secret
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM files_clientkey")
        stored = repr(cursor.fetchall()) + dump_database() + repr(base64.urlsafe_b64decode(secret))
    assert secret in stored
    for encoding in (key.hex(), key.hex().upper(), repr(key)[2:-1], str(key), base64.b64encode(key).decode()[:40]):
        assert encoding not in stored
    assert base64.urlsafe_b64encode(key).decode()[:40] not in stored


def test_stored_key_needs_the_registrys_key(machine: FileClient, settings: Any) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another" * 10, []
    with pytest.raises(Unavailable, match="encrypted under a key that REGISTRY_SECRET_KEY_FILE lacks"):
        clients.decrypt_key(ClientKey.objects.get().secret)


def test_stored_key_survives_a_new_registry_key(machine: FileClient, settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
    assert machine.log_in()


# --- rotate, disable, enable, end_sessions -----------------------------------------------------------------------


def test_rotated_key_replaces_the_old(as_box: FileClient, box: Client) -> None:
    clients.rotate_key(box, READER_KEY, actor="test")
    key = ClientKey.objects.get()
    assert (clients.decrypt_key(key.secret), key.bits) == (READER_KEY, 256)
    assert last() == ("test", "client.rotate", "box", {"sessions_ended": 1})


def test_malformed_key_replaces_nothing(as_box: FileClient, box: Client) -> None:
    with pytest.raises(Invalid, match="This is no AES key"):
        clients.rotate_key(box, b"short", actor="test")
    assert clients.decrypt_key(ClientKey.objects.get().secret) == KEY
    assert sessions.authenticate(as_box.token).is_live
    assert last()[1] == "client.add"


def test_client_is_disabled_once(as_box: FileClient, box: Client) -> None:
    results = [clients.set_active(box, active=False, actor="test") for _ in range(2)]
    assert (results, Client.objects.get().is_active) == ([True, False], False)
    assert AuditEvent.objects.filter(action="client.disable").count() == 1


def test_disabling_ends_sessions_at_once(as_box: FileClient, box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    assert last() == ("test", "client.disable", "box", {"sessions_ended": 1})
    assert Session.objects.get().ended_at is not None
    clients.set_active(box, active=True, actor="test")
    assert last() == ("test", "client.enable", "box", {"sessions_ended": 0})


def test_client_is_enabled_once(box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    results = [clients.set_active(box, active=True, actor="test") for _ in range(2)]
    assert (results, Client.objects.get().is_active) == ([True, False], True)
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


def test_row_decides_and_not_the_object(box: Client) -> None:
    clients.set_active(Client.objects.get(), active=False, actor="test")
    assert box.is_active
    assert not clients.set_active(box, active=False, actor="test")


# --- update_client -----------------------------------------------------------------------------------------------


def test_update_stores_only_named_fields(box: Client) -> None:
    box.rights, box.description = Rights.READ, "not to be stored"
    clients.update_client(box, ["rights"], actor="test")
    box.refresh_from_db()
    assert (box.rights, box.description) == (Rights.READ, "")
    assert last() == ("test", "client.change", "box", {"fields": ["rights"]})


def test_changed_rights_count_at_once(as_box: FileClient, box: Client) -> None:
    box.rights = Rights.READ
    clients.update_client(box, ["rights"], actor="test")
    response = as_box.send("POST", "/", {"serve_path": "a.txt", "path": "/a.txt"})
    assert (response.status_code, response.json()) == (403, failure("The client box may only read."))


def test_change_to_an_outside_directory_is_refused(box: Client, file_root: Path) -> None:
    box.roots = "/etc"
    with pytest.raises(Invalid, match=rf"^'/etc' is not beneath REGISTRY_FILE_ROOTS \({file_root}\)\.$"):
        clients.update_client(box, ["roots"], actor="test")
    box.refresh_from_db()
    assert box.roots == ""
