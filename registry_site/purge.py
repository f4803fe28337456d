"""The purge of the ground floor: unfinished files of killed processes, and the statistics of SQLite."""

import time
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.files.storage import storages
from django.db import connection, transaction
from django.dispatch import receiver

from registry_site.signals import purge_requested

UNFINISHED_SECONDS = 24 * 3600  # no request takes so long


@receiver(purge_requested)
def delete_unfinished_files(**kwargs: Any) -> str:
    """Delete temporary files, older than a day, of processes that were killed: half an upload, half a blob."""
    directories = [getattr(storages[store], "incoming", None) for store in ("blobs", "mirror")]
    deleted = 0
    for directory in (settings.FILE_UPLOAD_TEMP_DIR, *directories):
        for path in directory.iterdir() if directory and directory.is_dir() else ():
            with suppress(FileNotFoundError):  # its process has finished meanwhile
                if path.is_file() and path.stat().st_mtime < time.time() - UNFINISHED_SECONDS:
                    path.unlink()
                    deleted += 1
    return f"{deleted} unfinished files deleted."


@receiver(purge_requested)
def refresh_statistics(**kwargs: Any) -> str:
    """Refresh the statistics by which SQLite chooses an index. PostgreSQL does that itself."""
    if connection.vendor == "sqlite":
        # In a transaction that waits for the lock at its begin: a writer in between would make the statement fail.
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("PRAGMA analysis_limit = 1000")  # rows of each index: it takes milliseconds, not minutes
            cursor.execute("PRAGMA optimize(0x10002)")  # all tables, also those that this connection has not queried
    return "Statistics are up to date."
