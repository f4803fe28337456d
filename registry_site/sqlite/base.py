"""SQLite with a queue in front of its write lock.

A writer that finds SQLite locked sleeps for up to 100 ms and tries again. Others go first meanwhile, so under many
writers some wait until they time out. Here the threads of a process queue for a lock, in about the order of arrival,
and the first of each process for a lock on a file beside the database.

A transaction gives the locks back after its commit, and waits for the disk behind that: see `log_sync`.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from registry_site.file_locks import lock_within
from registry_site.sqlite.log_sync import LogSync, log_of

# Short, since a transaction lasts a few milliseconds. Only one thread of each process tries, so they do not starve one
# another.
RETRY_SECONDS = 0.001

_thread_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by the path of the database


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that holds the queue's locks during a transaction. SQLite's own lock is taken as before.

    Lock order: the thread lock of this process, then the queue file, then SQLite's write lock.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._queue_file: int | None = None  # the descriptor, while this connection holds the locks
        self._log: LogSync | None = None
        self._waits_for_disk = True
        self.sync_count = 0

    def get_new_connection(self, conn_params: Any) -> Any:
        connection = super().get_new_connection(conn_params)
        # Without shared memory, as on some network disks, there is no log, and SQLite syncs in the commit.
        has_log = connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        self._log = log_of(self._path) if has_log else None
        return connection

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep other writers waiting in the queue, for statements that no transaction may surround."""
        self._acquire_queue()
        try:
            yield
        finally:
            self._release_queue()

    @contextmanager
    def without_sync(self) -> Iterator[None]:
        """Commit without waiting for the disk."""
        self.ensure_connection()
        self._waits_for_disk = False
        self._set_synchronous("NORMAL")
        try:
            yield
        finally:
            self._waits_for_disk = True
            self._set_synchronous("FULL")

    def sync_log(self) -> None:
        """Wait until all that any connection has committed before is durable. Raises `OperationalError`."""
        if self._log:
            self._log.prepare()
            self._log.wait()
            self.sync_count += 1

    def _start_transaction_under_autocommit(self) -> None:
        self._acquire_queue()
        try:
            if self._log:
                self._set_synchronous("NORMAL")
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
            if self._log:
                self._log.prepare()
        except BaseException:
            if self.connection is not None:
                self.connection.rollback()
            self._end_transaction()
            raise

    def _commit(self) -> None:
        is_transaction = self._queue_file is not None
        super()._commit()  # type: ignore[misc]
        self._end_transaction()  # not when the commit fails: Django rolls back, and SQLite's lock is held until that
        if is_transaction and self._waits_for_disk:
            self.sync_log()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._end_transaction()

    def _end_transaction(self) -> None:
        self._release_queue()
        if self._log and self._waits_for_disk:
            self._set_synchronous("FULL")

    def _set_synchronous(self, level: str) -> None:
        if self.connection is not None:
            self.connection.execute(f"PRAGMA synchronous = {level}")

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._release_queue()

    def _acquire_queue(self) -> None:
        if self.is_in_memory_db():
            return
        path, seconds = self._path, self.settings_dict["OPTIONS"]["timeout"]
        if not _thread_locks[path].acquire(timeout=seconds):
            raise OperationalError("database is locked: the queue of its writers does not move")
        try:
            self._queue_file = os.open(f"{path}-queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            is_locked = lock_within(self._queue_file, seconds, RETRY_SECONDS)
        except OSError as error:
            self._release_locks()
            raise OperationalError(f"unable to open the queue of the database: {error.strerror}") from error
        if not is_locked:
            self._release_locks()
            raise OperationalError("database is locked: the queue of its writers does not move")

    def _release_queue(self) -> None:
        if self._queue_file is not None:
            self._release_locks()

    def _release_locks(self) -> None:
        descriptor, self._queue_file = self._queue_file, None
        if descriptor is not None:
            os.close(descriptor)
        _thread_locks[self._path].release()

    @property
    def _path(self) -> str:
        return str(self.settings_dict["NAME"])
