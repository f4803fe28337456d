"""The mirror in the admin site: staff look at caches and incidents, and change them only by actions and overrides."""

import re
import shutil
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

from accounts.models import Credential, User
from crates.mirror import changed_checksums, incidents, index_cache, overrides
from crates.mirror.models import STORE, CachedCrate, CachedIndexFile, Incident, Override
from crates.mirror.upstreams import UpstreamFault
from registry_site.errors import Conflict
from registry_site.models import AuditEvent
from registry_site.storage import blobs
from tests.support import packing
from tests.support.admin import hire, run_action, sign_in_to_admin
from tests.support.authenticator_apps import add_app
from tests.support.mirror_policies import BLOCKED, EXEMPT

pytestmark = pytest.mark.usefixtures("mirror_bytes")

UPSTREAM = "https://index.example.com/"
OLD, NEW = "0" * 64, "1" * 64


@pytest.fixture
def onlooker(db: None) -> User:
    """Staff with the permission to view the mirror, and no other."""
    user = hire("onlooker")
    grant(user)
    return user


def grant(user: User, *codenames: str) -> Client:
    """Give a user these permissions and that to view, and no others; return the admin site as the user sees it."""
    permissions = Permission.objects.filter(content_type__app_label="mirror")
    views = permissions.filter(codename__startswith="view")
    user.user_permissions.set(views | permissions.filter(codename__in=codenames))
    return sign_in_to_admin(user)


def line(checksum: str) -> bytes:
    return f'{{"name":"demo","vers":"1.0.0","cksum":"{checksum}"}}\n'.encode()


def create_index_file(name: str = "demo") -> CachedIndexFile:
    return index_cache.store(f"{name[:2]}/{name[2:4]}/{name}", UPSTREAM, line(OLD), {"etag": '"old"'})


def create_crate(name: str = "demo") -> CachedCrate:
    blob = blobs.put(BytesIO(packing.crate(name)), store=STORE)
    return CachedCrate.objects.create(name=name, version="1.0.0", sha256=blob.sha256, size=blob.size)


def create_incident(name: str = "demo") -> Incident:
    incidents.record(Incident.Kind.FAULT, name, "it answers with 500")
    return Incident.objects.get(subject=name)


def create_override(name: str = "demo") -> Override:
    return overrides.create_override(EXEMPT, name, "*", actor=None, reason="It is so.")


CREATORS: dict[str, Any] = {
    "cachedindexfile": create_index_file,
    "cachedcrate": create_crate,
    "incident": create_incident,
}
LISTS = {**CREATORS, "override": create_override}


def run(client: Client, action: str, *rows: Any, **fields: str) -> str:
    """Run an action on rows of one list; return the page after it."""
    return run_action(client, f"/admin/mirror/{rows[0]._meta.model_name}/", action, *rows, **fields)


# --- Lists ---------------------------------------------------------------------------------------------------------


def test_lists_open_and_search(as_root: Client) -> None:
    for model, create in LISTS.items():
        create("demo")
        create("zebra")
        page = as_root.get(f"/admin/mirror/{model}/?q=demo").content.decode()
        assert ("demo" in page, "zebra" in page) == (True, False), model


def test_queries_of_lists_do_not_grow(as_root: Client) -> None:
    for model, create in LISTS.items():
        counts = []
        for numbers in (range(3), range(3, 30)):
            for number in numbers:
                create(f"demo{number:02}")
            with CaptureQueriesContext(connection) as queries:
                assert as_root.get(f"/admin/mirror/{model}/").status_code == 200
            counts.append(len(queries))
        assert counts[0] == counts[1], model


def test_list_does_not_read_bodies(as_root: Client) -> None:
    create_index_file()
    with CaptureQueriesContext(connection) as queries:
        as_root.get("/admin/mirror/cachedindexfile/")
    assert not any('"body",' in query["sql"] for query in queries)  # as a column: their length is selected


def test_rows_are_shown_and_never_edited(as_root: Client) -> None:
    for model, create in CREATORS.items():
        row = create()
        response = as_root.get(f"/admin/mirror/{model}/{row.pk}/change/")
        assert (response.status_code, "demo" in response.content.decode()) == (200, True), model
        for path in ("add/", f"{row.pk}/change/", f"{row.pk}/delete/"):
            response = as_root.post(f"/admin/mirror/{model}/{path}", {"name": "x", "post": "yes"})
            assert response.status_code == 403, (model, path)
        row.refresh_from_db()


def test_staff_without_permissions_see_nothing(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_staff=True)
    client = sign_in_to_admin(alice)
    assert {client.get(f"/admin/mirror/{model}/").status_code for model in LISTS} == {403}


