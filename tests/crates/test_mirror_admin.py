"""The mirror in the admin site: what is kept is looked at, and only its actions change it."""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import registration
from accounts.models import User
from crates.mirror import entries, incidents
from crates.mirror.models import STORE, Archive, Entry, Incident
from crates.mirror.upstreams import Fault
from registry_site import blobs
from tests.conftest import PASSWORD
from tests.crates import packing

UPSTREAM = "https://index.example.com/"
OLD, NEW = "0" * 64, "1" * 64


@pytest.fixture(autouse=True)
def mirror(tmp_path: Path, settings: Any) -> Path:
    """Where the bytes of the mirror are."""
    disk = {"BACKEND": "registry_site.blobs.DiskBlobs", "OPTIONS": {"location": tmp_path / "mirror"}}
    settings.STORAGES = {**settings.STORAGES, STORE: disk}
    return tmp_path / "mirror"


@pytest.fixture
def as_root(root: User) -> Client:
    return signed_in(root)


@pytest.fixture
def onlooker(db: None) -> User:
    """Of the staff, with the right to look at the mirror and no other."""
    user = registration.register("onlooker", PASSWORD)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="mirror", codename__startswith="view"))
    User.objects.filter(pk=user.pk).update(is_staff=True)
    return user


def signed_in(user: User) -> Client:
    client = Client()
    assert client.login(username=user.username, password=PASSWORD)
    return client


def line(checksum: str) -> bytes:
    return f'{{"name":"demo","vers":"1.0.0","cksum":"{checksum}"}}\n'.encode()


def entry(name: str = "demo") -> Entry:
    return entries.store(f"{name[:2]}/{name[2:4]}/{name}", UPSTREAM, line(OLD), {"etag": '"old"'})


def archive(name: str = "demo") -> Archive:
    blob = blobs.put(BytesIO(packing.crate(name)), store=STORE)
    return Archive.objects.create(name=name, version="1.0.0", sha256=blob.sha256, size=blob.size)


def incident(name: str = "demo") -> Incident:
    incidents.record(Incident.Kind.FAULT, name, "it answers with 500")
    return Incident.objects.get(subject=name)


MAKERS: dict[str, Any] = {"entry": entry, "archive": archive, "incident": incident}


