"""What is counted of the mirror."""

from collections.abc import Iterator
from contextlib import contextmanager

from registry_site.errors import Upstream
from registry_site.metrics import Counter, Histogram

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


@contextmanager
def fetching(what: str) -> Iterator[None]:
    """A miss, unless upstream fails."""
    try:
        yield
    except Upstream:
        requests.add(what, "failed")
        raise
    requests.add(what, "miss")
