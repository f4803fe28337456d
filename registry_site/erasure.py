"""Erasing the traces of deleted rows: a database keeps their bytes in its files until it needs the room."""

import logging
import time
from contextlib import nullcontext
from typing import Any

from django.db import DatabaseError, connection
from django.db.models import Model

from registry_site.logs import log_event
from registry_site.search.index import rewrite_indexes

MAX_WAIT_SECONDS = 60.0  # no transaction of the registry itself lasts longer; others, such as a dump, may
RETRY_SECONDS = 0.2

NEXT_TRANSACTION = "SELECT pg_snapshot_xmax(pg_current_snapshot())"
# Snapshots of this database alone count. But each new one is as old as the oldest writer of all databases.
ARE_WRITERS_GONE = "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= %s::xid8"
OLD_READERS = """
SELECT string_agg(name, ', ' ORDER BY age DESC) FROM (
    SELECT format('process %%s (%%s)', pid, application_name), greatest(age(backend_xid), age(backend_xmin))
    FROM pg_stat_activity WHERE (datid IS NULL OR datname = current_database() OR backend_xid IS NOT NULL)
        AND pid <> pg_backend_pid() AND pid NOT IN (SELECT pid FROM pg_stat_progress_vacuum)
    UNION ALL SELECT format('prepared transaction %%s', gid), age(transaction) FROM pg_prepared_xacts
    UNION ALL SELECT format('replication slot %%s', slot_name), age(xmin) FROM pg_replication_slots
) AS readers (name, age) WHERE age > age(%s::xid8::xid)
"""


def erase_traces(models: list[type[Model]]) -> bool:
    """Erase what the rows of some models have lost, in SQLite those of all; return False if that failed.

    The tables are written anew, in SQLite the whole file, which needs as much free space again: writers wait meanwhile,
    and in PostgreSQL readers. PostgreSQL keeps what an older transaction may still see; this waits for such ones, but
    not for ever.
    """
    if connection.in_atomic_block:  # the rows are not even deleted yet
        return False
    try:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                rewrite_indexes()
                return _rewrite(cursor)
            readers = _wait_for_readers(cursor)
            if readers:
                log_event("traces_not_erased", logging.ERROR, cause=f"{readers} may still see the deleted rows")
                return False
            _write_anew(cursor, models)
            return True
    except DatabaseError as error:
        log_event("traces_not_erased", logging.ERROR, cause=str(error))
        return False


def _rewrite(cursor: Any) -> bool:
    # SQLite's own lock would be taken by other writers again and again.
    with getattr(connection, "turn", nullcontext)():
        cursor.execute("VACUUM")
        (is_busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not is_busy


def _wait_for_readers(cursor: Any) -> str:
    """Wait until nobody can see what is deleted by now; return the names of those who take too long, if any."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    cursor.execute(NEXT_TRANSACTION)
    (limit,) = cursor.fetchone()
    while True:
        cursor.execute(ARE_WRITERS_GONE, [limit])  # first, for a later snapshot is as old as they are
        (are_writers_gone,) = cursor.fetchone()
        cursor.execute(OLD_READERS, [limit])
        (readers,) = cursor.fetchone()
        if are_writers_gone and not readers:
            return ""
        if time.monotonic() > deadline:
            return readers or "a transaction"
        time.sleep(RETRY_SECONDS)


def _write_anew(cursor: Any, models: list[type[Model]]) -> None:
    cursor.execute("SET statement_timeout TO 0")
    try:
        # Without FULL it frees the room of deleted rows and leaves their bytes, and keeps their words in indexes.
        cursor.execute(f"VACUUM (FULL) {', '.join(model._meta.db_table for model in models)}")
    finally:
        cursor.execute("RESET statement_timeout")
