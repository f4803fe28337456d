"""gunicorn's threaded worker with deadlines for slow peers, refusals in JSON, and read-ahead over HTTP/2.

gunicorn (27, pinned in pyproject.toml) has no settings for these. This module overrides undocumented methods of its
`ThreadWorker`: `init_signals`, `accept`, `enqueue_req`, `finish_request`, `on_client_socket_readable`,
`on_pending_socket_readable`, `handle`, `handle_request`, `handle_http2`, `handle_http2_request`, `murder_pending`,
`handle_error`, `wait_for_and_dispatch_events`, `_cap_keepalive`, `_keepalive_after`; and it replaces its queues of
connections. Compare them with a new version before the pin is raised.
"""

import errno
import json
import logging
import math
import selectors
import signal
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from gunicorn.workers.gthread import ThreadWorker

from registry_site.http.parsers import EXTEND_DEADLINE, MAX_BODY_BYTES
from registry_site.logs import log_event
from registry_site.server import read_ahead, response_cache
from registry_site.server.address_shares import AddressShares
from registry_site.server.connections import (
    MIN_BYTES_PER_SECOND,
    STALL_SECONDS,
    Connection,
    ContinuedReader,
    has_unread_body,
)
from registry_site.server.forwarded_clients import ForwardedClients, client_network
from registry_site.server.http2_connections import LONG_BODY
from registry_site.server.http2_requests import plain_request
from registry_site.server.quick_answers import IdleConnections, QuickAnswers
from registry_site.server.tls import CertificateFiles
from registry_site.server.waiting_bodies import WaitingBodies

