"""Erasing the traces of deleted rows: a database keeps their bytes in its files until it needs the room."""

import logging
from contextlib import nullcontext
from typing import Any

from django.db import DatabaseError, connection
from django.db.models import Model

from registry_site.logs import log_event
from registry_site.search.index import rewrite_indexes


def erase_traces(models: list[type[Model]]) -> bool:
    """Erase what the rows of some models have lost, in SQLite those of all; return False if that failed.

    SQLite writes the whole file anew: writers wait meanwhile, and it needs as much free space again.
    """
    if connection.in_atomic_block:  # the rows are not even deleted yet
        return False
    try:
        rewrite_indexes()
        with connection.cursor() as cursor:
            return _rewrite(cursor) if connection.vendor == "sqlite" else _vacuum(cursor, models)
    except DatabaseError as error:
        log_event("traces_not_erased", logging.ERROR, cause=str(error))
        return False


def _rewrite(cursor: Any) -> bool:
    # SQLite's own lock would be taken by other writers again and again.
    with getattr(connection, "turn", nullcontext)():
        cursor.execute("VACUUM")
        (is_busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def _vacuum(cursor: Any, models: list[type[Model]]) -> bool:
    cursor.execute("SET statement_timeout TO 0")
    try:
        cursor.execute(f"VACUUM {', '.join(model._meta.db_table for model in models)}")
    finally:
        cursor.execute("RESET statement_timeout")
    return True
