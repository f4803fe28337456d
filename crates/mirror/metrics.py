"""Metrics of the mirror: outcomes of its requests, and the time that upstream takes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from registry_site.errors import UpstreamError
from registry_site.server import read_ahead
from registry_site.server.metrics import Counter, Histogram

KINDS = ("index", "crate")
OUTCOMES = ("hit", "miss", "renewed", "stale", "failed")

requests = Counter(
    "entrepot_mirror_requests",
    "Requests for index files and crates: served from what is here (hit), fetched (miss), asked for again and good "
    "(renewed), upstream too slow or failing while something is here (stale), or with nothing to serve (failed).",
    ("what", "outcome"),
    KINDS,
    OUTCOMES,
)
upstream = Histogram(
    "entrepot_mirror_upstream_seconds",
    "Time that upstream took for an answer, or for failing.",
    ("what",),
    KINDS,
)

OutcomeRecorder = Callable[[str], None]  # called with one of the outcomes above


def record_index_outcome(outcome: str) -> None:
    requests.add("index", outcome)


def record_crate_outcome(outcome: str) -> None:
    requests.add("crate", outcome)


def ignore_outcome(outcome: str) -> None:
    """Count nothing: the recorder for work that no client requested, such as a prefetch."""


def record_cache_hit(record_outcome: OutcomeRecorder, fetched_at: datetime, checked_at: datetime) -> None:
    """Record a cache hit, or a miss or renewal when that happened after this request had arrived.

    Read-ahead fetches for requests that are queued on a connection. They find everything in the cache at their turn,
    but without the request nothing would have been fetched.
    """
    arrived = read_ahead.arrived_at()
    if arrived is None or checked_at < arrived:
        record_outcome("hit")
    else:
        record_outcome("renewed" if fetched_at < arrived else "miss")


@contextmanager
def recording_fetch(record_outcome: OutcomeRecorder) -> Iterator[None]:
    """Record a miss, or a failure when upstream fails."""
    with recording_failure(record_outcome):
        yield
    record_outcome("miss")


@contextmanager
def recording_failure(record_outcome: OutcomeRecorder) -> Iterator[None]:
    """Record a failure when upstream fails, and nothing otherwise."""
    try:
        yield
    except UpstreamError:
        record_outcome("failed")
        raise
