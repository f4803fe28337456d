"""Counters that transactions keep: right after each change, and mended by a purge."""

from datetime import date

from django.core.management import call_command

from accounts.models import User
from crates import counters as crate_counters
from crates import download_counts, removal
from crates.models import Crate, CrateDownloads, Version
from registry_site import counters
from registry_site.models import CounterShard
from tests.support import packing
from tests.support.cast import CargoClient


def values() -> tuple[int, ...]:
    """Return the numbers of crates, versions and downloads; they are those of the rows."""
    some = (crate_counters.usable_crates, crate_counters.versions, crate_counters.downloads)
    assert [counter.recount() for counter in some] == [0, 0, 0]
    return tuple(counters.read(*some).values())


def download(number: str, count: int) -> None:
    download_counts.store({(Version.with_removed.get(number=number).pk, date.today()): count})


def test_counters_follow_every_change(as_alice: CargoClient, root: User) -> None:
    crate, seen = "/api/v1/crates/demo", [values()]
    for number in ("1.0.0", "2.0.0"):
        as_alice.publish(packing.body("demo", number))
        download(number, 5)
    as_alice.publish(packing.body("other", "3.0.0"))
    seen.append(values())
    as_alice.delete(f"{crate}/1.0.0/yank")
    as_alice.delete(f"{crate}/2.0.0/yank")
    seen.append(values())
    as_alice.put(f"{crate}/1.0.0/unyank")
    removal.remove_version(Version.objects.get(number="2.0.0"), "why", actor=root)
    seen.append(values())
    assert as_alice.delete(crate).status_code == 204
    seen.append(values())
    removal.restore_crate(Crate.with_removed.get(name="demo"), actor=root)
    seen.append(values())
    removal.destroy_version(Version.with_removed.get(number="2.0.0"), "why", actor=root)
    seen.append(values())
    assert seen == [(0, 0, 0), (2, 3, 10), (1, 3, 10), (2, 2, 10), (1, 1, 10), (2, 2, 10), (2, 2, 5)]


def test_failed_publish_counts_nothing(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("demo"))
    assert as_alice.publish(packing.body("demo", toml=packing.manifest("demo", extra="edition = 1"))).status_code != 200
    assert values() == (1, 1, 0)


def test_purge_mends_counters(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("demo"))
    CrateDownloads.objects.update(total=7)
    CounterShard.objects.filter(name="usable crates").delete()
    call_command("purge")
    assert values() == (1, 1, 7)
