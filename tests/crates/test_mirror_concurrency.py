"""Background refreshes for requests with something cached, and a running mirror whose upstream is slow."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from unittest.mock import Mock

import pytest

from crates.mirror import concurrency
from crates.mirror.concurrency import BackgroundTasks
from crates.names import index_path
from registry_site.errors import UpstreamError
from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream
from tests.support.servers import Server, running

SLOW = "enough requests wait for it"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "SLOW_AFTER_SECONDS", 0.05)


# --- Background tasks ----------------------------------------------------------------------------------------------


def test_result_of_quick_work_is_returned() -> None:
    assert BackgroundTasks[str](1).result("key", lambda: "done") == "done"


def test_failed_work_has_no_result() -> None:
    def fail() -> str:
        raise UpstreamError("It fails.")

    tasks = BackgroundTasks[str](1)
    assert tasks.result("key", fail) is None
    assert tasks.result("key", lambda: "done") == "done"


def test_unexpected_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail() -> str:
        raise ZeroDivisionError

    assert BackgroundTasks[str](1).result("a\nb", fail) is None
    assert [record.getMessage() for record in caplog.records] == ["The mirror fails with 'a\\nb'"]
    assert "ZeroDivisionError" in caplog.text


def test_work_closes_its_database_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Mock()
    monkeypatch.setattr(concurrency, "connection", connection)
    tasks = BackgroundTasks[str](1)
    assert tasks.result("key", lambda: "done") == "done"
    tasks.pool.shutdown()
    connection.close.assert_called_once_with()


def test_running_work_is_not_started_twice(impatient: None) -> None:
    may_end, starts = threading.Event(), []

    def work() -> str:
        starts.append(1)
        may_end.wait(20)
        return "done"

    tasks = BackgroundTasks[str](4)
    assert [tasks.result("key", work) for _ in range(5)] == [None] * 5
    may_end.set()
    assert starts == [1]


def test_nobody_waits_while_other_work_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "SLOW_AFTER_SECONDS", 60)
    may_end = threading.Event()
    tasks = BackgroundTasks[bool](1)
    tasks.pending["slow"] = time.monotonic() - 61, Future()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(tasks.result, "other", lambda: may_end.wait(60))
        try:
            assert future.result(20) is None
        finally:
            may_end.set()


def test_submitted_work_over_the_limit_is_dropped() -> None:
    may_end, ended = threading.Event(), []

    def work() -> None:
        may_end.wait(20)
        ended.append(1)

    tasks = BackgroundTasks[None](4)
    for number in range(concurrency.MAX_PENDING + 5):
        tasks.submit(str(number), work)
    assert len(tasks.pending) == concurrency.MAX_PENDING
    may_end.set()
    tasks.pool.shutdown()
    assert (len(ended), tasks.pending) == (concurrency.MAX_PENDING, {})


# --- On a running server -------------------------------------------------------------------------------------------


@pytest.fixture
def server(upstream: BadUpstream, tmp_path: Path) -> Iterator[Server]:
    """A mirror with four threads, of which two may wait for upstream."""
    environment = {"REGISTRY_MIRROR_UPSTREAM": upstream.url, "REGISTRY_MIRROR_TIMEOUT": "60", "REGISTRY_THREADS": "4"}
    # All clients of the test have one address.
    with running(tmp_path / "data", REGISTRY_WORKERS="1", REGISTRY_ADDRESS_SHARE="100", **environment) as server:
        yield server


def get_index_file(server: Server, name: str) -> tuple[int, str]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("GET", f"/mirror/index/{index_path(name)}")
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_slow_upstream_leaves_threads_for_others(server: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("cached").decode()
    assert get_index_file(server, "cached") == (200, body)
    may_answer = threading.Event()
    for number in range(20):
        upstream.script_index(f"slow{number}", bad_upstream.after(may_answer, bad_upstream.file(b"")))
    with ThreadPoolExecutor(20) as clients:
        futures = [clients.submit(get_index_file, server, f"slow{number}") for number in range(20)]
        try:
            deadline = time.monotonic() + 20
            while sum(upstream.count_index_requests(f"slow{number}") for number in range(20)) < 2:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert [get_index_file(server, "cached") for _ in range(10)] == [(200, body)] * 10
            assert sum(not future.done() for future in futures) >= 2
        finally:
            may_answer.set()
        responses = [future.result() for future in futures]
    assert {status for status, _ in responses} == {200, 502}
    assert all(SLOW in text for status, text in responses if status == 502)
