"""The source of a version as people read it: folders, and one file without what stands behind it in the archive."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

from crates.package import archive
from crates.package.archive import Member
from registry_site.bidirectional import mark_in_html
from registry_site.errors import NotFound
from registry_site.markdown import highlighting
from registry_site.storage.blobs import Blob

MAX_TEXT_SIZE = 256 * 1024  # bytes of a file that is shown
# gzip has no way into its middle: whoever shows a file unpacks all before it, in a quarter of a second at most.
MAX_OFFSET = 64 * 1024 * 1024  # bytes
MAX_LISTED = 1000  # entries of a folder on its page
HIGHLIGHTING_SECONDS = 0.2
FILE_LANGUAGES = {"cargo.lock": "toml", "cargo.toml.orig": "toml", "dockerfile": "docker", "makefile": "make"}


@dataclass(frozen=True)
class FolderEntry:
    """A file of `size` bytes, or a folder with the size of all in it."""

    name: str
    path: str
    size: int
    is_folder: bool


@dataclass(frozen=True)
class Folder:
    """The entries of a folder, folders first; `hidden` is the number of those that are too many for a page."""

    path: str
    entries: Sequence[FolderEntry]
    hidden: int


@dataclass(frozen=True)
class SourceFile:
    """A file: the HTML of each line, or the `obstacle` to showing it."""

    path: str
    size: int
    lines: Sequence[str] = ()
    obstacle: str = ""


def ways_up(path: str) -> list[tuple[str, str]]:
    """Return the name and the path of each folder above a path and of itself."""
    parts = [part for part in path.split("/") if part]
    return [(part, "/".join(parts[: number + 1])) for number, part in enumerate(parts)]


def find(blob: Blob, members: Sequence[Member], path: str) -> Folder | SourceFile:
    """Return the file or the folder at a path; raises `NotFound`, and the errors of reading the archive."""
    path = path.removesuffix("/")
    member = next((member for member in members if member.path == path), None)
    if member is not None:
        return read_file(blob, member)
    prefix = f"{path}/" if path else ""
    beneath = [member for member in members if member.path.startswith(prefix)]
    if not beneath:
        raise NotFound(f"There is no file {path[:200]!r} in this version.")
    return list_folder(path, prefix, beneath)


def list_folder(path: str, prefix: str, beneath: Sequence[Member]) -> Folder:
    folders: dict[str, int] = {}
    files: dict[str, int] = {}
    for member in beneath:
        name, slash, _ = member.path.removeprefix(prefix).partition("/")
        sizes = folders if slash else files
        sizes[name] = sizes.get(name, 0) + member.size
    entries = [
        FolderEntry(name, prefix + name, sizes[name], is_folder)
        for sizes, is_folder in ((folders, True), (files, False))
        for name in sorted(sizes)
    ]
    return Folder(path, entries[:MAX_LISTED], max(len(entries) - MAX_LISTED, 0))


def read_file(blob: Blob, member: Member) -> SourceFile:
    if member.size > MAX_TEXT_SIZE:
        return SourceFile(member.path, member.size, obstacle="It is too long for a page.")
    if member.offset > MAX_OFFSET:
        return SourceFile(member.path, member.size, obstacle="It stands too far behind in the archive for a page.")
    with blob.read() as crate:
        content = archive.read_member(crate, blob.size, member)
    text = decode(content)
    if text is None:
        return SourceFile(member.path, member.size, obstacle="It is no text.")
    return SourceFile(member.path, member.size, [mark_in_html(line) for line in lines_of(text, member.path)])


def decode(content: bytes) -> str | None:
    """Return the text of a file, or None for one that is none."""
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n")
    except UnicodeDecodeError:
        return None


def lines_of(text: str, path: str) -> list[str]:
    """Return each line as HTML, highlighted if its language is known."""
    language = language_of(path)
    if not language:
        return [escape(line) for line in text.split("\n")]
    return highlighting.highlight_lines(text, language, time.thread_time() + HIGHLIGHTING_SECONDS)


def language_of(path: str) -> str:
    name = path.rpartition("/")[2].lower()
    return FILE_LANGUAGES.get(name) or highlighting.LANGUAGES.get(name.rpartition(".")[2], "")


@lru_cache(maxsize=16)
def read_members(blob: Blob) -> Sequence[Member]:
    """Return the files of a crate of another registry, of which no row has a list; as far as it can be read."""
    with blob.read() as crate:
        return archive.list_leniently(crate, blob.size, MAX_OFFSET)
