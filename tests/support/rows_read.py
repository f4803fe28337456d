"""Counts of the database rows that a request reads, as far as the database says so."""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext


def rows_read(
    path: str, table: str, index: str = "", headers: Mapping[str, str] | None = None
) -> tuple[int, int | None]:
    """Count the rows of a table that a GET of `path` reads.

    On PostgreSQL also count the entries of the indexes whose names begin with `index`; None on SQLite.
    """
    if connection.vendor == "postgresql":
        return _count_in_plans(path, table, index, headers)
    return _count_in_view(path, table, headers), None


def _count_in_plans(path: str, table: str, index: str, headers: Mapping[str, str] | None) -> tuple[int, int]:
    """Sum up the plans of all queries, with the rows that they really read."""
    with CaptureQueriesContext(connection) as queries:
        _get(path, headers)
    rows = entries = 0
    with connection.cursor() as cursor:
        # Else a scan begins where the last one of another session happened to end.
        cursor.execute("SET synchronize_seqscans = off")
        for query in queries.captured_queries:
            if table in query["sql"]:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
                (plans,) = cursor.fetchone()
                for node in _nodes((plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"]):
                    counts = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
                    number = sum(int(node.get(count, 0)) for count in counts) * int(node["Actual Loops"])
                    rows += number if node.get("Relation Name") == table else 0
                    entries += number if index and node.get("Index Name", "").startswith(index) else 0
    return rows, entries


@contextmanager
def steps_of_sqlite() -> Iterator[list[int]]:
    """Count the steps of SQLite's virtual machine in the block, its work on any machine; 0 on PostgreSQL."""
    steps = [0]

    def add() -> None:
        steps[0] += 1

    if connection.vendor == "sqlite":
        connection.connection.set_progress_handler(add, 1)
    try:
        yield steps
    finally:
        if connection.vendor == "sqlite":
            connection.connection.set_progress_handler(None, 0)


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _count_in_view(path: str, table: str, headers: Mapping[str, str] | None) -> int:
    """Put a view in front of the table whose filter counts: SQLite itself reports no numbers of rows."""
    counter = itertools.count(1)
    with connection.cursor() as cursor:
        connection.connection.create_function("count_row", 1, lambda number: next(counter))
        cursor.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE count_row(rowid)")
        try:
            _get(path, headers)
        finally:
            cursor.execute(f"DROP VIEW temp.{table}")
    return next(counter) - 1


def _get(path: str, headers: Mapping[str, str] | None) -> None:
    """Send the request inside of this process, by the same URL map as the server."""
    response = Client(SERVER_NAME="127.0.0.1").get(path, headers=dict(headers or {}))
    if response.status_code != 200:
        raise RuntimeError(f"{path} was answered by {response.status_code}.")
    if response.streaming:
        for _ in response:
            pass
