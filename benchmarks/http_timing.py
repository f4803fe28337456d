"""Requests to a running registry: their times, and a table of them."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from benchmarks.table import percentile
from tests.support.servers import Server

WARM_UP = 5
ROUNDS = 30


@dataclass
class Measure:
    """One request with its times; `rounds` of it are counted."""

    label: str
    path: str
    rounds: int = ROUNDS
    milliseconds: list[float] = field(default_factory=list)
    result: str = "-"
    rows: int | None = None

    def cells(self, unit: float) -> list[str]:
        """List the cells of its row; `unit` is the time that ratios compare with, in milliseconds."""
        p50, p95 = percentile(self.milliseconds, 50), percentile(self.milliseconds, 95)
        numbers = [f"{p50:.1f}", f"{p95:.1f}", f"{p50 / unit:.1f}", f"{p95 / unit:.1f}"]
        return [self.label, *numbers, format_count(self.rows), self.result]


# --- Times -------------------------------------------------------------------------------------------------------


def time_requests(
    measures: Sequence[Measure],
    port: int,
    describe_result: Callable[[HTTPResponse, bytes], str],
    headers: Mapping[str, str] | None = None,
) -> None:
    """Send all requests in turn by one client, so that noise of the machine meets each alike; fill in the times."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    for number in range(-WARM_UP, max(measure.rounds for measure in measures)):
        for measure in measures:
            if number >= measure.rounds:
                continue
            time_request(connection, measure, describe_result, headers, is_counted=number >= 0)
    connection.close()


def time_request(
    connection: HTTPConnection,
    measure: Measure,
    describe_result: Callable[[HTTPResponse, bytes], str],
    headers: Mapping[str, str] | None = None,
    *,
    is_counted: bool,
) -> None:
    """Send a request and fill in its result, and its time if that is counted."""
    began = time.perf_counter()
    connection.request("GET", measure.path, headers=dict(headers or {}))
    answer = connection.getresponse()
    body = answer.read()
    taken = time.perf_counter() - began
    if answer.status != 200:
        raise RuntimeError(f"{measure.path} got {answer.status}: {body[:200]!r}")
    measure.result = describe_result(answer, body)
    if is_counted:
        measure.milliseconds.append(taken * 1000)


@contextmanager
def run_server(data: Path) -> Iterator[Server]:
    """Run a registry on a data directory, with default settings."""
    database = os.environ.get("REGISTRY_DATABASE_URL")
    server = Server(data, {"REGISTRY_DATABASE_URL": database} if database else {})
    server.start()
    try:
        yield server
    finally:
        server.stop()


# --- Output ------------------------------------------------------------------------------------------------------


def render(head: Sequence[str], measures: Sequence[Measure]) -> str:
    """Write a table in Markdown; the first measure is the unit."""
    unit = percentile(measures[0].milliseconds, 50)
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *(measure.cells(unit) for measure in measures)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def format_count(number: int | None) -> str:
    return "-" if number is None else f"{number:,}"


def print_progress(text: str) -> None:
    """Print to standard error."""
    print("…", text, file=sys.stderr, flush=True)
