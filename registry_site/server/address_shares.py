"""Shares of a worker's connections and threads for each address, so that one client cannot take them all."""

import math
import time
from collections import deque
from typing import Any

from django.conf import settings

from registry_site.http.client_address import is_within, network_of, parse_address

SECONDS_BETWEEN_WARNINGS = 60


class Share:
    """The connections of one network: those that are open, those in a thread, and those that wait for a thread."""

    def __init__(self, network: str, is_limited: bool) -> None:
        self.network = network
        self.is_limited = is_limited
        self.connections = 0
        self.running: set[Any] = set()
        self.running_refused: set[Any] = set()  # those whose request before this one was refused with 429
        self.waiting: deque[Any] = deque()
        self.waiting_refused: deque[Any] = deque()


class AddressShares:
    """The shares of all networks with a connection. Only the main loop of a worker uses them, so there is no lock."""

    def __init__(self, connections: int, threads: int) -> None:
        self.max_connections = max(connections * settings.ADDRESS_SHARE // 100, 1)
        self.max_threads = math.ceil(threads * settings.ADDRESS_SHARE / 100)
        self.max_refused_threads = math.ceil(threads / 4)
        self.max_running = max(self.max_threads, threads - math.ceil(threads / 4))
        self.running = 0  # connections of limited shares
        self.shares: dict[str, Share] = {}
        self.queue: dict[Share, None] = {}  # the shares with waiting connections, in the order of their turns
        self.next_warning = 0.0

    def open_connection(self, peer: str, log: Any) -> Share | None:
        """Count a connection and return the share of its network; None if the network has its maximum already."""
        share = self._share_of(peer)
        if share.is_limited and share.connections >= self.max_connections:
            if time.monotonic() >= self.next_warning:
                self.next_warning = time.monotonic() + SECONDS_BETWEEN_WARNINGS
                log.warning(
                    "%s has %d connections, its REGISTRY_ADDRESS_SHARE of a worker, so further ones are closed. "
                    "If it is a proxy, name it in REGISTRY_TRUSTED_PROXIES.",
                    share.network,
                    share.connections,
                )
            return None
        share.connections += 1
        self.shares[share.network] = share
        return share

    def close_connection(self, share: Share) -> None:
        share.connections -= 1
        if not share.connections:
            del self.shares[share.network]

    def may_run(self, share: Share, *, was_refused: bool = False) -> bool:
        """Tell whether one more connection may go to a thread.

        The last quarter of the threads is for networks without any. Connections that go on after a refusal get fewer,
        or a crowd of them would take the processor from all.
        """
        if not share.is_limited or not share.running:
            return True
        if was_refused and len(share.running_refused) >= self.max_refused_threads:
            return False
        return len(share.running) < self.max_threads and self.running < self.max_running

    def begin(self, conn: Any) -> bool:
        """Count a connection that goes to a thread, or let it wait; return whether it may go."""
        share: Share = conn.share
        if not self.may_run(share, was_refused=conn.was_refused):
            (share.waiting_refused if conn.was_refused else share.waiting).append(conn)
            self.queue[share] = None
            return False
        share.running.add(conn)
        if conn.was_refused:
            share.running_refused.add(conn)
        self.running += share.is_limited
        return True

    def end(self, conn: Any) -> None:
        """Count a connection that has left its thread."""
        share: Share = conn.share
        share.running.remove(conn)
        share.running_refused.discard(conn)
        self.running -= share.is_limited

    def next_waiting(self) -> Any | None:
        """Remove and return a waiting connection that may go to a thread; None if there is none."""
        for share in self.queue:
            if share.waiting and self.may_run(share):
                return self._take(share, share.waiting)
            if share.waiting_refused and self.may_run(share, was_refused=True):
                return self._take(share, share.waiting_refused)
        return None

    def _take(self, share: Share, waiting: deque[Any]) -> Any:
        conn = waiting.popleft()
        del self.queue[share]
        if share.waiting or share.waiting_refused:
            self.queue[share] = None  # after the others
        return conn

    def _share_of(self, peer: str) -> Share:
        address = parse_address(peer)
        if address is None or is_within(address, settings.TRUSTED_PROXIES):
            return self.shares.get(peer) or Share(peer, is_limited=False)
        network = network_of(address)
        return self.shares.get(network) or Share(network, is_limited=True)
