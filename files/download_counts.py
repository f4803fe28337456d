"""Downloads of files: counted for each file and day, and summed up for each file."""

from typing import Any

from django.dispatch import receiver

from files.models import DailyDownloads, File, FileDownloads
from registry_site import download_counts
from registry_site.download_counts import Counts, DownloadCounter, add_to_rows, summed
from registry_site.signals import purge_requested


def store(counts: Counts) -> None:
    """Add downloads by file and day to all rows that count them; those of deleted files count no more."""
    present = set(File.objects.filter(pk__in={pk for pk, _ in counts}).values_list("pk", flat=True))
    by_day = {(pk, day): count for (pk, day), count in counts.items() if pk in present}
    add_to_rows(DailyDownloads, by_day)
    add_to_rows(FileDownloads, summed(by_day, lambda pk, day: (pk,)))


files = DownloadCounter("file", store)


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Merge the downloads of old months."""
    return f"{download_counts.merge_months(DailyDownloads)} days of downloads of files merged into months."
