"""Downloads of files: counted for each file and day, for each client and day, and summed up for each file.

Of each client the files that it fetched last are known, too: a row for each client and file would be without end.
"""

from datetime import UTC, date, datetime, time
from typing import Any

from django.db.models import Window
from django.db.models.functions import RowNumber
from django.dispatch import receiver
from django.utils import timezone

from files.models import Client, ClientDownloads, DailyDownloads, FetchedFile, File, FileDownloads
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
    note_fetched(present)


def note_fetched(counts: Counts) -> None:
    """Note which files clients have fetched, and keep only the newest of each client.

    The rows of `ClientDownloads`, which the same transaction has changed before, keep two workers from changing those
    of one client at the same time.
    """
    latest: dict[tuple[int, int], date] = {}
    for file, client, day in counts:
        latest[file, client] = max(day, latest.get((file, client), day))
    FetchedFile.objects.bulk_create(
        [FetchedFile(file_id=key[0], client_id=key[1], fetched_at=moment_of(latest[key])) for key in sorted(latest)],
        update_conflicts=True,
        unique_fields=["file", "client"],
        update_fields=["fetched_at"],
    )
    rank = Window(RowNumber(), partition_by="client", order_by=["-fetched_at", "-pk"])
    of_clients = FetchedFile.objects.filter(client__in={client for _, client in latest}).order_by()
    surplus = of_clients.annotate(rank=rank).filter(rank__gt=FetchedFile.MAX_OF_CLIENT)
    FetchedFile.objects.filter(pk__in=surplus.values("pk")).delete()


def moment_of(day: date) -> datetime:
    """Return when a download of a day was: some seconds ago, or on that day if it could not be stored until today."""
    return min(timezone.now(), datetime.combine(day, time.max, UTC))


files = DownloadCounter("file", store)


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Merge the downloads of old months."""
    merged = sum(download_counts.merge_months(model) for model in (DailyDownloads, ClientDownloads))
    return f"{merged} days of downloads of files merged into months."
