"""Strict reader of `.crate` files: one gzip member that holds one tar, as `cargo package` writes it.

Nothing is ever unpacked to disk. Entries that could trick cargo, or a tool that unpacks the crate, are refused: links,
devices, extended headers, and paths that lead out of the root, collide without case or hide behind each other.
"""

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO

from crates.package.source_lines import LineCounter, LineCounts
from registry_site.archives.gzip_reader import BoundedGzipReader, unpacked_limit
from registry_site.archives.tar_reader import BLOCK, MAX_PATH_BYTES, Entry, read_entries
from registry_site.errors import Invalid

MAX_ENTRIES = 50_000
MAX_COMPONENT_BYTES = 255  # the limit of most file systems
MAX_DEPTH = 64
MAX_MANIFEST_SIZE = 256 * 1024
MAX_FOREIGN_MANIFEST_SIZE = 1024 * 1024  # of a crate of another registry

# Separators and characters that Windows forbids in names, and control characters, which a terminal may obey.
FORBIDDEN_CHARACTERS = re.compile(r"[\\<>:\"|?*\x00-\x1f\x7f-\x9f]")

# Files of the root that are read at once, since most manifests name one of them: others cost a second reading.
_USUAL_TEXT = re.compile(r"(readme|licen[cs]e|copying|unlicense)[^/]*|\.cargo_vcs_info\.json", re.IGNORECASE)
MAX_USUAL_TEXT_SIZE = 512 * 1024
MAX_USUAL_TEXTS_SIZE = 2 * 1024 * 1024


@dataclass(frozen=True)
class Member:
    """A file, and where its bytes begin in the unpacked tar."""

    path: str
    size: int
    offset: int


@dataclass(frozen=True)
class Contents:
    """The packed `Cargo.toml`, and all files by their paths below the crate's root.

    `usual_texts` has the bytes of some. `line_counts` is None if there is too much to count.
    """

    cargo_toml: bytes
    members: dict[str, Member]
    usual_texts: dict[str, bytes]
    line_counts: LineCounts | None

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self.members)


def read(crate: IO[bytes], compressed_size: int, root: str) -> Contents:
    """Read a crate of `compressed_size` bytes whose entries all stand under `root`; raises `Invalid`."""
    tar = BoundedGzipReader(crate, unpacked_limit(compressed_size), "crate")
    tree = _PathTree(root)
    reader = _MemberReader(tar)
    for entry in read_entries(tar):
        path = tree.add(entry)
        if entry.is_directory:
            tar.skip(entry.size)
        else:
            reader.read(Member(path, entry.size, tar.offset))
        tar.skip(-entry.size % BLOCK)
    if "Cargo.toml" not in reader.members:
        raise Invalid(f"The crate has no {root}/Cargo.toml.")
    cargo_toml = reader.texts.pop("Cargo.toml")
    return Contents(cargo_toml, reader.members, reader.texts, reader.lines.counts)


def read_leniently(crate: IO[bytes], compressed_size: int, *, until_manifest: bool = False) -> Contents:
    """Read a crate of another registry, as far as it can be read; its `cargo_toml` is empty if none comes before that.

    Its paths are shown and never used as paths, so only links and the like end the reading. `until_manifest` ends it
    behind the `Cargo.toml`, which is among the first files of most crates.
    """
    tar = BoundedGzipReader(crate, unpacked_limit(compressed_size), "crate")
    reader = _MemberReader(tar, max_manifest_size=MAX_FOREIGN_MANIFEST_SIZE)
    with suppress(Invalid):
        for entry in read_entries(tar, lenient=True):
            folder, _, path = entry.path.partition("/")
            is_file = folder and path and not entry.is_directory and path not in reader.members
            if is_file and len(reader.members) < MAX_ENTRIES:
                reader.read(Member(path, entry.size, tar.offset))
            else:
                tar.skip(entry.size)
            if until_manifest and "Cargo.toml" in reader.texts:
                break
            tar.skip(-entry.size % BLOCK)
    cargo_toml = reader.texts.pop("Cargo.toml", b"")
    return Contents(cargo_toml, reader.members, reader.texts, reader.lines.counts)


def list_leniently(crate: IO[bytes], compressed_size: int, limit: int) -> list[Member]:
    """List the files of a crate of another registry, of those that begin in its first `limit` unpacked bytes."""
    tar = BoundedGzipReader(crate, min(unpacked_limit(compressed_size), limit), "crate")
    members: dict[str, Member] = {}
    with suppress(Invalid):
        for entry in read_entries(tar, lenient=True):
            path = unpacked_path(entry)
            if path and not entry.is_directory and len(members) < MAX_ENTRIES:
                members[path] = Member(path, entry.size, tar.offset)
            tar.skip(entry.size + -entry.size % BLOCK)
    return list(members.values())


