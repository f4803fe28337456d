"""The mirror in the admin site: what is kept is looked at, and only its actions change it."""

import re
from datetime import UTC, datetime
from html import unescape
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
from crates.mirror import admin, incidents, index_cache, overrides
from crates.mirror.models import STORE, CachedCrate, CachedIndexFile, Incident, Override
from crates.mirror.upstreams import UpstreamFault
from registry_site.models import AuditEvent
from registry_site.storage import blobs
from tests.support import packing
from tests.support.admin import sign_in_to_admin
from tests.support.cast import PASSWORD

UPSTREAM = "https://index.example.com/"
OLD, NEW = "0" * 64, "1" * 64
Kind = Override.Kind


@pytest.fixture(autouse=True)
def mirror(tmp_path: Path, settings: Any) -> Path:
    """Where the bytes of the mirror are."""
    disk = {"BACKEND": "registry_site.storage.disk.DiskBlobs", "OPTIONS": {"location": tmp_path / "mirror"}}
    settings.STORAGES = {**settings.STORAGES, STORE: disk}
    return tmp_path / "mirror"


@pytest.fixture
def onlooker(db: None) -> User:
    """Of the staff, with the right to look at the mirror and no other."""
    user = registration.register("onlooker", PASSWORD)
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="mirror", codename__startswith="view"))
    User.objects.filter(pk=user.pk).update(is_staff=True)
    return user


def line(checksum: str) -> bytes:
    return f'{{"name":"demo","vers":"1.0.0","cksum":"{checksum}"}}\n'.encode()


def entry(name: str = "demo") -> CachedIndexFile:
    return index_cache.store(f"{name[:2]}/{name[2:4]}/{name}", UPSTREAM, line(OLD), {"etag": '"old"'})


def archive(name: str = "demo") -> CachedCrate:
    blob = blobs.put(BytesIO(packing.crate(name)), store=STORE)
    return CachedCrate.objects.create(name=name, version="1.0.0", sha256=blob.sha256, size=blob.size)


def incident(name: str = "demo") -> Incident:
    incidents.record(Incident.Kind.FAULT, name, "it answers with 500")
    return Incident.objects.get(subject=name)


def decision(name: str = "demo", requirement: str = "*") -> Override:
    return overrides.create_override(Kind.EXEMPT, name, requirement, actor=None, reason="It is so.")


MAKERS: dict[str, Any] = {"cachedindexfile": entry, "cachedcrate": archive, "incident": incident}


def act(client: Client, action: str, *rows: Any) -> str:
    """What is told after an action on the rows of one list."""
    data = {"action": action, "_selected_action": [row.pk for row in rows]}
    return client.post(f"/admin/mirror/{rows[0]._meta.model_name}/", data, follow=True).content.decode()


# --- Looking -----------------------------------------------------------------------------------------------------

LISTS = {**MAKERS, "override": decision}


@pytest.mark.parametrize("model", LISTS)
def test_lists_open_and_search(as_root: Client, model: str) -> None:
    LISTS[model]("demo")
    LISTS[model]("zebra")
    page = as_root.get(f"/admin/mirror/{model}/?q=demo").content.decode()
    assert "demo" in page
    assert "zebra" not in page


@pytest.mark.parametrize("model", LISTS)
def test_lists_take_the_same_queries_for_three_rows_and_for_thirty(as_root: Client, model: str) -> None:
    counts = []
    for numbers in (range(3), range(3, 30)):
        for number in numbers:
            LISTS[model](f"demo{number:02}")
        with CaptureQueriesContext(connection) as queries:
            assert as_root.get(f"/admin/mirror/{model}/").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_list_of_entries_does_not_read_their_bodies(as_root: Client) -> None:
    entry()
    with CaptureQueriesContext(connection) as queries:
        as_root.get("/admin/mirror/cachedindexfile/")
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
    assert sign_in_to_admin(alice).get(f"/admin/mirror/{model}/").status_code == 403


# --- Deciding ----------------------------------------------------------------------------------------------------