HEAD_SECONDS = 10  # for a TLS handshake and the head of a request, altogether
LATE_HEAD_SECONDS = 1  # for a head that waited longer than that for a thread: most likely it has come by then
BODY_SECONDS = 60  # for a body and its processing, and one second more for each MIN_BYTES_PER_SECOND
MAX_HANDSHAKES = 4  # in a turn of the main loop: each takes about a millisecond
POSTPONED = object()  # the result of a request that waits for other requests of its client
WITHOUT_BODY = object()  # the result of a request that waits for its short body
SECONDS_BETWEEN_CHECKS = 0.25  # of deadlines
LINGER_SECONDS = 5  # in which a client ends its side of a connection, after we have ended ours
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
TOO_MANY_REQUESTS = str(HTTPStatus.TOO_MANY_REQUESTS.value)


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """A worker that cuts off slow peers. Without deadlines, a few that stop in mid-request would occupy all threads.

    A new connection waits in the poller for its first bytes and its TLS handshake, a request for its short body, an
    HTTP/2 connection for its next frames, and one that has ended for the end of the client's side. The main loop never
    waits for a client.
    """

    wsgi: Callable[..., Any]
    quick_answers: QuickAnswers  # from the start of the worker on

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_keepalived = self.worker_connections  # beyond, `make_room` ends the oldest and not the latest
        self.keepalived_conns, self.pending_conns = IdleConnections(), IdleConnections()
        self.next_check = 0.0
        self.handshakes = 0  # in this turn
        self.certificate_files = CertificateFiles(self.cfg)
        self.running: set[Connection] = set()  # those in a thread, or queued for one
        self.lingering: deque[Connection] = deque()
        self.serving = threading.local()
        self.shares = AddressShares(self.cfg.worker_connections, self.cfg.threads)
        self.forwarded_clients = ForwardedClients(self.shares.max_threads)
        self.bodies = WaitingBodies(self.cfg.worker_connections)

    def init_signals(self) -> None:
        """Handle signals, also one to stop that came since the fork, and waited."""
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application = self.wsgi

        def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            conn, req = self.serving.connection, self.serving.request
            environ[EXTEND_DEADLINE] = partial(self.set_body_deadline, conn)
            begun: tuple[str, Any] = "", ()
            ticket = response_cache.answers.ticket()

            def begin_response(status: str, headers: Any, *exc_info: Any) -> Any:
                conn.was_refused = status.startswith(TOO_MANY_REQUESTS)
                nonlocal begun
                begun = status, headers
                return start_response(status, headers, *exc_info)

            try:
                body = application(environ, begin_response)
                if conn.plain_request and environ["REQUEST_METHOD"] == "GET":
                    response_cache.put(conn.plain_request, environ, *begun, body, ticket)
                if environ["REQUEST_METHOD"] == "HEAD":  # gunicorn logs a warning for each body that it drops
                    body.close()
                    body = ()
                if not conn.is_http2 and has_unread_body(req, conn):
                    # A proxy would send the next request of somebody else behind the body that it goes on sending.
                    start_response.__self__.force_close()  # type: ignore[attr-defined]
                return body
            finally:
                conn.begin_response()

        self.wsgi = wsgi

    def accept(self, listener: Any) -> bool:
        """Accept a connection, and let it wait for its first byte in the poller: silent ones must not take threads.

        Returns whether there was one.
        """
        try:
            client_sock, client_addr = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self.make_room()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return False
        share = self.shares.open_connection(client_addr[0], self.log)
        if share is None:
            client_sock.close()
            return True
        self.nr_conns += 1
        conn = Connection(self.cfg, client_sock, client_addr, listener.getsockname(), share=share, shares=self.shares)
        conn.timeout = time.monotonic() + HEAD_SECONDS
        self.pending_conns.append(conn)
        self.poller.register(client_sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
        if self.nr_conns >= self.worker_connections:
            self.make_room()
        return True

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        self.handshakes = 0
        self.dispatch_events(self.quick_answers.seconds_to_wait(timeout))
        self.quick_answers.end_turn()

    def dispatch_events(self, timeout: float) -> None:
        """Answer events, but not of a connection that an answer before has taken out of the poller."""
        registered = self.poller.get_map()
        for key, _ in self.poller.select(timeout):
            if registered.get(key.fd) is key:
                key.data(key.fileobj)

    def on_client_socket_readable(self, conn: Connection, client: Any) -> None:
        self.quick_answers.receive(conn)

    def on_pending_socket_readable(self, conn: Connection, client: Any) -> None:
        if conn.is_tls and not conn.initialized:
            self.shake_hands(conn)
        else:
            self.quick_answers.receive(conn)

    def shake_hands(self, conn: Connection) -> None:
        """Go on with a TLS handshake; then serve the connection."""
        if self.handshakes >= MAX_HANDSHAKES:
            return  # its bytes wake the poller again
        self.handshakes += 1
        events = selectors.EVENT_READ
        try:
            conn.shake_hands(self.certificate_files.current())
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLWantWriteError:
            events = selectors.EVENT_WRITE
        except OSError as error:
            log_event("handshake_failed", logging.DEBUG, ip=conn.client[0], cause=str(error))
            self.quick_answers.leave_poller(conn)
            self.drop(conn)
            return
        if conn.is_http2:
            self.poller.unregister(conn.sock)
            self.quick_answers.http2.begin(conn)
            return
        self.poller.modify(conn.sock, events, partial(self.on_pending_socket_readable, conn))
        if conn.initialized:
            self.quick_answers.receive(conn)

    def make_room(self) -> None:
        """Close the connection that has been idle for longest, so that a new client need not wait for its end."""
        if self.keepalived_conns:
            conn = self.keepalived_conns.popleft()
            with suppress(KeyError):  # its request waits for the change feed
                self.poller.unregister(conn.sock)
            self.drop(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """Let other servers take new connections, and close those without a request by `deadline`.

        gunicorn calls this when the worker begins to stop. A listener that stays open makes new clients wait in vain.
        """
        for listener in self.sockets:
            while self.nr_conns < self.worker_connections and self.accept(listener):
                pass  # it came before the end, and gets its answer
            listener.close()
        super()._cap_keepalive(deadline)
        for conn in (*self.pending_conns, *self.lingering):
            conn.timeout = min(conn.timeout, deadline)

    def enqueue_req(self, conn: Connection) -> None:
        """Give a connection with a request to a thread, or let it wait while its address has its share of threads."""
        conn.deadline = time.monotonic() + HEAD_SECONDS
        if self.shares.begin(conn):
            self.running.add(conn)
            super().enqueue_req(conn)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        self.shares.end(conn)
        self.running.discard(conn)
        client = conn.forwarded_client
        if client and conn.has_turn:
            conn.has_turn = False
            self.forwarded_clients.end(client)
        result = not fs.exception() and fs.result()
        if result is not POSTPONED:
            self.forget_body(conn)
            conn.plain_request = None
        if not result:
            self.linger(conn)
        elif result is WITHOUT_BODY:
            self.wait_for_body(conn)
        elif client and result is POSTPONED:
            self.forwarded_clients.wait(client, conn)
        elif conn.is_http2:
            self.quick_answers.http2.resume(conn)
        else:
            self.keep_alive(conn, fs)
        while waiting := self.shares.next_waiting():
            self.enqueue_req(waiting)
        while client and (waiting := self.forwarded_clients.next_waiting(client)):
            waiting.has_turn = True
            self.enqueue_req(waiting)

    def keep_alive(self, conn: Connection, fs: Any) -> None:
        """Let an HTTP/1.1 connection wait for its next request, which may have come with the last one."""
        data = conn.parser.unreader.take_buffered()
        if conn.is_tls:
            with suppress(OSError):
                data += conn.sock.recv(conn.sock.pending())  # decrypted bytes do not wake the poller
        super().finish_request(conn, fs)
        if data:
            self.quick_answers.consider_next(conn, data)

    def wait_for_body(self, conn: Connection) -> None:
        """Let a connection wait for the rest of a short body, which the main loop reads."""
        conn.timeout = time.monotonic() + body_seconds(conn.body_length)
        self.bodies.add(conn)
        if self.bodies.begin(conn):
            self.begin_reading(conn)
        if surplus := self.bodies.next_surplus():
            self.refuse_slow(surplus)

    def wait_for_http2_body(self, conn: Connection) -> None:
        """Let a connection wait for the rest of its short bodies, which the main loop reads with its other frames."""
        conn.timeout = time.monotonic() + body_seconds(LONG_BODY)
        conn.body_client, conn.body_length = conn.share.network, 0
        self.bodies.add(conn)
        self.bodies.begin(conn)
        if surplus := self.bodies.next_surplus():
            self.refuse_slow(surplus)

    def begin_reading(self, conn: Connection) -> None:
        conn.sock.setblocking(False)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_body_readable, conn))
        self.on_body_readable(conn, conn.sock)  # decrypted bytes do not wake the poller

    def on_body_readable(self, conn: Connection, client: Any) -> None:
        try:
            conn.has_body = conn.read_body()
        except OSError:
            self.stop_waiting(conn)
            self.drop(conn)
            return
        if conn.has_body:
            self.stop_waiting(conn)
            self.enqueue_req(conn)

    def stop_waiting(self, conn: Connection) -> None:
        if self.bodies.remove(conn):
            self.poller.unregister(conn.sock)

    def refuse_slow(self, conn: Connection) -> None:
        """Answer a request whose body has not come in time, or has to make room for others."""
        if conn.is_http2:
            log_event("refused", status=HTTPStatus.REQUEST_TIMEOUT.value, ip=conn.body_client)
            self.quick_answers.http2.refuse_slow(conn)
            return
        self.stop_waiting(conn)
        self.forget_body(conn)
        conn.parser.unreader.take_buffered()
        conn.sock.setblocking(False)
        with suppress(OSError):
            conn.sock.sendall(refusal(HTTPStatus.REQUEST_TIMEOUT))
        log_event("refused", status=HTTPStatus.REQUEST_TIMEOUT.value, ip=conn.body_client)
        self.linger(conn)

    def forget_body(self, conn: Connection) -> None:
        """Count a body that is no longer in memory. The next has its turn in the main loop, not in this call."""
        if self.bodies.end(conn):
            self.method_queue.defer(self.read_next_body)

    def read_next_body(self) -> None:
        if conn := self.bodies.begin_next():
            self.begin_reading(conn)

    def linger(self, conn: Connection) -> None:
        """End our side of a connection, and let it wait in the poller for the end of the client's."""
        try:
            conn.end_responses()
        except OSError:  # the client has ended it
            self.drop(conn)
            return
        conn.timeout = time.monotonic() + LINGER_SECONDS
        self.lingering.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_lingering_socket_readable, conn))

    def on_lingering_socket_readable(self, conn: Connection, client: Any) -> None:
        if not conn.drop_received():
            self.lingering.remove(conn)
            self.poller.unregister(client)
            self.drop(conn)

    def drop(self, conn: Connection) -> None:
        self.forget_body(conn)
        self.nr_conns -= 1
        conn.close()

    def handle(self, conn: Connection) -> Any:
        conn.deadline = max(conn.deadline, time.monotonic() + LATE_HEAD_SECONDS)
        try:
            return super().handle(conn)
        finally:
            conn.deadline, conn.taken = math.inf, None

    def set_body_deadline(self, conn: Connection, length: int) -> None:
        conn.deadline = time.monotonic() + body_seconds(length)

    def begin_request(self, req: Any, conn: Connection) -> None:
        """Set the deadline for the body of a request; the application has none, for it needs no client."""
        length = next((int(value) for name, value in req.headers if name == "CONTENT-LENGTH"), None)
        is_chunked = any(name == "TRANSFER-ENCODING" for name, _ in req.headers)
        if length or is_chunked or (length is None and conn.is_http2 and not req.stream.body_complete):
            self.set_body_deadline(conn, min(length or 0, MAX_BODY_BYTES))  # a view for uploads extends it
        else:
            conn.deadline = math.inf
        conn.taken, conn.has_body = None, False
        self.serving.connection, self.serving.request = conn, req

    def may_go_on(self, req: Any, conn: Connection) -> bool:
        """Tell whether the client behind a trusted proxy has a thread left; only the head of a request names it."""
        if conn.share.is_limited or conn.has_turn:
            return True
        conn.forwarded_client = forwarded_client(req, conn)
        if conn.forwarded_client:
            conn.has_turn = self.forwarded_clients.begin(conn.forwarded_client)
        return conn.has_turn or not conn.forwarded_client

    def _keepalive_after(self, conn: Connection, keepalive: Any) -> Any:
        is_answered = keepalive is not POSTPONED and keepalive is not WITHOUT_BODY
        return super()._keepalive_after(conn, keepalive) if is_answered else keepalive

    def handle_request(self, req: Any, conn: Connection) -> Any:
        if conn.lacks_body(req):
            conn.body_client = (not conn.share.is_limited and forwarded_client(req, conn)) or conn.share.network
            conn.parser.postponed = req
            return WITHOUT_BODY
        if not self.may_go_on(req, conn):
            conn.parser.postponed = req
            return POSTPONED
        self.begin_request(req, conn)
        read_ahead.clear_pending()
        conn.sock.settimeout(STALL_SECONDS)
        if req._expected_100_continue:
            req._expected_100_continue = False  # gunicorn would ask for the body before a view can refuse it
            req.body.reader = ContinuedReader(req.body.reader, conn.sock)
        return super().handle_request(req, conn)

    def handle_http2(self, conn: Connection) -> bool:
        """Serve the requests that have come over a connection; return whether it may wait for more."""
        connection = conn.parser
        unread, conn.inbox = conn.inbox, b""
        connection.enter_thread(unread)
        if self.alive:
            super().handle_http2(conn)
            return bool(connection.is_idle)
        for req in connection.receive_data(b""):  # it waited in the poller while the worker was stopped
            self._serve_http2_stream(req, conn, connection)
        connection.close()
        return False

    def handle_http2_request(self, req: Any, conn: Connection, h2_conn: Any) -> None:
        self.begin_request(req, conn)
        fields = [(name.encode(), value.encode()) for name, value in req.stream.request_headers]
        conn.plain_request = plain_request(fields, self.quick_answers.heads)
        read_ahead.set_pending(req.arrived, [unquote(later.path) for later in h2_conn.pending_requests])
        try:
            super().handle_http2_request(req, conn, h2_conn)
        finally:
            conn.last_request = time.monotonic()
            conn.deadline, conn.taken = conn.last_request + HEAD_SECONDS, None

    def murder_pending(self) -> None:
        """Shut down connections over their deadline or too slow. The main loop calls this about once a second."""
        now = time.monotonic()
        if now < self.next_check:
            return
        self.next_check = now + SECONDS_BETWEEN_CHECKS
        super().murder_pending()
        self.quick_answers.stop_late(now)
        while self.lingering and self.lingering[0].timeout < now:
            conn = self.lingering.popleft()
            self.poller.unregister(conn.sock)
            self.drop(conn)
        while late := self.bodies.next_late(now):
            self.refuse_slow(late)
        for conn in self.running:
            if conn.is_late(now):
                conn.interrupt()

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that never reaches a view (no HTTP, or over a limit) in JSON, in the shape of cargo."""
        if req is not None and getattr(req, "uri", None):
            req.uri = req.uri.partition("?")[0]  # gunicorn logs it, and a query can hold a token
        page = CapturedPage()
        super().handle_error(req, page, addr, exc)  # chooses the status, and logs
        status = HTTPStatus(int(page.sent.split(maxsplit=2)[1]))
        with suppress(OSError):
            client.sendall(refusal(status))


def body_seconds(length: int) -> float:
    """Return the time for a body of this length, and its processing."""
    return BODY_SECONDS + length / MIN_BYTES_PER_SECOND


def forwarded_client(req: Any, conn: Connection) -> str | None:
    """Return the network of the client that a trusted proxy names."""
    forwarded_for = ",".join(value for name, value in req.headers if name == "X-FORWARDED-FOR")
    return client_network(conn.client[0], forwarded_for)


def refusal(status: HTTPStatus) -> bytes:
    """Return the answer to a request that reaches no view, in JSON, in the shape of cargo."""
    status_line = f"{status.value} {status.phrase}"
    body = json.dumps({"errors": [{"detail": f"The request was refused: {status_line}."}]})
    head = f"HTTP/1.1 {status_line}\r\nConnection: close\r\nContent-Type: application/json\r\n"
    head += "Cache-Control: no-store\r\n"  # a cache may keep a 414 or a 501, also for requests in order
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1")


class CapturedPage:
    """A stand-in for a socket that keeps the HTML page which gunicorn sends to it."""

    sent = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.sent += data
