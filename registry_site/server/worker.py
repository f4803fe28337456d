"""gunicorn's threaded worker with deadlines for slow peers, refusals in JSON, and read-ahead over HTTP/2.

gunicorn (27, pinned in pyproject.toml) has no settings for these. This module overrides undocumented methods of its
`ThreadWorker`: `accept`, `enqueue_req`, `finish_request`, `handle`, `handle_request`, `handle_http2`,
`handle_http2_request`, `murder_pending`, `handle_error`, `_cap_keepalive`. Compare them with a new version before the
pin is raised.
"""

import errno
import json
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from gunicorn.workers.gthread import TConn, ThreadWorker

from registry_site.http.parsers import EXTEND_DEADLINE, MAX_BODY_BYTES
from registry_site.server import read_ahead
from registry_site.server.address_shares import AddressShares, Share

HEAD_SECONDS = 10  # for a TLS handshake and the head of a request, altogether
LATE_HEAD_SECONDS = 1  # for a head that waited longer than that for a thread: most likely it has come by then
BODY_SECONDS = 60  # for a body and its processing, and one second more for each MIN_BYTES_PER_SECOND
MIN_BYTES_PER_SECOND = 10_000
RESPONSE_SECONDS = 60  # in which a client takes MIN_BYTES_PER_SECOND of a response on average
TCP_INFO_SIZE, BYTES_ACKED_OFFSET = 256, 120  # struct tcp_info of linux/tcp.h
STALL_SECONDS = 30  # without a byte of a response going out


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A connection of a client, which counts in the share of its address until it is closed."""

    def __init__(self, *args: Any, share: Share, shares: AddressShares) -> None:
        super().__init__(*args)
        self.share = share
        self.shares = shares
        self.is_open = True

    def close(self, graceful: bool = False) -> None:
        if self.is_open:
            self.is_open = False
            self.shares.close_connection(self.share)
        if self.is_http2 and not graceful:
            self.parser.close()  # says so to the client, if that needs no waiting
        super().close(graceful)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """A worker that cuts off slow peers. Without deadlines, a few that stop in mid-request would occupy all threads.

    A new connection waits in the poller for its first byte, an HTTP/2 connection for its next request. `deadlines` is
    shared by the request threads and the main loop. Each operation on it is a single one on a dict, which the
    interpreter lock makes atomic.
    """

    wsgi: Callable[..., Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deadlines: dict[Connection, float] = {}
        self.responding: dict[Connection, tuple[int, float]] = {}  # bytes that the client had taken, and when
        self.serving = threading.local()
        self.shares = AddressShares(self.cfg.worker_connections, self.cfg.threads)

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application = self.wsgi

        def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            conn = self.serving.connection
            environ[EXTEND_DEADLINE] = partial(self.set_body_deadline, conn)
            try:
                body = application(environ, start_response)
                if environ["REQUEST_METHOD"] == "HEAD":  # gunicorn logs a warning for each body that it drops
                    body.close()
                    body = ()
                return body
            finally:  # the body of the request has been read by now, and the client has to take the response
                self.deadlines.pop(conn, None)
                self.responding[conn] = taken_bytes(conn), time.monotonic()

        self.wsgi = wsgi

    def accept(self, listener: Any) -> None:
        """Accept a connection, and let it wait for its first byte in the poller: silent ones must not take threads."""
        try:
            client_sock, client_addr = listener.accept()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        share = self.shares.open_connection(client_addr[0], self.log)
        if share is None:
            client_sock.close()
            return
        self.nr_conns += 1
        conn = Connection(self.cfg, client_sock, client_addr, listener.getsockname(), share=share, shares=self.shares)
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(client_sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def _cap_keepalive(self, deadline: float) -> None:
        """Close connections without a request by `deadline`, silent new ones, too. gunicorn calls this at its stop."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

    def enqueue_req(self, conn: Connection) -> None:
        """Give a connection with a request to a thread, or let it wait while its address has its share of threads."""
        conn.deadline = time.monotonic() + HEAD_SECONDS
        if self.shares.may_run(conn.share):
            conn.share.running += 1
            super().enqueue_req(conn)
        else:
            conn.share.waiting.append(conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        share = conn.share
        share.running -= 1
        if conn.is_http2 and not fs.exception() and fs.result():
            self.park(conn)
        else:
            super().finish_request(conn, fs)
        while share.waiting and self.shares.may_run(share):
            self.enqueue_req(share.waiting.popleft())

    def park(self, conn: Connection) -> None:
        """Let an HTTP/2 connection wait for its next request in the poller.

        Frames that bring no request, such as PING, do not prolong that.
        """
        conn.timeout = conn.last_request + self.cfg.keepalive
        if conn.timeout < time.monotonic():
            self.nr_conns -= 1
            conn.sock.setblocking(False)
            conn.close()
            return
        conn.sock.setblocking(False)
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))

    def handle(self, conn: Connection) -> Any:
        self.deadlines[conn] = max(conn.deadline, time.monotonic() + LATE_HEAD_SECONDS)
        try:
            return super().handle(conn)
        finally:
            self.deadlines.pop(conn, None)
            self.responding.pop(conn, None)

    def set_body_deadline(self, conn: Connection, length: int) -> None:
        self.deadlines[conn] = time.monotonic() + BODY_SECONDS + length / MIN_BYTES_PER_SECOND

    def begin_request(self, req: Any, conn: Connection) -> None:
        """Set the deadline for the body of a request; the application has none, for it needs no client."""
        length = next((int(value) for name, value in req.headers if name == "CONTENT-LENGTH"), None)
        is_chunked = any(name == "TRANSFER-ENCODING" for name, _ in req.headers)
        if length or is_chunked or (length is None and conn.is_http2 and not req.stream.body_complete):
            self.set_body_deadline(conn, min(length or 0, MAX_BODY_BYTES))  # a view for uploads extends it
        else:
            self.deadlines.pop(conn, None)
        self.serving.connection = conn

    def handle_request(self, req: Any, conn: Connection) -> Any:
        self.begin_request(req, conn)
        read_ahead.clear_pending()
        conn.sock.settimeout(STALL_SECONDS)
        return super().handle_request(req, conn)

    def handle_http2(self, conn: Connection) -> bool:
        """Serve the requests that have come over a connection; return whether it may wait for more."""
        connection = conn.parser
        if not hasattr(conn, "last_request"):
            conn.last_request = time.monotonic()
            read_ahead.queue_requests(connection)
        connection.is_idle = False
        if self.alive:
            super().handle_http2(conn)
            return bool(connection.is_idle)
        for req in connection.receive_data(b""):  # it waited in the poller while the worker was stopped
            self._serve_http2_stream(req, conn, connection)
        connection.close()
        return False

    def handle_http2_request(self, req: Any, conn: Connection, h2_conn: Any) -> None:
        self.begin_request(req, conn)
        read_ahead.set_pending(req.arrived, [unquote(later.path) for later in h2_conn.pending_requests])
        try:
            super().handle_http2_request(req, conn, h2_conn)
        finally:
            self.responding.pop(conn, None)
            conn.last_request = time.monotonic()
            self.deadlines[conn] = conn.last_request + HEAD_SECONDS

    def murder_pending(self) -> None:
        """Shut down connections over their deadline or too slow. The main loop calls this about once a second."""
        super().murder_pending()
        now = time.monotonic()
        late = [conn for conn, deadline in list(self.deadlines.items()) if deadline < now]
        for conn, (taken_before, since) in list(self.responding.items()):
            taken = taken_bytes(conn)
            if taken - taken_before >= RESPONSE_SECONDS * MIN_BYTES_PER_SECOND:
                if conn in self.responding:  # the response may have ended meanwhile
                    self.responding[conn] = taken, now
            elif now - since > RESPONSE_SECONDS and taken >= 0:
                late.append(conn)
        for conn in late:
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads; closing would not

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that never reaches a view (no HTTP, or over a limit) in JSON, in the shape of cargo."""
        if req is not None and getattr(req, "uri", None):
            req.uri = req.uri.partition("?")[0]  # gunicorn logs it, and a query can hold a token
        page = CapturedPage()
        super().handle_error(req, page, addr, exc)  # chooses the status, and logs
        status = HTTPStatus(int(page.sent.split(maxsplit=2)[1]))
        status_line = f"{status.value} {status.phrase}"
        body = json.dumps({"errors": [{"detail": f"The request was refused: {status_line}."}]})
        head = f"HTTP/1.1 {status_line}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        with suppress(OSError):
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1"))


def taken_bytes(conn: Connection) -> int:
    """Return how many bytes the client's system has acknowledged; -1 where ours does not count them."""
    with suppress(AttributeError, OSError, struct.error):  # systems without TCP_INFO; a connection that has ended
        info = conn.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
        return int(struct.unpack_from("=Q", info, BYTES_ACKED_OFFSET)[0])
    return -1


class CapturedPage:
    """A stand-in for a socket that keeps the HTML page which gunicorn sends to it."""

    sent = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.sent += data
