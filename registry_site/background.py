"""Work that a request leaves to a thread of its worker, so that the time of the answer tells nothing about it.

It is kept in memory: a killed process loses it. So it is only for what a person can ask for again.
"""

import contextvars
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from django.db import connections

from registry_site.errors import Unavailable
from registry_site.logs import log_event

MAX_JOBS = 100  # of a worker; each is a few hundred bytes, and the rate limits of their kinds come first
STOP_SECONDS = 10  # for the last jobs; gunicorn kills a worker after 30

_jobs: queue.Queue[Callable[[], Any] | None] = queue.Queue(MAX_JOBS)


def submit(function: Callable[..., Any], *arguments: Any) -> None:
    """Call a function later, in the context of this request. Raises `Unavailable` while too many jobs wait."""
    context = contextvars.copy_context()  # of which audit events have the client's address and the request's id
    try:
        _jobs.put_nowait(lambda: context.run(function, *arguments))
    except queue.Full as error:
        raise Unavailable("Too much is waiting to be done; try again in a minute.", retry_after=60) from error


def run_pending() -> None:
    """Run the jobs that wait, one after the other."""
    for job in take_all():
        run(job)


def discard() -> int:
    """Forget the jobs that wait, and return how many those are."""
    return sum(job is not None for job in take_all())


def take_all() -> Iterator[Callable[[], Any] | None]:
    """Take the jobs that wait, without waiting for more: another thread may take the last one."""
    with suppress(queue.Empty):
        while True:
            yield _jobs.get_nowait()


def run(job: Callable[[], Any] | None) -> None:
    """Run a job. A failure is a line in the log: nobody waits for the result."""
    try:
        if job is not None:
            job()
    except Exception as error:  # whatever it is, the next jobs are to be run
        log_event("job_failed", logging.WARNING, cause=f"{type(error).__name__}: {error}")


class JobThread(threading.Thread):
    """The thread of a worker that runs its jobs."""

    def __init__(self) -> None:
        super().__init__(name="background", daemon=True)
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            run(_jobs.get())
            connections.close_all()  # or one would be open all the time
        run_pending()
        connections.close_all()

    def stop(self) -> None:
        """Run what is left, for a limited time, before the process ends."""
        self.stopping.set()
        with suppress(queue.Full):
            _jobs.put_nowait(None)  # wakes the thread
        self.join(STOP_SECONDS)
        if lost := discard():
            log_event("jobs_lost", logging.ERROR, count=lost)
