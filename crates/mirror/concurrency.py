"""Background tasks, and the mirror's part of the threads that may wait for other servers."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Generic, TypeVar

from django.db import connection

from registry_site.errors import RegistryError
from registry_site.upstream_limiter import Kind

T = TypeVar("T")

_log = logging.getLogger(__name__)

SLOW_AFTER_SECONDS = 2.0  # upstreams usually answer in a tenth of this, and people notice longer pauses
MAX_PENDING = 64  # more would be stale before anybody uses them

# For index files and crates together.
MIRROR = Kind(quarters=2, refusal="The mirror's upstream is slow, and enough requests wait for it; try again.")


class BackgroundTasks(Generic[T]):
    """A pool of a few threads for work that a request need not wait for. No key is worked on twice at the same time."""

    def __init__(self, threads: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="mirror")
        self.lock = threading.Lock()
        self.pending: dict[str, tuple[float, Future[T]]] = {}

    def result(self, key: str, work: Callable[[], T]) -> T | None:
        """Return the result of the work, or None if it fails or takes longer than `SLOW_AFTER_SECONDS`."""
        now = time.monotonic()
        with self.lock:
            # Work that is slow already shows that upstream is. The caller has something to serve, so it need not wait.
            slow = any(now - started > SLOW_AFTER_SECONDS for started, _ in self.pending.values())
            future = self._start(key, work)
        wait_for([future], 0 if slow else SLOW_AFTER_SECONDS)
        return future.result() if future.done() and future.exception() is None else None

    def submit(self, key: str, work: Callable[[], T]) -> None:
        """Start the work for a later request, or drop it when `MAX_PENDING` others have not ended."""
        with self.lock:
            if len(self.pending) < MAX_PENDING:
                self._start(key, work)

    def _start(self, key: str, work: Callable[[], T]) -> Future[T]:
        """Start the work unless its key is pending. The caller holds the lock."""

        def run() -> T:
            try:
                return work()
            except RegistryError:
                raise
            except Exception:  # nobody reads the future of submitted work, so this log is the only trace
                _log.exception("The mirror fails with %r", key)
                raise
            finally:
                connection.close()  # no request ends in this thread, so Django would leave the connection open
                with self.lock:
                    del self.pending[key]

        if key not in self.pending:
            self.pending[key] = time.monotonic(), self.pool.submit(run)
        return self.pending[key][1]
