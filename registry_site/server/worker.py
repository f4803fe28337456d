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
LATE_HEAD_SECONDS = 1  # for a head that waited longer than that for a thread: most likely it has come by then
BODY_SECONDS = 60  # for a body and its processing, and one second more for each MIN_BYTES_PER_SECOND
MIN_BYTES_PER_SECOND = 10_000
STALL_SECONDS = 30  # without a byte of a response going out


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """A worker that cuts off slow peers. Without deadlines, a few that stop in mid-request would occupy all threads.

    `deadlines` is shared by the request threads and the main loop. Each operation on it is a single one on a dict,
    which the interpreter lock makes atomic.
    """

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
            finally:  # the body has been read by now; sending the response has its own limit, STALL_SECONDS
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
            self.deadlines[conn] = time.monotonic() + BODY_SECONDS + length / MIN_BYTES_PER_SECOND
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
        """Shut down connections over their deadline. The main loop calls this about once a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in list(self.deadlines.items()):
            if conn is not None and deadline < now:
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


class CapturedPage:
    """A stand-in for a socket that keeps the HTML page which gunicorn sends to it."""

    sent = b""

    def gettimeout(self) -> float:
        return 0.0

    def sendall(self, data: bytes) -> None:
        self.sent += data