def test_entry_is_asked_for_again(as_root: Client) -> None:
    row, other = entry(), entry("other")
    assert "1 will be asked for again." in act(as_root, "mark_stale", row)
    row.refresh_from_db()
    other.refresh_from_db()
    assert row.checked_at == index_cache.EPOCH
    assert other.checked_at > index_cache.EPOCH
    assert (row.etag, row.checksums) == ('"old"', {"1.0.0": OLD})


def test_changed_checksum_is_refused_until_staff_take_it(as_root: Client) -> None:
    row = entry()
    with pytest.raises(UpstreamFault):
        index_cache.store(row.path, UPSTREAM, line(NEW))
    assert "1 will be taken as they are upstream." in act(as_root, "accept_changes", row)
    row.refresh_from_db()
    assert (row.checked_at, row.etag, row.last_modified) == (index_cache.EPOCH, "", "")
    assert index_cache.store(row.path, UPSTREAM, line(NEW)).checksums == {"1.0.0": NEW}


def test_file_is_deleted_with_its_bytes(as_root: Client, mirror: Path) -> None:
    row, other = archive(), archive("other")
    assert "1 deleted." in act(as_root, "delete_crates", row)
    assert list(CachedCrate.objects.all()) == [other]
    assert [path.name for path in mirror.rglob("*") if path.is_file()] == [other.sha256]


def test_deleted_file_is_not_handed_out(as_root: Client, settings: Any) -> None:
    settings.MIRROR_OFFLINE = True
    row = archive()
    index_cache.store("de/mo/demo", UPSTREAM, line(row.sha256))
    address = "/ktra/api/v1/mirror/demo/1.0.0/download"
    assert b"".join(Client().get(address)) == packing.crate()
    act(as_root, "delete_crates", row)
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


ACTIONS = [
    ("cachedindexfile", "mark_stale"),
    ("cachedindexfile", "accept_changes"),
    ("cachedcrate", "delete_crates"),
    ("incident", "settle"),
]


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_who_may_only_look_decides_nothing(onlooker: User, model: str, action: str) -> None:
    row = MAKERS[model]()
    before = type(row).objects.values().get()
    client = sign_in_to_admin(onlooker)
    assert client.get(f"/admin/mirror/{model}/").status_code == 200
    act(client, action, row)
    assert type(row).objects.values().get() == before


@pytest.mark.parametrize(("model", "action"), ACTIONS)
def test_right_to_change_a_model_is_enough_to_decide(onlooker: User, model: str, action: str) -> None:
    onlooker.user_permissions.add(Permission.objects.get(codename=f"change_{model}", content_type__app_label="mirror"))
    row = MAKERS[model]()
    before = type(row).objects.values().get()
    act(sign_in_to_admin(onlooker), action, row)
    assert list(type(row).objects.values()) != [before]


# --- Decisions, and what they are made of ------------------------------------------------------------------------


ADD = "/admin/mirror/override/add/"
GIVEN = {"kind": "blocked", "name": "Demo-Crate", "requirement": "1.2", "reason": "It steals keys."}


def grant(user: User, *codenames: str) -> Client:
    user.user_permissions.add(
        *Permission.objects.filter(content_type__app_label="mirror", codename__in=codenames),
    )
    return sign_in_to_admin(user)


def deeds() -> list[tuple[str, str, str | None]]:
    events = AuditEvent.objects.filter(action__startswith="mirror.").order_by("pk")
    return list(events.values_list("action", "target", "actor__username"))


def test_decision_is_added(as_root: Client, root: User) -> None:
    response = as_root.post(ADD, {**GIVEN, "until_0": "2999-01-02", "until_1": "03:04"})
    assert response.status_code == 302
    made = Override.objects.get()
    assert (made.kind, made.name, made.requirement, made.reason, made.created_by) == (
        "blocked",
        "demo_crate",
        "^1.2",
        "It steals keys.",
        root,
    )
    assert made.until == datetime(2999, 1, 2, 3, 4, tzinfo=UTC)
    assert deeds() == [("mirror.blocked", "demo_crate@^1.2", "root")]


