"""Downloads of packages: counted for each release and day, and summed up for each release and package."""

from typing import Any

from django.db.models import OuterRef
from django.dispatch import receiver

from packages.models import DailyDownloads, PackageDownloads, Release, ReleaseDownloads
from registry_site import download_counts
from registry_site.download_counts import Counts, DownloadCounter, add_to_parts_and_wholes
from registry_site.signals import purge_requested


def store(counts: Counts) -> None:
    add_to_parts_and_wholes(
        counts, Release.objects.all(), "package", DailyDownloads, ReleaseDownloads, PackageDownloads
    )


releases = DownloadCounter("package", store)


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Take the downloads that are no longer recent out of the totals, and merge those of old months."""
    download_counts.refresh_recent(PackageDownloads, DailyDownloads.objects.filter(release__package=OuterRef("pk")))
    return f"{download_counts.merge_months(DailyDownloads)} days of downloads of packages merged into months."
