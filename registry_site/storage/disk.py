"""Blobs in a directory of the local disk."""

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from django.core.files.storage import FileSystemStorage

from registry_site.errors import Lost, Unavailable
from registry_site.logs import log_event
from registry_site.storage import free_space
from registry_site.storage.blobs import CHUNK_SIZE, DAMAGED, LOST, Blob, byte_range


class DiskBlobs(FileSystemStorage):
    """A directory of the local disk. A blob appears under its name only when it is complete and durable."""

    @property
    def incoming(self) -> Path:
        return Path(self.location) / "incoming"

    def create(self, name: str, content: IO[bytes], blob: Blob) -> bool:
        target = Path(self.path(name))
        with translated_failure("store"):
            if target.exists():
                sync_directory(target.parent)  # its writer may not have come to this step, and we promise durability
                return False
            with self.written(content, blob, target.parent) as temporary, suppress(FileExistsError):
                # A link, not a rename: it fails when the target exists, so a blob is never overwritten.
                os.link(temporary, target)
            return True

    def replace(self, name: str, content: IO[bytes], blob: Blob) -> None:
        target = Path(self.path(name))
        with translated_failure("store"), self.written(content, blob, target.parent) as temporary:
            os.replace(temporary, target)

    @contextmanager
    def written(self, content: IO[bytes], blob: Blob, directory: Path) -> Iterator[str]:
        """Yield the path of a durable copy; a name that the block gives it in the directory is made durable, too."""
        for needed in (self.incoming, directory):
            create_directory(needed)
        free_space.require(blob.size, self.incoming)
        descriptor, temporary = tempfile.mkstemp(prefix=f"{blob.sha256}.", dir=self.incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                while chunk := content.read(CHUNK_SIZE):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
            sync_directory(directory)
        finally:
            with suppress(FileNotFoundError):  # it was renamed
                os.unlink(temporary)

    def delete(self, name: str) -> None:
        with translated_failure("delete"):
            super().delete(name)
            # A process that was killed while it stored the same bytes has left a part of them, or all.
            for unfinished in self.incoming.glob(f"{Path(name).name}.*"):
                unfinished.unlink(missing_ok=True)

    def names(self, directory: str) -> Iterator[tuple[str, int]]:
        with translated_failure("list"), suppress(FileNotFoundError):  # as while no blob is there
            for parent in filter(os.DirEntry.is_dir, os.scandir(self.path(directory))):
                for entry in os.scandir(parent.path):
                    with suppress(FileNotFoundError):  # it was deleted just now
                        yield f"{directory}/{parent.name}/{entry.name}", entry.stat().st_size

    def read(self, name: str, blob: Blob, start: int, length: int | None) -> IO[bytes]:
        with translated_failure("read"):
            try:
                file = Path(self.path(name)).open("rb")  # noqa: SIM115 - the caller closes it
            except FileNotFoundError as error:
                raise Lost(LOST) from error
            if os.fstat(file.fileno()).st_size != blob.size:
                file.close()
                raise Lost(DAMAGED)
        return byte_range(file, start, length)

    def require_present(self, name: str, blob: Blob) -> None:
        self.read(name, blob, 0, 0).close()

    def signed_url(self, name: str, filename: str) -> str | None:
        return None

    def local_path(self, name: str, blob: Blob) -> str | None:
        self.require_present(name, blob)  # so that a lost file is reported here, and not by the proxy that sends it
        return str(self.path(name))


@contextmanager
def translated_failure(verb: str) -> Iterator[None]:
    """Turn a failure of the disk into `Unavailable`, with a line of the log."""
    try:
        yield
    except OSError as error:
        log_event("disk.failed", logging.ERROR, step=verb, cause=str(error))
        raise Unavailable(f"The registry cannot {verb} files at present: {error.strerror}.") from error


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
