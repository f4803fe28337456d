"""Blobs in a directory of the local disk."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from django.core.files.storage import FileSystemStorage

from registry_site.errors import NotFound, Unavailable
from registry_site.storage import free_space
from registry_site.storage.blobs import CHUNK_SIZE, LOST, Blob, byte_range


class DiskBlobs(FileSystemStorage):
    """A directory of the local disk. A blob appears under its name only when it is complete and durable."""

    @property
    def incoming(self) -> Path:
        return Path(self.location) / "incoming"

    def create(self, name: str, content: IO[bytes], blob: Blob) -> None:
        try:
            self._create(Path(self.path(name)), content, blob.size)
        except OSError as error:
            raise Unavailable(f"The registry cannot store files at present: {error.strerror}.") from error

    def _create(self, target: Path, content: IO[bytes], size: int) -> None:
        if target.exists():
            sync_directory(target.parent)  # its writer may not have come to this step yet, and we promise durability
            return
        for directory in (self.incoming, target.parent):
            create_directory(directory)
        free_space.require(size, self.incoming)
        descriptor, temporary = tempfile.mkstemp(dir=self.incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                while chunk := content.read(CHUNK_SIZE):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            # A link, not a rename: it fails when the target exists, so a blob is never overwritten.
            with suppress(FileExistsError):
                os.link(temporary, target)
            sync_directory(target.parent)
        finally:
            os.unlink(temporary)

    def read(self, name: str, start: int, length: int | None) -> IO[bytes]:
        try:
            file = Path(self.path(name)).open("rb")  # noqa: SIM115 - the caller closes it
        except FileNotFoundError as error:
            raise NotFound(LOST) from error
        except OSError as error:
            raise Unavailable(f"The registry cannot read its files at present: {error.strerror}.") from error
        return byte_range(file, start, length)

    def signed_url(self, name: str, filename: str) -> str | None:
        return None

    def local_path(self, name: str) -> str | None:
        self.read(name, 0, 0).close()  # so that a lost file is reported here, and not by the proxy that sends it
        return str(self.path(name))


def create_directory(directory: Path) -> None:
    """Create a directory and its parents durably: each new entry is synced to its parent."""
    if directory.exists():
        return
    create_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable; fsync(2) of a file does not do that."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
