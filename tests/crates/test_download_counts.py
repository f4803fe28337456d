"""Downloads of crates, ours and mirrored ones: counted, summed up, forgotten in time."""

from datetime import date, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from crates import counters, download_counts
from crates.mirror import download_counts as mirror_counts
from crates.mirror import models as mirror_models
from crates.models import Crate, CrateDownloads, DailyDownloads, Version, VersionDownloads
from registry_site.download_counts import today
from registry_site.signals import purge_requested
from registry_site.write_buffers import flush
from tests.support import packing
from tests.support.bad_upstream import BadUpstream
from tests.support.cast import CargoClient
from tests.support.mirror_client import MirrorClient


def days_ago(days: int) -> date:
    return today() - timedelta(days=days)


def version(number: str) -> Version:
    return Version.objects.get(number=number)


@pytest.fixture
def demo(as_alice: CargoClient) -> Crate:
    """A crate with seven versions, which are not published in their order."""
    for number in ("1.10.0", "1.2.0", "1.0.0", "1.3.0-rc.1", "1.3.0", "0.9.0", "1.4.0"):
        as_alice.publish(packing.body(version=number))
    return Crate.objects.get()


def test_download_reads_and_only_reads(as_alice: CargoClient, anonymous: CargoClient) -> None:
    as_alice.publish(packing.body())
    paths = ("/dl/demo/1.0.0/download", "/dl/Demo/1.0.0/download")
    for path in paths:
        with CaptureQueriesContext(connection) as queries:
            anonymous.get(path).getvalue()
        statements = [query["sql"].split()[0] for query in queries.captured_queries]
        assert (path, set(statements)) == (path, {"SELECT"})
    flush()
    assert CrateDownloads.objects.get().total == VersionDownloads.objects.get().total == len(paths)
    assert list(DailyDownloads.objects.values_list("version__number", "day", "count")) == [
        ("1.0.0", today(), len(paths))
    ]


def test_new_crate_has_no_downloads(demo: Crate) -> None:
    assert (demo.downloads.total, demo.downloads.recent) == (0, 0)
    assert counters.downloads.value() == download_counts.most_in_a_month(demo) == 0


def test_deleted_version_does_not_stop_the_others(demo: Crate) -> None:
    gone, present = version("0.9.0"), version("1.0.0")
    for pk in (gone.pk, present.pk, gone.pk):
        download_counts.versions.count(pk)
    gone.delete()
    flush()
    assert not download_counts.versions.pending
    assert download_counts.totals_of_versions([gone.pk, present.pk]) == {present.pk: 1}
    present.delete()
    assert not DailyDownloads.objects.exists()
    assert CrateDownloads.objects.get().total == counters.downloads.value() == 1


def test_days_of_highest_versions_are_shown(demo: Crate) -> None:
    numbers = ("1.10.0", "1.2.0", "1.0.0", "1.3.0-rc.1", "1.3.0", "0.9.0", "1.4.0")
    download_counts.store({(version(number).pk, days_ago(1)): 2 for number in numbers})
    download_counts.store({(version("1.10.0").pk, days_ago(89)): 3, (version("1.10.0").pk, days_ago(90)): 5})
    by_day = download_counts.by_day(demo)
    shown = ("1.10.0", "1.2.0", "1.3.0-rc.1", "1.3.0", "1.4.0")
    assert by_day.versions == [
        (version("1.10.0").pk, days_ago(89), 3),
        *((pk, days_ago(1), 2) for pk in sorted(version(number).pk for number in shown)),
    ]
    assert by_day.others == [(days_ago(1), 4)]
    assert download_counts.by_day_of_version(version("1.10.0")) == [(days_ago(89), 3), (days_ago(1), 2)]


def test_purge_keeps_totals_and_months(demo: Crate) -> None:
    first, second = version("1.0.0").pk, version("1.2.0").pk
    download_counts.store({(first, date(2020, 2, day)): 10 for day in range(1, 30)})
    download_counts.store({(second, date(2020, 2, 29)): 7, (second, date(2020, 3, 31)): 300})
    download_counts.store({(first, days_ago(90)): 40, (first, days_ago(89)): 2, (second, today()): 1})
    expected = download_counts.by_month(demo)
    assert expected[:2] == [(date(2020, 2, 1), 297), (date(2020, 3, 1), 300)]
    for _ in range(2):
        purge_requested.send(sender=None)
        assert download_counts.by_month(demo) == expected
        assert download_counts.most_in_a_month(demo) == 300
        demo.downloads.refresh_from_db()
        assert (demo.downloads.total, demo.downloads.recent) == (640, 3)
        old = DailyDownloads.objects.filter(day__year=2020).order_by("day", "-count")
        assert list(old.values_list("version", "day", "count")) == [
            (first, date(2020, 2, 1), 290),
            (second, date(2020, 2, 1), 7),
            (second, date(2020, 3, 1), 300),
        ]
    assert DailyDownloads.objects.filter(day__gte=days_ago(89)).count() == 2


def test_mirror_counts_what_clients_got(upstream: BadUpstream, mirror: MirrorClient) -> None:
    upstream.publish("demo", b"bytes")
    assert mirror.crate("demo", "2.0.0").status_code == 404
    for headers in ({}, {"Range": "bytes=0-1"}, {"Range": "bytes=2-"}, {}):
        assert mirror.crate(**headers).status_code in (200, 206)
    with CaptureQueriesContext(connection) as queries:
        mirror.crate()
    assert {query["sql"].split()[0] for query in queries.captured_queries} == {"SELECT"}
    flush()
    assert mirror_counts.totals_of_versions("Demo") == {"1.0.0": 4}


def test_mirrored_counts_outlive_the_file(mirror: MirrorClient) -> None:
    counts = {("demo", number, days_ago(day)): 1 for number in ("1.0.0", "2.0.0") for day in (0, 89, 90, 400)}
    mirror_counts.store(counts)
    by_day = mirror_counts.by_day("Demo", ["2.0.0"])
    assert by_day.versions == [("2.0.0", days_ago(89), 1), ("2.0.0", today(), 1)]
    assert by_day.others == mirror_counts.by_day_of_version("demo", "1.0.0") == [(days_ago(89), 1), (today(), 1)]
    purge_requested.send(sender=None)
    total = mirror_models.CrateDownloads.objects.get()
    assert (total.name, total.total, total.recent) == ("demo", 8, 4)


def test_admin_shows_downloads_of_crates(demo: Crate, as_root: Client) -> None:
    download_counts.store({(version("1.0.0").pk, today()): 4711})
    for path in ("/admin/crates/crate/", "/admin/crates/crate/?o=-7", "/admin/crates/version/"):
        page: Any = as_root.get(path)
        assert (path, page.status_code, "4711" in page.content.decode()) == (path, 200, True)
