"""Requests whose short bodies are on their way: they wait in the poller of a worker, and take no thread."""

from bisect import insort
from collections import Counter
from operator import attrgetter
from typing import Any

SMALL_BODY_BYTES = 64 * 1024  # which each connection may have in memory
LARGE_BODIES = 64  # over that, up to 1 MiB, which a worker has in memory until their requests have been answered
LARGE_BODIES_OF_A_CLIENT = LARGE_BODIES // 4


class WaitingBodies:
    """The connections that wait for a body. Only the main loop of a worker uses them, so there is no lock.

    A connection has as `body_client` the network of its client, also behind a proxy, and as `timeout` its deadline.
    """

    def __init__(self, connections: int) -> None:
        self.max_number = connections // 2  # the other connections are for requests that wait for nothing
        self.by_deadline: list[Any] = []
        self.large: dict[Any, str] = {}  # the clients of large bodies that are in memory
        self.unread: dict[Any, None] = {}  # large bodies that wait for others to go, in the order of their turns

    def add(self, conn: Any) -> None:
        insort(self.by_deadline, conn, key=attrgetter("timeout"))
        self.unread[conn] = None

    def remove(self, conn: Any) -> bool:
        """Remove a connection; return whether its body was being read."""
        self.by_deadline.remove(conn)
        is_unread = conn in self.unread
        self.unread.pop(conn, None)
        return not is_unread

    def begin(self, conn: Any) -> bool:
        """Count a body that is read from now on, or let it wait for its turn; return whether it may be read."""
        if conn.body_length > SMALL_BODY_BYTES:
            clients = list(self.large.values())
            if len(clients) >= LARGE_BODIES or clients.count(conn.body_client) >= LARGE_BODIES_OF_A_CLIENT:
                return False
            self.large[conn] = conn.body_client
        del self.unread[conn]
        return True

    def end(self, conn: Any) -> bool:
        """Count a body that is no longer in memory; return whether another may have its turn."""
        return self.large.pop(conn, None) is not None

    def begin_next(self) -> Any | None:
        """Return the next connection whose body is read from now on; None if there is none."""
        return next((conn for conn in self.unread if self.begin(conn)), None)

    def next_late(self, now: float) -> Any | None:
        """Return a connection over its deadline; None if there is none."""
        return self.by_deadline[0] if self.by_deadline and self.by_deadline[0].timeout < now else None

    def next_surplus(self) -> Any | None:
        """Return the oldest connection of the client that has most, if all together are too many."""
        if len(self.by_deadline) <= self.max_number:
            return None
        ((client, _),) = Counter(conn.body_client for conn in self.by_deadline).most_common(1)
        return next(conn for conn in self.by_deadline if conn.body_client == client)
