"""A strict reader of `.crate` files: one gzip member that holds one tar, as `cargo package` writes it.

Nothing is ever unpacked to disk. What cargo, or a tool that unpacks the crate, could be tricked by is refused: links,
devices, extended headers, paths that lead out, that collide without case or that are hidden behind each other.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from registry_site.errors import Invalid

BLOCK = 512
CHUNK = 64 * 1024
MAXIMUM_ENTRIES = 50_000
MAXIMUM_PATH = 1024  # bytes
MAXIMUM_COMPONENT = 255  # bytes: what the usual file systems hold
MAXIMUM_DEPTH = 64
MAXIMUM_MANIFEST = 256 * 1024
MAXIMUM_UNPACKED = 512 * 1024 * 1024
ALWAYS_UNPACKED = 64 * 1024 * 1024
MAXIMUM_RATIO = 100

USTAR = b"ustar\x0000"
OCTAL = re.compile(rb" *([0-7]+)[ \0]*")
# What one system takes for a separator or cannot have in a name, or a terminal takes for a command.
FORBIDDEN = re.compile(r"[\\<>:\"|?*\x00-\x1f\x7f-\x9f]")

REGULAR, REGULAR_OLD, DIRECTORY, LONG_NAME = b"0", b"\0", b"5", b"L"
KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a FIFO",
    b"x": "a pax extended header",
    b"g": "a pax global header",
    b"K": "a GNU long link name",
    b"S": "a sparse file",
}
FORBIDDEN_MODE = 0o7002  # setuid, setgid, sticky, writable by everybody


@dataclass(frozen=True)
class Contents:
    """`cargo_toml` as packed; `paths` of all files, relative to the crate's root; `unpacked` in bytes."""

    cargo_toml: bytes
    paths: frozenset[str]
    unpacked: int


@dataclass(frozen=True)
class _Header:
    path: str
    size: int
    kind: bytes


def read(crate: IO[bytes], compressed: int, root: str) -> Contents:
    """What is in a crate of `compressed` bytes whose entries all stand under `root`; raises `Invalid`."""
    tar = _Inflated(crate, min(max(ALWAYS_UNPACKED, compressed * MAXIMUM_RATIO), MAXIMUM_UNPACKED))
    tree = _Tree(root)
    cargo_toml = None
    for header in _headers(tar):
        relative = tree.add(header)
        if relative == "Cargo.toml" and header.kind != DIRECTORY:
            if header.size > MAXIMUM_MANIFEST:
                raise Invalid(f"The packed Cargo.toml has {header.size} bytes; at most {MAXIMUM_MANIFEST} are taken.")
            cargo_toml = tar.read(header.size)
            tar.skip(-header.size % BLOCK)
        else:
            tar.skip(header.size + -header.size % BLOCK)
    if cargo_toml is None:
        raise Invalid(f"The crate has no {root}/Cargo.toml.")
    return Contents(cargo_toml, frozenset(tree.files.values()), tar.position)


class _Inflated:
    """The bytes of exactly one gzip member, read forwards, never more than `limit` of them."""

    def __init__(self, source: IO[bytes], limit: int) -> None:
        self.source = source
        self.limit = limit
        self.position = 0
        self.inflater = zlib.decompressobj(wbits=31)
        self.buffer = b""

    def _more(self) -> bytes:
        """The next bytes, or none at the end of the member."""
        while not self.inflater.eof:
            data = self.inflater.unconsumed_tail or self.source.read(CHUNK)
            if not data:
                raise Invalid("The crate is cut off: its gzip data does not end.")
            try:
                inflated = self.inflater.decompress(data, CHUNK)
            except zlib.error as error:
                raise Invalid("The crate is not gzip data, or is damaged.") from error
            self.position += len(inflated)
            if self.position > self.limit:
                raise Invalid(f"The crate unpacks to more than {self.limit} bytes.")
            if inflated:
                return inflated
        if self.inflater.unused_data or self.source.read(1):
            raise Invalid("There is something after the crate's gzip data.")
        return b""

    def read(self, size: int) -> bytes:
        parts, missing = [self.buffer[:size]], size - len(self.buffer)
        self.buffer = self.buffer[size:]
        while missing > 0:
            data = self._more()
            if not data:
                raise Invalid("The crate is cut off: its tar does not end.")
            parts.append(data[:missing])
            self.buffer = data[missing:]
            missing -= len(data)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        while size > 0:
            size -= len(self.read(min(size, CHUNK)))

    def only_zeros_left(self) -> bool:
        while data := self.buffer or self._more():
            if data.strip(b"\0"):
                return False
            self.buffer = b""
        return True


