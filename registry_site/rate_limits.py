"""Rate limits: numbers of events that are allowed within a time, counted in rows or in the cache.

Rows are exact, and shared by all workers, so they count whatever is stored anyway. The cache counts what leaves no row:
each worker for itself, or all workers and nodes together with REGISTRY_CACHE_URL.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.cache import BaseCache, caches
from django.db.models import QuerySet
from django.utils import timezone

from registry_site.errors import TooManyRequests, Unavailable

CACHE = "rate_limits"
LOCAL_CACHE = "local_rate_limits"  # without Redis, these two are one

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RateLimit:
    """A limit of events of one key within a `window`.

    `{seconds}` in `message` stands for the time to wait. Retry-After is the whole window, or with `is_exact` the time
    until the next event is allowed.
    """

    name: str
    limit: int
    window: timedelta
    message: str
    is_exact: bool = False

    def check_rows(self, rows: QuerySet[Any], time_field: str = "at", *, includes_own: bool = False) -> None:
        """Raise `TooManyRequests` if the window has `limit` rows already, or with the caller's own more than that."""
        start = timezone.now() - self.window
        recent = rows.filter(**{f"{time_field}__gt": start}).order_by(f"-{time_field}")
        position = self.limit - 1 + includes_own
        blocking = recent.values_list(time_field, flat=True)[position : position + 1].first()
        if blocking is not None:  # the next event is allowed once this row has left the window
            raise self.exceeded((blocking - start).total_seconds())

    def check_query(self, blocking_times: Callable[[datetime], Sequence[datetime]]) -> None:
        """Check as `check_rows`, by a query of the time of the row at `limit`, the latest first, after a start."""
        start = timezone.now() - self.window
        blocking = next(iter(blocking_times(start)), None)
        if blocking is not None:
            raise self.exceeded((blocking - start).total_seconds())

    def blocked_until(self, times: Sequence[datetime]) -> datetime | None:
        """Return until when one more event is refused after these, the latest first; None if it is allowed."""
        if len(times) < self.limit:
            return None
        end = times[self.limit - 1] + self.window
        return end if end > timezone.now() else None

    def count(self, key: str) -> None:
        """Count one event in the cache; raise `TooManyRequests` if it is one too many."""
        try:
            number, remaining = self._increment(caches[CACHE], key)
        except Unavailable as error:
            # Without its cache the registry goes on, with a limit for each worker, as without REGISTRY_CACHE_URL.
            _log.warning("The rate limit of %s counts for this worker alone: %s", self.name, error)
            number, remaining = self._increment(caches[LOCAL_CACHE], key)
        if number > self.limit:
            raise self.exceeded(remaining)

    def exceeded(self, remaining: float) -> TooManyRequests:
        """Return the error for an event that is refused for so many seconds."""
        seconds = max(1, int(remaining) + 1) if self.is_exact else int(self.window.total_seconds())
        return TooManyRequests(self.message.replace("{seconds}", str(seconds)), retry_after=seconds)

    def _increment(self, cache: BaseCache, key: str) -> tuple[int, float]:
        """Add 1 to the counter of the current window → (its value, seconds that the window lasts)."""
        seconds, now = int(self.window.total_seconds()), time.time()
        # The first event of a key begins its window; the counter bears the time of it, so that a late one counts alone.
        start: int = cache.get_or_set(f"{self.name}:{key}", int(now), seconds) or int(now)
        counter = f"{self.name}:{key}:{start}"
        cache.add(counter, 0, seconds)
        try:
            number = cache.incr(counter)
        except ValueError:  # evicted in between
            number = 1
        return number, start + seconds - now


class TokenBucket:
    """A limit for a process: a few events at once, and then one in each so many seconds."""

    def __init__(self, size: int, seconds: float) -> None:
        self.size = size
        self.seconds = seconds
        self.tokens = float(size)
        self.filled_at = time.monotonic()
        self.lock = threading.Lock()

    def take(self) -> bool:
        """Return whether one more event is allowed, and count it."""
        with self.lock:
            now = time.monotonic()
            self.tokens = min(self.size, self.tokens + (now - self.filled_at) / self.seconds)
            self.filled_at = now
            if self.tokens < 1:
                return False
            self.tokens -= 1
            return True
