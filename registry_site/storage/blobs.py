"""A content-addressed, create-only, durable store of bytes over Django's storages: the local disk, or S3.

A blob's name is the SHA-256 of its bytes, so the same bytes are stored once and no writer can overwrite another.
Rows decide what exists: a blob without a row is never served. A publish that failed may leave one behind, which
`stored_blobs` deletes.
"""

import hashlib
import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Protocol, cast

from django.core.files.storage import storages

from registry_site.errors import Lost
from registry_site.logs import log_event

CHUNK_SIZE = 64 * 1024  # bytes
LOST = "The registry has lost the bytes of this file; please tell its operator."
DAMAGED = "The registry has damaged bytes of this file; please tell its operator."


@dataclass(frozen=True)
class Blob:
    """`sha256` in lower-case hex, `size` in bytes; `store` is the alias of its storage in `STORAGES`."""

    sha256: str
    size: int
    store: str = "blobs"

    @property
    def etag(self) -> str:
        return f'"{self.sha256}"'

    def read(self, start: int = 0, length: int | None = None) -> IO[bytes]:
        """Open the bytes from `start`, at most `length` of them, as a binary stream for the caller to close.

        Raises `Lost` when there is no such blob, or one of another size, and `Unavailable` when the storage does not
        answer.
        """
        with logged_loss(self.sha256, self.store):
            return _backend(self.store).read(_name(self.sha256), self, start, length)

    def require_present(self) -> None:
        """Raise `Lost` if the storage does not have the bytes, and `Unavailable` when it does not answer."""
        with logged_loss(self.sha256, self.store):
            _backend(self.store).require_present(_name(self.sha256), self)

    def url(self, filename: str) -> str | None:
        """Return a short-lived URL for clients to fetch the bytes; None when the storage gives none."""
        return _backend(self.store).signed_url(_name(self.sha256), filename)

    def local_path(self) -> str | None:
        """Return the path on the local disk; None for other storages. Raises `Lost`."""
        with logged_loss(self.sha256, self.store):
            return _backend(self.store).local_path(_name(self.sha256), self)


class Backend(Protocol):
    """The methods that a storage needs to hold blobs."""

    def create(self, name: str, content: IO[bytes], blob: Blob) -> bool:
        """Return False if there is a blob of this name, which is left as it is."""
        ...

    def replace(self, name: str, content: IO[bytes], blob: Blob) -> None: ...
    def require_present(self, name: str, blob: Blob) -> None: ...
    def read(self, name: str, blob: Blob, start: int, length: int | None) -> IO[bytes]: ...
    def signed_url(self, name: str, filename: str) -> str | None: ...
    def local_path(self, name: str, blob: Blob) -> str | None: ...
    def delete(self, name: str) -> None: ...
    def names(self, directory: str) -> Iterator[tuple[str, int]]:
        """Yield the names of all blobs in a directory of the first level, and their sizes."""
        ...


def put(content: IO[bytes], *, store: str = "blobs") -> Blob:
    """Store all bytes of a seekable stream; on return they are durable.

    The same bytes again change nothing, unless those in the storage are damaged: then they are replaced.
    Raises `Unavailable` when the disk is full or the storage does not answer; nothing partial stays behind.
    """
    blob = identify(content, alias=store)
    write(blob, content)
    return blob


def identify(content: IO[bytes], *, alias: str = "blobs") -> Blob:
    """Return the blob that the bytes of a seekable stream make, which need not be stored."""
    return Blob(sha256_of(content), content.tell(), alias)


def write(blob: Blob, content: IO[bytes]) -> None:
    """Store the bytes of a blob that was made of them; raises as `put`."""
    content.seek(0)
    if not _backend(blob.store).create(_name(blob.sha256), content, blob) and not is_intact(blob):
        log_event("blob.mended", logging.ERROR, store=blob.store, sha256=blob.sha256)
        content.seek(0)
        _backend(blob.store).replace(_name(blob.sha256), content, blob)


def stored(prefix: str, *, store: str = "blobs") -> Iterator[Blob]:
    """Yield the stored blobs whose SHA-256 begins with two hexadecimal digits. Raises `Unavailable`."""
    for name, size in _backend(store).names(prefix):
        sha256 = name.rpartition("/")[2]
        if re.fullmatch("[0-9a-f]{64}", sha256) and name == _name(sha256):
            yield Blob(sha256, size, store)


def is_intact(blob: Blob) -> bool:
    """Read all bytes of a blob and compare them with its name. Raises `Unavailable`."""
    try:
        with blob.read() as content:
            return sha256_of_stream(content) == blob.sha256
    except Lost:
        return False


def sha256_of(content: IO[bytes]) -> str:
    """Hash all bytes of a seekable stream, and leave it at its end."""
    content.seek(0)
    return sha256_of_stream(content)


def sha256_of_stream(content: IO[bytes]) -> str:
    """Hash the bytes of a stream from its present position on."""
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK_SIZE):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def logged_loss(sha256: str, store: str) -> Iterator[None]:
    """Log a blob that the storage does not have whole: a row says that it should."""
    try:
        yield
    except Lost as error:
        log_event("blob.lost", logging.ERROR, store=store, sha256=sha256, cause=error.message)
        raise


def byte_range(file: IO[bytes], start: int, length: int | None) -> IO[bytes]:
    """Limit an open file to the bytes from `start`, at most `length` of them."""
    file.seek(start)
    return file if length is None else cast(IO[bytes], _ByteRange(file, length))


def iter_chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the bytes of an open file in chunks, and close it at the end."""
    try:
        while chunk := file.read(CHUNK_SIZE):
            yield chunk
    finally:
        file.close()


def delete(blob: Blob) -> None:
    """Delete the bytes. The caller makes sure that no row needs them and that they can be fetched again elsewhere.

    Raises `Unavailable`.
    """
    _backend(blob.store).delete(_name(blob.sha256))


def try_out(store: str) -> None:
    """Store and read an empty blob, which no row needs. Raises `Unavailable`, and `Lost` for bytes that do not last."""
    put(io.BytesIO(), store=store).read().close()


def _backend(store: str) -> Backend:
    return cast(Backend, storages[store])


def _name(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256[2:4]}/{sha256}"  # two levels, so that no directory gets too large


class _ByteRange(io.RawIOBase):
    """The next `length` bytes of an open file."""

    def __init__(self, file: IO[bytes], length: int) -> None:
        self.file = file
        self.remaining = length

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(min(len(buffer), self.remaining))
        if not data and self.remaining and len(buffer):
            # The Content-Length has been sent by now: only a broken connection tells the client.
            raise OSError(f"{self.file.name} has become shorter.")
        buffer[: len(data)] = data
        self.remaining -= len(data)
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()
