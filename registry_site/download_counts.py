"""Downloads, counted in memory, and added to rows by each worker every few seconds.

A download itself writes nothing. A killed process loses what it has counted since its last flush, and nothing more.
"""

import atexit
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

from django.db import InterfaceError, OperationalError, connection, connections, transaction
from django.db.models import BigIntegerField, Func, Min, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, TruncMonth

from registry_site.logs import log_event
from registry_site.models import CounterRow, DownloadsOfDay, RecentDownloadTotal
from registry_site.server import metrics

FLUSH_SECONDS = 5
BATCH_SIZE = 500  # rows of a statement, so that other writers of SQLite come between
MAX_KEYS = 100_000  # of one kind in memory, about 20 MB: reached only while the database is down for long
STOP_SECONDS = 10  # for the last flush; gunicorn kills a worker after 30
RECENT_DAYS = 90

KINDS = ("crate", "mirrored crate", "package", "file")

downloads = metrics.Counter("entrepot_downloads", "Downloads by clients, as they are counted.", ("kind",), KINDS)

Counts: TypeAlias = Mapping[tuple[Any, ...], int]  # by the key of a row


class DownloadCounter:
    """Downloads of one kind that are not stored yet, by the key of what was downloaded and by day.

    `store` adds them to rows, in a transaction that it gets. It leaves out what was deleted meanwhile.
    """

    def __init__(self, kind: str, store: Callable[[Counts], None]) -> None:
        self.kind, self.store = kind, store
        self.pending: dict[tuple[Any, ...], int] = {}
        self.lock = threading.Lock()
        self.is_failing = self.is_full = False
        counters.append(self)

    def count(self, *key: Hashable) -> None:
        """Count one download of now."""
        downloads.add(self.kind)
        self.add({(*key, today()): 1})

    def add(self, counts: Counts) -> None:
        """Add counts to those in memory, as far as there is room for their keys."""
        with self.lock:
            for key, count in counts.items():
                if key in self.pending or len(self.pending) < MAX_KEYS:
                    self.pending[key] = self.pending.get(key, 0) + count
                elif not self.is_full:
                    self.is_full = True
                    log_event("downloads_not_counted", logging.ERROR, kind=self.kind, cause="too many wait for storage")

    def flush(self) -> None:
        """Store what was counted. What cannot be stored stays in memory for the next flush."""
        with self.lock:
            counts, self.pending = self.pending, {}
        keys = sorted(counts)  # so that no two workers wait for each other's rows
        for start in range(0, len(keys), BATCH_SIZE):
            batch = {key: counts.pop(key) for key in keys[start : start + BATCH_SIZE]}
            try:
                with transaction.atomic():
                    self.store(batch)
            except Exception as error:  # whatever it is, the counting of the others goes on
                self.add(batch)
                self.log_failure(error)
                if isinstance(error, OperationalError | InterfaceError):  # no other batch would fare better
                    self.add(counts)
                    return
            else:
                self.is_failing = self.is_full = False

    def log_failure(self, error: Exception) -> None:
        """Log the first of several failures in a row."""
        if not self.is_failing:
            self.is_failing = True
            log_event("downloads_not_stored", logging.WARNING, kind=self.kind, cause=f"{type(error).__name__}: {error}")

    def discard(self) -> int:
        """Forget what is not stored, and return how many downloads that are."""
        with self.lock:
            counts, self.pending = self.pending, {}
        return sum(counts.values())


counters: list[DownloadCounter] = []  # one of each kind


def today() -> date:
    return datetime.now(UTC).date()


@atexit.register  # for processes without the thread
def flush() -> None:
    """Store the downloads that were counted in this process."""
    for counter in counters:
        if counter.pending:
            counter.flush()


class FlushThread(threading.Thread):
    """The thread of a worker that stores its downloads every few seconds, and once more at its end."""

    def __init__(self) -> None:
        super().__init__(name="downloads", daemon=True)
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(FLUSH_SECONDS):
            self.flush()
        self.flush()

    def flush(self) -> None:
        """Flush, without a connection to the database that would be open all the time."""
        try:
            flush()
        finally:
            connections.close_all()

    def stop(self) -> None:
        """Store what is left, for a limited time, before the process ends."""
        self.stopping.set()
        self.join(STOP_SECONDS)
        for counter in counters:
            if lost := counter.discard():
                log_event("downloads_lost", logging.ERROR, kind=counter.kind, count=lost)


