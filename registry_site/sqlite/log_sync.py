"""Syncs of SQLite's write-ahead log, each of which is shared by all transactions that were committed before it.

With `synchronous = FULL` SQLite syncs the log in each commit, while all other writers wait for its lock. Here a
transaction commits with `NORMAL`, which writes its frames to the log and syncs nothing, and gives the lock back. Then
it waits for one fdatasync(2) of the log that began after its commit, and only then anybody is answered. Why that is
as good:

* All frames of a transaction are in the file when its commit returns, and those of earlier ones before them. A sync
  covers the whole file. So whatever a waiting transaction has read or written is durable when its wait is over.
* After a power cut SQLite reads the log up to the last whole commit, by a chain of checksums. The database is
  consistent, and what it lacks are the last commits before the cut: none of them was acknowledged.
* A checkpoint syncs the log before it writes to the database, and the database before frames are overwritten, with
  `NORMAL` as with `FULL`. So frames that have gone from the log since the commit are durable in the database.
* Another connection can read a commit that is not durable yet, and find that nothing is left to do. Such an answer
  acknowledges that commit: `http.durable_answers` lets it wait for a sync, too.
* Statements outside of transactions go on with `FULL`.

SQLite takes its locks on other files than the log, so that opening and closing it here lets go of none. It deletes the
log only with the last connection of all processes, and a transaction that waits has one.
"""

import logging
import os
import threading
from functools import cache
from typing import cast

from django.db import OperationalError

from registry_site.logs import log_event

FAILED = "disk I/O error: the log of the database could not be synced; mend the disk and restart the registry"


class LogSync:
    """The syncs of one log by the threads of this process. Those of several processes run beside each other."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.condition = threading.Condition()
        self.begun = self.finished = 0  # numbers of syncs; one runs while they differ
        self.failure: OSError | None = None
        self.descriptor: int | None = None

    def prepare(self) -> None:
        """Open the log before something is written to it, or again if SQLite has made another.

        It stays open, since the kernel reports a failed write only to those who had the file open.
        Raises `OperationalError`, also after a sync has failed: what the kernel could not write it has forgotten since,
        so that another sync would prove nothing.
        """
        if self.failure is not None:
            raise OperationalError(FAILED) from self.failure
        try:
            with self.condition:
                if self.descriptor is not None and os.path.samestat(os.stat(self.path), os.fstat(self.descriptor)):
                    return
                while self.begun > self.finished:
                    self.condition.wait()
                if self.descriptor is not None:
                    os.close(self.descriptor)
                    self.descriptor = None
                self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise OperationalError(f"unable to open the log of the database: {error.strerror}") from error

    def wait(self) -> None:
        """Wait for a sync that begins from now on; raises `OperationalError` if it fails."""
        with self.condition:
            needed = self.begun + 1
            while self.finished < needed and self.begun > self.finished:
                self.condition.wait()
            if self.finished < needed and self.failure is None:
                self.begun = needed
                self.condition.release()
                try:
                    failure = self.sync()
                finally:
                    self.condition.acquire()
                    self.finished = needed
                    self.condition.notify_all()
                self.failure = self.failure or failure
            if self.failure is not None:
                raise OperationalError(FAILED) from self.failure

    def sync(self) -> OSError | None:
        try:
            os.fdatasync(cast(int, self.descriptor))
        except OSError as error:
            log_event("log_sync.failed", logging.CRITICAL, path=self.path, cause=str(error))
            return error
        return None


@cache
def log_of(database: str) -> LogSync:
    """Return the log of the database in this file."""
    return LogSync(f"{os.path.realpath(database)}-wal")  # SQLite, too, follows a symbolic link first


# The descriptor of a parent would report a failure to only one of both.
os.register_at_fork(after_in_child=log_of.cache_clear)
