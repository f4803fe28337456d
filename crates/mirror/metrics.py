"""What is counted of the mirror."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from registry_site.errors import UpstreamError
from registry_site.server import read_ahead
from registry_site.server.metrics import Counter, Histogram

LABELS = ("index", "crate")

requests = Counter(
    "entrepot_mirror_requests",
    "Requests for index files and crates: served from what is here (hit), fetched (miss), asked for again and good "
    "(renewed), upstream too slow or failing while something is here (stale), or with nothing to serve (failed).",
    ("what", "outcome"),
    LABELS,
    ("hit", "miss", "renewed", "stale", "failed"),
)
upstream = Histogram(
    "entrepot_mirror_upstream_seconds",
    "Time that upstream took for an answer, or for failing.",
    ("what",),
    LABELS,
)


OutcomeRecorder = Callable[[str], None]  # is told the outcome of a request


def record_index_outcome(outcome: str) -> None:
    requests.add("index", outcome)


def record_crate_outcome(outcome: str) -> None:
    requests.add("crate", outcome)


def ignore_outcome(outcome: str) -> None:
    """For what is no request of a client."""


def record_cache_hit(tell: OutcomeRecorder, fetched_at: datetime, checked_at: datetime) -> None:
    """A hit, unless it was fetched or asked for again while this very request waited for its turn."""
    arrived = read_ahead.arrived_at()
    if arrived is None or checked_at < arrived:
        tell("hit")
    else:
        tell("renewed" if fetched_at < arrived else "miss")


@contextmanager
def recording_fetch(tell: OutcomeRecorder) -> Iterator[None]:
    """A miss, unless upstream fails."""
    with recording_failure(tell):
        yield
    tell("miss")


@contextmanager
def recording_failure(tell: OutcomeRecorder) -> Iterator[None]:
    """Nothing, unless upstream fails."""
    try:
        yield
    except UpstreamError:
        tell("failed")
        raise
