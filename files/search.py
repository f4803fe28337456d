"""Searching the catalogue: any filters together, page by page, in time that a large catalogue does not exceed."""

import time
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from files.models import File
from files.regex import Pattern
from registry_site.errors import Invalid

PAGE_SIZE = 500  # rows of one query
MAX_RANGE_ROWS = 20_000  # rows that one query by a prefix of the serve path may read and sort in memory
MAX_SECONDS = 1.0  # for matching serve paths, in one request
TOO_SLOW = (
    "The regular expression for serve_path takes too long among so many files: begin it with ^ and plain characters, "
    "or narrow the list by category, since or count."
)


def search_files(
    *,
    serve_path: str | None = None,
    since: datetime | None = None,
    uploaded: datetime | None = None,
    count: int | None = None,
    **columns: Any,
) -> list[File] | Iterator[File]:
    """Return the files that match all filters: in the order of their changes for `since`, else as they were added.

    `serve_path` is a regular expression; `columns` are names and values of columns. With `since` or `serve_path` and
    no `count` the list is complete, and an iterator. Raises `Invalid` for a pattern that is malformed or too slow.
    """
    files: QuerySet[File] = File.objects.filter(**columns)
    order, start = "id", None
    if uploaded is not None:
        order, start = "uploaded_at", uploaded
    if since is not None:
        files = _starting_at(files, order, start)
        order, start = "modified_at", since
    if count is not None:
        limit: int | None = min(count, settings.MAX_FILE_LIST_COUNT)
    else:
        limit = settings.FILE_LIST_COUNT if serve_path is None and since is None else None
    if serve_path is None:
        results = _iterate_pages(files, order, start, limit)
    else:
        ids, last_position = _match(files, order, start, Pattern(serve_path), limit)
        results = _load(ids, order, last_position)
    return results if limit is None else list(results)


def _starting_at(rows: QuerySet[File, Any], column: str, start: Any) -> QuerySet[File, Any]:
    return rows if start is None else rows.filter(**{f"{column}__gte": start})


def _iterate_pages(rows: QuerySet[File, Any], order: str, start: Any, limit: int | None = None) -> Iterator[Any]:
    """Yield rows in the order of a column, from `start` on.

    Each page is a query of its own, so a slow client keeps no transaction open. It begins after the last row of the
    page before (not at an OFFSET), so the thousandth costs as much as the first.
    """
    remaining, left = _starting_at(rows, order, start), limit
    while left != 0:
        size = PAGE_SIZE if left is None else min(PAGE_SIZE, left)
        page = list(remaining.order_by(order, "id")[:size])
        yield from page
        if len(page) < size:
            return
        left = None if left is None else left - size
        last = page[-1]
        position = getattr(last, order)
        # From `rows`, not from `remaining`: with two lower bounds SQLite may seek to the lower one in its index, and
        # read every row of the pages before again.
        remaining = _starting_at(rows, order, position).exclude(**{order: position, "id__lte": last.id})


def _match(
    files: QuerySet[File], order: str, start: Any, pattern: Pattern, limit: int | None
) -> "tuple[array[int], Any]":
    """Return the ids of the first matching files, in the order of a column, and its value for the last of them."""
    # Only the columns that matching needs, and of a match its id: a list can be as long as the catalogue.
    rows = files.values_list(*dict.fromkeys(("id", order, "serve_path")), named=True)
    candidates: Iterable[Any] = _iterate_pages(rows, order, start)
    if (prefixed := pattern.prefix_range()) is not None:
        # An index gives the rows in the order of their serve paths. If they are few, reading and sorting all of them
        # is faster than walking the whole catalogue in the order of the list; if they are many, walking is.
        in_range = _starting_at(rows, order, start).filter(serve_path__gte=prefixed.low)
        if prefixed.high is not None:
            in_range = in_range.filter(serve_path__lt=prefixed.high)
        few = list(in_range.order_by("serve_path")[: MAX_RANGE_ROWS + 1])
        if len(few) <= MAX_RANGE_ROWS:
            candidates = sorted(few, key=lambda row: (getattr(row, order), row.id))
    ids, last_position = array("q"), None
    deadline = time.perf_counter() + MAX_SECONDS
    for row in candidates:
        if time.perf_counter() > deadline:
            raise Invalid(TOO_SLOW)
        if pattern.matches(row.serve_path):
            ids.append(row.id)
            last_position = getattr(row, order)
            if len(ids) == limit:
                break
    return ids, last_position


def _load(ids: "array[int]", order: str, last_position: Any) -> Iterator[File]:
    """Yield the files of these ids, in this order, without those that were deleted or changed meanwhile.

    A changed file has a later time than all others in the list. A client that asks next for changes since that time
    would miss those between; so the file is left out, and comes with that next list.
    """
    for first in range(0, len(ids), PAGE_SIZE):
        page = ids[first : first + PAGE_SIZE]
        files = File.objects.in_bulk(page.tolist())
        yield from (files[pk] for pk in page if pk in files and getattr(files[pk], order) <= last_position)
