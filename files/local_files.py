"""Files on the server's own disk, only beneath `REGISTRY_FILE_ROOTS`, and never through a link.

A path is walked part by part, each opened in the directory that was opened before it; so nothing that is swapped on the
way, before or after a file was registered, leads out. A root itself may be a link: the operator has named it.
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

from files.names import LONGEST_PATH
from registry_site.errors import Conflict, Invalid, NotFound, Unavailable
from registry_site.storage import blobs

WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
NO_FILE = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
    errno.ENAMETOOLONG,
    errno.ENXIO,
    errno.EINVAL,
}
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe in its place must not hold us up
NONE = "This registry has no directories to register files from (REGISTRY_FILE_ROOTS); upload the file instead."
LARGEST = 2**63 - 1  # of a column
GONE = "File does not exist."


class Changed(Conflict):
    """A file is not any more what was registered."""

    default_code = "changed"


@dataclass(frozen=True)
class Found:
    """A regular file beneath a root: `size` in bytes, `mtime_ns` its time of change, in nanoseconds since 1970."""

    path: str
    size: int
    mtime_ns: int

    @property
    def etag(self) -> str:
        place = hashlib.sha256(self.path.encode()).hexdigest()[:16]
        return f'"{self.size:x}-{self.mtime_ns:x}-{place}"'

    def read(self, start: int = 0, length: int | None = None) -> IO[bytes]:
        return blobs.byte_range(open_found(self), start, self.size - start if length is None else length)

    def url(self, filename: str) -> None:
        return None

    def local_path(self) -> str:
        open_found(self).close()
        return self.path


def find(path: str, allowed: Iterable[str] | None = None) -> Found:
    """The file at an absolute path beneath one of the roots, and of the `allowed` directories if there are any.

    Raises `Invalid`. A client may have encoded the path twice, for the original registry decoded it twice.
    """
    if not settings.FILE_ROOTS:
        raise Invalid(NONE)
    try:
        return _find(path, allowed)
    except Invalid:
        if not re.search("%[0-9A-Fa-f]{2}", path):
            raise
        return _find(unquote(path), allowed)


def _find(path: str, allowed: Iterable[str] | None) -> Found:
    within = settings.FILE_ROOTS if allowed is None else list(allowed)
    if not any(_parts(path, directory) for directory in within) or not _root_of(path):
        raise Invalid(f"{path[:LONGEST_PATH]} does not fall under {', '.join(within)} hierarchy.")
    if len(path.encode()) > LONGEST_PATH:
        raise Invalid(f"`path` is longer than {LONGEST_PATH} bytes.")
    try:
        handle = _open(path)
    except _NoFile as error:
        raise Invalid(f"No file at path {path}") from error
    try:
        return _found(path, os.fstat(handle))
    finally:
        os.close(handle)


def open_found(found: Found) -> IO[bytes]:
    """The bytes of a file that was registered so; raises `NotFound`, `Changed` and `Unavailable`."""
    if not _root_of(found.path):
        raise NotFound(GONE)
    try:
        handle = _open(found.path)
    except _NoFile as error:
        raise NotFound(GONE) from error
    if _found(found.path, os.fstat(handle)) != found:
        os.close(handle)
        raise Changed("The file has changed since it was registered; a client that may write has to update its entry.")
    return os.fdopen(handle, "rb")


def listed(directories: Iterable[str]) -> str:
    """Directories, one in a line, as a client's row has them; raises `Invalid` for one that is beneath no root."""
    bare = [directory.rstrip("/") or directory for directory in directories]
    for directory in bare:
        if directory not in settings.FILE_ROOTS and not _root_of(directory):
            raise Invalid(
                f"{directory!r} is not beneath REGISTRY_FILE_ROOTS ({', '.join(settings.FILE_ROOTS) or 'none'})."
            )
    return "\n".join(bare)


class _NoFile(Exception):
    """Nothing there, or a link, a directory, a device, or what this user may not read."""


def _parts(path: str, directory: str) -> list[str]:
    """The way from a directory to what lies beneath it; nothing for what does not, or not plainly."""
    start = directory.rstrip("/") + "/"
    parts = path.removeprefix(start).split("/") if path.startswith(start) else []
    return parts if {"", ".", ".."}.isdisjoint(parts) and "\0" not in path else []


def _root_of(path: str) -> str | None:
    """The nearest one, for a root beneath another may be a link."""
    return max((root for root in settings.FILE_ROOTS if _parts(path, root)), key=len, default=None)


def _open(path: str) -> int:
    """The handle of the regular file; raises `_NoFile` and `Unavailable`."""
    root = _root_of(path)
    assert root is not None  # noqa: S101 - whoever calls has looked
    *directories, name = _parts(path, root)
    try:
        handle = os.open(root, WALK & ~os.O_NOFOLLOW)
        for directory in directories:
            try:
                inner = os.open(directory, WALK, dir_fd=handle)
            finally:
                os.close(handle)
            handle = inner
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
                raise _NoFile
            opened = os.open(name, READ, dir_fd=handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in NO_FILE:
            raise _NoFile from error
        raise Unavailable(f"The registry cannot read this file at present: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(opened).st_mode):  # swapped in between
        os.close(opened)
        raise _NoFile
    return opened


def _found(path: str, status: os.stat_result) -> Found:
    return Found(path, status.st_size, max(-LARGEST, min(status.st_mtime_ns, LARGEST)))
