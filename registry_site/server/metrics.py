"""Metrics for Prometheus, of all workers together; readable only with `REGISTRY_METRICS_TOKEN`.

The counters stand in memory that the server shares with its workers, a row for each, so that no worker waits for
another. `prometheus_client` maps files for several processes: when the disk is full, writing to one kills the worker.
"""

import mmap
import threading
import time
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, product

from django.conf import settings
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from registry_site import audit_seals, outbox

CELL_SIZE = 8  # bytes of a float

LabelValues = tuple[str, ...]


class Family:
    """A metric with `width` cells for each combination of its labels' values, all of which are known at the start."""

    width = 1

    def __init__(self, name: str, help: str, label_names: Sequence[str], *values: Sequence[str]) -> None:
        self.name, self.help, self.label_names = name, help, label_names
        self.combinations: list[LabelValues] = list(product(*values))
        self.first_cell = sum(family.size for family in _families)
        _families.append(self)

    @property
    def size(self) -> int:
        return len(self.combinations) * self.width

    def cell(self, labels: LabelValues) -> int:
        return self.first_cell + self.combinations.index(labels) * self.width

    def collect(self) -> Metric:
        raise NotImplementedError


class Counter(Family):
    """A number of events."""

    def add(self, *labels: str, amount: int = 1) -> None:
        shared_counters().add(self.cell(labels), amount)

    def value(self, *labels: str) -> int:
        """Return the number so far, of all workers of this server together."""
        return int(shared_counters().total(self.cell(labels)))

    def collect(self) -> Metric:
        metric = CounterMetricFamily(self.name, self.help, labels=self.label_names)
        for labels in self.combinations:
            metric.add_metric(labels, shared_counters().total(self.cell(labels)))
        return metric


class Histogram(Family):
    """A distribution of durations; `bounds` in seconds, ascending."""

    bounds = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    width = len(bounds) + 2  # a count for each bound, one above them all, and the sum

    def observe(self, seconds: float, *labels: str) -> None:
        first = self.cell(labels)
        shared_counters().add(first + bisect_left(self.bounds, seconds), 1)
        shared_counters().add(first + self.width - 1, seconds)

    @contextmanager
    def timed(self, *labels: str) -> Iterator[None]:
        """Observe the duration of the block."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.observe(time.monotonic() - started, *labels)

    def collect(self) -> Metric:
        metric = HistogramMetricFamily(self.name, self.help, labels=self.label_names)
        bounds = [*(str(bound) for bound in self.bounds), "+Inf"]
        for labels in self.combinations:
            first = self.cell(labels)
            *counts, total = (shared_counters().total(first + offset) for offset in range(self.width))
            # Prometheus counts cumulatively: a bucket has all that is not above its bound.
            metric.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return metric


class SharedCounters:
    """Shared memory with rows of cells. Each process writes to its own row only, so no lock spans processes."""

    def __init__(self, rows: int) -> None:
        self.width = sum(family.size for family in _families)
        self.rows = range(rows)
        self.row = 0
        self.cells = memoryview(mmap.mmap(-1, max(rows * self.width, 1) * CELL_SIZE)).cast("d")
        self.lock = threading.Lock()  # between the threads of a process

    def add(self, cell: int, amount: float) -> None:
        with self.lock:
            self.cells[self.row * self.width + cell] += amount

    def total(self, cell: int) -> float:
        return sum(self.cells[row * self.width + cell] for row in self.rows)

    def claim_row(self, taken: Collection[int]) -> int:
        """Choose a row that no living process has, for the one that is forked next. Its figures count on."""
        self.row = next((row for row in self.rows if row not in taken), 0)
        return self.row


_families: list[Family] = []
_shared: list[SharedCounters] = []  # at most one


def create_shared_counters(rows: int) -> SharedCounters:
    """Start counting at zero, in this process and up to `rows` that are forked from it."""
    _shared[:] = [SharedCounters(rows)]
    return _shared[0]


def shared_counters() -> SharedCounters:
    """Return the counters of this process; a process that is no server, such as a command, has its own."""
    return _shared[0] if _shared else create_shared_counters(1)


class FamilyCollector(Collector):
    def collect(self) -> Iterator[Metric]:
        return (family.collect() for family in _families)


class OutboxCollector(Collector):
    """Mails that wait, of all nodes together: read from the database whenever Prometheus asks."""

    def collect(self) -> Iterator[Metric]:
        try:
            pending, oldest_seconds = outbox.backlog()
        except Error:  # the other figures are needed most while the database is away
            return
        yield GaugeMetricFamily("outbox_pending", "Mails, and events whose mails are to be added, that wait.", pending)
        yield GaugeMetricFamily("outbox_oldest_seconds", "Age of the oldest of these.", oldest_seconds)


class AuditCollector(Collector):
    """Events of the audit log that no seal covers yet: they grow old if the server's thread no longer works."""

    def collect(self) -> Iterator[Metric]:
        try:
            backlog = audit_seals.backlog()
        except Error:
            return
        yield GaugeMetricFamily("audit_unsealed", "Events of the audit log that are not sealed yet.", backlog.events)
        oldest = backlog.oldest_seconds
        yield GaugeMetricFamily("audit_unsealed_oldest_seconds", "Age of the oldest of these.", oldest)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """`GET /metrics`"""
    if not settings.METRICS_TOKEN:
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        headers = {"WWW-Authenticate": "Bearer"}
        return HttpResponse("The token of REGISTRY_METRICS_TOKEN is wanted.\n", "text/plain", 401, headers=headers)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(FamilyCollector())
    registry.register(OutboxCollector())
    registry.register(AuditCollector())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
