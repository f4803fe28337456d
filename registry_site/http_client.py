"""HTTP requests to other servers, within a time for the whole response and within a size.

The timeouts of urllib3 measure silence: a server that drips a byte a second would keep a thread for ever. So each
request has a deadline, which holds for the look-up of the name, the connection, TLS, the head and the body together. A
watchdog thread shuts down the connection of a request that is over it. Redirects are not followed; the caller may send
another request.
"""

import ipaddress
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import IO, Any, TypeVar
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError, NewConnectionError

from registry_site import trust
from registry_site.origins import Hosts, Network
from registry_site.upstream_failures import FailureKind, kind_of

SILENCE_SECONDS = 5  # without a byte
CHUNK_SIZE = 64 * 1024  # bytes
MAX_HOSTS = 8  # whose idle connections are kept
MAX_CONNECTIONS = 16  # to one host, at the same time; a further request waits for one
MAX_LOOKUPS = 16  # names that are looked up at the same time
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
WATCH_SECONDS = 0.25  # between two looks of the watchdog
USER_AGENT = "entrepot-registry"

Pools = TypeVar("Pools", bound=urllib3.PoolManager)


class RequestFailed(Exception):
    """A request without a usable response: refused, broken, late or too large."""

    def __init__(self, message: str, kind: FailureKind = FailureKind.UNUSABLE) -> None:
        super().__init__(message)
        self.kind = kind


class PrivateAddress(RequestFailed):
    """A host with an address that is not of the open internet, and in none of the allowed networks."""


