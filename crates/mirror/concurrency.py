"""Who may wait for upstream, and for how long: a slow one must not take the threads that all others need."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from typing import Generic, TypeVar

from django.conf import settings

from registry_site.errors import RegistryError, UpstreamError

T = TypeVar("T")

_log = logging.getLogger(__name__)

SLOW_AFTER_SECONDS = 2.0  # seconds after which an upstream that has not answered is slow
MAX_PENDING = 64  # pieces of work that nobody waits for yet


class UpstreamLimiter:
    """Of those who have nothing to serve until upstream answers: at most three quarters of a worker's threads.

    Beyond them one waits for as long as there is some coming and going, and is refused when upstream is slow.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.begun: dict[int, float] = {}  # by thread

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Raises `errors.Upstream`."""
        me = threading.get_ident()
        with self.changed:
            while len(self.begun) >= max(settings.THREADS * 3 // 4, 1):
                patience = max(self.begun.values()) + SLOW_AFTER_SECONDS - time.monotonic()
                if patience <= 0:
                    raise UpstreamError("The mirror's upstream is slow, and enough requests wait for it; try again.")
                self.changed.wait(patience)
            self.begun[me] = time.monotonic()
        try:
            yield
        finally:
            with self.changed:
                del self.begun[me]
                self.changed.notify()


class BackgroundTasks(Generic[T]):
    """Work for those who have something to serve meanwhile: each key once at a time, by a few threads."""

    def __init__(self, threads: int) -> None:
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="mirror")
        self.lock = threading.Lock()
        self.pending: dict[str, tuple[float, Future[T]]] = {}

    def result(self, key: str, work: Callable[[str], T]) -> T | None:
        """What the work gives, if it does so soon; without waiting when other work has been slow. None if it fails."""
        now = time.monotonic()
        with self.lock:
            slow = any(now - begun > SLOW_AFTER_SECONDS for begun, _ in self.pending.values())
            future = self._submitted(key, work)
        wait_for([future], 0 if slow else SLOW_AFTER_SECONDS)
        return future.result() if future.done() and future.exception() is None else None

    def submit(self, key: str, work: Callable[[str], T]) -> None:
        """For somebody who will want what it leaves behind; not when there is much to do already."""
        with self.lock:
            if len(self.pending) < MAX_PENDING:
                self._submitted(key, work)

    def _submitted(self, key: str, work: Callable[[str], T]) -> Future[T]:
        if key not in self.pending:
            self.pending[key] = time.monotonic(), self.pool.submit(self._done, key, work)
        return self.pending[key][1]

    def _done(self, key: str, work: Callable[[str], T]) -> T:
        try:
            return work(key)
        except RegistryError:
            raise
        except Exception:  # it is told to nobody
            _log.exception("The mirror fails with %r", key)
            raise
        finally:
            with self.lock:
                del self.pending[key]
