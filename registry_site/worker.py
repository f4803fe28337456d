"""gunicorn's threaded worker with two additions: its patience ends, and its own refusals are JSON."""

import json
import socket
import time
from contextlib import suppress
from typing import Any

from gunicorn.workers.gthread import TConn, ThreadWorker

HEAD_SECONDS = 10  # for a TLS handshake and the head of a request, altogether
LATE_HEAD_SECONDS = 1  # when it had to wait for a thread longer than that: what it has sent is there already
STALL_SECONDS = 30  # without a byte of a body coming in, or of an answer going out


class Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """A peer that begins a request and does not go on would keep one of the few threads for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deadlines: dict[TConn, float] = {}

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
        self.deadlines.pop(conn, None)
        conn.sock.settimeout(STALL_SECONDS)
        return super().handle_request(req, conn)

    def handle_http2(self, conn: TConn) -> Any:
        self.deadlines.pop(conn, None)  # from here on gunicorn has time limits of its own
        return super().handle_http2(conn)

    def murder_pending(self) -> None:
        """Called by the main loop about once in a second."""
        super().murder_pending()
        now = time.monotonic()
        for conn, deadline in list(self.deadlines.items()):
            if deadline < now:
                with suppress(OSError):
                    conn.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """What is no HTTP, or is over a limit, never reaches a view: it is refused here, as cargo reads it."""
        page = _Page()
        super().handle_error(req, page, addr, exc)
        status = page.sent.partition(b"\r\n")[0].removeprefix(b"HTTP/1.1 ").decode("latin-1")
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
