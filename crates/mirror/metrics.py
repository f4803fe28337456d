"""What is counted of the mirror."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from registry_site.errors import UpstreamError
from registry_site.server import read_ahead
from registry_site.server.metrics import Counter, Histogram

WHAT = ("index", "crate")

requests = Counter(
    "entrepot_mirror_requests",
    "Requests for index files and crates: served from what is here (hit), fetched (miss), asked for again and good "
    "(renewed), upstream too slow or failing while something is here (stale), or with nothing to serve (failed).",
    ("what", "outcome"),
    WHAT,
    ("hit", "miss", "renewed", "stale", "failed"),
)
upstream = Histogram(
    "entrepot_mirror_upstream_seconds",
    "Time that upstream took for an answer, or for failing.",
    ("what",),
    WHAT,
)


Tell = Callable[[str], None]  # is told the outcome of a request


def of_index(outcome: str) -> None:
    requests.add("index", outcome)


def of_crate(outcome: str) -> None:
    requests.add("crate", outcome)


def to_nobody(outcome: str) -> None:
    """For what is no request of a client."""


def here(tell: Tell, fetched_at: datetime, checked_at: datetime) -> None:
    """A hit, unless it was fetched or asked for again while this very request waited for its turn."""
    arrived = read_ahead.arrived_at()
    if arrived is None or checked_at < arrived:
        tell("hit")
    else:
        tell("renewed" if fetched_at < arrived else "miss")


@contextmanager
def fetching(tell: Tell) -> Iterator[None]:
    """A miss, unless upstream fails."""
    with failing(tell):
        yield
    tell("miss")


@contextmanager
def failing(tell: Tell) -> Iterator[None]:
    """Nothing, unless upstream fails."""
    try:
        yield
    except UpstreamError:
        tell("failed")
        raise
