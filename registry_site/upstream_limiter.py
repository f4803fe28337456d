"""A limit on the request threads of a worker that wait for other servers, so that slow ones leave threads for the rest.

All kinds of upstream share it: the mirror's, the OpenID provider and S3.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.conf import settings

from registry_site.errors import RegistryError, UpstreamError

SLOW_AFTER_SECONDS = 2.0  # upstreams usually answer in a tenth of this
LAST_THREADS_SECONDS = 0.5  # for requests that wait in the last threads, which all others need


@dataclass(frozen=True)
class Kind:
    """A kind of upstream: its part of the threads, in quarters, and the message for requests over the limit."""

    quarters: int
    refusal: str
    error: type[RegistryError] = UpstreamError


class UpstreamLimiter:
    """A limit of three quarters for all kinds together, and of fewer for each kind.

    The last quarter keeps answering whatever needs no upstream. Requests over the limit wait for a slot, but only while
    upstream keeps answering others.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.slots: dict[int, tuple[Kind, float]] = {}  # by thread, with the time of its start
        self.waiting = 0

    @contextmanager
    def slot(self, kind: Kind) -> Iterator[None]:
        """Wait for a slot and keep it; raises the error of `kind` when all are taken and upstream is slow.

        A thread that has a slot already changes its kind: a crate goes from the mirror's upstream to S3.
        """
        thread = threading.get_ident()
        with self.changed:
            former = self.slots.get(thread)
            while others := self._holders_in_the_way(kind, thread):
                # Upstream is slow when nobody has got a slot for so long: then waiting for the next one is in vain.
                last_start = max(started for _, started in others)
                patience = last_start + self._seconds_to_wait() - time.monotonic()
                if patience <= 0:
                    [(slow, _)] = Counter(holder for holder, _ in others).most_common(1)
                    raise kind.error(slow.refusal)
                self.waiting += former is None
                try:
                    self.changed.wait(patience)
                finally:
                    self.waiting -= former is None
            self.slots[thread] = kind, time.monotonic()
            self.changed.notify_all()
        try:
            yield
        finally:
            with self.changed:
                del self.slots[thread]
                if former is not None:
                    self.slots[thread] = former
                self.changed.notify_all()

    def _holders_in_the_way(self, kind: Kind, thread: int) -> list[tuple[Kind, float]]:
        """Return the holders of slots that keep a thread from getting one of `kind`; none if it may have one."""
        everybody = [slot for holder, slot in self.slots.items() if holder != thread]
        same_kind = [slot for slot in everybody if slot[0] == kind]
        for holders, quarters in ((same_kind, kind.quarters), (everybody, 3)):
            if len(holders) >= max(settings.THREADS * quarters // 4, 1):
                return holders
        return []

    def _seconds_to_wait(self) -> float:
        occupied = len(self.slots) + self.waiting
        return SLOW_AFTER_SECONDS if occupied < settings.THREADS * 7 // 8 else LAST_THREADS_SECONDS


limiter = UpstreamLimiter()
