"""The files in which two versions of a crate differ, and their lines as HTML: in pages, each out of few bytes."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape

from crates import source
from crates.package import inventory, line_diff
from crates.package.archive import Member
from crates.package.inventory import File, Inventory
from crates.package.line_diff import Hunk, Line, Work
from registry_site.bidirectional import mark_in_html
from registry_site.errors import NotFound
from registry_site.markdown import highlighting
from registry_site.storage.blobs import Blob

MAX_LINES = 20_000  # of a file that is compared
MAX_LINE = 400  # characters that are shown
MAX_LISTED_SIZE = 5 * 1024  # bytes of paths in the list of files
MAX_TEXTS_SIZE = 2 * source.MAX_TEXT_SIZE  # bytes of the files that are compared for a page
HIGHLIGHTING_SECONDS = 0.1
# Signs for characters that HTML takes for the end of a line, or that highlighting drops.
SIGNS = {0x0D: "\N{SYMBOL FOR CARRIAGE RETURN}", 0xFEFF: "\N{REPLACEMENT CHARACTER}"}
FIRST_FILES = ("Cargo.toml",)  # after the build scripts
LAST_FILES = (".cargo_vcs_info.json", "Cargo.toml.orig", "Cargo.lock")  # which cargo writes


class Kind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"
    EQUAL = "equal"  # in no list of those that differ


@dataclass(frozen=True)
class FileChange:
    """A file that differs; a renamed one has the same bytes at another path."""

    kind: Kind
    path: str
    old: File | None
    new: File | None

    @property
    def old_path(self) -> str:
        return self.old.member.path if self.old else ""


@dataclass(frozen=True)
class Room:
    """So many lines and bytes of a page."""

    lines: int
    size: int


WHOLE_PAGE = Room(600, 18 * 1024)
EACH_FILE = Room(200, 6 * 1024)  # on a page of several


@dataclass(frozen=True)
class ShownHunk:
    title: str
    lines: Sequence[tuple[Line, str]]  # each with its HTML


@dataclass(frozen=True)
class FileDiff:
    """The diff of a file, or the `obstacle` to showing it; `hidden` lines follow on the file's own page."""

    change: FileChange
    hunks: Sequence[ShownHunk] = ()
    added: int = 0
    removed: int = 0
    hidden: int = 0
    obstacle: str = ""

    @property
    def total(self) -> int:
        return self.added + self.removed


@dataclass(frozen=True)
class DiffPage:
    """Some of the files, and the path behind which the next page begins; empty if there is none."""

    files: Sequence[FileDiff]
    next_after: str = ""


# --- Which files differ -------------------------------------------------------------------------------------------


def list_changes(old: Inventory, new: Inventory) -> list[FileChange]:
    """Return the files that differ, in the order in which to read them.

    What stands behind the limit of one version is not taken for added or removed.
    """
    changes = [
        FileChange(Kind.CHANGED, path, old.files[path], file)
        for path, file in new.files.items()
        if path in old.files and old.files[path].digest != file.digest
    ]
    added = {path: file for path, file in new.files.items() if path not in old.files and old.is_complete}
    removed = {path: file for path, file in old.files.items() if path not in new.files and new.is_complete}
    for path, file in pair_renamed(added, removed):
        changes.append(FileChange(Kind.RENAMED, path, file, added.pop(path)))
        del removed[file.member.path]
    changes += [FileChange(Kind.ADDED, path, None, file) for path, file in added.items()]
    changes += [FileChange(Kind.REMOVED, path, file, None) for path, file in removed.items()]
    scripts = {*old.build_scripts, *new.build_scripts}
    return sorted(changes, key=lambda change: reading_order(change.path, scripts))


def find_change(
    old: Inventory | None, new: Inventory | None, changes: Sequence[FileChange], path: str
) -> FileChange | None:
    """Return how a file differs, by its old path, too, or that it does not; None if it is not compared."""
    for change in changes:
        if path in (change.path, change.old_path):
            return change
    if old and new and path in old.files and path in new.files:
        return FileChange(Kind.EQUAL, path, old.files[path], new.files[path])
    return None


