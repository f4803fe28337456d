"""Asking other servers: within a time for the whole answer, however slowly it drips, and within a size.

A connection that is still at work when its time is up is shut down by a thread that watches them all. Redirects are not
followed; whoever wants to go where one points asks again.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import IO, Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

SILENCE = 5  # seconds without a byte
CHUNK = 64 * 1024
MOST_HOSTS = 8  # whose connections are kept
MOST_CONNECTIONS = 16  # to one host, at the same time; who finds none free waits
USER_AGENT = "entrepot-registry"

_until: ContextVar[float] = ContextVar("until")
_public_only: ContextVar[bool] = ContextVar("public_only", default=False)


class RequestFailed(Exception):
    """No answer, too late, too long, or none that is HTTP."""


@dataclass(frozen=True)
class Response:
    """`headers` by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def fetch(method: str, url: str, *, seconds: float, largest: int, **options: Any) -> Response:
    """The whole answer, of at most `largest` bytes, within `seconds`; raises `RequestFailed`.

    `headers` and `body` are sent; with `public_only`, an address that is not of the open internet is not asked.
    """
    with _asked(method, url, seconds, **options) as (answer, pieces):
        body = bytearray()
        for piece in pieces:
            body += piece
            if len(body) > largest:
                raise RequestFailed(f"the answer has more than {largest} bytes")
        return Response(answer.status, answer.headers, bytes(body))


def download(url: str, to: IO[bytes], *, seconds: float, largest: int, **options: Any) -> Response:
    """The same, with the body of a 200 written to a file as it comes; that of anything else is not read."""
    with _asked("GET", url, seconds, **options) as (answer, pieces):
        size = 0
        for piece in pieces if answer.status == 200 else ():
            size += len(piece)
            if size > largest:
                raise RequestFailed(f"the answer has more than {largest} bytes")
            to.write(piece)
        return answer


@contextmanager
def _asked(
    method: str,
    url: str,
    seconds: float,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    public_only: bool = False,
) -> Iterator[tuple[Response, Iterator[bytes]]]:
    until, public = _until.set(time.monotonic() + seconds), _public_only.set(public_only)
    sent = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **(headers or {})}
    try:
        silence = urllib3.Timeout(connect=min(SILENCE, seconds), read=min(SILENCE, seconds))  # not of 0 seconds
        response = _pools.request(
            method,
            url,
            headers=sent,
            body=body,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=silence,
            pool_timeout=seconds,
        )
        try:
            yield Response(response.status, _headers(response)), _in_time(response)
        finally:
            if response.connection is not None:  # what is left of the body is not for the next one on it
                response.close()
                response.release_conn()
    except (HTTPError, OSError, ValueError) as error:
        raise RequestFailed(_told(error)) from error
    finally:
        _until.reset(until)
        _public_only.reset(public)


def _in_time(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    for piece in response.stream(CHUNK, decode_content=False):
        if time.monotonic() > _until.get():
            break
        yield piece
    if time.monotonic() > _until.get():
        raise RequestFailed("its time was up")


def _headers(response: urllib3.BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


class _DeadlineConnection:
    """A connection that knows until when its present request may take, from its first byte on."""

    line: socket.socket | None = None  # another handle of the socket, which TLS does not know

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        try:
            _refuse_private(connected)
            self.line = connected.dup()
        except OSError:
            connected.close()
            raise
        _watch.add(self, _until.get())
        return connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.line is not None and self.line.fileno() >= 0:  # it was opened for somebody else
            _refuse_private(self.line)
        _watch.add(self, _until.get())
        super().request(*args, **kwargs)  # type: ignore[misc]

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self.line is not None:
            self.line.close()

    def cut(self) -> None:
        """Whoever reads or writes is told that there is no connection any more."""
        if self.line is not None:
            with suppress(OSError):
                self.line.shutdown(socket.SHUT_RDWR)


def _refuse_private(connected: socket.socket) -> None:
    """Where only the open internet may be asked; raises `OSError`."""
    address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
    if _public_only.get() and not address.is_global:
        raise OSError(f"{address} is no address of the open internet")


class _Plain(_DeadlineConnection, HTTPConnection):
    pass


class _Secure(_DeadlineConnection, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Watch:
    """Shuts down what is over its time; an idle connection that this hits is simply opened again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ends: dict[_DeadlineConnection, float] = {}
        self.thread: threading.Thread | None = None

    def add(self, connection: _DeadlineConnection, until: float) -> None:
        with self.lock:
            self.ends[connection] = until
            if self.thread is None or not self.thread.is_alive():  # a worker that was forked has none
                self.thread = threading.Thread(target=self._run, name="outgoing", daemon=True)
                self.thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(0.25)
            now = time.monotonic()
            with self.lock:
                over = [connection for connection, until in self.ends.items() if until < now]
                for connection in over:
                    del self.ends[connection]
            for connection in over:
                connection.cut()


_watch = _Watch()
_pools = urllib3.PoolManager(MOST_HOSTS, maxsize=MOST_CONNECTIONS, block=True)
_pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