def act(client: Client, action: str, *rows: Any) -> str:
    """What is told after an action on the rows of one list."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(f"/admin/mirror/{rows[0]._meta.model_name}/", data, follow=True).content.decode()


# --- Looking -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MAKERS)
def test_lists_open_and_search(as_root: Client, model: str) -> None:
    MAKERS[model]("demo")
    MAKERS[model]("zebra")
    page = as_root.get(f"/admin/mirror/{model}/?q=demo").content.decode()
    assert "demo" in page
    assert "zebra" not in page


@pytest.mark.parametrize("model", MAKERS)
def test_lists_take_the_same_queries_for_three_rows_and_for_thirty(as_root: Client, model: str) -> None:
    counts = []
    for numbers in (range(3), range(3, 30)):
        for number in numbers:
            MAKERS[model](f"demo{number:02}")
        with CaptureQueriesContext(connection) as queries:
            assert as_root.get(f"/admin/mirror/{model}/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_list_of_entries_does_not_read_their_bodies(as_root: Client) -> None:
    entry()
    with CaptureQueriesContext(connection) as queries:
        as_root.get("/admin/mirror/entry/")
    assert not any('"body",' in query["sql"] for query in queries)  # as a column: their length is asked for


@pytest.mark.parametrize("model", MAKERS)
def test_row_is_shown(as_root: Client, model: str) -> None:
    row = MAKERS[model]()
    response = as_root.get(f"/admin/mirror/{model}/{row.pk}/change/")
    assert response.status_code == 200
    assert "demo" in response.content.decode()


@pytest.mark.parametrize("model", MAKERS)
@pytest.mark.parametrize("place", ["add/", "{}/change/", "{}/delete/"])
def test_rows_are_not_added_changed_or_deleted_by_hand(as_root: Client, model: str, place: str) -> None:
    row = MAKERS[model]()
    response = as_root.post(f"/admin/mirror/{model}/{place.format(row.pk)}", {"name": "x", "post": "yes"})
    assert response.status_code == 403
    row.refresh_from_db()


@pytest.mark.parametrize("model", MAKERS)
def test_user_without_rights_sees_nothing(alice: User, model: str) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    assert signed_in(alice).get(f"/admin/mirror/{model}/").status_code == 403


# --- Deciding ----------------------------------------------------------------------------------------------------


def test_entry_is_asked_for_again(as_root: Client) -> None:
    row, other = entry(), entry("other")
    assert "1 will be asked for again." in act(as_root, "ask_again", row)
    row.refresh_from_db()
    other.refresh_from_db()
    assert row.checked_at == entries.LONG_AGO
    assert other.checked_at > entries.LONG_AGO
    assert (row.etag, row.checksums) == ('"old"', {"1.0.0": OLD})


def test_changed_checksum_is_refused_until_staff_take_it(as_root: Client) -> None:
    row = entry()
    with pytest.raises(Fault):
        entries.store(row.path, UPSTREAM, line(NEW))
    assert "1 will be taken as they are upstream." in act(as_root, "accept_changes", row)
    row.refresh_from_db()
    assert (row.checked_at, row.etag, row.last_modified) == (entries.LONG_AGO, "", "")
    assert entries.store(row.path, UPSTREAM, line(NEW)).checksums == {"1.0.0": NEW}


def test_file_is_deleted_with_its_bytes(as_root: Client, mirror: Path) -> None:
    row, other = archive(), archive("other")
    assert "1 deleted." in act(as_root, "remove", row)
    assert list(Archive.objects.all()) == [other]
    assert [path.name for path in mirror.rglob("*") if path.is_file()] == [other.sha256]


def test_deleted_file_is_not_handed_out(as_root: Client, settings: Any) -> None:
    settings.MIRROR_OFFLINE = True
    row = archive()
    entries.store("de/mo/demo", UPSTREAM, line(row.sha256))
    address = "/ktra/api/v1/mirror/demo/1.0.0/download"
    assert b"".join(Client().get(address)) == packing.crate()
    act(as_root, "remove", row)
    assert Client().get(address).status_code == 404


def test_incident_is_settled_and_the_next_is_a_new_one(as_root: Client) -> None:
    row = incident()
    assert incident().count == 2
    assert "1 settled." in act(as_root, "settle", row)
    row.refresh_from_db()
    assert row.settled_at is not None
    incidents.record(Incident.Kind.FAULT, "demo", "it answers with 500")
    assert sorted((one.count, one.settled_at is None) for one in Incident.objects.all()) == [(1, True), (2, False)]


def test_settled_incident_stays_as_it_was(as_root: Client) -> None:
    row = incident()
    moment = timezone.now()
    Incident.objects.update(settled_at=moment)
    assert "0 settled." in act(as_root, "settle", row)
    row.refresh_from_db()
    assert row.settled_at == moment


ACTIONS = [("entry", "ask_again"), ("entry", "accept_changes"), ("archive", "remove"), ("incident", "settle")]


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_who_may_only_look_decides_nothing(onlooker: User, model: str, action: str) -> None:
    row = MAKERS[model]()
    before = type(row).objects.values().get()
    client = signed_in(onlooker)
    assert client.get(f"/admin/mirror/{model}/").status_code == 200
    act(client, action, row)
    assert type(row).objects.values().get() == before


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_right_to_change_a_model_is_enough_to_decide(onlooker: User, model: str, action: str) -> None:
    onlooker.user_permissions.add(Permission.objects.get(codename=f"change_{model}", content_type__app_label="mirror"))
    row = MAKERS[model]()
    before = type(row).objects.values().get()
    act(signed_in(onlooker), action, row)
    assert list(type(row).objects.values()) != [before]