def pair_renamed(added: Mapping[str, File], removed: Mapping[str, File]) -> list[tuple[str, File]]:
    """Return new paths with the removed files of the same bytes."""
    by_digest = defaultdict(list)
    for file in removed.values():
        if file.member.size:
            by_digest[file.digest].append(file)
    return [(path, by_digest[file.digest].pop()) for path, file in added.items() if by_digest.get(file.digest)]


def reading_order(path: str, scripts: set[str]) -> tuple[int, str]:
    """Return the key by which build scripts come first, and files that cargo writes last."""
    rank = 0 if path in scripts else 1 if path in FIRST_FILES else 3 if path in LAST_FILES else 2
    return rank, path


def listed(changes: Sequence[FileChange]) -> list[FileChange]:
    """Return the first changes, as many as fit into a list."""
    shown, left = [], MAX_LISTED_SIZE
    for change in changes:
        left -= len(change.path.encode()) + (len(change.old_path.encode()) if change.kind == Kind.RENAMED else 0) + 8
        if left < 0:
            break
        shown.append(change)
    return shown


# --- Their lines --------------------------------------------------------------------------------------------------


class Comparer:
    """The two archives, and the work that one page may cause."""

    def __init__(self, old: Blob, new: Blob) -> None:
        self.old = old
        self.new = new
        self.work = Work()
        self.deadline = time.thread_time() + HIGHLIGHTING_SECONDS

    def page_after(self, changes: Sequence[FileChange], path: str) -> DiffPage:
        """Return the diffs of the files behind a path, as many as fit on a page; raises `NotFound`."""
        start = 0
        if path:
            start = next((n + 1 for n, change in enumerate(changes) if change.path == path), len(changes))
        if start >= len(changes) and path:
            raise NotFound(f"No file that differs follows {path[:200]!r}.")
        some = list(readable_together(changes[start:]))
        shown: list[FileDiff] = []
        lines, size = WHOLE_PAGE.lines, WHOLE_PAGE.size
        for change, hunks in zip(some, self.compare(some), strict=True):
            diff = self.show(change, hunks, EACH_FILE)
            lines -= 1 + sum(len(hunk.lines) for hunk in diff.hunks)
            size -= len(change.path.encode()) + size_of(diff.hunks)
            if shown and (lines < 0 or size < 0):
                break
            shown.append(diff)
        end = start + len(shown)
        return DiffPage(shown, shown[-1].change.path if shown and end < len(changes) else "")

    def page_of(self, change: FileChange, number: int) -> tuple[FileDiff, bool]:
        """Return a page of the diff of one file, and whether another follows; raises `NotFound`."""
        (result,) = self.compare([change])
        if isinstance(result, str):
            if number > 1:
                raise NotFound(f"The file {change.path[:200]!r} has no page {number}.")
            return self.show(change, result, WHOLE_PAGE), False
        rest: Sequence[Hunk] = result
        part: Sequence[Hunk] = ()
        for _ in range(number):
            part, rest = cut(rest, WHOLE_PAGE)
        if not part:
            raise NotFound(f"The file {change.path[:200]!r} has no page {number}.")
        return FileDiff(change, self.highlight(part, change.path), *counts_of(result)), bool(rest)

    def compare(self, changes: Sequence[FileChange]) -> Iterator[Sequence[Hunk] | str]:
        """Yield the differences of each file, or the obstacle to showing them."""
        shown = [change for change in changes if not obstacle_to(change)]
        old = read_texts(self.old, [change.old.member for change in shown if change.old])
        new = read_texts(self.new, [change.new.member for change in shown if change.new])
        for change in changes:
            yield obstacle_to(change) or self.compare_texts(
                old.get(change.old_path) if change.old else b"", new.get(change.path) if change.new else b""
            )

    def compare_texts(self, old: bytes | None, new: bytes | None) -> Sequence[Hunk] | str:
        if old is None or new is None:
            return "It cannot be read."
        old_lines, new_lines = lines_of(old), lines_of(new)
        if old_lines is None or new_lines is None:
            return "It is no text."
        if max(len(old_lines), len(new_lines)) > MAX_LINES:
            return "It has too many lines to be compared."
        hunks = list(line_diff.hunks(line_diff.compare(old_lines, new_lines, self.work)))
        return hunks or "Only ends of lines, or a mark at its beginning, differ."

    def show(self, change: FileChange, result: Sequence[Hunk] | str, room: Room) -> FileDiff:
        if isinstance(result, str):
            return FileDiff(change, obstacle=result)
        part, rest = cut(result, room)
        hidden = sum(len(hunk.lines) for hunk in rest)
        return FileDiff(change, self.highlight(part, change.path), *counts_of(result), hidden)

    def highlight(self, hunks: Sequence[Hunk], path: str) -> list[ShownHunk]:
        return [ShownHunk(hunk.title, self.html_of(hunk, source.language_of(path))) for hunk in hunks]

    def html_of(self, hunk: Hunk, language: str) -> list[tuple[Line, str]]:
        """Return the lines with their HTML: those of the old text are highlighted together, and those of the new."""
        old = [line for line in hunk.lines if line.new is None]
        new = [line for line in hunk.lines if line.new is not None]
        html = {
            id(line): mark_in_html(text)
            for lines in (old, new)
            for line, text in zip(lines, self.spans([shortened(line.text) for line in lines], language), strict=True)
        }
        return [(line, html[id(line)]) for line in hunk.lines]

    def spans(self, lines: Sequence[str], language: str) -> Sequence[str]:
        spans: Sequence[str] = ()
        if lines and language and time.thread_time() < self.deadline:
            # Lexers look for the end of a line behind a comment.
            spans = highlighting.highlight_lines("\n".join([*lines, ""]), language, self.deadline)[:-1]
        return spans if len(spans) == len(lines) else [escape(line) for line in lines]


