"""Turns of threads at hashing passwords. The networks of their clients alternate, so that none waits for a crowd."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from registry_site.errors import TooManyRequests, Unavailable
from registry_site.http import client_address


class Ticket:
    """A thread that waits, until it has a turn or is refused one."""

    def __init__(self, network: str) -> None:
        self.network = network
        self.is_decided = threading.Event()
        self.is_refused = False


class HashTurns:
    """The turns of one worker: `processors` at the same time, and half of the worker's threads with those that wait.

    The others go on serving. The network that has had no turn for longest is next.
    """

    def __init__(self, processors: int) -> None:
        self.lock = threading.Lock()
        self.free = processors
        self.threads: Counter[str] = Counter()  # that hash or wait, by network
        self.waiting: list[Ticket] = []  # in the order of their arrival
        self.number = 0
        self.last_turns: dict[str, int] = {}  # of the networks with threads

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and have it during the block.

        Raises `TooManyRequests` for a client whose network has three quarters of the threads, or more than others that
        come while all are taken, and `Unavailable` while all are taken by many.
        """
        network = client_address.client_network()
        ticket = self._queue_up(network)
        ticket.is_decided.wait()
        if ticket.is_refused:
            raise too_many_of_network()
        try:
            yield
        finally:
            with self.lock:
                self.free += 1
                self._forget_thread(network)
                self._start_next()

    def _queue_up(self, network: str) -> Ticket:
        most = max(1, settings.THREADS // 2)
        ticket = Ticket(network)
        with self.lock:
            if network and self.threads[network] >= max(1, most * 3 // 4):
                raise too_many_of_network()
            if self.threads.total() >= most:
                self._make_room(network)
            self.threads[network] += 1
            self.waiting.append(ticket)
            self._start_next()
        return ticket

    def _make_room(self, network: str) -> None:
        """Refuse the last of the largest crowd, in favour of a network with fewer threads; or raise `Unavailable`."""
        crowd, size = self.threads.most_common(1)[0]
        last = next((ticket for ticket in reversed(self.waiting) if ticket.network == crowd), None)
        if last is None or size <= self.threads[network] + 1:
            raise Unavailable("Too many log-ins at the same time; try again.", retry_after=1, code="busy")
        self.waiting.remove(last)
        self._forget_thread(crowd)
        last.is_refused = True
        last.is_decided.set()

    def _start_next(self) -> None:
        while self.free and self.waiting:
            ticket = min(self.waiting, key=lambda each: self.last_turns.get(each.network, 0))
            self.waiting.remove(ticket)
            self.free -= 1
            self.number += 1
            self.last_turns[ticket.network] = self.number
            ticket.is_decided.set()

    def _forget_thread(self, network: str) -> None:
        self.threads[network] -= 1
        if not self.threads[network]:
            del self.threads[network]
            self.last_turns.pop(network, None)


def too_many_of_network() -> TooManyRequests:
    return TooManyRequests("Too many log-ins from your address at the same time; try again.", retry_after=1)


# More hashes than processors at a time would not be faster, and would starve all other requests.
turns = HashTurns(max(1, (os.cpu_count() or 1) // settings.WORKERS))
