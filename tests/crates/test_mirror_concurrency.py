"""A slow upstream has the requests that need it wait, and no others."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from crates.mirror import concurrency
from crates.mirror.concurrency import BackgroundTasks, UpstreamLimiter
from crates.names import index_path
from registry_site.errors import UpstreamError
from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream, Exchange
from tests.support.servers import Server, running

SLOW = "enough requests wait for it"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "SLOW_AFTER_SECONDS", 0.05)


# --- Those who have nothing to serve -------------------------------------------------------------------------------


class Stayers:
    """Threads that are in a queue until they may go."""

    def __init__(self, queue: UpstreamLimiter, number: int) -> None:
        self.may_go = threading.Event()
        self.inside = threading.Semaphore(0)
        self.threads = [threading.Thread(target=self._stay, args=(queue,)) for _ in range(number)]

    def _stay(self, queue: UpstreamLimiter) -> None:
        with queue.slot():
            self.inside.release()
            self.may_go.wait(20)

    def __enter__(self) -> "Stayers":
        for thread in self.threads:
            thread.start()
            assert self.inside.acquire(timeout=20)
        return self

    def __exit__(self, *args: object) -> None:
        self.may_go.set()
        for thread in self.threads:
            thread.join()


@pytest.mark.parametrize(("threads", "places"), [(1, 1), (2, 1), (4, 3), (16, 12)])
def test_quarter_of_the_threads_is_left_to_others(settings: Any, impatient: None, threads: int, places: int) -> None:
    settings.THREADS = threads
    queue = UpstreamLimiter()
    with Stayers(queue, places), pytest.raises(UpstreamError, match=SLOW), queue.slot():
        pass


def test_place_is_free_again_after_a_failure(settings: Any, impatient: None) -> None:
    settings.THREADS = 1
    queue = UpstreamLimiter()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), queue.slot():
            raise ZeroDivisionError


def test_who_comes_late_gets_the_place_of_who_leaves(settings: Any) -> None:
    settings.THREADS = 1
    queue = UpstreamLimiter()

    def join() -> bool:
        with queue.slot():
            return True

    with ThreadPoolExecutor(1) as pool:
        with Stayers(queue, 1):
            later = pool.submit(join)
        assert later.result(20)


# --- Those who have something --------------------------------------------------------------------------------------


def test_result_of_quick_work_is_given() -> None:
    assert BackgroundTasks[str](1).result("a", lambda: "A") == "A"


def test_failure_of_work_is_no_result() -> None:
    def fail() -> str:
        raise UpstreamError("a")

    background = BackgroundTasks[str](1)
    assert background.result("a", fail) is None
    assert background.result("a", lambda: "A") == "A"


def test_failure_that_nobody_has_foreseen_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise ZeroDivisionError

    assert BackgroundTasks[str](1).result("a\nb", fail) is None
    assert [record.getMessage() for record in caplog.records] == ["The mirror fails with 'a\\nb'"]
    assert "ZeroDivisionError" in caplog.text


def test_work_that_is_under_way_is_not_begun_again(impatient: None) -> None:
    may_go, begun = threading.Event(), []

    def work() -> str:
        begun.append("a")
        may_go.wait(20)
        return "a"

    background = BackgroundTasks[str](4)
    assert [background.result("a", work) for _ in range(5)] == [None] * 5
    may_go.set()
    assert begun == ["a"]


def test_nobody_waits_while_other_work_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "SLOW_AFTER_SECONDS", 60)
    may_go = threading.Event()
    background = BackgroundTasks[bool](1)
    background.pending["slow"] = time.monotonic() - 61, Future()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(background.result, "other", lambda: may_go.wait(60))
        try:
            assert asked.result(20) is None
        finally:
            may_go.set()


# --- On a running server -------------------------------------------------------------------------------------------


class Held:
    """An index file that comes when it may."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.may_go = threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        self.asked.release()
        self.may_go.wait(60)
        bad_upstream.file(b"")(exchange)


@pytest.fixture
def server(upstream: BadUpstream, tmp_path: Path) -> Iterator[Server]:
    """Three of its four threads may wait."""
    environment = {"REGISTRY_MIRROR_UPSTREAM": upstream.url, "REGISTRY_MIRROR_TIMEOUT": "60", "REGISTRY_THREADS": "4"}
    with running(tmp_path / "data", REGISTRY_WORKERS="1", **environment) as server:
        yield server


def entry(server: Server, name: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("GET", f"/mirror/index/{index_path(name)}")
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_others_are_served_while_many_wait_for_a_slow_upstream(server: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("kept").decode()
    assert entry(server, "kept") == (200, body)
    held = Held()
    for number in range(20):
        upstream.script_index(f"slow{number}", held)
    with ThreadPoolExecutor(20) as clients:
        waiting = [clients.submit(entry, server, f"slow{number}") for number in range(20)]
        try:
            assert all(held.asked.acquire(timeout=20) for _ in range(3))
            assert [entry(server, "kept") for _ in range(10)] == [(200, body)] * 10
            assert sum(not one.done() for one in waiting) >= 3
        finally:
            held.may_go.set()
        answers = [one.result() for one in waiting]
    assert {status for status, _ in answers} == {200, 502}
    assert all(SLOW in told for status, told in answers if status == 502)