# --- Actions -------------------------------------------------------------------------------------------------------


def test_index_file_is_marked_stale(as_root: Client) -> None:
    row, other = create_index_file(), create_index_file("other")
    assert "1 to be asked for again." in run(as_root, "mark_stale", row)
    row.refresh_from_db()
    other.refresh_from_db()
    assert row.checked_at == index_cache.EPOCH
    assert other.checked_at > index_cache.EPOCH
    assert (row.etag, row.checksums) == ('"old"', {"1.0.0": OLD})


def test_staff_accept_a_changed_checksum(as_root: Client) -> None:
    row = create_index_file()
    with pytest.raises(UpstreamFault):
        index_cache.store(row.path, UPSTREAM, line(NEW))
    assert "1 to be taken as upstream has them." in run(as_root, "accept_changes", row, reason="Its authors say so.")
    row.refresh_from_db()
    assert (row.checked_at, row.etag, row.last_modified) == (index_cache.EPOCH, "", "")
    assert index_cache.store(row.path, UPSTREAM, line(NEW)).checksums == {"1.0.0": NEW}


def test_accepting_anything_needs_a_reason(as_root: Client) -> None:
    row = create_index_file()
    assert "This field is required." in run(as_root, "accept_changes", row)
    run(as_root, "accept_changes", row, reason="Its authors say so.")
    assert AuditEvent.objects.get(action="mirror.accept").detail["reason"] == "Its authors say so."


def test_named_checksums_are_accepted_by_their_incident(as_root: Client, root: User) -> None:
    row, other, unnamed = create_index_file(), create_index_file("other"), create_index_file("unnamed")
    incidents.record(Incident.Kind.CHANGED, "demo", "it changed", {"1.0.0": (OLD, NEW)})
    incidents.record(Incident.Kind.CHANGED, "unnamed", "it changed", {})
    page = run(as_root, "accept_changes", row, other, unnamed, reason="Its authors say so.")
    assert "<strong>demo</strong> (refused): An open incident names the checksums that changed" in page
    with pytest.raises(Conflict):
        changed_checksums.accept_any(row, reason="It is so.", actor=root)
    assert [target for _, target, _ in audited()] == ["other", "unnamed"]


def test_trust_in_checksums_needs_a_fresh_proof(as_root: Client, root: User) -> None:
    rows = {"accept_changes": create_index_file(), "take_back": create_incident()}
    add_app(root)
    Credential.objects.filter(user=root).update(proven_at=None)
    for action, row in rows.items():
        url = f"/admin/mirror/{row._meta.model_name}/act/{action}/?pk={row.pk}"
        assert as_root.get(url)["Location"].startswith("/account/confirm?next="), action


def test_crate_is_deleted_with_its_bytes(as_root: Client, mirror_bytes: Path) -> None:
    row, other = create_crate(), create_crate("other")
    assert "1 deleted." in run(as_root, "delete_crates", row)
    assert list(CachedCrate.objects.all()) == [other]
    assert [path.name for path in mirror_bytes.rglob("*") if path.is_file()] == [other.sha256]


def test_broken_storage_keeps_the_rows(as_root: Client, mirror_bytes: Path) -> None:
    rows = [create_crate(name) for name in ("one", "two")]
    shutil.rmtree(mirror_bytes)
    mirror_bytes.write_text("a file in the place of the directory")
    for action in ("delete_crates", "delete_and_block"):
        page = run(as_root, action, *rows, reason="It steals.")
        assert "cannot delete files at present" in page, action
        assert CachedCrate.objects.count() == 2, action
    assert set(Override.objects.values_list("name", flat=True)) == {"one", "two"}


def test_deleted_crate_is_not_served(as_root: Client, settings: Any) -> None:
    settings.MIRROR_OFFLINE = True
    row = create_crate()
    index_cache.store("de/mo/demo", UPSTREAM, line(row.sha256))
    url = "/ktra/api/v1/mirror/demo/1.0.0/download"
    assert b"".join(Client().get(url)) == packing.crate()
    run(as_root, "delete_crates", row)
    assert Client().get(url).status_code == 404


def test_incident_after_settling_is_new(as_root: Client) -> None:
    row = create_incident()
    assert create_incident().count == 2
    assert "1 settled." in run(as_root, "settle", row)
    row.refresh_from_db()
    assert row.settled_at is not None
    incidents.record(Incident.Kind.FAULT, "demo", "it answers with 500")
    rows = Incident.objects.order_by("count").values_list("count", "settled_at")
    assert [(count, settled_at is None) for count, settled_at in rows] == [(1, True), (2, False)]


