"""Downloads of mirrored crates by clients: counted for each version and day, and summed up for version and crate."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import OuterRef
from django.dispatch import receiver

from crates.mirror.models import CrateDownloads, DailyDownloads, VersionDownloads
from registry_site import download_counts
from registry_site.download_counts import Counts, DownloadCounter, add_to_rows, summed
from registry_site.signals import purge_requested


@dataclass(frozen=True)
class DownloadsByDay:
    """Downloads of a mirrored crate on the recent days: of some of its versions, and of all others together."""

    versions: list[tuple[str, date, int]]
    others: list[tuple[date, int]]


def store(counts: Counts) -> None:
    """Add downloads by name, version and day to all rows that count them."""
    add_to_rows(DailyDownloads, counts)
    add_to_rows(VersionDownloads, summed(counts, lambda name, version, day: (name, version)))
    add_to_rows(CrateDownloads, summed(counts, lambda name, version, day: (name,)))


versions = DownloadCounter("mirrored crate", store)


def totals_of_versions(name: str) -> Mapping[str, int]:
    """Return the downloads of the versions of a crate by number; versions without any are left out."""
    return dict(VersionDownloads.objects.filter(name=name.lower()).values_list("version", "total"))


def total_of_version(name: str, version: str) -> int:
    """Return all downloads of a version."""
    rows = VersionDownloads.objects.filter(name=name.lower(), version=version)
    return rows.values_list("total", flat=True).first() or 0


def by_day(name: str, shown: Collection[str]) -> DownloadsByDay:
    """Return the recent downloads of a crate by day: those of the `shown` versions each by itself."""
    rows = DailyDownloads.objects.filter(name=name.lower())
    recent = rows.filter(version__in=shown, day__gt=download_counts.last_day_before_recent())
    return DownloadsByDay(
        versions=list(recent.order_by("day", "version").values_list("version", "day", "count")),
        others=download_counts.by_day(rows.exclude(version__in=shown)),
    )


def by_day_of_version(name: str, version: str) -> list[tuple[date, int]]:
    """Return the recent downloads of a version, by day."""
    return download_counts.by_day(DailyDownloads.objects.filter(name=name.lower(), version=version))


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Take the downloads that are no longer recent out of the totals, and merge those of old months."""
    download_counts.refresh_recent(CrateDownloads, DailyDownloads.objects.filter(name=OuterRef("pk")))
    return f"{download_counts.merge_months(DailyDownloads)} days of downloads of mirrored crates merged into months."
