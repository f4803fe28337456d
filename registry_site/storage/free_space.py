"""Free space on the local disk: uploads leave a reserve, so that the database can go on writing."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadhandler import TemporaryFileUploadHandler

from registry_site.errors import Unavailable

MAX_BYTES_IN_MEMORY = 1024 * 1024  # a larger file goes to disk while it is received
RETRY_AFTER_SECONDS = 60


def require(size: int, directory: Path) -> None:
    """Require room for `size` bytes in a directory, above `REGISTRY_MIN_FREE_SPACE`; raises `Unavailable`."""
    try:
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise Unavailable(f"The registry cannot store files at present: {error.strerror}.") from error
    if free - size < settings.MIN_FREE_SPACE:
        raise Unavailable(
            "The registry has too little free space to take this at present; its operator has to make room.",
            RETRY_AFTER_SECONDS,
        )


class TemporaryFile(tempfile.SpooledTemporaryFile[bytes]):
    """A file for incoming bytes, in memory at first and then in the directory for uploads.

    A write raises `Unavailable` when the disk fails or has no room. Other uploads fill the disk meanwhile, so each
    write looks again.
    """

    def __init__(self) -> None:
        super().__init__(MAX_BYTES_IN_MEMORY, dir=str(settings.FILE_UPLOAD_TEMP_DIR))

    def write(self, data: Any) -> int:
        require(len(data), settings.FILE_UPLOAD_TEMP_DIR)
        try:
            return super().write(data)
        except OSError as error:
            raise Unavailable(f"The registry cannot take the upload at present: {error.strerror}.") from error


class UploadHandler(TemporaryFileUploadHandler):
    """Django's handler for the files of a form, with the same look at the disk before each write."""

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        require(len(raw_data), settings.FILE_UPLOAD_TEMP_DIR)
        super().receive_data_chunk(raw_data, start)
