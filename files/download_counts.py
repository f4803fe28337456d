"""Downloads of files: counted for each file and day, for each client and day, and summed up for each file."""

from typing import Any

from django.dispatch import receiver

from files.models import Client, ClientDownloads, DailyDownloads, File, FileDownloads
from registry_site import download_counts
from registry_site.download_counts import Counts, DownloadCounter, add_to_rows, summed
from registry_site.signals import purge_requested


def store(counts: Counts) -> None:
    """Add downloads by file, client and day to all rows that count them; those of deleted files count no more."""
    files = set(File.objects.filter(pk__in={file for file, _, _ in counts}).values_list("pk", flat=True))
    clients = set(Client.objects.filter(pk__in={client for _, client, _ in counts}).values_list("pk", flat=True))
    present = {key: count for key, count in counts.items() if key[0] in files and key[1] in clients}
    add_to_rows(DailyDownloads, summed(present, lambda file, client, day: (file, day)))
    add_to_rows(ClientDownloads, summed(present, lambda file, client, day: (client, day)))
    add_to_rows(FileDownloads, summed(present, lambda file, client, day: (file,)))


files = DownloadCounter("file", store)


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Merge the downloads of old months."""
    merged = sum(download_counts.merge_months(model) for model in (DailyDownloads, ClientDownloads))
    return f"{merged} days of downloads of files merged into months."
