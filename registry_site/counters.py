"""Counters: the sizes of large tables, which transactions keep, since a database counts 100,000 rows one by one.

Each counter has some rows, its shards, so that transactions on different things seldom wait for each other.
"""

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import Sum
from django.dispatch import receiver

from registry_site.download_counts import add_to_rows
from registry_site.models import CounterShard
from registry_site.signals import purge_requested

SHARDS = 16


class Counter:
    """The number of some rows, or a sum over them; `count` counts them one by one."""

    def __init__(self, name: str, count: Callable[[], int]) -> None:
        self.name, self.count = name, count
        counters.append(self)

    def add(self, amount: int, key: int) -> None:
        """Add in the transaction that changes what is counted, after all its other locks.

        `key`, such as the primary key of the changed row, chooses the shard.
        """
        if amount:
            add_to_rows(CounterShard, {(self.name, key % SHARDS): amount})

    def value(self) -> int:
        return read(self)[self]

    def recount(self) -> int:
        """Count anew, and return by how much the counter was wrong, as after rows came from elsewhere."""
        with transaction.atomic():
            add_to_rows(CounterShard, {(self.name, shard): 0 for shard in range(SHARDS)})
            # What another transaction counts is in both sums or in neither: it holds its shard until its commit.
            difference = self.count() - self.value()
            self.add(difference, 0)
        return difference


counters: list[Counter] = []


def read(*some: Counter) -> dict[Counter, int]:
    """Return the values of counters, in one query."""
    shards = CounterShard.objects.filter(name__in=[counter.name for counter in some])
    sums = dict(shards.values_list("name").annotate(sum=Sum("value")))
    return {counter: sums.get(counter.name, 0) for counter in some}


@receiver(purge_requested)
def recount_all(**kwargs: Any) -> str:
    """Count all anew."""
    wrong = [f"{counter.name} by {difference}" for counter in counters if (difference := counter.recount())]
    return f"Counters mended: {', '.join(wrong)}." if wrong else "All counters are right."
