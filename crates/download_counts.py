"""Downloads of crates: counted for each version and day, and summed up for each version and crate."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import OuterRef, QuerySet, Sum
from django.dispatch import receiver

from crates import counters
from crates.models import Crate, CrateDownloads, DailyDownloads, Version, VersionDownloads
from registry_site import download_counts, semantic_versions
from registry_site.compiled_queries import compiled
from registry_site.download_counts import Counts, DownloadCounter, add_to_parts_and_wholes
from registry_site.signals import purge_requested

SHOWN_VERSIONS = 5  # the highest, of which crates.io shows the downloads of each day


@dataclass(frozen=True)
class DownloadsByDay:
    """Downloads of a crate on the recent days: of each of its highest versions, and of all others together."""

    versions: list[tuple[int, date, int]]  # by primary key
    others: list[tuple[date, int]]


def store(counts: Counts) -> None:
    added = add_to_parts_and_wholes(
        counts, Version.objects.all(), "crate", DailyDownloads, VersionDownloads, CrateDownloads
    )
    counters.downloads.add(added, os.getpid())  # each worker has a shard, or shares it with few


versions = DownloadCounter("crate", store)


def forget(crate: Crate, destroyed: Sequence[Version]) -> None:
    """Delete the downloads of versions in the transaction that destroys them: another publisher may have the name."""
    for model in (DailyDownloads, VersionDownloads):
        model._default_manager.filter(version__in=destroyed).delete()
    # Locked before the sums are read, so that a flush comes before them or after.
    for row in CrateDownloads.objects.filter(pk=crate.pk).select_for_update():
        former, recent = row.total, rows_of(crate).filter(day__gt=download_counts.last_day_before_recent())
        row.total = VersionDownloads.objects.filter(version__crate=crate).aggregate(sum=Sum("total"))["sum"] or 0
        row.recent = recent.aggregate(sum=Sum("count"))["sum"] or 0
        row.save()
        counters.downloads.add(row.total - former, crate.pk)


def totals_of_versions(primary_keys: Iterable[int]) -> Mapping[int, int]:
    """Return the downloads of versions by their primary keys; versions without any are left out."""
    return dict(totals_among(primary_keys))


@compiled
def totals_among(versions: Iterable[int]) -> QuerySet[VersionDownloads, tuple[int, int]]:
    return VersionDownloads.objects.filter(pk__in=versions).values_list("pk", "total")


def rows_of(crate: Crate) -> QuerySet[DailyDownloads]:
    """Return the rows by day of all versions of a crate."""
    return DailyDownloads.objects.filter(version__crate=crate)


def by_day(crate: Crate) -> DownloadsByDay:
    """Return the recent downloads of a crate, by day."""
    numbers = crate.versions.order_by().values_list("number", "pk")
    highest = sorted(numbers, key=lambda row: (semantic_versions.parse(row[0]), row[1]))[-SHOWN_VERSIONS:]
    shown = [pk for _, pk in highest]
    rows = DailyDownloads.objects.filter(version__in=shown, day__gt=download_counts.last_day_before_recent())
    return DownloadsByDay(
        versions=list(rows.order_by("day", "version").values_list("version", "day", "count")),
        others=download_counts.by_day(rows_of(crate).exclude(version__in=shown)),
    )


def by_day_of_version(version: Version) -> list[tuple[date, int]]:
    """Return the recent downloads of a version, by day."""
    return download_counts.by_day(DailyDownloads.objects.filter(version=version))


def by_month(crate: Crate) -> list[tuple[date, int]]:
    """Return the downloads of a crate in each month that has any, by its first day."""
    return download_counts.by_month(rows_of(crate))


def most_in_a_month(crate: Crate) -> int:
    """Return the downloads of a crate in the month that has most."""
    return max((count for _, count in by_month(crate)), default=0)


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Take the downloads that are no longer recent out of the totals, and merge those of old months."""
    download_counts.refresh_recent(CrateDownloads, DailyDownloads.objects.filter(version__crate=OuterRef("pk")))
    return f"{download_counts.merge_months(DailyDownloads)} days of downloads of crates merged into months."
