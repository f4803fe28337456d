"""The feed of a worker: reads the change log, and drops from memory whatever was changed.

After `catch_up`, no cache has a value that a transaction has changed which was committed before the call began. So a
request that lets the feed catch up sees each change that was acknowledged before the request was sent, on each worker
and node, also after a process was killed: the log is written in the transaction of the change.

Why each change is read:

* SQLite's writers come one after another, so the ids of the log are in the order of commits: what comes after the last
  one that was read is new. `PRAGMA data_version` says without reading that nobody has committed since.
* On PostgreSQL a transaction can commit long after it has drawn its id. So the feed keeps the snapshot of its last
  statement, and reads the rows of transactions that this did not see. Snapshot and rows are of one statement.
* What was deleted unread shows by the row that each deletion leaves; then everything is dropped. So it is if there are
  too many changes to read, and after the connection was lost, or SQLite's file replaced or restored in place.

Why nothing old comes in: a value is read from the database after its ticket, the number of the drops before. If the
value is older than a change, that was committed after it was read, and the feed drops it later than the ticket, either
before the value is put, and so refused, or after that, and so removed.

There can be two readers, that of the threads and that of the main loop. Each sees all changes by itself, and what one
drops once more does no harm.

What `catch_up` costs, by `python -m benchmarks.change_log`: 7 µs on SQLite, 41 µs on PostgreSQL over loopback; after a
change 50 µs and 145 µs.
"""

import logging
import os
import select
import selectors
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol, cast

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from registry_site import memory_cache
from registry_site.change_log import DELETION, missing_triggers
from registry_site.logs import log_event
from registry_site.memory_cache import MemoryCache, Tag

DEADLINE = 1.0  # seconds for a look at the log; requests go the ordinary way afterwards
RETRY_SECONDS = 1.0  # after a failure, in which no request waits
MAX_CHANGES = 5000  # of one look; beyond, it is cheaper to drop everything


class Lost(Exception):
    """The connection is lost, or too slow."""


class TooManyChanges(Exception):
    """More has changed than is worth reading, or some of it was deleted."""


class Reader(Protocol):
    """A connection to the database, and what it has read of the log."""

    def read(self) -> Sequence[Tag]:
        """Return what was changed since the last call. Raises `TooManyChanges`, and errors of the database."""

    def close(self) -> None: ...


class SQLiteReader:
    """The log in SQLite."""

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.path = "" if wrapper.is_in_memory_db() else str(wrapper.settings_dict["NAME"])  # type: ignore[attr-defined]
        self.inode = self.path and os.stat(self.path).st_ino
        self.connection: sqlite3.Connection = wrapper.connection
        self.connection.execute(f"PRAGMA busy_timeout = {int(DEADLINE * 1000)}")
        self.version, self.schema = self.number("PRAGMA data_version"), self.number("PRAGMA schema_version")
        self.last = self.newest()

    def number(self, statement: str) -> int:
        [(number,)] = self.connection.execute(statement).fetchall()  # ends it, and so its view of the database
        return int(number)

    def newest(self) -> int:
        return self.number("SELECT coalesce(max(id), 0) FROM registry_site_change")

    def read(self) -> Sequence[Tag]:
        # Requests would go on with a backup that somebody has put there, and the log of the former file end.
        if self.path and os.stat(self.path).st_ino != self.inode:
            raise Lost("the file of the database was replaced")
        version = self.number("PRAGMA data_version")
        if version == self.version:
            return ()
        rows = self.connection.execute(
            "SELECT id, kind, key FROM registry_site_change WHERE id > ? ORDER BY id LIMIT ?",
            (self.last, MAX_CHANGES + 1),
        ).fetchall()
        self.version, before = version, self.last
        # A backup that was restored in place has another number of the schema, and the ids of its log begin anew.
        schema = self.number("PRAGMA schema_version")
        if len(rows) > MAX_CHANGES or schema != self.schema or (not rows and self.newest() < self.last):
            self.schema, self.last = schema, self.newest()
            raise TooManyChanges
        if rows:
            self.last = rows[-1][0]
        return checked([(kind, key) for _, kind, key in rows], before)

    def close(self) -> None:
        self.connection.close()


