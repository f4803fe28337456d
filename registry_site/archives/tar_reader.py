"""tar archives of strangers, walked header by header and never unpacked."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from registry_site.archives.gzip_reader import BoundedGzipReader
from registry_site.errors import Invalid

BLOCK = 512
MAXIMUM_PATH = 1024  # bytes
MAXIMUM_EXTENSION = 64 * 1024  # bytes of an extended header

USTAR = b"ustar\x0000"
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


def entries(tar: BoundedGzipReader, *, lenient: bool = False) -> Iterator[Entry]:
    """Each file and directory; the caller has to take its data and padding before going on. Raises `Invalid`.

    What cargo never writes is refused, unless `lenient`: then modes are not looked at, and the extended headers of
    POSIX, as many tools write them, are understood where they say a path or a size.
    """
    reader = _Reader(tar, lenient)
    while (block := tar.read(BLOCK)) != bytes(BLOCK):
        entry = reader.take(block)
        if entry is not None:
            yield entry
    reader.end()


class _Reader:
    """What the headers before an entry have said of it."""

    def __init__(self, tar: BoundedGzipReader, lenient: bool) -> None:
        self.tar = tar
        self.what = tar.what
        self.lenient = lenient
        self.long_name: bytes | None = None
        self.extension: dict[bytes, bytes] | None = None
        self.has_global = False

    def take(self, block: bytes) -> Entry | None:
        size, kind = self._check(block), block[156:157]
        if kind == LONG_NAME:
            self.long_name = self._long_name(size)
            return None
        if kind == EXTENDED:
            if self.extension is not None:
                raise Invalid(f"The {self.what} has two extended headers for one entry.")
            self.extension = self._records(size)
            return None
        if kind == GLOBAL:
            if self.has_global or set(self._records(size)) - {b"comment"}:
                raise Invalid(f"The {self.what} has a global header that says more than a comment.")
            self.has_global = True
            return None
        return self._entry(block, size, kind)

    def end(self) -> None:
        if self.long_name is not None:
            raise Invalid(f"The {self.what} ends in a GNU long name without an entry.")
        if self.extension is not None:
            raise Invalid(f"The {self.what} ends in an extended header without an entry.")
        if not self.tar.only_zeros_left():
            raise Invalid(f"There is something after the end of the {self.what}'s tar.")

    def _entry(self, block: bytes, size: int, kind: bytes) -> Entry:
        name = self._short_name(block) if self.long_name is None else self.long_name
        extension = self.extension or {}
        if b"path" in extension and self.long_name is not None:
            raise Invalid(f"The {self.what} has an entry with two long names.")
        if b"size" in extension:
            size = self._decimal(extension[b"size"])
        self.long_name = self.extension = None
        return Entry(self._decode(extension.get(b"path", name)), size, kind == DIRECTORY)

    def _long_name(self, size: int) -> bytes:
        if self.long_name is not None or not 0 < size <= MAXIMUM_PATH + 1:
            raise Invalid(f"The {self.what} has a GNU long name that is empty, doubled or too long.")
        name = self.tar.read(size).removesuffix(b"\0")
        self.tar.skip(-size % BLOCK)
        return name

    def _records(self, size: int) -> dict[bytes, bytes]:
        """`length key=value\\n`, again and again; whoever reads otherwise would see another archive than we."""
        if not 0 < size <= MAXIMUM_EXTENSION:
            raise Invalid(f"The {self.what} has an extended header that is empty or too long.")
        data, place, records = self.tar.read(size), 0, dict[bytes, bytes]()
        self.tar.skip(-size % BLOCK)
        while place < size:
            match = RECORD.match(data, place)
            end = place + int(match[1]) if match else 0
            if match is None or not match.end() < end <= size or data[end - 1 : end] != b"\n" or match[2] in records:
                raise Invalid(f"The {self.what} has an extended header that is damaged.")
            if match[2].startswith(b"GNU.sparse"):
                raise Invalid(f"The {self.what} contains a sparse file; only files and directories may be in it.")
            records[match[2]] = data[match.end() : end - 1]
            place = end
        return records

    def _check(self, block: bytes) -> int:
        """The size in a sound header; raises `Invalid` for a damaged one and for what may not be in the archive."""
        if self._octal(block[148:156]) != sum(block[:148]) + sum(block[156:]) + 8 * ord(" "):
            raise Invalid(f"The {self.what}'s tar has a header with a wrong checksum.")
        kind = block[156:157]
        allowed = (REGULAR, REGULAR_OLD, DIRECTORY, LONG_NAME, *((EXTENDED, GLOBAL) if self.lenient else ()))
        if kind not in allowed:
            raise Invalid(
                f"The {self.what} contains {KINDS.get(kind, f'an entry of type {kind!r}')} "
                f"({self._short_name(block)[:200].decode('utf-8', 'replace')!r}); "
                "only files and directories may be in it."
            )
        if not self.lenient and self._octal(block[100:108]) & FORBIDDEN_MODE:
            raise Invalid(
                f"The entry {self._short_name(block)[:200].decode('utf-8', 'replace')!r} is setuid, setgid, sticky or "
                "writable by everybody."
            )
        size = self._octal(block[124:136])
        if kind == DIRECTORY and size:
            raise Invalid(f"The {self.what} contains a directory with data.")
        return size

    def _octal(self, field: bytes) -> int:
        match = OCTAL.fullmatch(field)
        if match is None:
            raise Invalid(f"The {self.what}'s tar has a number that is not octal.")
        return int(match[1], 8)

    def _decimal(self, text: bytes) -> int:
        if not re.fullmatch(rb"[0-9]{1,15}", text):
            raise Invalid(f"The {self.what} has an extended header with a size that is no number.")
        return int(text)

    def _short_name(self, block: bytes) -> bytes:
        name, prefix = block[:100].partition(b"\0")[0], block[345:500]
        if block[257:265] == USTAR:
            front = prefix.partition(b"\0")[0]
            return front + b"/" + name if front else name
        if prefix.strip(b"\0"):  # some readers would put it before the name, others not
            raise Invalid(f"The {self.what}'s tar has a path prefix in a header that is not of the ustar format.")
        return name

    def _decode(self, name: bytes) -> str:
        try:
            return name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Invalid(f"The {self.what} has a path that is not UTF-8: {name[:200]!r}.") from error
