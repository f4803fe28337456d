"""Values in the memory of a worker, dropped as soon as the change log says that what they are made of has changed.

Each value has tags, the kinds and keys of the change log that it depends on. `registry_site.change_feed` drops by tags.
Outside of a server's worker there is no feed, and nothing is kept.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django.db import connection

if TYPE_CHECKING:
    from registry_site.change_feed import ChangeFeed

Tag = tuple[str, str]  # kind and key of a change
Key = TypeVar("Key")
Value = TypeVar("Value")

MAX_DROPS = 10_000  # remembered, for values that are being read; with fewer, `put` would refuse more of them
MAX_SPARED = 100  # used values that stay for another round when one is put: everybody waits for the lock meanwhile


class Entry(Generic[Value]):
    __slots__ = ("good_until", "is_used", "size", "tags", "value")

    def __init__(self, value: Value, tags: tuple[Tag, ...], good_until: float | None, size: int) -> None:
        self.value, self.tags, self.good_until, self.size = value, tags, good_until, size
        self.is_used = False


class MemoryCache(Generic[Key, Value]):
    """Values by key, at most `max_size` of them, or of whatever `size_of` counts.

    `tables` are those whose changes it relies on, by kind: without their triggers, the feed never lets it answer.
    """

    def __init__(
        self,
        tables: Mapping[str, Collection[str]],
        max_size: int,
        size_of: Callable[[Value], int] = lambda value: 1,
    ) -> None:
        self.tables, self.max_size, self.size_of = tables, max_size, size_of
        self.feed: ChangeFeed | None = None
        self.lock = threading.Lock()
        # To find its first key, a plain dict looks at the holes that removals have left.
        self.entries: OrderedDict[Key, Entry[Value]] = OrderedDict()
        self.keys: dict[Tag, set[Key]] = {}
        self.size = 0
        self.drops: OrderedDict[Tag, int] = OrderedDict()  # the last ones, with their positions
        self.forgotten = 0  # the position up to which drops are no longer remembered, or all was dropped

    def ticket(self) -> int:
        """Return what `put` wants to know of the time before a value is read."""
        return 0 if self.feed is None else self.feed.ticket()

    def get(self, key: Key) -> Value | None:
        """Return a value that is true now, or None.

        Waits for the database, for a second at most; who connects anew, as long as any connection of it may take.
        """
        if key not in self.entries or self.feed is None or not self.feed.catch_up():
            return None
        return self.peek(key)

    def peek(self, key: Key) -> Value | None:
        """Return a value, or None, for a caller that has let the feed catch up since its request came."""
        entry = self.entries.get(key)
        if entry is None or (entry.good_until is not None and time.time() >= entry.good_until):
            return None
        entry.is_used = True
        return entry.value

    def put(self, key: Key, value: Value, ticket: int, tags: Iterable[Tag], good_until: float | None = None) -> bool:
        """Keep a value that was read after `ticket` gave the ticket; return whether it is kept.

        A value that has changed since is refused, and so is one that was read in a transaction: what this sees may be
        older than the ticket, or never be committed. `good_until` is a time of `time.time()`.
        """
        entry = Entry(value, tuple(tags), good_until, self.size_of(value))
        if self.feed is None or connection.in_atomic_block or entry.size > self.max_size:
            return False
        with self.lock:
            if ticket < self.forgotten or any(self.drops.get(tag, 0) > ticket for tag in entry.tags):
                return False
            self.remove(key)
            self.entries[key] = entry
            self.size += entry.size
            for tag in entry.tags:
                self.keys.setdefault(tag, set()).add(key)
            self.make_room()
        return True

    def make_room(self) -> None:
        """Remove the oldest values; those that were used since stay for one more round, as far as there is time."""
        spared = 0
        while self.size > self.max_size:
            key, entry = next(iter(self.entries.items()))
            if entry.is_used and spared < MAX_SPARED:
                entry.is_used = False
                self.entries.move_to_end(key)
                spared += 1
            else:
                self.remove(key)

    def remove(self, key: Key) -> None:
        entry = self.entries.pop(key, None)
        if entry is None:
            return
        self.size -= entry.size
        for tag in entry.tags:
            keys = self.keys[tag]
            keys.discard(key)
            if not keys:
                del self.keys[tag]

    def drop(self, tags: Iterable[Tag], position: int) -> None:
        """Drop what has these tags; the feed has read these changes before it got to `position`."""
        own_tags = [tag for tag in tags if tag[0] in self.tables]
        if not own_tags:
            return
        with self.lock:
            for tag in own_tags:
                for key in tuple(self.keys.get(tag, ())):
                    self.remove(key)
                # Two threads may drop at once, the one with the lower position last.
                self.drops[tag] = max(position, self.drops.pop(tag, 0))
            while len(self.drops) > MAX_DROPS:
                self.forgotten = max(self.forgotten, self.drops.popitem(last=False)[1])

    def drop_all(self, position: int) -> None:
        with self.lock:
            self.entries.clear()
            self.keys.clear()
            self.size = 0
            self.forgotten = max(self.forgotten, position)


caches: list[MemoryCache[Any, Any]] = []  # all that the feed of this process keeps true


def register(cache: MemoryCache[Key, Value]) -> MemoryCache[Key, Value]:
    """Let the feed of this process keep a cache true."""
    caches.append(cache)
    return cache
