"""A limit on the request threads of a worker that wait for other servers, so that slow ones leave threads for the rest.

All kinds of upstream share it: the mirror's, the OpenID provider and S3.
"""

import threading
import time
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
        """Wait for a slot and keep it; raises the error of `kind` when all are taken and upstream is slow."""
        thread = threading.get_ident()
        if thread in self.slots:  # a crate goes from the mirror's upstream to S3
            yield
            return
        with self.changed:
            while others := self._holders_in_the_way(kind):
                # Upstream is slow when nobody has got a slot for so long: then waiting for the next one is in vain.
                last_start = max(started for _, started in others)
                patience = last_start + self._seconds_to_wait() - time.monotonic()
                if patience <= 0:
                    raise kind.error(kind.refusal)
                self.waiting += 1
                try:
                    self.changed.wait(patience)
                finally:
                    self.waiting -= 1
            self.slots[thread] = kind, time.monotonic()
        try:
            yield
        finally:
            with self.changed:
                del self.slots[thread]
                self.changed.notify_all()

    def _holders_in_the_way(self, kind: Kind) -> list[tuple[Kind, float]]:
        """Return the holders of slots that keep `kind` from getting one; none if it may have one."""
        everybody = list(self.slots.values())
        same_kind = [slot for slot in everybody if slot[0] == kind]
        for holders, quarters in ((same_kind, kind.quarters), (everybody, 3)):
            if len(holders) >= max(settings.THREADS * quarters // 4, 1):
                return holders
        return []

    def _seconds_to_wait(self) -> float:
        occupied = len(self.slots) + self.waiting
        return SLOW_AFTER_SECONDS if occupied < settings.THREADS * 7 // 8 else LAST_THREADS_SECONDS


limiter = UpstreamLimiter()
