"""Strict reader of `.crate` files: one gzip member that holds one tar, as `cargo package` writes it.

Nothing is ever unpacked to disk. Entries that could trick cargo, or a tool that unpacks the crate, are refused: links,
devices, extended headers, and paths that lead out of the root, collide without case or hide behind each other.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import IO

from registry_site.archives.gzip_reader import BoundedGzipReader, unpacked_limit
from registry_site.archives.tar_reader import BLOCK, MAX_PATH_BYTES, Entry, read_entries
from registry_site.errors import Invalid

MAX_ENTRIES = 50_000
MAX_COMPONENT_BYTES = 255  # the limit of most file systems
MAX_DEPTH = 64
MAX_MANIFEST_SIZE = 256 * 1024

# Separators and characters that Windows forbids in names, and control characters, which a terminal may obey.
FORBIDDEN_CHARACTERS = re.compile(r"[\\<>:\"|?*\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Contents:
    """The packed `Cargo.toml`, the paths of all files relative to the crate's root, and the unpacked size in bytes."""

    cargo_toml: bytes
    paths: frozenset[str]
    unpacked: int


def read(crate: IO[bytes], compressed_size: int, root: str) -> Contents:
    """Read a crate of `compressed_size` bytes whose entries all stand under `root`; raises `Invalid`."""
    tar = BoundedGzipReader(crate, unpacked_limit(compressed_size), "crate")
    tree = _PathTree(root)
    cargo_toml = None
    for entry in read_entries(tar):
        relative_path = tree.add(entry)
        if relative_path == "Cargo.toml" and not entry.is_directory:
            if entry.size > MAX_MANIFEST_SIZE:
                raise Invalid(f"The packed Cargo.toml has {entry.size} bytes; at most {MAX_MANIFEST_SIZE} are taken.")
            cargo_toml = tar.read(entry.size)
            tar.skip(-entry.size % BLOCK)
        else:
            tar.skip(entry.size + -entry.size % BLOCK)
    if cargo_toml is None:
        raise Invalid(f"The crate has no {root}/Cargo.toml.")
    return Contents(cargo_toml, frozenset(tree.files.values()), tar.position)


def refuse_links(crate: IO[bytes], compressed_size: int) -> None:
    """Raise `Invalid` for a crate of another registry with links, or one that cannot be read to its end.

    A link leads cargo out of the folder to which it unpacks. Whatever is no gzip data, cargo cannot unpack.
    """
    crate.seek(0)
    is_gzip = crate.read(2) == b"\x1f\x8b"
    crate.seek(0)
    if is_gzip:
        tar = BoundedGzipReader(crate, unpacked_limit(compressed_size), "crate")
        for entry in read_entries(tar, lenient=True):
            tar.skip(entry.size + -entry.size % BLOCK)


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
