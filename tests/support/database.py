"""Database state in loops over many cases."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction


@contextmanager
def rolled_back() -> Iterator[None]:
    """Undo all changes of rows that the block makes, so that the next case finds the same rows."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)