def unpacked_path(entry: Entry) -> str:
    """Return where cargo unpacks an entry of a foreign crate, below its root; empty for what it leaves out.

    Of several entries with one path, cargo keeps the last.
    """
    parts = entry.path.split("/")[1:]
    return "" if ".." in parts else "/".join(part for part in parts if part not in {"", "."})


def read_member(crate: IO[bytes], compressed_size: int, member: Member) -> bytes:
    """Return the bytes of one file of a crate that was read before; raises `Invalid`."""
    crate.seek(0)
    tar = BoundedGzipReader(crate, unpacked_limit(compressed_size), "crate")
    tar.skip(member.offset)
    return tar.read(member.size)


def check_foreign(crate: IO[bytes], compressed_size: int) -> None:
    """Raise `Invalid` for a crate of another registry with links or two manifests, or one that is cut off.

    A link leads cargo out of the folder to which it unpacks. Of two manifests, policies would read the license of one
    and cargo build the other. Whatever is no gzip data, cargo cannot unpack.
    """
    crate.seek(0)
    is_gzip = crate.read(2) == b"\x1f\x8b"
    crate.seek(0)
    if is_gzip:
        tar = BoundedGzipReader(crate, unpacked_limit(compressed_size), "crate")
        has_manifest = False
        for entry in read_entries(tar, lenient=True):
            if unpacked_path(entry) == "Cargo.toml":
                if has_manifest:
                    raise Invalid("The crate contains two files Cargo.toml.")
                has_manifest = True
            tar.skip(entry.size + -entry.size % BLOCK)


@dataclass
class _MemberReader:
    """The files of a crate, each of which is read once, or passed over."""

    tar: BoundedGzipReader
    members: dict[str, Member] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    lines: LineCounter = field(default_factory=LineCounter)
    remaining_text_size: int = MAX_USUAL_TEXTS_SIZE
    max_manifest_size: int = MAX_MANIFEST_SIZE

    def read(self, member: Member) -> None:
        """Read or pass over the bytes of a file; raises `Invalid`."""
        self.members[member.path] = member
        path, size = member.path, member.size
        if path == "Cargo.toml":
            if size > self.max_manifest_size:
                raise Invalid(f"The packed Cargo.toml has {size} bytes; at most {self.max_manifest_size} are taken.")
            self.texts[path] = self.tar.read(size)
        elif _USUAL_TEXT.fullmatch(path) and size <= min(MAX_USUAL_TEXT_SIZE, self.remaining_text_size):
            self.remaining_text_size -= size
            self.texts[path] = self.tar.read(size)
        elif self.lines.wants(path, size):
            self.lines.add(path, self.tar.read(size))
        else:
            self.tar.skip(size)


class _PathTree:
    """The paths of a crate, keyed by the form in which file systems without case confuse them."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: dict[str, str] = {}
        self.directories: set[str] = set()
        self.entry_count = 0

    def add(self, entry: Entry) -> str:
        """Check an entry against the others and return its path below the root; raises `Invalid`."""
        self.entry_count += 1
        if self.entry_count > MAX_ENTRIES:
            raise Invalid(f"The crate has more than {MAX_ENTRIES} entries.")
        is_directory = entry.is_directory
        components = self.split(entry.path.removesuffix("/") if is_directory else entry.path, is_directory)
        path = "/".join(components)
        # `casefold` alone would keep two Unicode spellings of one letter apart, which macOS does not.
        key = path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
        if is_directory:
            self.add_directory(key)
        elif key in self.files or key in self.directories:
            raise _collision(path)
        else:
            self.files[key] = path
        self.add_directory(key.rpartition("/")[0])
        return path

    def add_directory(self, key: str) -> None:
        """Add a directory and its parents; raises `Invalid`."""
        # The parents of a directory that is in the set are in it too, so that a long path costs little.
        while key and key not in self.directories:
            if key in self.files:
                raise _collision(key)
            self.directories.add(key)
            key = key.rpartition("/")[0]
        if len(self.directories) > MAX_ENTRIES:
            raise Invalid(f"The crate has more than {MAX_ENTRIES} directories.")

    def split(self, path: str, is_directory: bool) -> list[str]:
        """Validate a path and return its components below the root; raises `Invalid`."""
        root, *components = path.split("/")
        if root != self.root or not (components or is_directory):
            raise Invalid(f"The crate has an entry outside of {self.root}/: {path[:200]!r}.")
        if len(path.encode()) > MAX_PATH_BYTES or len(components) > MAX_DEPTH:
            raise Invalid(f"The crate has a path that is too long or too deep: {path[:200]!r}…")
        is_too_long = any(len(component.encode()) > MAX_COMPONENT_BYTES for component in components)
        if is_too_long or FORBIDDEN_CHARACTERS.search(path) or not {"", ".", ".."}.isdisjoint(components):
            raise Invalid(f"The crate has a path that is not allowed: {path[:200]!r}.")
        return components


def _collision(path: str) -> Invalid:
    return Invalid(f"The crate has two entries that some file systems cannot tell apart: {path!r}.")