class PostgreSQLReader:
    """The log in PostgreSQL. `send` and `receive` are the halves of `read`, of which none waits."""

    # What the snapshot $1 did not see, as `pg_visible_in_snapshot` would say, but found by the index.
    # A row whose transaction has not begun yet came from another server, with a copy of its data.
    STATEMENT = b"""
        SELECT pg_current_snapshot()::text, changes.kind, changes.key
        FROM (VALUES (1)) AS one LEFT JOIN (
            SELECT kind, key FROM registry_site_change
            WHERE (transaction >= pg_snapshot_xmax($1::pg_snapshot)::text::bigint
                OR transaction = ANY(ARRAY(SELECT pg_snapshot_xip($1::pg_snapshot)::text::bigint)))
                AND transaction < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
            LIMIT $2::int
        ) AS changes ON true
    """
    NAME = b"changes"

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.connection = wrapper.connection
        self.pgconn = self.connection.pgconn
        prepared = self.pgconn.prepare(self.NAME, self.STATEMENT)
        if prepared.error_message:
            raise Lost(prepared.error_message.decode(errors="replace"))
        [[snapshot]] = self.connection.execute("SELECT pg_current_snapshot()::text").fetchall()
        self.snapshot: bytes = snapshot.encode()
        self.pgconn.nonblocking = 1
        self.socket = self.pgconn.socket  # of a connection that is lost it can no longer be read
        self.results: list[Any] = []

    def send(self) -> None:
        self.results = []
        self.pgconn.send_query_prepared(self.NAME, [self.snapshot, str(MAX_CHANGES + 1).encode()])
        self.pgconn.flush()  # it always fits: nothing else is on its way

    def receive(self) -> Sequence[Tag] | None:
        """Return what was changed, or None if the answer has not come yet. Raises as `read`."""
        self.pgconn.consume_input()
        while not self.pgconn.is_busy():
            result = self.pgconn.get_result()
            if result is None:
                return self.changes()
            self.results.append(result)
        return None

    def changes(self) -> Sequence[Tag]:
        [result] = self.results
        if result.error_message:
            raise Lost(result.error_message.decode(errors="replace"))
        before = int(self.snapshot.partition(b":")[0])
        self.snapshot = result.get_value(0, 0)
        rows = range(result.ntuples)
        if len(rows) > MAX_CHANGES:
            raise TooManyChanges
        if result.get_value(0, 1) is None:
            return ()
        # The transactions up to the smallest that ran at the last snapshot were read; that one may be deleted unread.
        tags = [(result.get_value(row, 1).decode(), result.get_value(row, 2).decode()) for row in rows]
        return checked(tags, before - 1)

    def read(self) -> Sequence[Tag]:
        deadline = time.monotonic() + DEADLINE
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        self.send()
        while (changes := self.receive()) is None:
            if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise Lost("the database does not answer")
        return changes

    def close(self) -> None:
        with suppress(Exception):
            self.connection.close()


def checked(tags: Sequence[Tag], last_read: int) -> Sequence[Tag]:
    """Return these changes; raise `TooManyChanges` if others after the last one that was read are deleted."""
    if any(kind == DELETION and int(key) > last_read for kind, key in tags) or any(not key for _, key in tags):
        raise TooManyChanges
    return tags


def connect(caches: Sequence[MemoryCache[Any, Any]]) -> Reader:
    """Connect to the database; raises `Lost` if it does not log all changes on which the caches rely."""
    tables: dict[str, set[str]] = {}
    for cache in caches:
        for kind, names in cache.tables.items():
            tables.setdefault(kind, set()).update(names)
    wrapper = connections[DEFAULT_DB_ALIAS].copy()
    wrapper.connect()
    try:
        if missing := missing_triggers(wrapper, tables):
            raise Lost(f"the database lacks the triggers {', '.join(missing)}")
        return PostgreSQLReader(wrapper) if wrapper.vendor == "postgresql" else SQLiteReader(wrapper)
    except BaseException:
        wrapper.close()
        raise


class ChangeFeed:
    """What keeps the caches of a process true."""

    def __init__(self, caches: Sequence[MemoryCache[Any, Any]]) -> None:
        self.caches = caches
        self.position = 1 + max((cache.forgotten for cache in caches), default=0)  # the number of drops
        self.positions = threading.Lock()
        self.turns = threading.Condition()
        self.is_looking = self.has_succeeded = False
        self.begun = self.ended = 0  # the numbers of the last look that has begun, and of the last that has ended
        self.reader: Reader | None = None
        self.retry_at = 0.0
        self.is_failing = False
        for cache in caches:
            cache.feed = self

    def ticket(self) -> int:
        """Return the number of drops so far, for values that are read after this call."""
        return self.position

    def catch_up(self) -> bool:
        """Drop all that was changed before this call, and return whether that is done.

        If not, the database does not answer: the caller goes the ordinary way. Calls of several threads look together:
        each needs a look that has begun after it.
        """
        with self.turns:
            needed = self.begun + 1
            self.turns.wait_for(lambda: not self.is_looking or self.ended >= needed, DEADLINE)
            if self.ended >= needed:
                return self.has_succeeded
            if self.is_looking:
                return False
            self.is_looking = True
            self.begun = number = self.begun + 1
        has_succeeded = False
        try:
            has_succeeded = self.look()
        finally:
            with self.turns:
                self.is_looking, self.ended, self.has_succeeded = False, number, has_succeeded
                self.turns.notify_all()
        return has_succeeded

    def look(self) -> bool:
        """Read the log, or connect anew."""
        if self.reader is None and time.monotonic() < self.retry_at:
            return False
        try:
            if self.reader is None:
                self.reader = connect(self.caches)
                self.drop_all()
            else:
                self.drop(self.reader.read())
        except TooManyChanges:
            self.drop_all()
        except Exception as error:  # whatever it is, requests go the ordinary way
            self.lose(error)
            return False
        self.is_failing = False
        return True

    def drop(self, tags: Sequence[Tag]) -> None:
        if tags:
            position = self.next_position()
            for cache in self.caches:
                cache.drop(tags, position)

    def drop_all(self) -> None:
        position = self.next_position()
        for cache in self.caches:
            cache.drop_all(position)

    def next_position(self) -> int:
        with self.positions:
            self.position += 1
            return self.position

    def lose(self, error: Exception) -> None:
        """Close the connection; the next drops everything."""
        if self.reader is not None:
            self.reader.close()
        self.reader, self.retry_at = None, time.monotonic() + RETRY_SECONDS
        self.log_failure(error)

    def log_failure(self, error: Exception) -> None:
        """Log the first of several failures in a row."""
        if not self.is_failing:
            self.is_failing = True
            log_event("change_feed_lost", logging.WARNING, cause=f"{type(error).__name__}: {error}".strip())

    def close(self) -> None:
        if self.reader is not None:
            self.reader.close()
        self.reader = None
        self.drop_all()
        for cache in self.caches:
            cache.feed = None


