"""The page of two versions: what matters for trust, then the files, then their lines."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from django.conf import settings

from crates import file_diffs, trust_changes
from crates.file_diffs import Comparer, DiffPage, FileChange, FileDiff
from crates.package import inventory
from crates.package.inventory import Inventory
from crates.presentation import PresentedCrate
from crates.trust_changes import Side, Summary
from registry_site.errors import NotFound, Unavailable
from registry_site.storage.blobs import Blob

# Whoever compares many large crates takes the processor for a while: most threads serve the rest, and of those that
# compare, two work at a time, for they do not become quicker by being more.
slots = threading.BoundedSemaphore(max(settings.THREADS // 4, 1))
processors = threading.BoundedSemaphore(2)
PATIENCE = 5  # seconds


@contextmanager
def slot() -> Iterator[None]:
    """Keep one of the few threads that may compare files, and wait for its turn; raises `Unavailable`."""
    with taken(slots, 0), taken(processors, PATIENCE):
        yield


@contextmanager
def taken(semaphore: threading.BoundedSemaphore, seconds: float) -> Iterator[None]:
    if not semaphore.acquire(timeout=seconds):
        raise Unavailable("The server compares other versions just now. Try again in a moment.", retry_after=2)
    try:
        yield
    finally:
        semaphore.release()


@lru_cache(maxsize=8)
def read_inventory(blob: Blob) -> Inventory:
    with blob.read() as crate:
        return inventory.read(crate, blob.size)


@dataclass(frozen=True)
class VersionDiff:
    """Two versions and a page of their differences. Only the first page has a summary."""

    old: Side
    new: Side
    changes: Sequence[FileChange]
    page: DiffPage
    summary: Summary | None = None

    @property
    def is_same(self) -> bool:
        return self.old.crate.version.num == self.new.crate.version.num

    @property
    def unread(self) -> list[str]:
        """The numbers of versions whose files are not stored."""
        return [side.crate.version.num for side in self.sides if side.inventory is None]

    @property
    def without_manifest(self) -> list[str]:
        """The numbers of versions of whose files no manifest could be read."""
        return [
            side.crate.version.num
            for side in self.sides
            if side.inventory is not None and not side.inventory.has_manifest
        ]

    @property
    def is_complete(self) -> bool:
        return all(side.inventory is None or side.inventory.is_complete for side in self.sides)

    @property
    def counts(self) -> list[tuple[str, int]]:
        """How many files came, went, changed and were renamed."""
        counts = Counter(change.kind for change in self.changes)
        return [(kind, counts[kind]) for kind in file_diffs.Kind if counts[kind]]

    @property
    def listed(self) -> list[tuple[FileChange, FileDiff | None]]:
        """The first files, each with its lines if this page shows them."""
        shown = {diff.change.path: diff for diff in self.page.files}
        return [(change, shown.get(change.path)) for change in file_diffs.listed(self.changes)]

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.old, self.new

    @property
    def address(self) -> str:
        return address_of(self.old.crate, self.new.crate)

    @property
    def reverse_address(self) -> str:
        return address_of(self.new.crate, self.old.crate)


def address_of(old: PresentedCrate, new: PresentedCrate) -> str:
    return f"{new.root}/diff/{old.version.num}...{new.version.num}"


def compare(old: PresentedCrate, new: PresentedCrate, after: str = "") -> VersionDiff:
    """Compare two versions of a crate, and show the files behind a path; raises `NotFound` and `Unavailable`."""
    with slot():
        sides, changes, comparer = read(old, new)
        page = comparer.page_after(changes, after) if comparer else DiffPage(())
    return VersionDiff(*sides, changes, page, None if after else trust_changes.summarize(*sides))


def compare_file(old: PresentedCrate, new: PresentedCrate, path: str, page: int) -> tuple[VersionDiff, bool]:
    """Compare one file of two versions, and return whether another page follows; raises `NotFound`."""
    with slot():
        sides, changes, comparer = read(old, new)
        change = file_diffs.find_change(sides[0].inventory, sides[1].inventory, changes, path)
        if comparer is None or change is None:
            raise NotFound(f"The file {path[:200]!r} is not among those that are compared.")
        diff, has_next = comparer.page_of(change, page)
    return VersionDiff(*sides, changes, DiffPage([diff])), has_next


def read(old: PresentedCrate, new: PresentedCrate) -> tuple[tuple[Side, Side], list[FileChange], Comparer | None]:
    """Read what is in both files, unless one is not stored."""
    blobs = old.stored_blob, new.stored_blob
    inventories = [read_inventory(blob) if blob else None for blob in blobs]
    sides = Side(old, inventories[0]), Side(new, inventories[1])
    if not (blobs[0] and blobs[1] and inventories[0] and inventories[1]):
        return sides, [], None
    return sides, file_diffs.list_changes(inventories[0], inventories[1]), Comparer(blobs[0], blobs[1])
