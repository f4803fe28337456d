"""Caches over the change log, each with a feed of its own, as in a worker."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from registry_site.change_feed import ChangeFeed
from registry_site.memory_cache import MemoryCache, Tag

TABLES = {
    "credential": ["accounts_credential"],
    "index": ["crates_crate", "crates_indexline"],
    "mirror": ["crates_crate", "mirror_cachedcrate", "mirror_cachedindexfile", "mirror_override"],
    "version": ["crates_version"],
    "user": ["accounts_ban", "accounts_identity", "accounts_user"],
}


@contextmanager
def feeding(cache: MemoryCache[Any, Any]) -> Iterator[None]:
    """Let a cache keep values in the block, by a feed that has begun to read the log."""
    feed = ChangeFeed([cache])
    try:
        assert feed.catch_up()
        yield
    finally:
        feed.close()


@contextmanager
def fed_cache(max_size: int = 1000) -> Iterator[MemoryCache[str, str]]:
    """Give a cache with a feed."""
    cache = MemoryCache[str, str](TABLES, max_size)
    with feeding(cache):
        yield cache


def keep(cache: MemoryCache[str, str], *tags: Tag) -> None:
    """Keep a value for each tag, by the tag's key."""
    assert cache.feed is not None
    ticket = cache.feed.ticket()
    for tag in tags:
        assert cache.put(tag[1], "value", ticket, [tag])


def dropped(cache: MemoryCache[str, str], change: Callable[[], object]) -> set[str]:
    """Make a change, and return the keys of the values that the cache has dropped for it."""
    before = set(cache.entries)
    change()
    assert cache.feed is not None
    assert cache.feed.catch_up()
    return before - set(cache.entries)
