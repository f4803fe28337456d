"""A content-addressed, create-only, durable store of bytes over Django's storages: the local disk, or S3.

A blob's name is the SHA-256 of its bytes, so the same bytes are kept once and no writer can overwrite another.
Rows decide what exists: a blob without a row is never served, and may be left behind by a publish that failed.
"""

import hashlib
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, cast

from django.core.files.storage import FileSystemStorage, storages

from registry_site.errors import NotFound, Unavailable

CHUNK = 64 * 1024
LOST = "The registry has lost the bytes of this file; please tell its operator."


@dataclass(frozen=True)
class Blob:
    """`sha256` in lower-case hex, `size` in bytes; `store` is the alias of the storage that has it."""

    sha256: str
    size: int
    store: str = "blobs"

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    def read(self, start: int = 0, length: int | None = None) -> IO[bytes]:
        return open(self.sha256, start, length, store=self.store)

    def url(self, filename: str) -> str | None:
        """A short-lived URL where the client gets the bytes itself, where the storage is set up to give one."""
        return _backend(self.store).signed_url(_name(self.sha256), filename)

    def local_path(self) -> str | None:
        """The path on the local disk, if it is there; raises `NotFound` when it should be."""
        return _backend(self.store).local_path(_name(self.sha256))


class Backend(Protocol):
    """What a storage offers as a store of blobs."""

    def create(self, name: str, content: IO[bytes], blob: Blob) -> None: ...
    def read(self, name: str, start: int, length: int | None) -> IO[bytes]: ...
    def signed_url(self, name: str, filename: str) -> str | None: ...
    def local_path(self, name: str) -> str | None: ...
    def delete(self, name: str) -> None: ...


def put(content: IO[bytes], *, store: str = "blobs") -> Blob:
    """Keep all bytes of a seekable stream; on return they are durable. The same bytes again change nothing.

    Raises `Unavailable` when the disk is full or the storage does not answer; nothing partial stays behind.
    """
    blob = Blob(sha256_of(content), content.tell(), store)
    content.seek(0)
    _backend(store).create(_name(blob.sha256), content, blob)
    return blob


def sha256_of(content: IO[bytes]) -> str:
    """Of all bytes of a seekable stream, which is at its end then."""
    content.seek(0)
    return sha256_of_stream(content)


def sha256_of_stream(content: IO[bytes]) -> str:
    """Of what comes from where the stream is."""
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def open(sha256: str, start: int = 0, length: int | None = None, *, store: str = "blobs") -> IO[bytes]:
    """The bytes from `start`, at most `length` of them, as a binary stream for the caller to close.

    Raises `NotFound` when no such blob is kept and `Unavailable` when the storage does not answer.
    """
    return _backend(store).read(_name(sha256), start, length)


def part(file: IO[bytes], start: int, length: int | None) -> IO[bytes]:
    """The bytes of an open file from `start` on, at most `length` of them."""
    file.seek(start)
    return file if length is None else cast(IO[bytes], _Slice(file, length))


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """The bytes of an open file, piece by piece; closes it at the end."""
    try:
        while chunk := file.read(CHUNK):
            yield chunk
    finally:
        file.close()


def delete(blob: Blob) -> None:
    """Only of a store whose bytes can be had again elsewhere; whoever deletes sees to it that no row wants them."""
    _backend(blob.store).delete(_name(blob.sha256))


def _backend(store: str) -> Backend:
    return cast(Backend, storages[store])


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"


class _Slice(io.RawIOBase):
    """The next `length` bytes of an open file."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self.file = file
        self.left = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(min(len(buffer), self.left))
        if not data and self.left and len(buffer):
            raise OSError("The file has become shorter.")  # what was announced cannot be sent any more
        buffer[: len(data)] = data
        self.left -= len(data)
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()


class DiskBlobs(FileSystemStorage):
    """A directory of the local disk; a blob stands at its name only when it is whole and on the platter."""

    @property
    def incoming(self) -> Path:
        return Path(self.location) / "incoming"

    def create(self, name: str, content: IO[bytes], blob: Blob) -> None:
        try:
            self._create(Path(self.path(name)), content)
        except OSError as error:
            raise Unavailable(f"The registry cannot store files at present: {error.strerror}.") from error

    def _create(self, target: Path, content: IO[bytes]) -> None:
        if target.exists():
            _sync_directory(target.parent)  # whoever put it there may not have come so far
            return
        for directory in (self.incoming, target.parent):
            _make_directory(directory)
        handle, temporary = tempfile.mkstemp(dir=self.incoming)
        try:
            with os.fdopen(handle, "wb") as file:
                while chunk := content.read(CHUNK):
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):  # another one was first with the same bytes
                os.link(temporary, target)
            _sync_directory(target.parent)
        finally:
            os.unlink(temporary)

    def read(self, name: str, start: int, length: int | None) -> IO[bytes]:
        try:
            file = Path(self.path(name)).open("rb")  # noqa: SIM115 - the caller closes it
        except FileNotFoundError as error:
            raise NotFound(LOST) from error
        except OSError as error:
            raise Unavailable(f"The registry cannot read its files at present: {error.strerror}.") from error
        return part(file, start, length)

    def signed_url(self, name: str, filename: str) -> str | None:
        return None

    def local_path(self, name: str) -> str | None:
        self.read(name, 0, 0).close()
        return str(self.path(name))


def _make_directory(directory: Path) -> None:
    if directory.exists():
        return
    _make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
