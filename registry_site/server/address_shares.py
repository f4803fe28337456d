"""Shares of a worker's connections and threads for each address, so that one client cannot take them all."""

import math
import time
from collections import deque
from typing import Any

from django.conf import settings

from registry_site.http.client_address import is_within, network_of, parse_address

SECONDS_BETWEEN_WARNINGS = 60
REFUSAL_SECONDS = 1  # after a refusal for too many requests
FEW_THREADS = 2  # of an address in this time


class Share:
    """The connections of one network: those that are open, those in a thread, and those that wait for a thread."""

    def __init__(self, network: str, is_limited: bool) -> None:
        self.network = network
        self.is_limited = is_limited
        self.connections = 0
        self.running = 0
        self.waiting: deque[Any] = deque()
        self.refused_at = 0.0

    def record_refusal(self) -> None:
        """Note that a request was refused because there were too many; request threads call this."""
        self.refused_at = time.monotonic()


class AddressShares:
    """The shares of all networks with a connection. Only the main loop of a worker uses them, so there is no lock."""

    def __init__(self, connections: int, threads: int) -> None:
        self.max_connections = max(connections * settings.ADDRESS_SHARE // 100, 1)
        self.max_threads = math.ceil(threads * settings.ADDRESS_SHARE / 100)
        self.threads_of_refused = min(FEW_THREADS, self.max_threads)
        self.shares: dict[str, Share] = {}
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

    def may_run(self, share: Share) -> bool:
        """Tell whether one more connection may go to a thread.

        Clients that go on although they are refused would compete with all others for the processor.
        """
        is_refused = time.monotonic() - share.refused_at < REFUSAL_SECONDS
        return not share.is_limited or share.running < (self.threads_of_refused if is_refused else self.max_threads)

    def _share_of(self, peer: str) -> Share:
        address = parse_address(peer)
        if address is None or is_within(address, settings.TRUSTED_PROXIES):
            return self.shares.get(peer) or Share(peer, is_limited=False)
        network = network_of(address)
        return self.shares.get(network) or Share(network, is_limited=True)