def readable_together(changes: Sequence[FileChange]) -> Iterator[FileChange]:
    """Yield the first changes, as many as may be read for a page, and one at least."""
    left = MAX_TEXTS_SIZE
    for number, change in enumerate(changes[: WHOLE_PAGE.lines]):
        if not obstacle_to(change):
            left -= sum(file.member.size for file in (change.old, change.new) if file)
        if number and left < 0:
            return
        yield change


def obstacle_to(change: FileChange) -> str:
    """Return why the lines of a file are not compared; empty if they are."""
    if change.kind == Kind.EQUAL:
        return "It is the same in both versions."
    if change.kind == Kind.RENAMED:
        return f"Its bytes are those of {change.old_path} before."
    if any(file.member.size > source.MAX_TEXT_SIZE for file in (change.old, change.new) if file):
        return "It is too long to be compared by lines."
    if not any(file.member.size for file in (change.old, change.new) if file):
        return "It is empty."
    return ""


def lines_of(content: bytes) -> list[str] | None:
    """Return the lines of a text; None for a file that is none."""
    text = source.decode(content)
    return None if text is None else text.split("\n") if content else []


def read_texts(blob: Blob, members: Sequence[Member]) -> dict[str, bytes]:
    if not members:
        return {}
    with blob.read() as crate:
        return inventory.read_texts(crate, blob.size, members)


def cut(hunks: Sequence[Hunk], room: Room) -> tuple[list[Hunk], list[Hunk]]:
    """Divide differences into those that fit, one line at least, and the rest."""
    lines, size = room.lines, room.size
    for number, hunk in enumerate(hunks):
        for index, line in enumerate(hunk.lines):
            lines -= 1
            size -= len(shortened(line.text).encode())
            if (lines < 0 or size < 0) and (number or index):
                before, behind = Hunk(hunk.lines[:index]), Hunk(hunk.lines[index:])
                return [*hunks[:number], *([before] if index else [])], [behind, *hunks[number + 1 :]]
    return list(hunks), []


def counts_of(hunks: Sequence[Hunk]) -> tuple[int, int]:
    """Return the numbers of lines that came and went."""
    signs = [line.sign for hunk in hunks for line in hunk.lines]
    return signs.count("+"), signs.count("-")


def size_of(hunks: Sequence[ShownHunk]) -> int:
    return sum(len(shortened(line.text).encode()) for hunk in hunks for line, _ in hunk.lines)


def shortened(text: str) -> str:
    """Return a line as a page shows it: the end of a long one is left out."""
    text = text.translate(SIGNS)
    return text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}… ({len(text) - MAX_LINE:,} more characters)"
