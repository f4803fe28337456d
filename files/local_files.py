"""Files on the server's own disk, read only beneath `REGISTRY_FILE_ROOTS` and never through a link.

Each part of a path is opened inside the directory that was opened before it. So no link that somebody puts in its way,
before or after the file is registered, leads out of the root. A root itself may be a link: the operator has named it.
A file with several hard links is refused: another one can be a secret outside of the root.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO
from urllib.parse import unquote

from django.conf import settings

from files.names import MAX_PATH_BYTES
from registry_site.errors import Conflict, Invalid, NotFound, Unavailable
from registry_site.storage import blobs

OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # NONBLOCK: opening a pipe would wait
NO_FILE_ERRORS = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,  # a link
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ENXIO,  # a socket
    errno.EINVAL,
}
MAX_BIGINT = 2**63 - 1
NO_ROOTS = "This registry has no directories to register files from (REGISTRY_FILE_ROOTS); upload the file instead."
FILE_GONE = "File does not exist."
SEVERAL_LINKS = "The file has several hard links, and another one can be outside of the roots: register a copy of it."


class FileChanged(Conflict):
    """The file is not the one that was registered: it has another size or time of change."""

    default_code = "changed"


class _NotRegularFile(Exception):
    """The path leads to nothing, a link, a directory, a device, or a file that this process may not read.

    A message is for the client.
    """


@dataclass(frozen=True)
class LocalFile:
    """A regular file beneath a root: its size in bytes, its time of change in nanoseconds since 1970."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def from_handle(cls, handle: int, path: str) -> "LocalFile":
        status = os.fstat(handle)
        # A file system can hold times that the column of the database cannot.
        return cls(path, status.st_size, max(-MAX_BIGINT, min(status.st_mtime_ns, MAX_BIGINT)))

    @property
    def etag(self) -> str:
        path_digest = hashlib.sha256(self.path.encode()).hexdigest()[:16]
        return f'"{self.size:x}-{self.mtime_ns:x}-{path_digest}"'

    def read(self, start: int = 0, length: int | None = None) -> IO[bytes]:
        return blobs.byte_range(open_unchanged(self), start, self.size - start if length is None else length)

    def url(self, filename: str) -> None:
        return None

    def require_present(self) -> None:
        open_unchanged(self).close()

    def local_path(self) -> str:
        self.require_present()
        return self.path


def get_local_file(path: str, allowed: Iterable[str] | None = None) -> LocalFile:
    """Return the file at an absolute path beneath a root, and beneath an `allowed` directory unless that is None.

    Raises `Invalid`, and `Unavailable` when the disk fails.
    """
    if not settings.FILE_ROOTS:
        raise Invalid(NO_ROOTS)
    try:
        return _get_local_file(path, allowed)
    except Invalid:
        # Some clients encode the path twice: the original registry decodes it once more than HTTP does.
        if not re.search("%[0-9A-Fa-f]{2}", path):
            raise
        return _get_local_file(unquote(path), allowed)


def _get_local_file(path: str, allowed: Iterable[str] | None) -> LocalFile:
    directories = settings.FILE_ROOTS if allowed is None else list(allowed)
    root = _root_of(path)
    if root is None or not is_beneath(path, directories):
        raise Invalid(f"{path[:MAX_PATH_BYTES]} does not fall under {', '.join(directories)} hierarchy.")
    if len(path.encode()) > MAX_PATH_BYTES:
        raise Invalid(f"`path` is longer than {MAX_PATH_BYTES} bytes.")
    try:
        handle = _open_beneath(root, path)
    except _NotRegularFile as error:
        raise Invalid(str(error) or f"No file at path {path}") from error
    try:
        return LocalFile.from_handle(handle, path)
    finally:
        os.close(handle)


def open_unchanged(file: LocalFile) -> IO[bytes]:
    """Open a registered file; raise `NotFound`, `FileChanged` and `Unavailable`."""
    root = _root_of(file.path)
    if root is None:  # the setting has changed since
        raise NotFound(FILE_GONE)
    try:
        handle = _open_beneath(root, file.path)
    except _NotRegularFile as error:
        raise NotFound(str(error) or FILE_GONE) from error
    # Compared after opening: a comparison before it could be of another file.
    if LocalFile.from_handle(handle, file.path) != file:
        os.close(handle)
        raise FileChanged(
            "The file has changed since it was registered; a client that may write has to update its entry."
        )
    return os.fdopen(handle, "rb")


def is_beneath(path: str, directories: Iterable[str]) -> bool:
    """Return whether a path leads below one of the directories."""
    return any(_parts_beneath(directory, path) for directory in directories)


def join_directories(directories: Iterable[str]) -> str:
    """Return directories as a client's row stores them, one per line; raise `Invalid` for one beneath no root."""
    normalized = [directory.rstrip("/") or directory for directory in directories]
    for directory in normalized:
        if directory not in settings.FILE_ROOTS and _root_of(directory) is None:
            raise Invalid(
                f"{directory!r} is not beneath REGISTRY_FILE_ROOTS ({', '.join(settings.FILE_ROOTS) or 'none'})."
            )
    return "\n".join(normalized)


def _parts_beneath(directory: str, path: str) -> list[str]:
    """Return the parts of a path below a directory; none if it is not below, or not in its plainest form."""
    prefix = directory.rstrip("/") + "/"
    parts = path.removeprefix(prefix).split("/") if path.startswith(prefix) else []
    return parts if {"", ".", ".."}.isdisjoint(parts) and "\0" not in path else []


def _root_of(path: str) -> str | None:
    """Return the innermost root above a path: a root inside another root may be a link."""
    return max((root for root in settings.FILE_ROOTS if _parts_beneath(root, path)), key=len, default=None)


def _open_beneath(root: str, path: str) -> int:
    """Open a regular file with one hard link, and return its handle; raise `_NotRegularFile` and `Unavailable`."""
    *directories, name = _parts_beneath(root, path)
    try:
        parent = os.open(root, OPEN_DIRECTORY & ~os.O_NOFOLLOW)
        for directory in directories:
            try:
                child = os.open(directory, OPEN_DIRECTORY, dir_fd=parent)
            finally:
                os.close(parent)
            parent = child
        try:
            # Looked at before it is opened: opening a device can have an effect, such as rewinding a tape.
            if not stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                raise _NotRegularFile
            handle = os.open(name, OPEN_FILE, dir_fd=parent)
        finally:
            os.close(parent)
    except OSError as error:
        if error.errno in NO_FILE_ERRORS:
            raise _NotRegularFile from error
        raise Unavailable(f"The registry cannot read this file at present: {error.strerror}.") from error
    status = os.fstat(handle)
    if not stat.S_ISREG(status.st_mode):  # replaced since the check above
        os.close(handle)
        raise _NotRegularFile
    if status.st_nlink > 1:
        os.close(handle)
        raise _NotRegularFile(SEVERAL_LINKS)
    return handle
