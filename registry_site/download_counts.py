"""Downloads, counted in memory, and added to rows by each worker every few seconds."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeAlias

from django.core.cache import cache
from django.db import connection, transaction
from django.db.models import BigIntegerField, Func, Min, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, TruncMonth

from registry_site.models import CounterRow, DownloadsOfDay, RecentDownloadTotal
from registry_site.server import metrics
from registry_site.write_buffers import BATCH_SIZE, WriteBuffer

MAX_KEYS = 100_000  # of one kind in memory, about 20 MB: reached only while the database is down for long
RECENT_DAYS = 90
MANY_PARTS = 100
SUM_SECONDS = 300  # for which the sum of many parts is kept

KINDS = ("crate", "mirrored crate", "package", "file")

downloads = metrics.Counter("entrepot_downloads", "Downloads by clients, as they are counted.", ("kind",), KINDS)

Counts: TypeAlias = Mapping[tuple[Any, ...], int]  # by the key of a row


class DownloadCounter(WriteBuffer[tuple[Any, ...], int]):
    """Downloads of one kind that are not stored yet, by the key of what was downloaded and by day.

    `store` adds them to rows.
    """

    subject = "downloads"
    max_keys = MAX_KEYS

    def __init__(self, kind: str, store: Callable[[Counts], None]) -> None:
        super().__init__(kind=kind)
        self.kind, self.store_counts = kind, store

    def count(self, *key: Hashable) -> None:
        """Count one download of now."""
        downloads.add(self.kind)
        self.add({(*key, today()): 1})

    def merge(self, former: int, value: int) -> int:
        return former + value

    def store(self, values: Counts) -> None:
        self.store_counts(values)

    def amount(self, values: Counts) -> int:
        return sum(values.values())


def total_of(row: Any) -> int:
    """Return the downloads of a row with a relation `downloads`, which begins with the first of them."""
    return row.downloads.total if hasattr(row, "downloads") else 0


def today() -> date:
    return datetime.now(UTC).date()


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


def add_to_parts_and_wholes(
    counts: Counts,
    parts: QuerySet[Any],
    whole: str,
    by_day: type[CounterRow],
    by_part: type[CounterRow],
    by_whole: type[CounterRow],
) -> int:
    """Add downloads by part and day to all rows that count them, and return their number.

    The parts, such as versions, have a foreign key to their whole. Downloads of deleted parts count no more.
    """
    wholes = dict(parts.filter(pk__in={pk for pk, _ in counts}).values_list("pk", whole))
    present = {(pk, day): count for (pk, day), count in counts.items() if pk in wholes}
    add_to_rows(by_day, present)
    add_to_rows(by_part, summed(present, lambda pk, day: (pk,)))
    add_to_rows(by_whole, summed(present, lambda pk, day: (wholes[pk],)))
    return sum(present.values())


# --- Reading ------------------------------------------------------------------------------------------------------


def last_day_before_recent() -> date:
    """Return the day whose downloads are recent no more, nor those of the days before."""
    return today() - timedelta(days=RECENT_DAYS)


def by_day(rows: QuerySet[Any]) -> list[tuple[date, int]]:
    """Return the downloads on each of the recent days that has any, summed over rows by day; latest last."""
    recent = rows.filter(day__gt=last_day_before_recent()).order_by("day")
    return list(recent.values("day").annotate(sum=Sum("count")).values_list("day", "sum"))


def by_day_of_parts(rows: QuerySet[Any], parts: int, key: str) -> list[tuple[date, int]]:
    """Return what `by_day` does; of many parts, whose sum takes long, as it was some minutes ago at the earliest."""
    if parts <= MANY_PARTS:
        return by_day(rows)
    counts: Any = cache.get_or_set(f"downloads-by-day-{key}", lambda: by_day(rows), SUM_SECONDS)
    return list(counts)


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
