"""Connections of clients as the worker needs them: with deadlines, a share of their address, and a lossless end."""

import math
import socket
import struct
import time
from contextlib import suppress
from typing import Any

from gunicorn.http.body import LengthReader
from gunicorn.http.parser import RequestParser
from gunicorn.workers.gthread import TConn

from registry_site.server.address_shares import AddressShares, Share
from registry_site.server.read_ahead import is_readable

MIN_BYTES_PER_SECOND = 10_000
RESPONSE_SECONDS = 60  # in which a client takes MIN_BYTES_PER_SECOND of a response on average
TCP_INFO_SIZE, BYTES_ACKED_OFFSET = 256, 120  # struct tcp_info of linux/tcp.h
LINGER_BYTES = 64 * 1024 * 1024  # of a refused body that are dropped: many clients read only after they have sent all
DROPPED_AT_ONCE = 256 * 1024  # bytes; the main loop serves other connections in between
READ_AHEAD_BYTES = 64 * 1024  # of a body that no view has read, if they are here already


class Connection(TConn):  # type: ignore[misc]  # gunicorn ships no types
    """A connection of a client, which counts in the share of its address until it is closed.

    Its thread sets `deadline` and `taken`, and the main loop looks at them.
    """

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

    def init(self) -> None:
        if self.initialized:
            return
        super().init()
        if not self.is_http2:
            self.parser = PostponingParser(self.cfg, self.sock, self.client)

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
            self.sock.shutdown(socket.SHUT_RDWR)

    def end_responses(self) -> None:
        """End our side only: the system would destroy a response on its way if more bytes came to a closed socket."""
        self.sock.setblocking(False)
        if self.is_http2:
            self.parser.close()  # says so to the client, if that needs no waiting
        self.sock.shutdown(socket.SHUT_WR)

    def drop_received(self) -> bool:
        """Read and drop some bytes after the end of our side; return whether more may come."""
        try:
            size = len(self.sock.recv(DROPPED_AT_ONCE))
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.left_to_drop -= size
        return size > 0 and self.left_to_drop > 0

    def close(self, graceful: bool = False) -> None:
        if self.is_open:
            self.is_open = False
            self.shares.close_connection(self.share)
        if self.is_http2:
            self.parser.close()  # says so to the client, if that needs no waiting
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
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        data: bytes = self.reader.read(size)
        return data


def has_unread_body(req: Any, conn: Connection) -> bool:
    """Tell whether more of the body of an HTTP/1.1 request is to come, after a short one that is here has been read."""
    reader = req.body.reader
    if isinstance(reader, ContinuedReader):
        if not reader.is_asked:
            return True
        reader = reader.reader
    if not isinstance(reader, LengthReader):
        return reader.parser is not None
    with suppress(OSError):
        return not read_if_here(reader, conn)
    return True


def read_if_here(reader: Any, conn: Connection) -> bool:
    """Read the rest of a short body if that needs no waiting; return whether the body has been read."""
    if reader.length > READ_AHEAD_BYTES:
        return False
    unreader = conn.parser.unreader
    while reader.length > unreader.buf.tell():
        if not is_readable(conn.sock) or not (data := unreader.chunk(reader.length)):
            return False
        unreader.buf.write(data)
    reader.read(reader.length)
    return True