def _headers(tar: _Inflated) -> Iterator[_Header]:
    """Each entry's header; the caller has to take its data and padding before going on."""
    long_name: bytes | None = None
    while (block := tar.read(BLOCK)) != bytes(BLOCK):
        size, kind = _check_header(block), block[156:157]
        if kind == LONG_NAME:
            if long_name is not None or not 0 < size <= MAXIMUM_PATH + 1:
                raise Invalid("The crate has a GNU long name that is empty, doubled or too long.")
            long_name = tar.read(size).removesuffix(b"\0")
            tar.skip(-size % BLOCK)
            continue
        yield _Header(_decode(_short_name(block) if long_name is None else long_name), size, kind)
        long_name = None
    if long_name is not None:
        raise Invalid("The crate ends in a GNU long name without an entry.")
    if not tar.only_zeros_left():
        raise Invalid("There is something after the end of the crate's tar.")


def _check_header(block: bytes) -> int:
    """The size in a sound header; raises `Invalid` for a damaged one and for what may not be in a crate."""
    if _octal(block[148:156]) != sum(block[:148]) + sum(block[156:]) + 8 * ord(" "):
        raise Invalid("The crate's tar has a header with a wrong checksum.")
    kind = block[156:157]
    if kind not in (REGULAR, REGULAR_OLD, DIRECTORY, LONG_NAME):
        raise Invalid(
            f"The crate contains {KINDS.get(kind, f'an entry of type {kind!r}')} "
            f"({_short_name(block)[:200].decode('utf-8', 'replace')!r}); only files and directories may be in it."
        )
    if _octal(block[100:108]) & FORBIDDEN_MODE:
        raise Invalid(
            f"The entry {_short_name(block)[:200].decode('utf-8', 'replace')!r} is setuid, setgid, sticky or "
            "writable by everybody."
        )
    size = _octal(block[124:136])
    if kind == DIRECTORY and size:
        raise Invalid("The crate contains a directory with data.")
    return size


def _octal(field: bytes) -> int:
    match = OCTAL.fullmatch(field)
    if match is None:
        raise Invalid("The crate's tar has a number that is not octal.")
    return int(match[1], 8)


def _short_name(block: bytes) -> bytes:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500]
    if block[257:265] == USTAR:
        front = prefix.partition(b"\0")[0]
        return front + b"/" + name if front else name
    if prefix.strip(b"\0"):  # some readers would put it before the name, others not
        raise Invalid("The crate's tar has a path prefix in a header that is not of the ustar format.")
    return name


def _decode(name: bytes) -> str:
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"The crate has a path that is not UTF-8: {name[:200]!r}.") from error


class _Tree:
    """The paths that were seen so far, by the form in which file systems without case confuse them."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: dict[str, str] = {}
        self.directories: set[str] = set()
        self.entries = 0

    def add(self, header: _Header) -> str:
        """Check an entry against the others; returns its path below the root."""
        self.entries += 1
        if self.entries > MAXIMUM_ENTRIES:
            raise Invalid(f"The crate has more than {MAXIMUM_ENTRIES} entries.")
        is_directory = header.kind == DIRECTORY
        components = self._components(header.path.removesuffix("/") if is_directory else header.path, is_directory)
        relative = "/".join(components)
        key = _fold(relative)
        if is_directory:
            self._add_directory(key)
        elif key in self.files or key in self.directories:
            raise _collision(relative)
        else:
            self.files[key] = relative
        self._add_directory(key.rpartition("/")[0])
        return relative

    def _add_directory(self, key: str) -> None:
        """This directory and those above it, up to one that is known."""
        while key and key not in self.directories:
            if key in self.files:
                raise _collision(key)
            self.directories.add(key)
            key = key.rpartition("/")[0]
        if len(self.directories) > MAXIMUM_ENTRIES:
            raise Invalid(f"The crate has more than {MAXIMUM_ENTRIES} directories.")

    def _components(self, path: str, is_directory: bool) -> list[str]:
        root, *components = path.split("/")
        if root != self.root or not (components or is_directory):
            raise Invalid(f"The crate has an entry outside of {self.root}/: {path[:200]!r}.")
        if len(path.encode()) > MAXIMUM_PATH or len(components) > MAXIMUM_DEPTH:
            raise Invalid(f"The crate has a path that is too long or too deep: {path[:200]!r}…")
        too_long = any(len(component.encode()) > MAXIMUM_COMPONENT for component in components)
        if too_long or FORBIDDEN.search(path) or not {"", ".", ".."}.isdisjoint(components):
            raise Invalid(f"The crate has a path that is not allowed: {path[:200]!r}.")
        return components


def _collision(path: str) -> Invalid:
    return Invalid(f"The crate has two entries that some file systems cannot tell apart: {path!r}.")


def _fold(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", path).casefold()
