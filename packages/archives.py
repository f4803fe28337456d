"""Archives of packages (`.tgz`), looked into without unpacking: what is in them, and that no tool could be tricked."""

import re
from typing import IO, Any

from registry_site.archives.gzip_reader import BoundedGzipReader, limit_for
from registry_site.archives.tar_reader import BLOCK, Entry, entries
from registry_site.errors import Invalid

MOST_ENTRIES = 20_000
LONGEST_PATH = 512  # characters
FORBIDDEN = re.compile(r"[\\\x00-\x1f\x7f-\x9f]|^[A-Za-z]:")


def list_files(archive: IO[bytes], compressed: int) -> list[dict[str, Any]]:
    """`{"path", "size"}` of each file in an archive of `compressed` bytes, in its order; raises `Invalid`.

    Only files and directories may be in it, and no path may lead out of where it is unpacked.
    """
    archive.seek(0)
    tar = BoundedGzipReader(archive, limit_for(compressed), "archive")
    found: list[dict[str, Any]] = []
    for number, entry in enumerate(entries(tar, lenient=True), start=1):
        if number > MOST_ENTRIES:
            raise Invalid(f"The archive has more than {MOST_ENTRIES} entries.")
        _check(entry)
        if not entry.is_directory:
            found.append({"path": entry.path, "size": entry.size})
        tar.skip(entry.size + -entry.size % BLOCK)
    return found


def _check(entry: Entry) -> None:
    path = entry.path.removesuffix("/") if entry.is_directory else entry.path
    leads_out = path.startswith("/") or ".." in path.split("/") or FORBIDDEN.search(path)
    if leads_out or not path or len(path) > LONGEST_PATH or not path.isprintable():
        raise Invalid(f"The archive has a path that is not allowed: {entry.path[:200]!r}.")
