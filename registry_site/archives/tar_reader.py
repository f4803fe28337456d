"""Untrusted tar archives, walked header by header and never unpacked."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from registry_site.archives.gzip_reader import BoundedGzipReader
from registry_site.errors import Invalid

BLOCK = 512  # bytes
MAX_PATH_BYTES = 1024
MAX_EXTENDED_HEADER = 64 * 1024  # bytes

USTAR = b"ustar\x0000"  # magic and version, by POSIX
OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=\0]+)=")

REGULAR, REGULAR_OLD, DIRECTORY, LONG_NAME = b"0", b"\0", b"5", b"L"
EXTENDED, GLOBAL = b"x", b"g"
KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    EXTENDED: "a pax extended header",
    GLOBAL: "a pax global header",
    b"K": "a GNU long link name",
    b"S": "a sparse file",
}
FORBIDDEN_MODE = 0o7002  # setuid, setgid, sticky, writable by everybody


@dataclass(frozen=True)
class Entry:
    """A file of `size` bytes, or a directory."""

    path: str
    size: int
    is_directory: bool


def read_entries(tar: BoundedGzipReader, *, lenient: bool = False) -> Iterator[Entry]:
    """Yield each file and directory. The caller reads or skips its data and padding before the next one.

    Raises `Invalid` for entries that cargo never writes. A `lenient` reader ignores modes, and takes the path and the
    size from POSIX extended headers, which many tools write.
    """
    headers = HeaderReader(tar, lenient)
    while (block := tar.read(BLOCK)) != bytes(BLOCK):
        entry = headers.read(block)
        if entry is not None:
            yield entry
    headers.finish()


class HeaderReader:
    """The headers of an archive, with the long name and the extended header that precede an entry."""

    def __init__(self, tar: BoundedGzipReader, lenient: bool) -> None:
        self.tar = tar
        self.label = tar.label
        self.lenient = lenient
        self.long_name: bytes | None = None
        self.extended: dict[bytes, bytes] | None = None
        self.has_global = False

    def read(self, block: bytes) -> Entry | None:
        """Return the entry of a header; None when it only describes the entry that follows."""
        self.check(block)
        size, kind = self.octal(block[124:136]), block[156:157]
        if kind == LONG_NAME:
            self.long_name = self.read_long_name(size)
            return None
        if kind == EXTENDED:
            if self.extended is not None:
                raise Invalid(f"The {self.label} has two extended headers for one entry.")
            self.extended = self.read_records(size)
            return None
        if kind == GLOBAL:
            # git archive writes one with a comment. Any other record would change all entries that follow.
            if self.has_global or set(self.read_records(size)) - {b"comment"}:
                raise Invalid(f"The {self.label} has a global header that says more than a comment.")
            self.has_global = True
            return None
        return self.build_entry(block, size, kind)

    def finish(self) -> None:
        """Check the end of the archive, after its first block of zeros."""
        if self.long_name is not None:
            raise Invalid(f"The {self.label} ends in a GNU long name without an entry.")
        if self.extended is not None:
            raise Invalid(f"The {self.label} ends in an extended header without an entry.")
        if not self.tar.has_only_zeros_left():
            raise Invalid(f"There is something after the end of the {self.label}'s tar.")

    def check(self, block: bytes) -> None:
        """Check a header by itself: its checksum, kind, mode and size."""
        # The checksum counts its own field as blanks.
        if self.octal(block[148:156]) != sum(block[:148]) + sum(block[156:]) + 8 * ord(" "):
            raise Invalid(f"The {self.label}'s tar has a header with a wrong checksum.")
        kind = block[156:157]
        allowed = (REGULAR, REGULAR_OLD, DIRECTORY, LONG_NAME, *((EXTENDED, GLOBAL) if self.lenient else ()))
        if kind not in allowed:
            raise Invalid(
                f"The {self.label} contains {KINDS.get(kind, f'an entry of type {kind!r}')} "
                f"({self.short_name(block)[:200].decode('utf-8', 'replace')!r}); "
                "only files and directories may be in it."
            )
        if not self.lenient and self.octal(block[100:108]) & FORBIDDEN_MODE:
            raise Invalid(
                f"The entry {self.short_name(block)[:200].decode('utf-8', 'replace')!r} is setuid, setgid, sticky or "
                "writable by everybody."
            )
        if kind == DIRECTORY and self.octal(block[124:136]):
            raise Invalid(f"The {self.label} contains a directory with data.")

    def build_entry(self, block: bytes, size: int, kind: bytes) -> Entry:
        name = self.short_name(block) if self.long_name is None else self.long_name
        extended = self.extended or {}
        if b"path" in extended and self.long_name is not None:
            raise Invalid(f"The {self.label} has an entry with two long names.")
        if b"size" in extended:
            if not re.fullmatch(rb"[0-9]{1,15}", extended[b"size"]):
                raise Invalid(f"The {self.label} has an extended header with a size that is no number.")
            size = int(extended[b"size"])
        self.long_name = self.extended = None
        path = extended.get(b"path", name)
        try:
            return Entry(path.decode("utf-8"), size, kind == DIRECTORY)
        except UnicodeDecodeError as error:
            raise Invalid(f"The {self.label} has a path that is not UTF-8: {path[:200]!r}.") from error

    def read_long_name(self, size: int) -> bytes:
        if self.long_name is not None or not 0 < size <= MAX_PATH_BYTES + 1:
            raise Invalid(f"The {self.label} has a GNU long name that is empty, doubled or too long.")
        name = self.tar.read(size).removesuffix(b"\0")
        self.tar.skip(-size % BLOCK)
        return name

    def read_records(self, size: int) -> dict[bytes, bytes]:
        """Read the records of an extended header, each `length key=value\\n`.

        Strict, since a tool that reads them in another way would see another archive.
        """
        if not 0 < size <= MAX_EXTENDED_HEADER:
            raise Invalid(f"The {self.label} has an extended header that is empty or too long.")
        data, position, records = self.tar.read(size), 0, dict[bytes, bytes]()
        self.tar.skip(-size % BLOCK)
        while position < size:
            match = RECORD.match(data, position)
            end = position + int(match[1]) if match else 0
            if match is None or not match.end() < end <= size or data[end - 1 : end] != b"\n" or match[2] in records:
                raise Invalid(f"The {self.label} has an extended header that is damaged.")
            if match[2].startswith(b"GNU.sparse"):
                raise Invalid(f"The {self.label} contains a sparse file; only files and directories may be in it.")
            records[match[2]] = data[match.end() : end - 1]
            position = end
        return records

    def octal(self, field: bytes) -> int:
        match = OCTAL.fullmatch(field)
        if match is None:
            raise Invalid(f"The {self.label}'s tar has a number that is not octal.")
        return int(match[1], 8)

    def short_name(self, block: bytes) -> bytes:
        name, prefix = block[:100].partition(b"\0")[0], block[345:500]
        if block[257:265] == USTAR:
            prefix = prefix.partition(b"\0")[0]
            return prefix + b"/" + name if prefix else name
        if prefix.strip(b"\0"):  # some tools would put it before the name, others not
            raise Invalid(f"The {self.label}'s tar has a path prefix in a header that is not of the ustar format.")
        return name
