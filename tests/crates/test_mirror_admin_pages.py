"""Pages of the mirror in the admin: an incident leads on to what staff do about it; a crate shows what is held back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import registration
from accounts.models import User
from crates.mirror import incidents, index_cache, overrides
from crates.mirror.models import CachedCrate, CachedIndexFile, Incident, Override
from crates.mirror.upstreams import UpstreamFault
from registry_site.models import AuditEvent
from tests.support.admin import FormFields, hire, open_action, sign_in_to_admin, undo_run
from tests.support.cast import PASSWORD

URL = "https://index.example.com/"
OLD, NEW, OTHER = "0" * 64, "1" * 64, "2" * 64
ACCEPT = "Accept the new checksums, and settle"
Kind = Incident.Kind


def store(*versions: tuple[str, str], checksum: str = OLD) -> CachedIndexFile:
    """Store the index file of a crate with versions, each published on a day."""
    lines = (
        f'{{"name":"demo","vers":"{number}","cksum":"{checksum}","pubtime":"{day}T00:00:00Z"}}\n'
        for number, day in versions or [("1.0.0", "2020-01-01")]
    )
    return index_cache.store("de/mo/demo", URL, "".join(lines).encode())


def change_upstream() -> Incident:
    """Store the index file of another checksum, which makes an incident."""
    store()
    refuse(NEW)
    return Incident.objects.get()


def refuse(checksum: str) -> None:
    """Let upstream send an index file of yet another checksum."""
    with pytest.raises(UpstreamFault) as fault:
        store(checksum=checksum)
    incidents.record_fault(fault.value, upstream=URL, crate="demo", detail=f"demo: {fault.value}")


def page_of(client: Client, row: Any) -> Any:
    response = client.get(f"/admin/mirror/{row._meta.model_name}/{row.pk}/")
    assert response.status_code == 200
    return response


def facts(page: Any) -> dict[str, str]:
    return {fact.label: str(getattr(fact.value, "text", fact.value)) for fact in page.context["facts"]}


def panel(page: Any, title: str) -> list[list[str]]:
    (panel,) = [panel for panel in page.context["panels"] if panel.title == title]
    return [[str(getattr(cell, "text", cell)) for cell in row] for row in panel.rows]


def buttons(page: Any) -> dict[str, str]:
    return {button.text: button.url for button in page.context["buttons"]}


def press(client: Client, url: str, **fields: str) -> None:
    """Fill in the page of an action, and send it."""
    form = FormFields(client.get(url).content.decode()).values
    assert client.post(url, {**form, **fields}, follow=True).status_code == 200


def auditor() -> Client:
    user = registration.register("auditor", PASSWORD)
    user.groups.set(Group.objects.filter(name="auditor"))
    User.objects.filter(pk=user.pk).update(is_staff=True)
    return sign_in_to_admin(user)


# --- Incidents -----------------------------------------------------------------------------------------------------


def test_incident_leads_to_the_mirrored_crate(as_root: Client) -> None:
    page = page_of(as_root, change_upstream())
    assert facts(page)["Standing"] == "Open"
    assert facts(page)["What happened"].endswith(f"and is {NEW}")
    (link,) = [fact.value for fact in page.context["facts"] if fact.label == "Mirrored crate"]
    assert as_root.get(link.url).context["title"] == "demo"


def test_incident_is_accepted_from_its_page(as_root: Client) -> None:
    incident = change_upstream()
    actions = buttons(page_of(as_root, incident))
    assert list(actions) == ["Settle", ACCEPT, "Block all versions: demo"]
    form = as_root.get(actions[ACCEPT]).content.decode()
    assert f"1.0.0 was {OLD}, and is {NEW} since {incident.first_at:%Y-%m-%d %H:%M} UTC." in form
    press(as_root, actions[ACCEPT], reason="Its authors say so.")
    assert facts(page_of(as_root, incident))["Standing"].startswith("Settled")
    assert set(AuditEvent.objects.exclude(run=None).values_list("action", flat=True)) == {
        "mirror.accept",
        "mirror.settle",
    }
    store(checksum=NEW)


def test_only_the_shown_checksum_is_accepted(as_root: Client) -> None:
    incident = change_upstream()
    url = buttons(page_of(as_root, incident))[ACCEPT]
    form = {**FormFields(as_root.get(url).content.decode()).values, "reason": "Its authors say so."}
    refuse(OTHER)
    response = as_root.post(url, form)
    assert (response.status_code, "Please read it again." in response.content.decode()) == (400, True)
    press(as_root, url, reason="Its authors say so.")
    refuse(NEW)
    assert CachedIndexFile.objects.get().checksums == {"1.0.0": OTHER}


def test_acceptance_is_taken_back_until_it_is_served(as_root: Client) -> None:
    incident = change_upstream()
    press(as_root, buttons(page_of(as_root, incident))[ACCEPT], reason="Its authors say so.")
    undo_run(as_root)
    assert (CachedIndexFile.objects.get().checksums, Incident.objects.get().settled_at) == ({"1.0.0": OLD}, None)
    press(as_root, buttons(page_of(as_root, incident))[ACCEPT], reason="Its authors say so, again.")
    store(checksum=NEW)
    assert "the former index file is gone. Block the versions." in undo_run(as_root)
    assert CachedIndexFile.objects.get().checksums == {"1.0.0": NEW}


def test_incident_without_its_checksums_is_not_accepted(as_root: Client) -> None:
    store()
    faults = [Incident.objects.create(kind=kind, subject="demo", detail="x") for kind in (Kind.FAULT, Kind.CHANGED)]
    page = open_action(as_root, "/admin/mirror/incident/", "accept", *faults)
    assert ("No checksum changed in it." in page, "It does not say which checksums changed" in page) == (True, True)
    assert "Take the checksums that upstream has now: demo" in buttons(page_of(as_root, faults[1]))


def test_settled_incident_is_opened_again(as_root: Client) -> None:
    incident = change_upstream()
    press(as_root, buttons(page_of(as_root, incident))["Settle"])
    undo_run(as_root)
    assert facts(page_of(as_root, incident))["Standing"] == "Open"


def test_incident_leads_to_a_block(as_root: Client) -> None:
    incident = change_upstream()
    press(as_root, buttons(page_of(as_root, incident))["Block all versions: demo"], reason="It steals.")
    assert Override.objects.active().get().reason == "It steals."
    assert panel(page_of(as_root, incident), "Overrides by staff")[0][2] == "It steals."


def test_undoing_a_block_ends_its_override(as_root: Client) -> None:
    row = store()
    crate = CachedCrate.objects.create(name="demo", version="1.0.0", sha256=OLD, size=1)
    overrides.create_override(Override.Kind.BLOCKED, "demo", "<1", actor=None, reason="Another one.")
    for target, action in ((row, "block"), (crate, "delete_and_block")):
        page = open_action(as_root, f"/admin/mirror/{target._meta.model_name}/", action, target)
        fields = {**FormFields(page).values, "reason": "It steals."}
        as_root.post(f"/admin/mirror/{target._meta.model_name}/act/{action}/", fields)
        assert Override.objects.active().count() == 2, action
        assert "1 ended." in undo_run(as_root), action
        assert Override.objects.active().get().reason == "Another one.", action


def stored(version: str = "1.0.0", sha256: str = OLD) -> CachedCrate:
    return CachedCrate.objects.create(name="demo", version=version, sha256=sha256, size=1234, upstream=URL)


def test_stored_file_says_where_it_came_from(as_root: Client) -> None:
    store()
    shown = facts(page_of(as_root, stored()))
    assert (shown["Standing"], shown["Mirrored crate"], shown["Version"]) == ("Served", "demo", "1.0.0")
    assert (shown["SHA-256"], shown["Size"], shown["From"]) == (OLD, "1.2 kB", URL)
    assert shown["Downloads of the version"] == "0"


def test_stored_file_says_why_it_is_not_served(as_root: Client, settings: Any) -> None:
    crate = stored()
    assert "no crate of this name" in facts(page_of(as_root, crate))["Not served"]
    store(("2.0.0", "2020-01-01"))
    assert "no such version" in facts(page_of(as_root, crate))["Not served"]
    store(("1.0.0", f"{timezone.now():%Y-%m-%d}"))
    other = stored(sha256=OTHER)
    assert f"another checksum, {OLD}" in facts(page_of(as_root, other))["Not served"]
    assert panel(page_of(as_root, other), "Other files of the version or the checksum")[0][0] == "demo@1.0.0"
    settings.MIRROR_MIN_AGE_DAYS = 7
    assert "is held back for 7 days" in facts(page_of(as_root, crate))["Held back"]
    overrides.create_override(Override.Kind.BLOCKED, "demo", "=1.0.0", actor=None, reason="It steals.")
    page = page_of(as_root, crate)
    assert (facts(page)["Blocked"], panel(page, "Overrides by staff")[0][2]) == (
        "Nobody gets it: It steals.",
        "It steals.",
    )


def test_stored_file_has_its_incidents(as_root: Client) -> None:
    store()
    for subject in ("demo", "demo@1.0.0", "demo@2.0.0", "demos"):
        Incident.objects.create(kind=Kind.DAMAGED, subject=subject, detail=subject)
    crate = stored()
    with CaptureQueriesContext(connection) as queries:
        page = page_of(as_root, crate)
    assert {row[2] for row in panel(page, "Incidents")} == {"demo", "demo@1.0.0"}
    assert len(queries) <= 12, [query["sql"] for query in queries.captured_queries]


def test_fault_of_an_upstream_names_the_crate(as_root: Client) -> None:
    index_file = store()
    for kind in (Kind.FAULT, Kind.WRONG_BYTES):
        incident = Incident.objects.create(kind=kind, subject=URL, detail="demo: it answers with 500")
        assert facts(page_of(as_root, incident))["Mirrored crate"] == index_file.name
    damaged = Incident.objects.create(kind=Kind.DAMAGED, subject="demo@1.0.0", detail="the bytes are gone")
    assert facts(page_of(as_root, damaged))["Mirrored crate"] == "demo"


def test_incident_of_no_crate_has_a_page(as_root: Client) -> None:
    for subject, detail in ((URL, "config.json: it hangs"), ("gone@1.0.0", "x"), ("<b>", "\u202e" * 400)):
        incident = Incident.objects.create(kind=Kind.FAULT, subject=subject, detail=detail)
        assert list(buttons(page_of(as_root, incident))) == ["Settle"], subject


def test_every_kind_of_incident_has_advice(as_root: Client) -> None:
    store()
    for kind in Kind:
        incident = Incident.objects.create(kind=kind, subject="demo", detail="x")
        assert facts(page_of(as_root, incident))["What to do"].endswith("."), kind


def test_auditor_gets_no_buttons(db: None) -> None:
    incident, client = change_upstream(), auditor()
    assert buttons(page_of(client, incident)) == {}
    assert buttons(page_of(client, CachedIndexFile.objects.get())) == {}


# --- Mirrored crates -----------------------------------------------------------------------------------------------


def test_crate_shows_versions_held_back(as_root: Client, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 7
    young = f"{timezone.now():%Y-%m-%d}"
    page = page_of(as_root, store(("1.0.0", "2020-01-01"), ("1.1.0", young)))
    assert facts(page)["Standing"] == "Served, without the versions that are held back."
    assert facts(page)["Versions"] == "2, of which 1 are held back"
    ((version, published, why),) = panel(page, "Versions held back")
    assert (version, published[:10], why) == (
        "1.1.0",
        young,
        f"It was published on {young}, and is held back for 7 days.",
    )


def test_crate_shows_its_overrides(as_root: Client, root: User) -> None:
    index_file = store()
    overrides.create_override(Override.Kind.BLOCKED, "demo", "*", actor=root, reason="It steals.")
    ended = overrides.create_override(Override.Kind.EXEMPT, "demo", "=1.0.0", actor=root, reason="We know it.")
    overrides.end_override(ended, actor=root)
    page = page_of(as_root, index_file)
    assert facts(page)["Standing"] == "Blocked in all versions: It steals."
    rows = panel(page, "Overrides by staff")
    assert [(row[0], row[1], row[-1]) for row in rows] == [("blocked", "*", "in force"), ("exempt", "=1.0.0", "ended")]
    assert "1.0.0" in panel(page, "Versions held back")[0]


def test_crate_shows_its_open_incidents(as_root: Client) -> None:
    change_upstream()
    page = page_of(as_root, CachedIndexFile.objects.get())
    assert facts(page)["Standing"].startswith("A former index file is served")
    assert [row[1] for row in panel(page, "Open incidents")] == ["a checksum changed"]


def test_crate_shows_its_stored_files(as_root: Client) -> None:
    index_file = store()
    for number in range(30):
        CachedCrate.objects.create(
            name="demo", version=f"1.0.{number}", sha256=f"{number:064}", size=1000, license="MIT"
        )
    page = page_of(as_root, index_file)
    assert facts(page)["Stored files"] == "30, 30.0 kB"
    assert [row[0] for row in panel(page, "Stored files")][:2] == ["1.0.29", "1.0.28"]
    assert "Only the newest 10 are shown." in page.content.decode()


def test_absent_crate_says_so(as_root: Client) -> None:
    index_file = store()
    CachedIndexFile.objects.update(status=451, body=b"")
    assert "Upstream answered 451" in facts(page_of(as_root, index_file))["Standing"]


def test_page_of_a_crate_asks_no_upstream(as_root: Client, settings: Any) -> None:
    settings.MIRROR_UPSTREAM, settings.MIRROR_LICENSES = ["http://127.0.0.1:9/"], ["MIT"]
    index_file = store()
    CachedIndexFile.objects.update(checked_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert panel(page_of(as_root, index_file), "Versions held back")[0][2].startswith("Its license is not known yet")
    assert not Incident.objects.exists()


def test_page_of_a_large_crate_is_light(db: None, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS, settings.MIRROR_LICENSES = 7, ["MIT"]
    day = timezone.now() - timedelta(days=1)
    client, index_file = auditor(), store(*((f"1.0.{number}", f"{day:%Y-%m-%d}") for number in range(1000)))
    rows = [CachedCrate(name="demo", version=f"1.0.{number}", sha256=OLD, size=1) for number in range(1000)]
    CachedCrate.objects.bulk_create(rows)
    for number in range(60):
        overrides.create_override(Override.Kind.EXEMPT, "demo", f"=2.0.{number}", actor=None, reason="x")
    with CaptureQueriesContext(connection) as queries:
        page = page_of(client, index_file)
    assert facts(page)["Versions"] == "1,000, of which 1,000 are held back"
    assert len(queries) < 12, [query["sql"][:100] for query in queries.captured_queries]
    assert len(page.content) < 150_000
    assert not [query for query in queries.captured_queries if '"body",' in query["sql"]]


def test_panels_are_for_who_may_view_them(db: None) -> None:
    onlooker = hire("onlooker", "view_cachedindexfile")
    change_upstream()
    page = page_of(sign_in_to_admin(onlooker), CachedIndexFile.objects.get())
    assert [panel.title for panel in page.context["panels"]] == ["Versions held back"]


def test_lists_of_the_mirror_lead_to_pages(as_root: Client) -> None:
    incident, index_file = change_upstream(), CachedIndexFile.objects.get()
    for row in (incident, index_file):
        page = as_root.get(f"/admin/mirror/{row._meta.model_name}/").content.decode()
        assert f'href="/admin/mirror/{row._meta.model_name}/{row.pk}/"' in page
