"""What a process that was killed leaves on the disk: bodies that had begun to come in, blobs that were not finished."""

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.storage import storages
from django.dispatch import receiver

from registry_site.maintenance import purge_requested

SECONDS = 24 * 3600  # no request takes so long


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Temporary files of a day ago."""
    deleted = 0
    for path in _temporary():
        with suppress(FileNotFoundError):  # finished meanwhile
            if path.is_file() and path.stat().st_mtime < time.time() - SECONDS:
                path.unlink()
                deleted += 1
    return f"{deleted} unfinished files deleted."


def _temporary() -> Iterator[Path]:
    stores = [getattr(storages[store], "incoming", None) for store in ("blobs", "mirror")]
    places = (settings.FILE_UPLOAD_TEMP_DIR, *stores)
    for place in places:
        yield from place.iterdir() if place and place.is_dir() else ()
