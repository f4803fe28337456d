"""SQLite with a queue in front of its write lock.

A writer that finds SQLite locked sleeps and tries again, up to 100 ms later; whoever comes by in between is first, and
under many writers some wait until they time out. Here threads wait for a lock of their process, in about the order of
arrival, and the first of each process for one on a file beside the database.
"""

import fcntl
import os
import threading
import time
from collections import defaultdict
from typing import Any

from django.db import OperationalError
from django.db.backends.sqlite3 import base

PAUSE = 0.001  # seconds

_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def _wait_for(turn: int, seconds: float) -> None:
    """Of each process only one thread waits here, so the few that look again and again do not starve one another."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise TimeoutError("another process holds the turn") from error
            time.sleep(PAUSE)
        else:
            return


class DatabaseWrapper(base.DatabaseWrapper):
    """A transaction holds the turn from its beginning to its end; SQLite's own lock is taken as before."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn: int | None = None

    def _start_transaction_under_autocommit(self) -> None:
        self._take_turn()
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._end_turn()
            raise

    def _commit(self) -> None:
        super()._commit()  # type: ignore[misc]
        self._end_turn()

    def _rollback(self) -> None:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _close(self) -> None:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._end_turn()

    def _take_turn(self) -> None:
        if self.is_in_memory_db():
            return
        path = str(self.settings_dict["NAME"])
        if not _turns[path].acquire(timeout=self.settings_dict["OPTIONS"]["timeout"]):
            raise OperationalError("database is locked: the queue of its writers does not move")
        try:
            self._turn = os.open(f"{path}-queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _wait_for(self._turn, self.settings_dict["OPTIONS"]["timeout"])
        except TimeoutError as error:
            self._release(path)
            raise OperationalError("database is locked: the queue of its writers does not move") from error
        except OSError as error:
            self._release(path)
            raise OperationalError(f"unable to open the queue of the database: {error.strerror}") from error

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._release(str(self.settings_dict["NAME"]))

    def _release(self, path: str) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            os.close(turn)
        _turns[path].release()
