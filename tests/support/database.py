"""Database state in loops over many cases, and plans of queries."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undo all changes of rows that the block makes, so that the next case finds the same rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def plan_of(sql: str) -> str:
    """Return how the database will answer a query, where it never sorts if it can follow an index."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET enable_sort = off; SET enable_seqscan = off; SET enable_bitmapscan = off")
            cursor.execute(f"EXPLAIN {sql}")
        else:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
        return "; ".join(str(row[-1]) for row in cursor.fetchall())
