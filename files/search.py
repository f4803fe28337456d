"""Finding files: any filters together, in pages that each begin where the one before ended."""

import time
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from files.models import File
from files.regex import Pattern, Range
from registry_site.errors import Invalid

BATCH = 500
NARROW = 20_000  # so many files between the ends of a range are looked through at once
SECONDS = 1.0  # for looking through names, in one request
TOO_SLOW = (
    "The regular expression for serve_path takes too long among so many files: begin it with ^ and plain characters, "
    "or narrow the list by category, since or count."
)


def find(
    *,
    serve_path: str | None = None,
    since: datetime | None = None,
    uploaded: datetime | None = None,
    count: int | None = None,
    **exactly: Any,
) -> list[File] | Iterator[File]:
    """All files that fit, no more than `count`: in the order of their changes for `since`, else as they were added.

    `exactly` holds columns and their values. Without a `count` a list that is narrowed by a pattern or by `since` is
    whole, and comes one by one. Raises `Invalid` for a pattern that cannot be read or takes too long.
    """
    files, order, first = File.objects.filter(**exactly), "id", None
    if uploaded is not None:
        order, first = "uploaded_at", uploaded
    if since is not None:
        files = _from(files, order, first)
        order, first = "modified_at", since
    limit = _limit(count, narrowed=serve_path is not None or since is not None)
    if serve_path is None:
        found = _paged(files, order, first, limit)
    else:
        found = _with(*_matching(files, order, first, Pattern(serve_path), limit), order)
    return found if limit is None else list(found)


def _limit(count: int | None, *, narrowed: bool) -> int | None:
    if count is None:
        return None if narrowed else settings.FILE_LIST_COUNT
    return min(count, settings.MAX_FILE_LIST_COUNT)


def _from(rows: QuerySet[File, Any], order: str, first: Any) -> QuerySet[File, Any]:
    return rows if first is None else rows.filter(**{f"{order}__gte": first})


def _paged(rows: QuerySet[File, Any], order: str, first: Any, limit: int | None = None) -> Iterator[Any]:
    """Rows in the order of a column, `first` or later; each page is a short query, however slowly they are taken.

    A page begins where the one before ended, and says so alone: SQLite would go by the first of two beginnings.
    """
    rest, left = _from(rows, order, first), limit
    while left != 0:
        size = BATCH if left is None else min(BATCH, left)
        page = list(rest.order_by(order, "id")[:size])
        yield from page
        if len(page) < size:
            return
        left = None if left is None else left - size
        last = page[-1]
        reached = getattr(last, order)
        rest = _from(rows, order, reached).exclude(**{order: reached, "id__lte": last.id})


def _matching(
    files: QuerySet[File], order: str, first: Any, pattern: Pattern, limit: int | None
) -> "tuple[array[int], Any]":
    """Ids of the first files with a fitting name, in the order of a column, and how far in it the last one is."""
    rows = files.values_list(*dict.fromkeys(("id", order, "serve_path")), named=True)
    near = _near(_from(rows, order, first), pattern.range())
    candidates = (
        _paged(rows, order, first) if near is None else sorted(near, key=lambda row: (getattr(row, order), row.id))
    )
    fitting = (row for row in _in_time(candidates) if pattern.is_in(row.serve_path))
    found, reached = array("q"), None
    for row in islice(fitting, limit):
        found.append(row.id)
        reached = getattr(row, order)
    return found, reached


def _near(rows: QuerySet[File, Any], ends: Range | None) -> list[Any] | None:
    """The files in a range of names, when there is one and it is narrow: the index by name finds them."""
    if ends is None:
        return None
    within = rows.filter(serve_path__gte=ends.low)
    if ends.high is not None:
        within = within.filter(serve_path__lt=ends.high)
    near = list(within.order_by("serve_path")[: NARROW + 1])
    return near if len(near) <= NARROW else None


def _in_time(rows: Iterable[Any]) -> Iterator[Any]:
    """The rows, until time is up; raises `Invalid` then."""
    until = time.perf_counter() + SECONDS
    for row in rows:
        if time.perf_counter() > until:
            raise Invalid(TOO_SLOW)
        yield row


def _with(ids: "array[int]", reached: Any, order: str) -> Iterator[File]:
    """The files of these ids, in this order, without those that are gone or have moved on meanwhile.

    What has changed since comes with the next `since`; here it would say that nothing is missing up to its own time.
    """
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        files = File.objects.in_bulk(batch.tolist())
        yield from (files[pk] for pk in batch if pk in files and getattr(files[pk], order) <= reached)
