"""The mirror on the front page of the admin: incidents, upstreams, hits, and what is held back."""

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
from crates.mirror import index_cache, overrides, upstream_health
from crates.mirror.models import Incident, Override, UpstreamHealth
from crates.mirror.upstream_health import Outcome, changed_row
from registry_site import write_buffers
from registry_site.admin import front_page
from registry_site.server import metrics
from tests.support import bad_upstream
from tests.support.admin import sign_in_to_admin
from tests.support.bad_upstream import BadUpstream
from tests.support.cast import PASSWORD
from tests.support.mirror_client import MirrorClient

URL = "https://index.example.com/"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def facts(user: User) -> dict[str, str]:
    return {fact.label: fact.value for _, section in front_page.of(user).sections for fact in section}


def notices(user: User) -> dict[str, str]:
    """Return the notices, each with its link."""
    return {f"{notice.number} {notice.text}": notice.url for notice in front_page.of(user).notices}


def test_front_page_tells_last_answer_of_upstream(mirror: MirrorClient, upstream: BadUpstream, root: User) -> None:
    assert facts(root)[upstream.url] == "has not answered yet"
    upstream.publish("demo")
    mirror.index_file("demo")
    write_buffers.flush()
    assert facts(root)[upstream.url].startswith(f"answered {timezone.now():%Y-%m-%d}")
    assert notices(root) == {}


def test_failing_upstream_needs_somebody(mirror: MirrorClient, upstream: BadUpstream, root: User) -> None:
    upstream.script_index("demo", bad_upstream.refusal(500))
    mirror.index_file("demo")
    write_buffers.flush()
    assert "it answers with 500" in facts(root)[upstream.url]
    assert f"1 upstream that fails: {upstream.url}" in notices(root)
    upstream.publish("demo2")
    mirror.index_file("demo2")
    write_buffers.flush()
    assert f"1 upstream that fails: {upstream.url}" not in notices(root)


def test_front_page_leads_to_open_incidents(as_root: Client, root: User) -> None:
    for kind in (Incident.Kind.CHANGED, Incident.Kind.FAULT):
        Incident.objects.create(kind=kind, subject="demo", detail="x")
    Incident.objects.create(kind=Incident.Kind.FAULT, subject="old", detail="x", settled_at=timezone.now())
    links = notices(root)
    assert list(links) == [
        "1 open incident of changed checksums in the mirror",
        "1 open incident of failing upstreams",
    ]
    kinds = [[row.kind for row in as_root.get(url).context["cl"].result_list] for url in links.values()]
    assert kinds == [["changed"], ["fault"]]


def test_every_kind_of_incident_is_noticed(root: User) -> None:
    for kind in Incident.Kind:
        Incident.objects.create(kind=kind, subject="demo", detail="x")
    assert len(notices(root)) == len(Incident.Kind)


def test_front_page_tells_share_of_hits(mirror: MirrorClient, upstream: BadUpstream, root: User) -> None:
    metrics.create_shared_counters(1)
    assert facts(root)["Served from the cache"].startswith("no index files requested and no crates requested")
    upstream.publish("demo")
    for _ in range(4):
        mirror.index_file("demo")
    assert facts(root)["Served from the cache"].startswith("75% of 4 index files and no crates requested")


def test_front_page_leads_to_versions_held_back(as_root: Client, root: User, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 7
    for name, day in (("old", "2020-01-01"), ("young", f"{timezone.now():%Y-%m-%d}")):
        line = f'{{"name":"{name}","vers":"1.0.0","cksum":"{"0" * 64}","pubtime":"{day}T00:00:00Z"}}\n'
        index_cache.store(
            f"{name[:2]}/{name[2:4]}/{name}" if len(name) > 3 else f"3/{name[0]}/{name}", URL, line.encode()
        )
    assert facts(root)["Crates with versions held back for their age"] == "1"
    page = as_root.get("/admin/mirror/cachedindexfile/?held_back=age")
    assert [row.name for row in page.context["cl"].result_list] == ["young"]


def test_uncounted_policies_are_named(root: User, settings: Any) -> None:
    settings.MIRROR_MIN_AGE_DAYS = 7
    label = "Crates with versions held back otherwise"
    assert label not in facts(root)
    settings.MIRROR_LICENSES, settings.MIRROR_DENYLIST = ["MIT"], ["evil-*"]
    assert "by licenses, the deny list." in facts(root)[label]


def test_front_page_counts_blocks_and_exemptions(root: User) -> None:
    overrides.create_override(Override.Kind.BLOCKED, "demo", "*", actor=root, reason="It steals.")
    assert (facts(root)["Blocked by staff"], facts(root)["Exempt from policies"]) == ("1", "0")


def test_blocked_crates_have_a_filter(as_root: Client, root: User) -> None:
    for name in ("demo", "open"):
        line = f'{{"name":"{name}","vers":"1.0.0","cksum":"{"0" * 64}"}}\n'
        index_cache.store(f"{name[:2]}/{name[2:4]}/{name}", URL, line.encode())
    overrides.create_override(Override.Kind.BLOCKED, "demo", "*", actor=root, reason="It steals.")
    page = as_root.get("/admin/mirror/cachedindexfile/?held_back=blocked")
    assert [row.name for row in page.context["cl"].result_list] == ["demo"]


def test_whole_front_page_takes_few_queries(as_root: Client, settings: Any) -> None:
    settings.MIRROR_UPSTREAM, settings.MIRROR_MIN_AGE_DAYS = [URL], 7
    auditor = registration.register("auditor", PASSWORD)
    auditor.groups.set(Group.objects.filter(name="auditor"))
    User.objects.filter(pk=auditor.pk).update(is_staff=True)
    for client in (as_root, sign_in_to_admin(auditor)):
        client.get("/admin/")  # sums over large tables are kept for a minute
        with CaptureQueriesContext(connection) as queries:
            page = client.get("/admin/").content.decode()
        assert URL in page
        assert len(queries) < 12, [query["sql"][:90] for query in queries.captured_queries]


def test_health_is_stored_once_a_minute() -> None:
    """Each request of the mirror would otherwise write a row."""
    row = UpstreamHealth(url=URL, answered_at=NOON)
    soon, later = NOON + timedelta(seconds=50), NOON + timedelta(seconds=60)
    assert changed_row(row, URL, Outcome(answered_at=soon)) is None
    assert changed_row(UpstreamHealth(url=URL, answered_at=NOON), URL, Outcome(answered_at=later)) is not None
    failed = changed_row(UpstreamHealth(url=URL, answered_at=NOON), URL, Outcome(failed_at=soon, failure="it hangs"))
    assert (failed is not None and failed.is_failing, failed and failed.failure) == (True, "it hangs")


@pytest.mark.django_db
def test_late_worker_sets_no_time_back() -> None:
    for at in (NOON, NOON - timedelta(hours=1)):
        upstream_health.pending.add({URL: Outcome(answered_at=at)})
        write_buffers.flush()
    assert UpstreamHealth.objects.get().answered_at == NOON
