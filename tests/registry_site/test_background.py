"""Work that a request leaves to a thread of its worker."""

import logging
import threading

import pytest
from django.test import RequestFactory

from registry_site import background
from registry_site.errors import Unavailable
from registry_site.http import client_address
from registry_site.http.client_address import ClientAddressMiddleware

pytestmark = pytest.mark.database_independent


def test_thread_runs_what_is_submitted() -> None:
    thread, done = background.JobThread(), threading.Event()
    thread.start()
    background.submit(done.set)
    assert done.wait(10)
    thread.stop()
    assert not thread.is_alive()


def test_thread_finishes_what_is_left() -> None:
    thread, go_on = background.JobThread(), threading.Event()
    done: list[int] = []
    background.submit(go_on.wait, 10)
    for number in range(3):
        background.submit(done.append, number)
    thread.start()
    threading.Timer(0.05, go_on.set).start()
    thread.stop()
    assert (done, thread.is_alive()) == ([0, 1, 2], False)


def test_failure_stops_no_other_job(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []
    background.submit(int, "x")
    background.submit(done.append, 1)
    background.run_pending()
    assert done == [1]
    [record] = caplog.records
    assert (record.message, record.levelno) == ("job_failed", logging.WARNING)


def test_too_many_jobs_are_refused() -> None:
    for _ in range(background.MAX_JOBS):
        background.submit(int)
    with pytest.raises(Unavailable):
        background.submit(int)
    background.run_pending()


def test_job_has_the_address_of_its_request() -> None:
    addresses: list[str | None] = []

    def submit(request: object) -> object:
        background.submit(lambda: addresses.append(client_address.client_ip()))
        return None

    ClientAddressMiddleware(submit)(RequestFactory().get("/", REMOTE_ADDR="192.0.2.7"))  # type: ignore[arg-type]
    background.run_pending()
    assert addresses == ["192.0.2.7"]
