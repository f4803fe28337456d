"""A strict reader of `.crate` files: one gzip member that holds one tar, as `cargo package` writes it.

Nothing is ever unpacked to disk. What cargo, or a tool that unpacks the crate, could be tricked by is refused: links,
devices, extended headers, paths that lead out, that collide without case or that are hidden behind each other.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import IO

from registry_site.archives.gzip_reader import BoundedGzipReader, limit_for
from registry_site.archives.tar_reader import BLOCK, MAXIMUM_PATH, Entry, entries
from registry_site.errors import Invalid

MAX_ENTRIES = 50_000
MAX_COMPONENT_BYTES = 255  # bytes: what the usual file systems hold
MAX_DEPTH = 64
MAX_MANIFEST_SIZE = 256 * 1024

# What one system takes for a separator or cannot have in a name, or a terminal takes for a command.
FORBIDDEN_CHARACTERS = re.compile(r"[\\<>:\"|?*\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Contents:
    """`cargo_toml` as packed; `paths` of all files, relative to the crate's root; `unpacked` in bytes."""

    cargo_toml: bytes
    paths: frozenset[str]
    unpacked: int


def read(crate: IO[bytes], compressed: int, root: str) -> Contents:
    """What is in a crate of `compressed` bytes whose entries all stand under `root`; raises `Invalid`."""
    tar = BoundedGzipReader(crate, limit_for(compressed), "crate")
    tree = _Tree(root)
    cargo_toml = None
    for entry in entries(tar):
        relative = tree.add(entry)
        if relative == "Cargo.toml" and not entry.is_directory:
            if entry.size > MAX_MANIFEST_SIZE:
                raise Invalid(f"The packed Cargo.toml has {entry.size} bytes; at most {MAX_MANIFEST_SIZE} are taken.")
            cargo_toml = tar.read(entry.size)
            tar.skip(-entry.size % BLOCK)
        else:
            tar.skip(entry.size + -entry.size % BLOCK)
    if cargo_toml is None:
        raise Invalid(f"The crate has no {root}/Cargo.toml.")
    return Contents(cargo_toml, frozenset(tree.files.values()), tar.position)


class _Tree:
    """The paths that were seen so far, by the form in which file systems without case confuse them."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.files: dict[str, str] = {}
        self.directories: set[str] = set()
        self.entries = 0

    def add(self, entry: Entry) -> str:
        """Check an entry against the others; returns its path below the root."""
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise Invalid(f"The crate has more than {MAX_ENTRIES} entries.")
        is_directory = entry.is_directory
        components = self._components(entry.path.removesuffix("/") if is_directory else entry.path, is_directory)
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
        if len(self.directories) > MAX_ENTRIES:
            raise Invalid(f"The crate has more than {MAX_ENTRIES} directories.")

    def _components(self, path: str, is_directory: bool) -> list[str]:
        root, *components = path.split("/")
        if root != self.root or not (components or is_directory):
            raise Invalid(f"The crate has an entry outside of {self.root}/: {path[:200]!r}.")
        if len(path.encode()) > MAXIMUM_PATH or len(components) > MAX_DEPTH:
            raise Invalid(f"The crate has a path that is too long or too deep: {path[:200]!r}…")
        too_long = any(len(component.encode()) > MAX_COMPONENT_BYTES for component in components)
        if too_long or FORBIDDEN_CHARACTERS.search(path) or not {"", ".", ".."}.isdisjoint(components):
            raise Invalid(f"The crate has a path that is not allowed: {path[:200]!r}.")
        return components


def _collision(path: str) -> Invalid:
    return Invalid(f"The crate has two entries that some file systems cannot tell apart: {path!r}.")


def _fold(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", path).casefold()
