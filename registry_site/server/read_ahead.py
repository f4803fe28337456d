"""Read-ahead: work for the requests that are queued on an HTTP/2 connection, begun before their turn.

gunicorn answers the streams of one HTTP/2 connection one after another, in one thread. cargo sends hundreds of requests
over one connection, so without help each would wait for upstream in its turn. But the requests have come already, and
their paths are known:

1. `queue_requests` makes gunicorn take one request at a time from the connection. Before each, everything that has come
   over the connection is read, without waiting for more, and the new requests are stamped with their time of arrival.
2. `set_pending` keeps the paths that are queued behind a request while the present thread answers it.
3. A module that can work ahead registers a function with `on_pending_request(pattern)`: the mirror registers
   `prefetch_index_file` and `prefetch_crate`, which fetch from upstream in threads of their own.
4. A view that is about to wait for upstream calls `start_pending`. It calls the registered functions for the next few
   queued paths, so upstream answers all of them at the same time.
5. `arrived_at` tells metrics whether something was fetched only after this request had come: that is no cache hit.

gunicorn (27, pinned in pyproject.toml) has no hook for this. Of its `HTTP2ServerConnection` this module replaces
`receive_data` and uses `pump`, `pending_requests`, `_deferred_events`, `is_closed` and `sock`; none of them is
documented.
"""

import re
import select
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime
from ssl import SSLSocket
from typing import Any, TypeVar

from django.utils import timezone
from gunicorn.http.errors import NoMoreData

MAX_READS = 100  # TLS records before the next request is answered: a client that never stops sending must not win
MAX_STARTED = 16  # queued requests whose work is begun early

H = TypeVar("H", bound=Callable[..., None])

_pending: ContextVar[tuple[datetime, Sequence[str]] | None] = ContextVar("pending", default=None)
_handlers: list[tuple[re.Pattern[str], Callable[..., None]]] = []


def queue_requests(connection: Any) -> None:
    """Make gunicorn take the requests of an HTTP/2 connection one by one, so that the others stay visible meanwhile."""
    receive = connection.receive_data

    def receive_data(data: bytes | None = None) -> list[Any]:
        """Return the next request. gunicorn passes `data` only when the worker stops: then return all of them.

        Raises `NoMoreData` and sets `is_idle` when none has come: the connection need not wait in this thread.
        """
        if data is None and not connection.pending_requests:
            if not connection._deferred_events and not is_readable(connection.sock):
                connection.is_idle = True
                raise NoMoreData
            connection.pending_requests.extend(receive())
        _read_all(connection)
        taken = list(connection.pending_requests)[: 1 if data is None else None]
        for request in taken:
            connection.pending_requests.remove(request)
        return [] if connection.is_closed else taken

    connection.receive_data = receive_data


def _read_all(connection: Any) -> None:
    """Read what has come over the connection: further requests, streams that were reset, or its end."""
    for _ in range(MAX_READS):
        if connection.is_closed or not is_readable(connection.sock):
            break
        connection.pump()  # reads one TLS record
    for request in connection.pending_requests:
        if not hasattr(request, "arrived"):
            request.arrived = timezone.now()


def is_readable(sock: Any) -> bool:
    """Tell whether reading from a socket needs no waiting."""
    poll = select.poll()  # select.select() fails for descriptors over 1024
    poll.register(sock, select.POLLIN)
    # Decrypted bytes wait in the SSL object, where poll() is blind.
    return bool((isinstance(sock, SSLSocket) and sock.pending()) or poll.poll(0))


def set_pending(arrived: datetime, paths: Sequence[str]) -> None:
    """Note for the present thread when its request arrived, and the paths of the requests queued behind it."""
    _pending.set((arrived, paths))


def clear_pending() -> None:
    """Note that no request is queued behind that of the present thread, as over HTTP/1.1."""
    _pending.set(None)


def arrived_at() -> datetime | None:
    """Return when the present thread's request arrived; None when no other request can have gone before it."""
    pending = _pending.get()
    return pending[0] if pending else None


def on_pending_request(pattern: str) -> Callable[[H], H]:
    """Register a function that begins the work for a queued request, and does not wait for it.

    It gets the groups of `pattern`, which has to match the whole path (unquoted, without the query).
    """

    def register(handler: H) -> H:
        _handlers.append((re.compile(pattern), handler))
        return handler

    return register


def start_pending() -> None:
    """Begin the work for the next queued requests. A view calls this before it waits for another server."""
    pending = _pending.get()
    for path in pending[1][:MAX_STARTED] if pending else ():
        for pattern, handler in _handlers:
            if match := pattern.fullmatch(path):
                handler(*match.groups())