@pytest.mark.parametrize(
    ("field", "wrong", "told"),
    [
        ("kind", "praised", "Select a valid choice."),
        ("name", "", "This field is required."),
        ("name", "../demo", "This is no name of a crate."),
        ("name", "x" * 65, "Ensure this value has at most 64 characters"),
        ("requirement", "latest", "is not understood"),
        ("requirement", "", "This field is required."),
        ("requirement", ",".join(["1.2.3"] * 32), "Ensure this value has at most 200 characters"),
        ("requirement", ",".join(["1"] * 33), "is not understood"),
        ("reason", " ", "This field is required."),
        ("reason", "x" * 501, "Ensure this value has at most 500 characters"),
        ("reason", "a\0b", "Null characters are not allowed."),
        ("until_0", "2020-01-01", "Its end has passed already."),
        ("until_0", "soon", "Enter a valid date."),
    ],
)
def test_what_is_wrong_with_a_decision_is_told_at_its_field(as_root: Client, field: str, wrong: str, told: str) -> None:
    response = as_root.post(ADD, {**GIVEN, "until_0": "", "until_1": "00:00" if "until" in field else "", field: wrong})
    assert response.status_code == 200
    errors = response.context["adminform"].form.errors
    assert list(errors) == [field.partition("_")[0]]
    assert told in errors.as_text()
    assert not Override.objects.exists()


def test_decision_is_shown_and_never_changed(as_root: Client) -> None:
    made = decision()
    before = Override.objects.values().get()
    address = f"/admin/mirror/override/{made.pk}/change/"
    text = as_root.get(address).content.decode()
    assert "It is so." in text
    assert 'name="_save"' not in text
    assert as_root.post(address, {**GIVEN, "reason": "other"}).status_code == 403
    assert Override.objects.values().get() == before


