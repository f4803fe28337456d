"""HTTP requests to other servers, within a time for the whole response and within a size.

The timeouts of urllib3 measure silence: a server that drips a byte a second would keep a thread for ever. So each
request has a deadline, and a watchdog thread shuts down a connection whose request is over it. Redirects are not
followed; the caller may send another request.
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

SILENCE_SECONDS = 5  # without a byte
CHUNK_SIZE = 64 * 1024  # bytes
MAX_HOSTS = 8  # whose idle connections are kept
MAX_CONNECTIONS = 16  # to one host, at the same time; a further request waits for one
WATCH_SECONDS = 0.25  # between two looks of the watchdog
USER_AGENT = "entrepot-registry"

_deadline: ContextVar[float] = ContextVar("deadline")
_public_only: ContextVar[bool] = ContextVar("public_only", default=False)


class RequestFailed(Exception):
    """A request without a usable response: refused, broken, late or too large."""


@dataclass(frozen=True)
class Response:
    """`headers` by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def fetch(method: str, url: str, *, seconds: float, max_bytes: int, **options: Any) -> Response:
    """Return the whole response. Raises `RequestFailed` when it is late or its body has more than `max_bytes`.

    Options: `headers` and `body` to send; `public_only` refuses to connect to private addresses.
    """
    with _send(method, url, seconds, **options) as (response, chunks):
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > max_bytes:
                raise RequestFailed(f"the answer has more than {max_bytes} bytes")
        return Response(response.status, response.headers, bytes(body))


def download(url: str, file: IO[bytes], *, seconds: float, max_bytes: int, **options: Any) -> Response:
    """Write the body of a 200 to a file while it comes; the body of any other status is not read.

    Limits, options and failures are those of `fetch`.
    """
    with _send("GET", url, seconds, **options) as (response, chunks):
        size = 0
        for chunk in chunks if response.status == 200 else ():
            size += len(chunk)
            if size > max_bytes:
                raise RequestFailed(f"the answer has more than {max_bytes} bytes")
            file.write(chunk)
        return response


@contextmanager
def _send(
    method: str,
    url: str,
    seconds: float,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    public_only: bool = False,
) -> Iterator[tuple[Response, Iterator[bytes]]]:
    # By context variable, since urllib3 opens connections deep inside its pools.
    deadline_token, public_token = _deadline.set(time.monotonic() + seconds), _public_only.set(public_only)
    try:
        response = _pools.request(
            method,
            url,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **(headers or {})},
            body=body,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=min(SILENCE_SECONDS, seconds), read=min(SILENCE_SECONDS, seconds)),
            pool_timeout=seconds,
        )
        try:
            lowered = {name.lower(): value for name, value in response.headers.items()}
            yield Response(response.status, lowered), _chunks_in_time(response)
        finally:
            if response.connection is not None:  # not read to its end: the next request must not read the rest
                response.close()
                response.release_conn()
    except (HTTPError, OSError, ValueError) as error:  # ValueError: a bad URL, or no time at all
        raise RequestFailed(f"{type(error).__name__}: {str(error)[:200]}") from error
    finally:
        _deadline.reset(deadline_token)
        _public_only.reset(public_token)


def _chunks_in_time(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    for chunk in response.stream(CHUNK_SIZE, decode_content=False):
        if time.monotonic() > _deadline.get():
            break
        yield chunk
    if time.monotonic() > _deadline.get():  # a body without a length ends when the watchdog shuts the connection down
        raise RequestFailed("its time was up")


class _DeadlineConnection:
    """A connection that the watchdog can abort, and that refuses private addresses if its request does."""

    # A duplicate of the socket, since TLS takes over the first one. Shutting it down wakes a thread that reads from
    # either; closing would not.
    handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        connected: socket.socket = super()._new_conn()  # type: ignore[misc]
        try:
            _refuse_private(connected)
            self.handle = connected.dup()
        except OSError:
            connected.close()
            raise
        _watchdog.watch(self, _deadline.get())
        return connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.handle is not None and self.handle.fileno() >= 0:  # reused: it was opened for another request
            _refuse_private(self.handle)
        _watchdog.watch(self, _deadline.get())
        super().request(*args, **kwargs)  # type: ignore[misc]

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        if self.handle is not None:
            self.handle.close()

    def abort(self) -> None:
        """Shut the connection down: a thread that reads or writes fails at once."""
        if self.handle is not None:
            with suppress(OSError):
                self.handle.shutdown(socket.SHUT_RDWR)


def _refuse_private(connected: socket.socket) -> None:
    # Of the connected socket, not of the name: a name could resolve to another address the next time.
    address = ipaddress.ip_address(connected.getpeername()[0].partition("%")[0])
    if _public_only.get() and not address.is_global:
        raise OSError(f"{address} is no address of the open internet")


class _PlainConnection(_DeadlineConnection, HTTPConnection):
    pass


class _TLSConnection(_DeadlineConnection, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


class _Watchdog:
    """A thread that aborts connections over their deadline. An idle one that it hits is simply opened again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.deadlines: dict[_DeadlineConnection, float] = {}
        self.thread: threading.Thread | None = None

    def watch(self, connection: _DeadlineConnection, deadline: float) -> None:
        with self.lock:
            self.deadlines[connection] = deadline
            if self.thread is None or not self.thread.is_alive():  # threads do not survive the fork of a worker
                self.thread = threading.Thread(target=self.run, name="http-watchdog", daemon=True)
                self.thread.start()

    def run(self) -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            now = time.monotonic()
            with self.lock:
                late = [connection for connection, deadline in self.deadlines.items() if deadline < now]
                for connection in late:
                    del self.deadlines[connection]
            for connection in late:
                connection.abort()


_watchdog = _Watchdog()
_pools = urllib3.PoolManager(MAX_HOSTS, maxsize=MAX_CONNECTIONS, block=True)
_pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}
