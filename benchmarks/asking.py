"""Requests to a running registry: how long each takes, and how many rows its database reads for it."""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

from benchmarks.table import percentile
from tests.support.servers import Server

WARM_UP = 5
ROUNDS = 30


@dataclass
class Measure:
    """One request, and what is found out about it; `rounds` of it are counted."""

    what: str
    path: str
    rounds: int = ROUNDS
    milliseconds: list[float] = field(default_factory=list)
    found: str = "-"
    rows: int | None = None

    def cells(self, unit: float) -> list[str]:
        """Of its row in the table; `unit` is what everything is compared with."""
        p50, p95 = percentile(self.milliseconds, 50), percentile(self.milliseconds, 95)
        numbers = [f"{p50:.1f}", f"{p95:.1f}", f"{p50 / unit:.1f}", f"{p95 / unit:.1f}"]
        return [self.what, *numbers, counted(self.rows), self.found]


# --- How long it takes -------------------------------------------------------------------------------------------


def ask(
    measures: Sequence[Measure],
    port: int,
    found: Callable[[HTTPResponse, bytes], str],
    headers: Mapping[str, str] | None = None,
) -> None:
    """One client asks for all of them by turns, so that the machine's moods meet each alike; fills them in."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    for number in range(-WARM_UP, max(measure.rounds for measure in measures)):
        for measure in measures:
            if number >= measure.rounds:
                continue
            began = time.perf_counter()
            connection.request("GET", measure.path, headers=dict(headers or {}))
            answer = connection.getresponse()
            body = answer.read()
            taken = time.perf_counter() - began
            if answer.status != 200:
                raise RuntimeError(f"{measure.path} was answered by {answer.status}: {body[:200]!r}")
            measure.found = found(answer, body)
            if number >= 0:
                measure.milliseconds.append(taken * 1000)
    connection.close()


@contextmanager
def serving(data: Path) -> Iterator[Server]:
    """The registry on these data, with its default settings."""
    database = os.environ.get("REGISTRY_DATABASE_URL")
    server = Server(data, {"REGISTRY_DATABASE_URL": database} if database else {})
    server.start()
    try:
        yield server
    finally:
        server.stop()


# --- What it reads -----------------------------------------------------------------------------------------------


def rows_read(
    path: str, table: str, index: str = "", headers: Mapping[str, str] | None = None
) -> tuple[int, int | None]:
    """How many rows of a table are read for an answer.

    On PostgreSQL also how many entries of the indexes whose names begin with `index`.
    """
    from django.db import connection

    if connection.vendor == "postgresql":
        return _explained(path, table, index, headers)
    return _seen(path, table, headers), None


def _explained(path: str, table: str, index: str, headers: Mapping[str, str] | None) -> tuple[int, int]:
    """The plans of all queries, as they were carried out."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        _get(path, headers)
    totals = [0, 0]
    with connection.cursor() as cursor:
        cursor.execute("SET synchronize_seqscans = off")  # or a scan would begin where the last one happened to end
        for query in queries.captured_queries:
            if table in query["sql"]:
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {query['sql']}")
                (plans,) = cursor.fetchone()
                for node in _nodes((plans if isinstance(plans, list) else json.loads(plans))[0]["Plan"]):
                    totals[0] += _read(node) if node.get("Relation Name") == table else 0
                    totals[1] += _read(node) if index and node.get("Index Name", "").startswith(index) else 0
    return totals[0], totals[1]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _read(node: dict[str, Any]) -> int:
    """Rows that a node gave or threw away."""
    counts = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    return sum(int(node.get(count, 0)) for count in counts) * int(node["Actual Loops"])


def _seen(path: str, table: str, headers: Mapping[str, str] | None) -> int:
    """SQLite counts no rows, so a view in front of the table does: it is looked through, and says so of each row."""
    from django.db import connection

    counter = itertools.count(1)
    with connection.cursor() as cursor:
        connection.connection.create_function("seen", 1, lambda number: next(counter))
        cursor.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM main.{table} WHERE seen(id)")
        try:
            _get(path, headers)
        finally:
            cursor.execute(f"DROP VIEW temp.{table}")
    return next(counter) - 1


def _get(path: str, headers: Mapping[str, str] | None) -> None:
    """Ask in this process, by the same way as the server."""
    from django.test import Client

    response = Client(SERVER_NAME="127.0.0.1").get(path, headers=dict(headers or {}))
    if response.status_code != 200:
        raise RuntimeError(f"{path} was answered by {response.status_code}.")
    if response.streaming:
        for _ in response:
            pass


# --- What is told ------------------------------------------------------------------------------------------------


def render(head: Sequence[str], measures: Sequence[Measure]) -> str:
    """A table in Markdown; the first measure is the unit."""
    unit = percentile(measures[0].milliseconds, 50)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *(measure.cells(unit) for measure in measures)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def counted(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def tell(text: str) -> None:
    """Progress, on standard error."""
    print("…", text, file=sys.stderr, flush=True)
