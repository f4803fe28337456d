"""Archives of packages (`.tgz`): checked and listed without unpacking, then stored."""

import json
import re
from dataclasses import dataclass, field
from typing import IO, Any

from django.conf import settings

from packages.release_input import Upload
from registry_site.archives.gzip_reader import BoundedGzipReader, unpacked_limit
from registry_site.archives.tar_reader import BLOCK, read_entries
from registry_site.errors import Invalid, TooLarge
from registry_site.storage import stored_blobs

MAX_ENTRIES = 20_000
MAX_PATH = 512  # characters
MAX_LISTING_SIZE = 2 * 1024 * 1024  # bytes of the stored list of files
# A backslash or a drive letter leads out of the target folder on Windows; control characters deceive terminals.
FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f-\x9f]|^[A-Za-z]:")


@dataclass(frozen=True)
class StoredArchive:
    """An archive in the blob store; all empty for a release without one."""

    sha256: str = ""
    size: int = 0
    files: list[dict[str, Any]] = field(default_factory=list)


def store(upload: Upload | None) -> StoredArchive:
    """Check an archive and store it durably; raises `TooLarge`, `Invalid` and `Unavailable`.

    If no release refers to it in the end, `manage.py purge` deletes it a day later.
    """
    if upload is None:
        return StoredArchive()
    if upload.size > settings.MAX_PACKAGE_SIZE:
        raise TooLarge(f"The archive has {upload.size} bytes; at most {settings.MAX_PACKAGE_SIZE} are taken here.")
    files = list_files(upload.file, upload.size)
    blob = stored_blobs.put(upload.file)
    return StoredArchive(blob.sha256, blob.size, files)


def list_files(archive: IO[bytes], compressed: int) -> list[dict[str, Any]]:
    """Return `{"path", "size"}` of each file in an archive of `compressed` bytes, in its order.

    Raises `Invalid` for anything but files and directories, and for a path that leads out of the target folder.
    """
    archive.seek(0)
    # The limit grows with the compressed size, so that a small upload cannot expand without end.
    tar = BoundedGzipReader(archive, unpacked_limit(compressed), "archive")
    files: list[dict[str, Any]] = []
    listing_size = 0
    for number, entry in enumerate(read_entries(tar, lenient=True), start=1):
        if number > MAX_ENTRIES:
            raise Invalid(f"The archive has more than {MAX_ENTRIES} entries.")
        path = entry.path.removesuffix("/") if entry.is_directory else entry.path
        leads_out = path.startswith("/") or ".." in path.split("/") or FORBIDDEN.search(path)
        if leads_out or not path or len(path) > MAX_PATH or not path.isprintable():
            raise Invalid(f"The archive has a path that is not allowed: {entry.path[:200]!r}.")
        if not entry.is_directory:
            files.append({"path": entry.path, "size": entry.size})
            listing_size += len(json.dumps(files[-1])) + 2  # and a comma with its blank
            if listing_size > MAX_LISTING_SIZE:
                raise Invalid(f"The list of the archive's files has more than {MAX_LISTING_SIZE} bytes.")
        tar.skip(entry.size + -entry.size % BLOCK)  # contents are padded to whole blocks
    return files
