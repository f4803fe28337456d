"""Requests to a running registry: how long each takes, and how many rows its database reads for it."""

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
