"""What the change log costs a writer and a reader: `.venv/bin/python -m benchmarks.change_log`.

With `.ci/postgres` before it, on PostgreSQL. It takes a minute, most of it for migrations, and leaves nothing.
"""

import os
import tempfile
import time
from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any

import django

ROUNDS = 500


def measure(call: Callable[[], object], before: Callable[[], object] = lambda: None) -> str:
    """Return the median of the time that a call takes."""
    times = []
    for _ in range(ROUNDS):
        before()
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return f"{median(times) * 1e6:6.0f} µs"


def main() -> None:
    """Measure both, and print it."""
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as directory:
        os.environ["REGISTRY_DATA_DIR"] = directory
        os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
        django.setup()
        measure_all()


def measure_all() -> None:
    from django.core.management import call_command
    from django.db import connection, transaction

    from crates.models import Crate
    from registry_site.change_feed import ChangeFeed
    from registry_site.change_log import LogChanges
    from registry_site.memory_cache import MemoryCache

    call_command("migrate", verbosity=0)
    Crate.objects.create(name="demo", canonical_name="demo", index_path="de/mo/demo")
    cache = MemoryCache[str, str]({"index": ["crates_crate"]}, 100)
    feed = ChangeFeed([cache])
    feed.catch_up()
    sql = "UPDATE crates_crate SET index_etag = %s WHERE id = 1"

    numbers = count()

    def update(cursor: Any) -> None:
        cursor.execute(sql, [str(next(numbers))])

    with connection.cursor() as cursor:
        print(f"{connection.vendor}: catch_up          ", measure(feed.catch_up))
        print(f"{connection.vendor}: catch_up, changed ", measure(feed.catch_up, lambda: update(cursor)))
        with transaction.atomic():
            with_log = measure(lambda: update(cursor))
        with connection.schema_editor() as editor:
            LogChanges("crate", "index", key="").drop("crates_crate", editor)
        with transaction.atomic():
            print(f"{connection.vendor}: update, not logged", measure(lambda: update(cursor)))
        print(f"{connection.vendor}: update, logged    ", with_log)
    feed.close()


if __name__ == "__main__":
    main()