@dataclass(frozen=True)
class Response:
    """`headers` by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def fetch(method: str, url: str, *, seconds: float, max_bytes: int, **options: Any) -> Response:
    """Return the whole response. Raises `RequestFailed` when it is late or its body has more than `max_bytes`.

    Options: `headers` and `body` to send; `private_networks`, without which all private addresses are allowed.
    """
    with _send(method, url, seconds, **options) as (response, chunks):
        body = bytearray()
        for chunk in chunks:
            body += chunk
            if len(body) > max_bytes:
                raise RequestFailed(f"the answer has more than {max_bytes} bytes")
        return Response(response.status, response.headers, bytes(body))


def download(url: str, file: IO[bytes], *, seconds: float, max_bytes: int, **options: Any) -> Response:
    """Write the body of a 200 to a file while it comes; that of any other status is returned, but for what is long.

    Limits, options and failures are those of `fetch`.
    """
    with _send("GET", url, seconds, **options) as (response, chunks):
        if response.status != 200:
            return replace(response, body=_beginning(chunks))
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > max_bytes:
                raise RequestFailed(f"the answer has more than {max_bytes} bytes")
            file.write(chunk)
        return response


def _beginning(chunks: Iterator[bytes]) -> bytes:
    """Return the beginning of a body that perhaps explains a refusal; nothing if it does not come."""
    with suppress(HTTPError, OSError, RequestFailed):
        return next(chunks, b"")
    return b""


@contextmanager
def _send(
    method: str,
    url: str,
    seconds: float,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    private_networks: Sequence[Network] | None = None,
) -> Iterator[tuple[Response, Iterator[bytes]]]:
    with closing(Limits(seconds, private_networks)) as limits, limits.applied():
        try:
            response = pools_for(url).request(
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
                limits.remaining_seconds()  # a head that was cut off by the watchdog looks complete to http.client
                lowered = {name.lower(): value for name, value in response.headers.items()}
                yield Response(response.status, lowered), _chunks_in_time(response, limits)
            finally:
                if response.connection is not None:  # not read to its end: the next request must not read the rest
                    response.close()
                    response.release_conn()
        except (HTTPError, OSError, ValueError) as error:  # ValueError: a bad URL, or no time at all
            # A connection that the watchdog shut down looks like one that broke.
            kind = FailureKind.LATE if limits.deadline <= time.monotonic() else kind_of(error)
            raise RequestFailed(f"{type(error).__name__}: {str(error)[:200]}", kind) from error


def _chunks_in_time(response: urllib3.BaseHTTPResponse, limits: "Limits") -> Iterator[bytes]:
    for chunk in response.stream(CHUNK_SIZE, decode_content=False):
        limits.remaining_seconds()
        yield chunk
    limits.remaining_seconds()  # a body without a length ends when the watchdog shuts the connection down


class Limits:
    """The limits of one request, and a handle of its connection for the watchdog.

    The handle belongs to the request and not to the connection: urllib3 closes a connection of which it has read
    `Connection: close`, and goes on to read the body.
    """

    def __init__(self, seconds: float, private_networks: Sequence[Network] | None = None) -> None:
        self.deadline = time.monotonic() + seconds
        self.private_networks = private_networks
        self.handle: socket.socket | None = None

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Apply the limits to each `LimitedConnection` that the present thread uses."""
        token = _limits.set(self)
        try:
            yield
        finally:
            _limits.reset(token)

    def remaining_seconds(self) -> float:
        """Return the time that is left; raises `RequestFailed` if none is."""
        seconds = self.deadline - time.monotonic()
        if seconds <= 0:
            raise RequestFailed("its time was up", FailureKind.LATE)
        return seconds

    def require_allowed(self, host: str, address: str) -> None:
        """Raise `PrivateAddress` for an address that is neither public nor in a network that the request may reach."""
        # The address, not the name: a name could resolve to another address the next time.
        if self.private_networks is None or ipaddress.ip_address(address.partition("%")[0]).is_global:
            return
        if not Hosts(networks=self.private_networks).has_address(address):
            raise PrivateAddress(f"{host} has the private address {address}", FailureKind.UNREACHABLE)

    def extend(self, seconds: float) -> None:
        """Move the deadline to so many seconds from now."""
        self.deadline = time.monotonic() + seconds
        if self.handle is not None:
            _watchdog.watch(self.handle, self.deadline)

    def watch(self, connection: socket.socket) -> None:
        """Let the watchdog end this connection, and no other one, at the deadline."""
        self.close()
        # A duplicate, since TLS takes over the socket and urllib3 may close it. Shutting the duplicate down wakes a
        # thread that reads from either.
        self.handle = socket.socket(fileno=os.dup(connection.fileno()))
        _watchdog.watch(self.handle, self.deadline)

    def close(self) -> None:
        """End the watch; the connection may serve another request."""
        if self.handle is not None:
            _watchdog.forget(self.handle)
            self.handle = None


# By context variable, since urllib3 opens connections deep inside its pools.
_limits: ContextVar[Limits] = ContextVar("limits")


def connect(host: str, port: int, *, is_proxy: bool = False) -> socket.socket:
    """Connect within the limits that apply, which end the connection, too; raises `RequestFailed` and `OSError`.

    A proxy may have any address: it decides itself what may be reached through it.
    """
    limits = _limits.get()
    failure = OSError("the name has no address")
    for family, kind, protocol, _, address in _look_up(host, port, limits):
        connection = socket.socket(family, kind, protocol)
        try:
            if not is_proxy:
                limits.require_allowed(host, str(address[0]))
            connection.settimeout(min(SILENCE_SECONDS, limits.remaining_seconds()))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect(address)
            limits.watch(connection)
            return connection
        except OSError as error:
            connection.close()
            failure = error
        except RequestFailed:
            connection.close()
            raise
    raise failure


class LimitedConnection:
    """A connection within the limits of the request that uses it at the moment."""

    sock: socket.socket | None
    port: int
    proxy: Any
    _dns_host: str  # with the dot at its end that keeps the resolver from trying other domains

    def _new_conn(self) -> socket.socket:
        try:
            return connect(self._dns_host.strip("[]"), self.port, is_proxy=self.proxy is not None)
        except socket.gaierror as error:
            raise NameResolutionError(self._dns_host, self, error) from error  # type: ignore[arg-type]
        except OSError as error:
            raise NewConnectionError(self, f"Failed to establish a new connection: {error}") from error  # type: ignore[arg-type]

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # perhaps opened by another request, with other limits
            if self.proxy is None:
                _limits.get().require_allowed(self._dns_host, self.sock.getpeername()[0])
            _limits.get().watch(self.sock)
        super().request(*args, **kwargs)  # type: ignore[misc]


