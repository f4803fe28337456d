"""Connections of clients as the worker needs them: with deadlines, a share of their address, and a lossless end."""

import math
import socket
import ssl
import struct
import time
from collections import deque
from contextlib import suppress
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.parser import RequestParser
from gunicorn.sock import is_http2_negotiated
from gunicorn.workers.gthread import TConn

from registry_site.http.client_address import parse_address
from registry_site.http.parsers import MAX_BODY_BYTES
from registry_site.server.address_shares import AddressShares, Share
from registry_site.server.http2_connections import Http2Connection
from registry_site.server.request_heads import PlainRequest
from registry_site.server.stored_files import OpenFile
from registry_site.server.waiting_bodies import SMALL_BODY_BYTES

MIN_BYTES_PER_SECOND = 10_000
STALL_SECONDS = 30  # without a byte of a response going out
RESPONSE_SECONDS = 60  # in which a client takes MIN_BYTES_PER_SECOND of a response on average
TCP_INFO_SIZE, BYTES_ACKED_OFFSET = 256, 120  # struct tcp_info of linux/tcp.h
LINGER_BYTES = 64 * 1024 * 1024  # of a refused body that are dropped: many clients read only after they have sent all
DROPPED_AT_ONCE = 256 * 1024  # bytes; the main loop serves other connections in between
READ_AT_ONCE = 64 * 1024  # bytes of a body; the memory for more would be taken before they are here
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A connection of a client, which counts in the share of its address until it is closed.

    Its thread sets `deadline` and `taken`, and the main loop looks at them.
    """

    sock: Any
    initialized: bool

    def __init__(self, *args: Any, share: Share, shares: AddressShares) -> None:
        super().__init__(*args)
        self.share = share
        self.shares = shares
        self.is_open = True
        self.was_refused = False  # the request before, with 429
        self.deadline = math.inf
        self.taken: tuple[int, float] | None = None  # bytes of responses that the client had taken, and when
        self.left_to_drop = LINGER_BYTES
        self.forwarded_client: str | None = None  # the network of the client behind a trusted proxy
        self.has_turn = False  # its request is counted among those of that client
        self.body_client = ""  # the network of the client that sends a short body, directly or through a proxy
        self.body_length = 0
        self.has_body = False  # the main loop has read it
        self.is_tls: bool = self.cfg.is_ssl
        # What registry_site.server.quick_answers needs:
        self.is_proxy = not share.is_limited and parse_address(self.client[0]) is not None
        self.is_new = True  # no request has been answered
        self.plain_request: PlainRequest | None = None  # the one that a thread answers
        self.inbox = b""  # the next requests of a pipeline
        self.is_in_turn = self.is_parked = False
        self.outbox: deque[memoryview] = deque()  # of an answer that the client has not taken
        self.outgoing_file: OpenFile | None = None  # behind that
        self.keeps_alive = True
        self.stalls_at = math.inf
        # What registry_site.server.http2_answers needs beside that:
        self.queue: str | None = None  # among which connections it waits
        self.events = 0  # for which it is in the poller
        self.unread_preface = 0  # bytes
        self.is_unfinished = False  # frames that have come wait for the next turn
        self.unsent: dict[int, Any] = {}  # the answers, by their streams, that wait for a larger window
        self.delays = 0
        self.resets = b""  # of streams that h2 does not know
        self.last_request = time.monotonic()
        self.has_new_timeout = False  # there was a request since it was set

    def init(self) -> None:
        """Begin HTTP/1.1 without TLS; with TLS the handshake has come first."""
        if self.initialized:
            return
        self.initialized = True
        self.sock.setblocking(True)
        self.parser = PostponingParser(self.cfg, self.sock, self.client)

    def shake_hands(self, context: ssl.SSLContext) -> None:
        """Go on with the TLS handshake as far as the client's bytes reach, and begin its protocol at the end.

        Raises `ssl.SSLWantReadError` or `ssl.SSLWantWriteError` if it has to wait, and other `OSError`.
        """
        if not isinstance(self.sock, ssl.SSLSocket):
            self.sock = context.wrap_socket(self.sock, server_side=True, do_handshake_on_connect=False)
        self.sock.do_handshake()
        self.initialized = True
        if is_http2_negotiated(self.sock):
            self.is_http2 = True
            self.parser = Http2Connection(self.cfg, self.sock, self.client)
            self.parser.initiate_connection()
        else:
            self.parser = PostponingParser(self.cfg, self.sock, self.client)

    def lacks_body(self, req: Any) -> bool:
        """Tell whether the request has a short body that is not all here. What is here of a small one is read."""
        reader = req.body.reader
        if self.has_body or not isinstance(reader, LengthReader) or reader.length > MAX_BODY_BYTES:
            return False
        self.body_length = reader.length
        if not self.missing_bytes():
            return False
        if req._expected_100_continue:
            req._expected_100_continue = False
            self.sock.sendall(CONTINUE)
        self.sock.setblocking(False)
        return self.body_length > SMALL_BODY_BYTES or not self.read_body()

    def missing_bytes(self) -> int:
        return max(self.body_length - int(self.parser.unreader.buf.tell()), 0)

    def read_body(self) -> bool:
        """Read what has come of a short body, without waiting; return whether the rest need not be waited for.

        That is so at the end of what the client sends, too. Raises `OSError`.
        """
        with suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while missing := self.missing_bytes():
                data = self.sock.recv(min(missing, READ_AT_ONCE))
                if not data:
                    break
                self.parser.unreader.buf.write(data)
            return True
        return False

    def begin_response(self) -> None:
        """Let the client take the response at a least rate; the body of its request has been read by now."""
        self.deadline = math.inf
        self.taken = self.taken_bytes(), time.monotonic()

    def is_late(self, now: float) -> bool:
        """Tell whether the client is over a deadline, or takes a response too slowly."""
        if self.deadline < now:
            return True
        if (before := self.taken) is None:
            return False
        taken, (taken_before, since) = self.taken_bytes(), before
        if taken - taken_before >= RESPONSE_SECONDS * MIN_BYTES_PER_SECOND:
            self.taken = taken, now
            return False
        return now - since > RESPONSE_SECONDS and taken >= 0

    def taken_bytes(self) -> int:
        """Return how many bytes the client's system has acknowledged; -1 where ours does not count them."""
        with suppress(AttributeError, OSError, struct.error):  # systems without TCP_INFO; a connection that has ended
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_SIZE)
            return int(struct.unpack_from("=Q", info, BYTES_ACKED_OFFSET)[0])
        return -1

    def interrupt(self) -> None:
        """Wake the thread that reads or writes; closing the socket would not."""
        with suppress(OSError):
            # `SSLSocket.shutdown` would forget the keys first, and the thread could go on without them.
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)

    def end_responses(self) -> None:
        """End our side only: the system would destroy a response on its way if more bytes came to a closed socket."""
        self.sock.setblocking(False)
        self.say_end()
        self.sock.shutdown(socket.SHUT_WR)

    def say_end(self) -> None:
        """Say to the client that an HTTP/2 connection ends, if that needs no waiting."""
        if not self.is_http2:
            return
        self.parser.is_in_loop = True
        self.parser.close()
        if not self.outbox:
            with suppress(OSError):
                self.sock.send(self.parser.take_output())

    def drop_received(self) -> bool:
        """Read and drop some bytes after the end of our side; return whether more may come."""
        try:
            size = len(self.sock.recv(DROPPED_AT_ONCE))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError:
            return False
        self.left_to_drop -= size
        return size > 0 and self.left_to_drop > 0

    def close(self, graceful: bool = False) -> None:
        if self.is_open:
            self.is_open = False
            self.shares.close_connection(self.share)
        self.say_end()
        super().close()


class PostponingParser(RequestParser):  # type: ignore[misc]  # gunicorn ships no types
    """A parser that can give its last request again, for a connection that has waited for its turn meanwhile."""

    postponed: Any = None

    def __next__(self) -> Any:
        if self.postponed is None:
            return super().__next__()
        request, self.postponed = self.postponed, None
        return request


class ContinuedReader:
    """A reader of a body that the client keeps back until it is asked: a refusal before that saves the transfer."""

    def __init__(self, reader: Any, sock: socket.socket) -> None:
        self.reader = reader
        self.sock = sock
        self.is_asked = False

    def read(self, size: int) -> bytes:
        if not self.is_asked:
            self.is_asked = True
            self.sock.sendall(CONTINUE)
        data: bytes = self.reader.read(size)
        return data


def has_unread_body(req: Any, conn: Connection) -> bool:
    """Tell whether more of the body of an HTTP/1.1 request is to come, after one that is here has been read."""
    reader = req.body.reader
    if isinstance(reader, ContinuedReader):
        if not reader.is_asked:
            return True
        reader = reader.reader
    if not isinstance(reader, LengthReader):
        return reader.parser is not None
    if reader.length <= conn.parser.unreader.buf.tell():
        reader.read(reader.length)
    return bool(reader.length)