def test_settled_incident_keeps_its_time(as_root: Client) -> None:
    row = create_incident()
    moment = timezone.now()
    Incident.objects.update(settled_at=moment)
    assert "0 settled, 1 unchanged." in run(as_root, "settle", row)
    row.refresh_from_db()
    assert row.settled_at == moment


def test_actions_need_the_change_permission(onlooker: User) -> None:
    actions = [
        ("cachedindexfile", "mark_stale"),
        ("cachedindexfile", "accept_changes"),
        ("cachedcrate", "delete_crates"),
        ("incident", "settle"),
    ]
    for number, (model, action) in enumerate(actions):
        row = CREATORS[model](f"demo{number}")
        rows = type(row).objects.filter(pk=row.pk)
        before = list(rows.values())
        client = grant(onlooker)
        assert client.get(f"/admin/mirror/{model}/").status_code == 200
        run(client, action, row)
        assert list(rows.values()) == before, action
        run(grant(onlooker, f"change_{model}"), action, row, reason="It is so.")
        assert list(rows.values()) != before, action


def test_actions_are_recorded(as_root: Client) -> None:
    run(as_root, "accept_changes", create_index_file(), reason="It is so.")
    run(as_root, "mark_stale", create_index_file("other"))
    run(as_root, "settle", create_incident())
    run(as_root, "delete_crates", create_crate())
    assert audited() == [
        ("mirror.accept", "demo", "root"),
        ("mirror.refresh", "other", "root"),
        ("mirror.settle", "demo: no answer, or not as it should be", "root"),
        ("mirror.delete", "demo@1.0.0", "root"),
    ]


# --- Overrides -----------------------------------------------------------------------------------------------------

ADD = "/admin/mirror/override/add/"
FORM = {
    "kind": "blocked",
    "name": "Demo-Crate",
    "requirement": "1.2",
    "reason": "It steals keys.",
    "until_0": "",
    "until_1": "",
}


def audited() -> list[tuple[str, str, str | None]]:
    events = AuditEvent.objects.filter(action__startswith="mirror.").order_by("pk")
    return list(events.values_list("action", "target", "actor__username"))


def test_override_is_added(as_root: Client, root: User) -> None:
    response = as_root.post(ADD, {**FORM, "until_0": "2999-01-02", "until_1": "03:04"})
    assert response.status_code == 302
    override = Override.objects.get()
    assert (override.kind, override.name, override.requirement, override.reason, override.created_by) == (
        "blocked",
        "demo_crate",
        "^1.2",
        "It steals keys.",
        root,
    )
    assert override.until == datetime(2999, 1, 2, 3, 4, tzinfo=UTC)
    assert audited() == [("mirror.blocked", "demo_crate@^1.2", "root")]


def test_form_shows_errors_at_their_fields(as_root: Client) -> None:
    cases = [
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
        ("until_0", "2020-01-01", "This end has passed already."),
        ("until_0", "soon", "Enter a valid date."),
    ]
    for field, value, expected in cases:
        response = as_root.post(ADD, {**FORM, "until_1": "00:00" if "until" in field else "", field: value})
        assert response.status_code == 200, (field, value)
        errors = response.context["adminform"].form.errors
        assert list(errors) == [field.partition("_")[0]], (field, value)
        assert expected in errors.as_text()
    assert not Override.objects.exists()


def test_override_is_never_changed_or_deleted(as_root: Client) -> None:
    override = create_override()
    before = Override.objects.values().get()
    url = f"/admin/mirror/override/{override.pk}"
    text = as_root.get(f"{url}/change/").content.decode()
    assert ("It is so." in text, 'name="_save"' in text) == (True, False)
    assert as_root.post(f"{url}/change/", {**FORM, "reason": "other"}).status_code == 403
    assert as_root.post(f"{url}/delete/", {"post": "yes"}).status_code == 403
    assert Override.objects.values().get() == before


def test_override_is_ended_once(as_root: Client) -> None:
    override, other = create_override(), create_override("other")
    assert "1 ended" in run(as_root, "end", override)
    ended_at = Override.objects.get(pk=override.pk).ended_at
    assert "0 ended" in run(as_root, "end", override)
    assert Override.objects.get(pk=override.pk).ended_at == ended_at is not None
    assert list(Override.objects.active()) == [other]
    assert audited() == [
        ("mirror.exempt", "demo@*", None),
        ("mirror.exempt", "other@*", None),
        ("mirror.exempt.end", "demo@*", "root"),
    ]


def test_onlooker_neither_adds_nor_ends_overrides(onlooker: User) -> None:
    override = create_override()
    client = sign_in_to_admin(onlooker)
    assert client.get("/admin/mirror/override/").status_code == 200
    assert client.post(ADD, FORM).status_code == 403
    run(client, "end", override)
    assert Override.objects.get().ended_at is None


