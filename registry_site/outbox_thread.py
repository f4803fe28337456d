"""The thread of a worker that sends the mails of the outbox, and the signals of each minute and hour."""

import logging
import threading
import time

from django.db import close_old_connections, connections
from django.dispatch import Signal

from registry_site import outbox
from registry_site.logs import log_event
from registry_site.signals import hour_passed, minute_passed

POLL_SECONDS = 5  # for entries of other processes, and for those that wait for another attempt
PAUSE_SECONDS = 10  # after a failure of the mail server or of the database
FIRST_HOUR_SECONDS = 60  # from the start to the first of the signals
STOP_SECONDS = 10  # for a mail that is on its way; gunicorn kills a worker after 30


class OutboxThread(threading.Thread):
    """The thread that works off the outbox, at once after a commit of this worker and every few seconds.

    No request waits for a mail server: this thread alone talks to it.
    """

    def __init__(self) -> None:
        super().__init__(name="outbox", daemon=True)
        self.stopping = threading.Event()
        self.next_hour = self.next_minute = time.monotonic() + FIRST_HOUR_SECONDS
        self.is_failing = False

    def run(self) -> None:
        while not self.stopping.is_set():
            outbox.added.wait(POLL_SECONDS)
            outbox.added.clear()
            if not (self.stopping.is_set() or self.work()):
                self.stopping.wait(PAUSE_SECONDS)
        connections.close_all()

    def work(self) -> bool:
        """Work off what is due. The connection to the database is kept as long as those of requests are."""
        try:
            self.announce_times()
            is_done = outbox.work_off(self.stopping.is_set)
            self.is_failing = False
        except Exception as error:  # whatever it is, the thread goes on
            if not self.is_failing:
                log_event("outbox_failed", logging.WARNING, cause=f"{type(error).__name__}: {error}")
            self.is_failing, is_done = True, False
        finally:
            close_old_connections()
        return is_done

    def announce_times(self) -> None:
        now = time.monotonic()
        if now >= self.next_minute:
            self.next_minute = now + 60
            self.announce(minute_passed)
        if now >= self.next_hour:
            self.next_hour = now + 3600
            self.announce(hour_passed)

    def announce(self, signal: Signal) -> None:
        for receiver, error in signal.send_robust(sender=None):
            if isinstance(error, Exception):
                work = getattr(receiver, "__name__", "")
                log_event("outbox_failed", logging.WARNING, work=work, cause=f"{type(error).__name__}: {error}")

    def stop(self) -> None:
        """End after the mail that is on its way. Another worker, or the next start, goes on with the others."""
        self.stopping.set()
        outbox.added.set()
        self.join(STOP_SECONDS)
