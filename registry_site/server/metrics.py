"""Figures for a Prometheus server, of all workers together; only for who sends `REGISTRY_METRICS_TOKEN`.

They stand in memory that the server shares with its workers, a row for each, so that none waits for another. What
`prometheus_client` has for several processes maps files: when the disk is full, writing to one kills the worker.
"""

import mmap
import threading
import time
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, product

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

CELL = 8  # bytes of a float

Labels = tuple[str, ...]


class Family:
    """Figures of one name, `width` of them for each of the `labels`, which are known beforehand."""

    width = 1

    def __init__(self, name: str, told: str, names: Sequence[str], *values: Sequence[str]) -> None:
        self.name, self.told, self.names = name, told, names
        self.labels = list(product(*values))
        self.first = sum(family.size for family in _families)
        _families.append(self)

    @property
    def size(self) -> int:
        return len(self.labels) * self.width

    def cell(self, labels: Labels) -> int:
        return self.first + self.labels.index(labels) * self.width

    def metric(self) -> Metric:
        raise NotImplementedError


class Counter(Family):
    """How often something happened."""

    def add(self, *labels: str) -> None:
        shared_counters().add(self.cell(labels), 1)

    def metric(self) -> Metric:
        metric = CounterMetricFamily(self.name, self.told, labels=self.names)
        for labels in self.labels:
            metric.add_metric(labels, shared_counters().total(self.cell(labels)))
        return metric


class Histogram(Family):
    """How long something took; `bounds` in seconds, ascending."""

    bounds = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
    width = len(bounds) + 2  # how many up to each bound, and above them all; and their sum

    def observe(self, seconds: float, *labels: str) -> None:
        first = self.cell(labels)
        shared_counters().add(first + bisect_left(self.bounds, seconds), 1)
        shared_counters().add(first + self.width - 1, seconds)

    @contextmanager
    def timed(self, *labels: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        finally:
            self.observe(time.monotonic() - begun, *labels)

    def metric(self) -> Metric:
        metric = HistogramMetricFamily(self.name, self.told, labels=self.names)
        for labels in self.labels:
            first = self.cell(labels)
            *counts, total = (shared_counters().total(first + place) for place in range(self.width))
            bounds = [*(str(bound) for bound in self.bounds), "+Inf"]
            metric.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
        return metric


class SharedCounters:
    """The memory: rows of cells, of which a process writes only to its own."""

    def __init__(self, rows: int) -> None:
        self.width = sum(family.size for family in _families)
        self.rows = range(rows)
        self.row = 0
        self.cells = memoryview(mmap.mmap(-1, max(rows * self.width, 1) * CELL)).cast("d")
        self.lock = threading.Lock()

    def add(self, cell: int, amount: float) -> None:
        with self.lock:
            self.cells[self.row * self.width + cell] += amount

    def total(self, cell: int) -> float:
        return sum(self.cells[row * self.width + cell] for row in self.rows)

    def take(self, taken: Collection[int]) -> int:
        """The process that is forked next writes to a row that no living one has; what stands there counts on."""
        self.row = next((row for row in self.rows if row not in taken), 0)
        return self.row


_families: list[Family] = []
_boards: list[SharedCounters] = []


def create_shared_counters(processes: int) -> SharedCounters:
    """Count from nothing, in so many processes that are forked from this one."""
    _boards[:] = [SharedCounters(processes)]
    return _boards[0]


def shared_counters() -> SharedCounters:
    """That of this process, and of the workers that are forked from it."""
    return _boards[0] if _boards else create_shared_counters(1)


class _All(Collector):
    def collect(self) -> Iterator[Metric]:
        return (family.metric() for family in _families)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """`GET /metrics`"""
    if not settings.METRICS_TOKEN:
        raise Http404
    if not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {settings.METRICS_TOKEN}"):
        headers = {"WWW-Authenticate": "Bearer"}
        return HttpResponse("The token of REGISTRY_METRICS_TOKEN is wanted.\n", "text/plain", 401, headers=headers)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_All())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