class LoopFeed:
    """`catch_up` for the main loop of a worker.

    On PostgreSQL it never waits: it has a connection of its own, whose answers wake the poller. A thread connects. On
    SQLite it looks itself, and waits for a thread's look or for a locked file, up to `DEADLINE` each.
    """

    def __init__(self, feed: ChangeFeed, poller: selectors.BaseSelector) -> None:
        self.feed, self.poller = feed, poller
        self.is_postgresql = connections[DEFAULT_DB_ALIAS].vendor == "postgresql"
        self.reader: PostgreSQLReader | None = None
        self.connecting: threading.Thread | None = None
        self.connected: deque[PostgreSQLReader] = deque()
        self.retry_at = 0.0
        self.pending: list[Callable[[bool], None]] = []  # by the look that is on its way
        self.waiting: list[Callable[[bool], None]] = []  # for the next one, since they came after its begin
        self.deadline = 0.0

    def catch_up(self, answer: Callable[[bool], None]) -> None:
        """Call `answer`, now or later, with what `ChangeFeed.catch_up` would return."""
        if not self.is_postgresql:
            answer(self.feed.catch_up())
            return
        reader = self.reader or self.adopt()
        if reader is None:
            answer(False)
            return
        self.waiting.append(answer)
        if not self.pending:
            self.look(reader)

    def look(self, reader: PostgreSQLReader) -> None:
        """Send the statement for all that wait."""
        self.pending, self.waiting = self.waiting, []
        self.deadline = time.monotonic() + DEADLINE
        try:
            reader.send()
        except Exception as error:  # whatever it is, requests go the ordinary way
            self.lose(error)

    def on_readable(self, reader: PostgreSQLReader, _: object = None) -> None:
        """Read what has come of the answer."""
        try:
            changes = reader.receive()
            if changes is None:
                return
            self.feed.drop(changes)
        except TooManyChanges:
            self.feed.drop_all()
        except Exception as error:  # whatever it is, requests go the ordinary way
            self.lose(error)
            return
        self.feed.is_failing = False
        answers, self.pending = self.pending, []
        if self.waiting:
            self.look(reader)
        for answer in answers:
            answer(True)

    def expire(self) -> None:
        """Give up a look that takes too long. The main loop calls this in each round."""
        if self.pending and time.monotonic() >= self.deadline:
            self.lose(Lost("the database does not answer"))

    def lose(self, error: Exception) -> None:
        if self.reader is not None:
            self.poller.unregister(self.reader.socket)
            self.reader.close()
        self.reader, self.retry_at = None, time.monotonic() + RETRY_SECONDS
        self.feed.log_failure(error)
        answers, self.pending, self.waiting = [*self.pending, *self.waiting], [], []
        for answer in answers:
            answer(False)

    def adopt(self) -> PostgreSQLReader | None:
        """Take over the connection that the thread has made, or let it make one."""
        if self.connected:
            self.reader = reader = self.connected.popleft()
            self.poller.register(reader.socket, selectors.EVENT_READ, partial(self.on_readable, reader))
            return reader
        if (self.connecting is None or not self.connecting.is_alive()) and time.monotonic() >= self.retry_at:
            self.connecting = threading.Thread(target=self.connect, name="change-feed", daemon=True)
            self.connecting.start()
        return None

    def connect(self) -> None:
        try:
            reader = cast(PostgreSQLReader, connect(self.feed.caches))
        except Exception as error:  # whatever it is, the next request tries again
            self.retry_at = time.monotonic() + RETRY_SECONDS
            self.feed.log_failure(error)
            return
        self.feed.drop_all()
        self.connected.append(reader)

    def close(self) -> None:
        if self.reader is not None:
            self.poller.unregister(self.reader.socket)
            self.reader.close()
        self.reader = None


def start() -> ChangeFeed:
    """Start the feed of this process over all its caches."""
    return ChangeFeed(memory_cache.caches)
