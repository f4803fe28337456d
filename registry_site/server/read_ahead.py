"""Read-ahead: work for the requests that are queued on an HTTP/2 connection, begun before their turn.

gunicorn answers the streams of one HTTP/2 connection one after another, in one thread. cargo sends hundreds of requests
over one connection, so without help each would wait for upstream in its turn. But the requests have come already, and
their paths are known:

1. A thread takes one request at a time from the connection. Before each, the main loop reads everything that has come
   over the connection, without waiting for more.
2. `set_pending` keeps the paths that are queued behind a request while the present thread answers it.
3. A module that can work ahead registers a function with `on_pending_request(pattern)`: the mirror registers
   `prefetch_index_file` and `prefetch_crate`, which fetch from upstream in threads of their own.
4. A view that is about to wait for upstream calls `start_pending`. It calls the registered functions for the next few
   queued paths, so upstream answers all of them at the same time.
5. `arrived_at` tells metrics whether something was fetched only after this request had come: that is no cache hit.
"""

import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import TypeVar

MAX_STARTED = 16  # queued requests whose work is begun early

H = TypeVar("H", bound=Callable[..., None])

_pending: ContextVar[tuple[datetime, Sequence[str]] | None] = ContextVar("pending", default=None)
_handlers: list[tuple[re.Pattern[str], Callable[..., None]]] = []


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
