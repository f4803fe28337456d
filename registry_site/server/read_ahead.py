"""Requests that have come over one HTTP/2 connection and wait: gunicorn answers a connection's one after another.

Who has to ask another server for one of them can ask for the next ones at the same time.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import datetime

MOST_AHEAD = 16

Begin = Callable[[str], None]

_turn: ContextVar[tuple[datetime, Sequence[str]] | None] = ContextVar("turn", default=None)
_beginners: list[Begin] = []


def on_pending_request(begin: Begin) -> Begin:
    """`begin` is called with the path of a request that waits, and may begin the work for it in another thread."""
    _beginners.append(begin)
    return begin


def set_pending(arrived: datetime, waiting: Sequence[str]) -> None:
    """This thread answers a request that came then, and those for these paths wait behind it."""
    _turn.set((arrived, waiting))


def clear_pending() -> None:
    """It answers one for which no other waits."""
    _turn.set(None)


def arrived_at() -> datetime | None:
    """When the request came that this thread answers, if others can have been before it."""
    turn = _turn.get()
    return turn[0] if turn else None


def start_pending() -> None:
    """Called by who answers a request and has to wait for another server: the next few are begun, too."""
    turn = _turn.get()
    for path in turn[1][:MOST_AHEAD] if turn else ():
        for begin in _beginners:
            begin(path)
