"""Shares of a worker's threads for clients behind trusted proxies, whose connections have no share themselves."""

import threading
from collections import Counter, deque
from typing import Any

from django.conf import settings

from registry_site.http.client_address import is_within, network_of, resolve_client_ip


class ForwardedClients:
    """The requests of each client, by its network, which only the head of a request names.

    So `begin` is called in the threads, and all else in the main loop of the worker.
    """

    def __init__(self, max_threads: int) -> None:
        self.max_threads = max_threads
        self.running: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.waiting: dict[str, deque[Any]] = {}

    def begin(self, client: str) -> bool:
        """Count a request that goes on in its thread; return False if as many of its client run as may."""
        with self.lock:
            if self.running[client] >= self.max_threads:
                return False
            self.running[client] += 1
            return True

    def end(self, client: str) -> None:
        with self.lock:
            self.running[client] -= 1
            if not self.running[client]:
                del self.running[client]

    def wait(self, client: str, conn: Any) -> None:
        self.waiting.setdefault(client, deque()).append(conn)

    def next_waiting(self, client: str) -> Any | None:
        """Remove and return a connection whose request may go on, and is counted now; None if there is none."""
        if client not in self.waiting or not self.begin(client):
            return None
        conn = self.waiting[client].popleft()
        if not self.waiting[client]:
            del self.waiting[client]
        return conn


def client_network(peer: str, forwarded_for: str) -> str | None:
    """Return the network of the client behind a trusted proxy; None for the proxy itself."""
    address = resolve_client_ip(peer, forwarded_for)
    return None if address is None or is_within(address, settings.TRUSTED_PROXIES) else network_of(address)