def add_to_rows(model: type[CounterRow], amounts: Counts) -> None:
    """Add amounts to the counters of rows by their keys, in one statement that inserts the rows which are missing."""
    if not amounts:
        return
    quote = connection.ops.quote_name
    fields: list[Any] = [model._meta.get_field(name) for name in model.KEY]
    keys, counts = [quote(field.column) for field in fields], [quote(name) for name in model.COUNTERS]
    table = quote(model._meta.db_table)
    row = ", ".join(["%s"] * (len(keys) + len(counts)))
    values: list[Any] = []
    for key in sorted(amounts):  # in one order for all workers, or two could wait for each other's rows
        values += [field.get_db_prep_save(value, connection) for field, value in zip(fields, key, strict=True)]
        values += [amounts[key]] * len(counts)
    sums = ", ".join(f"{count} = {table}.{count} + excluded.{count}" for count in counts)
    rows = ", ".join([f"({row})"] * len(amounts))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(keys + counts)}) VALUES {rows} "  # noqa: S608 - names of our own models
            f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}",
            values,
        )


def summed(counts: Counts, key_of: Callable[..., tuple[Any, ...]]) -> dict[tuple[Any, ...], int]:
    """Sum counts up by other keys; `key_of` takes the parts of a key and returns the other one."""
    sums: defaultdict[tuple[Any, ...], int] = defaultdict(int)
    for key, count in counts.items():
        sums[key_of(*key)] += count
    return dict(sums)


# --- Reading ------------------------------------------------------------------------------------------------------


def last_day_before_recent() -> date:
    """Return the day whose downloads are recent no more, nor those of the days before."""
    return today() - timedelta(days=RECENT_DAYS)


def by_day(rows: QuerySet[Any]) -> list[tuple[date, int]]:
    """Return the downloads on each of the recent days that has any, summed over rows by day; latest last."""
    recent = rows.filter(day__gt=last_day_before_recent()).order_by("day")
    return list(recent.values("day").annotate(sum=Sum("count")).values_list("day", "sum"))


def by_month(rows: QuerySet[Any]) -> list[tuple[date, int]]:
    """Return the downloads in each month that has any, by its first day, summed over rows by day; latest last."""
    months = rows.order_by().annotate(month=TruncMonth("day")).values("month")
    return list(months.annotate(sum=Sum("count")).order_by("month").values_list("month", "sum"))


# --- Purge --------------------------------------------------------------------------------------------------------


def refresh_recent(model: type[RecentDownloadTotal], rows: QuerySet[Any]) -> None:
    """Count recent downloads anew, in small transactions; `rows` by day belong to the total of `OuterRef("pk")`."""
    recent_rows = rows.filter(day__gt=last_day_before_recent()).order_by()
    recent = recent_rows.annotate(sum=Func("count", function="SUM", output_field=BigIntegerField())).values("sum")
    totals: QuerySet[Any] = model._default_manager.filter(recent__gt=0).order_by("pk")
    rest = totals
    while keys := list(rest.values_list("pk", flat=True)[:BATCH_SIZE]):
        rest = totals.filter(pk__gt=keys[-1])
        with transaction.atomic():
            # Locked before the rows by day are read, so that a flush comes before or after with all its rows. One that
            # is at work just now is not waited for: its rows come with the next purge.
            locked = totals.filter(pk__in=keys).select_for_update(skip_locked=True)
            batch = model._default_manager.filter(pk__in=list(locked.values_list("pk", flat=True)))
            batch.update(recent=Coalesce(Subquery(recent), 0))


def merge_months(model: type[DownloadsOfDay]) -> int:
    """Merge the days of each month that is not recent any more into its first day; return how many rows that saves.

    Years of downloads have a row for each month then, and not for each day.
    """
    saved = 0
    month = model._default_manager.aggregate(first=Min("day"))["first"] or today()
    month, end = month.replace(day=1), (last_day_before_recent() + timedelta(days=1)).replace(day=1)
    while month < end:
        next_month = (month + timedelta(days=31)).replace(day=1)
        while merged := merge_days(model, month, next_month):
            saved += merged
        month = next_month
    return saved


def merge_days(model: type[DownloadsOfDay], month: date, next_month: date) -> int:
    """Merge some days of a month into its first day; return the number of their rows."""
    key = [name for name in model.KEY if name != "day"]
    with transaction.atomic():
        days: QuerySet[Any] = model._default_manager.filter(day__gt=month, day__lt=next_month)
        rows = list(days.select_for_update(skip_locked=True).values_list("count", "pk", *key)[:BATCH_SIZE])
        sums: defaultdict[tuple[Any, ...], int] = defaultdict(int)
        for count, _, *parts in rows:
            sums[tuple(month if name == "day" else parts[key.index(name)] for name in model.KEY)] += count
        model._default_manager.filter(pk__in=[pk for _, pk, *_ in rows]).delete()
        add_to_rows(model, sums)
    return len(rows)