def test_adding_and_ending_need_different_permissions(onlooker: User) -> None:
    client = grant(onlooker, "add_override")
    assert client.post(ADD, FORM).status_code == 302
    run(client, "end", Override.objects.get())
    assert Override.objects.get().ended_at is None
    run(grant(onlooker, "change_override"), "end", Override.objects.get())
    assert Override.objects.get().ended_at is not None


# --- Actions that block --------------------------------------------------------------------------------------------

BLOCKS = [("cachedindexfile", "block", "demo@*"), ("cachedcrate", "delete_and_block", "demo@=1.0.0")]


@pytest.mark.parametrize(("model", "action", "target"), BLOCKS)
def test_block_creates_an_override(as_root: Client, root: User, model: str, action: str, target: str) -> None:
    row = CREATORS[model]()
    run(as_root, action, row, reason=" It steals. ")
    override = Override.objects.get()
    assert (override.kind, override.reason, override.created_by) == ("blocked", "It steals.", root)
    assert f"{override.name}@{override.requirement}" == target
    assert ("mirror.blocked", target, "root") in audited()[-2:]
    assert Client().get("/ktra/api/v1/mirror/demo/1.0.0/download").status_code == 403
    assert not CachedCrate.objects.exists()


@pytest.mark.parametrize(("model", "action", "target"), BLOCKS)
def test_bad_reason_blocks_nothing(as_root: Client, model: str, action: str, target: str) -> None:
    row = CREATORS[model]()
    for reason in ("", "x" * 501, "a\0b"):
        run(as_root, action, row, reason=reason)
        row.refresh_from_db()
    assert not Override.objects.exists()


@pytest.mark.parametrize(("model", "action", "target"), BLOCKS)
def test_block_needs_its_permissions(onlooker: User, model: str, action: str, target: str) -> None:
    row = CREATORS[model]()
    for permissions in ([], [f"change_{model}"], [] if action == "block" else ["add_override"]):
        run(grant(onlooker, *permissions), action, row, reason="It steals.")
        assert not Override.objects.exists(), permissions
    run(grant(onlooker, f"change_{model}", "add_override"), action, row, reason="It steals.")
    assert Override.objects.exists()


def test_crate_of_an_odd_version_stays(as_root: Client) -> None:
    row = create_crate()
    CachedCrate.objects.update(version="odd")
    assert "is not understood" in run(as_root, "delete_and_block", row, reason="It steals.")
    assert CachedCrate.objects.exists()


# --- Columns -------------------------------------------------------------------------------------------------------


def column(client: Client, model: str, name: str) -> str:
    """Return the text of a column in the first row of a list."""
    text = client.get(f"/admin/mirror/{model}/").content.decode()
    match = re.search(rf'<td class="field-{name}[^>]*>(.*?)</td>', text)
    assert match is not None
    return unescape(match[1]).replace("\xa0", " ")


def test_unsettled_failures_are_counted(as_root: Client, root: User) -> None:
    create_incident("demo2")
    create_index_file()
    create_crate()
    models = ("cachedindexfile", "cachedcrate")
    assert [column(as_root, model, "failed") for model in models] == ["0", "0"]
    for kind in (Incident.Kind.CHANGED, Incident.Kind.WRONG_BYTES, Incident.Kind.CHANGED):
        incidents.record(kind, "demo", "it fails")
    assert [column(as_root, model, "failed") for model in models] == ["3", "3"]
    incidents.settle(Incident.objects.filter(kind=Incident.Kind.CHANGED), actor=root)
    assert [column(as_root, model, "failed") for model in models] == ["1", "1"]


def test_lists_show_sizes_and_sort(as_root: Client) -> None:
    create_index_file()
    CachedCrate.objects.filter(pk=create_crate().pk).update(size=5 * 1024 * 1024)
    assert column(as_root, "cachedindexfile", "bytes") == f"{len(line(OLD))} bytes"
    assert column(as_root, "cachedcrate", "bytes") == "5.0 MB"
    for number in range(1, 9):
        for model in ("cachedindexfile", "cachedcrate"):
            assert as_root.get(f"/admin/mirror/{model}/?o=-{number}").status_code == 200


def test_index_file_shows_reasons(as_root: Client) -> None:
    row = create_index_file()
    url = f"/admin/mirror/cachedindexfile/{row.pk}/change/"
    assert "nothing" in as_root.get(url).content.decode()
    overrides.create_override(BLOCKED, "demo", "*", actor=None, reason="<b>It</b> steals.")
    text = as_root.get(url).content.decode()
    assert "<strong>1.0.0</strong>: It is blocked: &lt;b&gt;It&lt;/b&gt; steals." in text
