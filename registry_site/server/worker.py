"""gunicorn's threaded worker with deadlines for slow peers, refusals in JSON, and read-ahead over HTTP/2.

gunicorn (27, pinned in pyproject.toml) has no settings for these. This module overrides undocumented methods of its
`ThreadWorker`: `enqueue_req`, `handle`, `handle_request`, `handle_http2`, `handle_http2_request`, `murder_pending`,
`handle_error`. Compare them with a new version before the pin is raised.
"""

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from gunicorn.workers.gthread import TConn, ThreadWorker

from registry_site.server import read_ahead

HEAD_SECONDS = 10  # for a TLS handshake and the head of a request, altogether
LATE_HEAD_SECONDS = 1  # when it had to wait for a thread longer than that: what it has sent is there already
BODY_SECONDS = 60  # for a body and what is done with it, and a second more for each
SLOWEST = 10_000  # bytes of it
STALL_SECONDS = 30  # without a byte of an answer going out


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """A peer that begins a request and does not go on would keep one of the few threads for ever."""

    wsgi: Callable[..., Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deadlines: dict[TConn | None, float] = {}
        self.serving = threading.local()

    def load_wsgi(self) -> None:
        super().load_wsgi()
        application = self.wsgi

        def wsgi(*args: Any) -> Any:
            try:
                return application(*args)
            finally:  # the body is read by now; the answer may take its time
                self.deadlines.pop(self.serving.connection, None)

        self.wsgi = wsgi

    def enqueue_req(self, conn: TConn) -> None:
        conn.deadline = time.monotonic() + HEAD_SECONDS
        super().enqueue_req(conn)

    def handle(self, conn: TConn) -> Any:
        self.deadlines[conn] = max(conn.deadline, time.monotonic() + LATE_HEAD_SECONDS)
        try:
            return super().handle(conn)
        finally:
            self.deadlines.pop(conn, None)

    def handle_request(self, req: Any, conn: TConn) -> Any:
        length = next((int(value) for name, value in req.headers if name == "CONTENT-LENGTH"), 0)
        if length:
            self.deadlines[conn] = time.monotonic() + BODY_SECONDS + length / SLOWEST
        else:
            self.deadlines.pop(conn, None)
        self.serving.connection = conn
        read_ahead.clear_pending()
        conn.sock.settimeout(STALL_SECONDS)
        return super().handle_request(req, conn)

    def handle_http2(self, conn: TConn) -> Any:
        self.deadlines.pop(conn, None)  # from here on gunicorn has time limits of its own
        self.serving.connection = None
        read_ahead.queue_requests(conn.parser)
        return super().handle_http2(conn)

    def handle_http2_request(self, req: Any, conn: TConn, h2_conn: Any) -> None:
        read_ahead.set_pending(req.arrived, [unquote(later.path) for later in h2_conn.pending_requests])
        super().handle_http2_request(req, conn, h2_conn)

    def murder_pending(self) -> None:
        """Called by the main loop about once in a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in list(self.deadlines.items()):
            if conn is not None and deadline < now:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """What is no HTTP, or is over a limit, never reaches a view: it is refused here, as cargo reads it."""
        if req is not None and getattr(req, "uri", None):
            req.uri = req.uri.partition("?")[0]  # it is logged, and a query can hold a token
        page = _Page()
        super().handle_error(req, page, addr, exc)
        code = HTTPStatus(int(page.sent.split(maxsplit=2)[1]))
        status = f"{code.value} {code.phrase}"
        body = json.dumps({"errors": [{"detail": f"The request was refused: {status}."}]})
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        with suppress(OSError):
            client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode("latin-1"))


class _Page:
    """Takes the page that gunicorn would send, in the place of the socket."""

    sent = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.sent += data