def test_decision_is_never_deleted(as_root: Client) -> None:
    made = decision()
    assert as_root.post(f"/admin/mirror/override/{made.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Override.objects.exists()


def test_decision_is_ended_once(as_root: Client) -> None:
    made, other = decision(), decision("other")
    assert "1 ended" in act(as_root, "end", made)
    moment = Override.objects.get(pk=made.pk).ended_at
    assert "0 ended" in act(as_root, "end", made)
    assert Override.objects.get(pk=made.pk).ended_at == moment is not None
    assert list(Override.objects.active()) == [other]
    assert deeds() == [
        ("mirror.exempt", "demo@*", None),
        ("mirror.exempt", "other@*", None),
        ("mirror.exempt.end", "demo@*", "root"),
    ]


def test_who_may_only_look_neither_adds_nor_ends_a_decision(onlooker: User) -> None:
    made = decision()
    client = sign_in_to_admin(onlooker)
    assert client.get("/admin/mirror/override/").status_code == 200
    assert client.post(ADD, GIVEN).status_code == 403
    act(client, "end", made)
    assert Override.objects.get().ended_at is None


def test_right_to_add_is_no_right_to_end(onlooker: User) -> None:
    client = grant(onlooker, "add_override")
    assert client.post(ADD, {**GIVEN, "until_0": "", "until_1": ""}).status_code == 302
    act(client, "end", Override.objects.get())
    assert Override.objects.get().ended_at is None
    act(grant(onlooker, "change_override"), "end", Override.objects.get())
    assert Override.objects.get().ended_at is not None


BLOCKS = [("cachedindexfile", "block", "demo@*"), ("cachedcrate", "delete_and_block", "demo@=1.0.0")]


def block(client: Client, action: str, row: Any, reason: str) -> str:
    data = {"action": action, "_selected_action": [row.pk], "reason": reason}
    return client.post(f"/admin/mirror/{row._meta.model_name}/", data, follow=True).content.decode()


@pytest.mark.parametrize(("model", "action", "what"), BLOCKS)
@pytest.mark.parametrize(("given", "kept"), [(" It steals. ", "It steals."), ("", admin.NO_REASON)])
def test_block_is_a_decision_with_a_reason(
    as_root: Client, root: User, model: str, action: str, what: str, given: str, kept: str
) -> None:
    row = MAKERS[model]()
    assert "To lift that, end the override." in block(as_root, action, row, given)
    made = Override.objects.get()
    assert (made.kind, f"{made.name}@{made.requirement}", made.reason, made.created_by) == (
        "blocked",
        what,
        kept,
        root,
    )
    assert deeds() == [("mirror.blocked", what, "root")]
    assert Client().get("/ktra/api/v1/mirror/demo/1.0.0/download").status_code == 403
    assert not CachedCrate.objects.exists()


@pytest.mark.parametrize("reason", ["x" * 501, "a\0b"])
@pytest.mark.parametrize(("model", "action", "what"), BLOCKS)
def test_nothing_is_done_for_a_bad_reason(as_root: Client, model: str, action: str, what: str, reason: str) -> None:
    row = MAKERS[model]()
    block(as_root, action, row, reason)
    row.refresh_from_db()
    assert not Override.objects.exists()


@pytest.mark.parametrize(("model", "action", "what"), BLOCKS)
def test_to_block_one_may_change_the_model_and_add_decisions(
    onlooker: User, model: str, action: str, what: str
) -> None:
    row = MAKERS[model]()
    for rights in ([], [f"change_{model}"]):
        block(grant(onlooker, *rights), action, row, "It steals.")
        assert not Override.objects.exists()
    block(grant(onlooker, "add_override"), action, row, "It steals.")
    assert Override.objects.exists()


def test_block_of_a_file_whose_version_is_none_leaves_it(as_root: Client) -> None:
    row = archive()
    CachedCrate.objects.update(version="odd")
    assert "is not understood" in block(as_root, "delete_and_block", row, "It steals.")
    assert CachedCrate.objects.exists()


# --- What the columns tell ---------------------------------------------------------------------------------------


def shown(client: Client, model: str, name: str) -> str:
    """The text of a column in the first row of a list."""
    text = client.get(f"/admin/mirror/{model}/").content.decode()
    found = re.search(rf'<td class="field-{name}[^>]*>(.*?)</td>', text)
    assert found is not None
    return unescape(found[1]).replace("\xa0", " ")


@pytest.mark.parametrize("model", ["cachedindexfile", "cachedcrate"])
def test_failures_are_counted_until_they_are_settled(as_root: Client, model: str) -> None:
    row = MAKERS[model]()
    incident("demo2")
    assert shown(as_root, model, "failed") == "0"
    for kind in (Incident.Kind.FAULT, Incident.Kind.WRONG_BYTES, Incident.Kind.FAULT):
        incidents.record(kind, str(row), "told")
    assert shown(as_root, model, "failed") == "3"
    incidents.settle(Incident.objects.filter(kind=Incident.Kind.FAULT))
    assert shown(as_root, model, "failed") == "1"


def test_sizes_are_those_of_the_bytes(as_root: Client) -> None:
    entry()
    CachedCrate.objects.filter(pk=archive().pk).update(size=5 * 1024 * 1024)
    assert shown(as_root, "cachedindexfile", "bytes") == f"{len(line(OLD))} bytes"
    assert shown(as_root, "cachedcrate", "bytes") == "5.0 MB"
    for column in range(1, 9):
        for model in ("cachedindexfile", "cachedcrate"):
            assert as_root.get(f"/admin/mirror/{model}/?o=-{column}").status_code == 200


def test_page_of_an_entry_tells_what_is_held_back(as_root: Client, settings: Any) -> None:
    row = entry()
    address = f"/admin/mirror/cachedindexfile/{row.pk}/change/"
    assert "nothing" in as_root.get(address).content.decode()
    overrides.create_override(Kind.BLOCKED, "demo", "*", actor=None, reason="<b>It</b> steals.")
    text = as_root.get(address).content.decode()
    assert "<strong>1.0.0</strong>: It is blocked: &lt;b&gt;It&lt;/b&gt; steals." in text
