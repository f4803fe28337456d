"""Slots for threads that wait for other servers."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from registry_site import upstream_limiter
from registry_site.errors import Unavailable, UpstreamError
from registry_site.upstream_limiter import Kind, UpstreamLimiter

pytestmark = pytest.mark.database_independent

WIDE = Kind(quarters=3, refusal="The wide one is slow.")
NARROW = Kind(quarters=1, refusal="The narrow one is slow.", error=Unavailable)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_limiter, "SLOW_AFTER_SECONDS", 0.05)
    monkeypatch.setattr(upstream_limiter, "LAST_THREADS_SECONDS", 0.05)


class SlotHolders:
    """Threads that keep slots of a limiter until the end of a `with` block."""

    def __init__(self, limiter: UpstreamLimiter, number: int, kind: Kind = WIDE) -> None:
        self.may_leave = threading.Event()
        self.entered = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self.keep_slot, args=(limiter, kind)) for _ in range(number)]

    def keep_slot(self, limiter: UpstreamLimiter, kind: Kind) -> None:
        with limiter.slot(kind):
            self.entered.release()
            self.may_leave.wait(20)

    def __enter__(self) -> "SlotHolders":
        for thread in self.threads:
            thread.start()
            assert self.entered.acquire(timeout=20)
        return self

    def __exit__(self, *args: object) -> None:
        self.may_leave.set()
        for thread in self.threads:
            thread.join()


def enter(limiter: UpstreamLimiter, kind: Kind = WIDE) -> bool:
    with limiter.slot(kind):
        return True


def test_quarter_of_the_threads_stays_free(settings: Any, impatient: None) -> None:
    for threads, slots in {1: 1, 2: 1, 4: 3, 16: 12}.items():
        settings.THREADS = threads
        limiter = UpstreamLimiter()
        with SlotHolders(limiter, slots), pytest.raises(UpstreamError, match=WIDE.refusal):
            enter(limiter)


def test_narrow_kind_has_fewer_slots(settings: Any, impatient: None) -> None:
    settings.THREADS = 16
    limiter = UpstreamLimiter()
    with SlotHolders(limiter, 4, NARROW):
        with pytest.raises(Unavailable, match=NARROW.refusal):
            enter(limiter, NARROW)
        assert enter(limiter, WIDE)


def test_all_kinds_together_have_three_quarters(settings: Any, impatient: None) -> None:
    settings.THREADS = 16
    limiter = UpstreamLimiter()
    with SlotHolders(limiter, 3, NARROW), SlotHolders(limiter, 9, WIDE):
        with pytest.raises(UpstreamError, match=WIDE.refusal):
            enter(limiter, WIDE)
        with pytest.raises(Unavailable, match=WIDE.refusal):  # the one that is slow
            enter(limiter, NARROW)


def test_thread_needs_one_slot_only(settings: Any, impatient: None) -> None:
    settings.THREADS = 1
    limiter = UpstreamLimiter()
    with limiter.slot(WIDE):
        assert enter(limiter, NARROW)
        assert [kind for kind, _ in limiter.slots.values()] == [WIDE]
    assert limiter.slots == {}


def test_slot_changes_its_kind(settings: Any, impatient: None) -> None:
    settings.THREADS = 4
    limiter = UpstreamLimiter()
    with limiter.slot(WIDE):
        with SlotHolders(limiter, 1, NARROW), pytest.raises(Unavailable, match=NARROW.refusal):
            enter(limiter, NARROW)
        with limiter.slot(NARROW), ThreadPoolExecutor(1) as pool:
            assert pool.submit(enter, limiter, WIDE).result(20)
            with pytest.raises(Unavailable, match=NARROW.refusal):
                pool.submit(enter, limiter, NARROW).result(20)


def test_slot_is_free_after_a_failure(settings: Any, impatient: None) -> None:
    settings.THREADS = 1
    limiter = UpstreamLimiter()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), limiter.slot(WIDE):
            raise ZeroDivisionError


def test_waiting_thread_gets_a_freed_slot(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_limiter, "SLOW_AFTER_SECONDS", 60)
    settings.THREADS = 16
    limiter = UpstreamLimiter()
    with ThreadPoolExecutor(1) as pool:
        with SlotHolders(limiter, 12):
            future = pool.submit(enter, limiter)
        assert future.result(20)


def test_last_threads_do_not_wait_long(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_limiter, "SLOW_AFTER_SECONDS", 60)
    settings.THREADS = 16
    limiter = UpstreamLimiter()
    with ThreadPoolExecutor(4) as pool:
        with SlotHolders(limiter, 12):
            futures = [pool.submit(enter, limiter) for _ in range(4)]
            deadline = time.monotonic() + 20
            while sum(future.done() for future in futures) < 2 and time.monotonic() < deadline:
                time.sleep(0.02)
        assert [type(future.exception(20)) for future in futures].count(UpstreamError) == 2


def test_requests_wait_while_upstream_answers_others(settings: Any) -> None:
    settings.THREADS = 16
    limiter = UpstreamLimiter()
    limiter.slots = {-number: (WIDE, time.monotonic() - 60) for number in range(1, 12)}
    limiter.slots[-12] = WIDE, time.monotonic()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(enter, limiter)
        time.sleep(0.2)
        assert not future.done()
        with limiter.changed:
            del limiter.slots[-1]
            limiter.changed.notify_all()
        assert future.result(20)