_lookups: dict[tuple[str, int], Future[list[Any]]] = {}
_lookups_lock = threading.Lock()


def _look_up(host: str, port: int, limits: Limits) -> list[Any]:
    """Return the addresses of a name as `socket.getaddrinfo` has them, within the time of the request.

    The resolver of the system knows no deadline, so it runs in a thread that can be left behind. One thread serves all
    requests for a name, and the number of such threads is limited.
    """
    key = host, port

    def run() -> None:
        try:
            future.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            future.set_exception(error)
        finally:
            with _lookups_lock:
                del _lookups[key]

    with _lookups_lock:
        if key in _lookups:
            future = _lookups[key]
        elif len(_lookups) < MAX_LOOKUPS:
            future = _lookups[key] = Future()
            threading.Thread(target=run, name="http-lookup", daemon=True).start()
        else:
            raise RequestFailed("too many names are looked up at this moment", FailureKind.LATE)
    try:
        return future.result(limits.remaining_seconds())
    except TimeoutError as error:
        raise RequestFailed("the look-up of its name took too long", FailureKind.LATE) from error


class TrustingConnection(LimitedConnection):
    """A connection with TLS that trusts our own authorities, too."""

    ssl_context: ssl.SSLContext

    def connect(self) -> None:
        self.ssl_context = trust.client_context()
        super().connect()  # type: ignore[misc]


class _PlainConnection(LimitedConnection, HTTPConnection):
    pass


class _TLSConnection(TrustingConnection, HTTPSConnection):  # type: ignore[misc]
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection  # type: ignore[assignment]


class _Watchdog:
    """A thread that shuts connections down at their deadline."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.deadlines: dict[socket.socket, float] = {}
        self.thread: threading.Thread | None = None

    def watch(self, handle: socket.socket, deadline: float) -> None:
        with self.lock:
            self.deadlines[handle] = deadline
            if self.thread is None or not self.thread.is_alive():  # threads do not survive the fork of a worker
                self.thread = threading.Thread(target=self.run, name="http-watchdog", daemon=True)
                self.thread.start()

    def forget(self, handle: socket.socket) -> None:
        with self.lock:  # its number must not name another file while the watchdog uses it
            del self.deadlines[handle]
            handle.close()

    def run(self) -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            now = time.monotonic()
            with self.lock:
                for handle, deadline in self.deadlines.items():
                    if deadline < now:
                        with suppress(OSError):  # it has ended already
                            handle.shutdown(socket.SHUT_RDWR)


def pools_for(url: str) -> urllib3.PoolManager:
    """Return connections to the host of a URL, or to the proxy that the environment names for it, as curl has it.

    This machine is reached without a proxy, and so is every host in `NO_PROXY`.
    """
    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if proxy is None or parts.hostname in LOOPBACK_NAMES or proxy_bypass(parts.netloc):
        return _pools
    return pools_through(proxy)


@cache
def pools_through(proxy: str) -> urllib3.PoolManager:
    """Return connections through a proxy, whose URL may have a name and a password."""
    credentials = urllib3.util.parse_url(proxy).auth
    headers = urllib3.make_headers(proxy_basic_auth=unquote(credentials)) if credentials else None
    return limited(urllib3.ProxyManager(proxy, MAX_HOSTS, proxy_headers=headers, maxsize=MAX_CONNECTIONS, block=True))


def limited(pools: Pools) -> Pools:
    pools.pool_classes_by_scheme = {"http": _PlainPool, "https": _TLSPool}
    return pools


_watchdog = _Watchdog()
_pools = limited(urllib3.PoolManager(MAX_HOSTS, maxsize=MAX_CONNECTIONS, block=True))
