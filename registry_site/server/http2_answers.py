"""Answers over HTTP/2 that the main loop of a worker sends itself, and all else that it does with such connections.

The main loop splits what has come into frames. Requests whose answers are kept are answered at the end of the turn, as
over HTTP/1.1. h2, whose object the connection has, never sees them: it gets to know only that their streams have been,
and by how much their answers have made the window of the connection smaller. All other frames go to h2, in their order,
and once a request is ready among them, the connection goes to a thread.

Requests of a turn are new streams in the order of their ids. Whatever could be about one of them or opens another
stream waits for the next turn: the feed may refuse to let an answer be sent, and then h2 gets its request after all.

A stream whose window is too small for its answer waits for a larger one in the poller, without a copy of the answer. A
thread gets the connection only when no stream waits.
"""

import logging
import selectors
import ssl
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.http2.errors import HTTP2ErrorCode

from registry_site.logs import log_event
from registry_site.server import http2_blocks, response_cache
from registry_site.server.connections import STALL_SECONDS, Connection
from registry_site.server.http2_blocks import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADER_BYTES,
    HEADERS,
    PADDED,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame_header,
)
from registry_site.server.http2_connections import Http2Connection
from registry_site.server.http2_requests import Fields, Later, RequestReader
from registry_site.server.request_heads import PlainRequest
from registry_site.server.response_cache import KeptAnswer

if TYPE_CHECKING:
    from registry_site.server.quick_answers import QuickAnswers

READ_AT_ONCE = 16 * 1024  # bytes, those of a TLS record
MAX_DELAYS = 32  # records that are read while a request waits for its thread: read-ahead needs those behind it
MAX_FRAMES = 64  # of one connection in a turn
MAX_WINDOW = 2**31 - 1
PREFACE_BYTES = 24
PRIORITY_BYTES = 5
REQUEST_FLAGS = END_STREAM | END_HEADERS
SENT_AT_ONCE = 64 * 1024  # bytes of answers that are joined; Python tells of them only once a slow client has taken all

NewStream = tuple[int, PlainRequest, bytes, Fields | None]  # its id, its frame, and what that has changed the table by
Turn = tuple[Connection, list[NewStream]]


class Unsent:
    """The rest of an answer that waits for the window of its stream or connection."""

    __slots__ = ("body", "window")

    def __init__(self, body: bytes | memoryview, window: int) -> None:
        self.body, self.window = memoryview(body), window


class Http2Answers:
    """What the main loop does with HTTP/2 connections."""

    def __init__(self, quick_answers: "QuickAnswers") -> None:
        self.quick = quick_answers
        self.worker, self.poller = quick_answers.worker, quick_answers.poller
        self.requests = RequestReader(quick_answers.heads)
        self.turn: list[Turn] = []
        self.second = 0
        self.last_fields = b""

    # --- Reading --------------------------------------------------------------------------------------------------

    def begin(self, conn: Connection) -> None:
        """Serve a connection after its handshake."""
        conn.queue, conn.unread_preface = "new", PREFACE_BYTES
        self.listen(conn, selectors.EVENT_READ)
        self.settle(conn)
        if conn.is_open:
            self.receive(conn)

    def resume(self, conn: Connection) -> None:
        """Serve a connection that a thread has served."""
        if not conn.is_open:
            return
        conn.inbox = conn.parser.leave_thread()
        conn.sock.setblocking(False)
        conn.queue = None
        if self.read(conn):
            self.consider(conn)

    def receive(self, conn: Connection) -> None:
        """Read and handle what has come on a connection."""
        if not conn.is_unfinished and not conn.outbox and self.read(conn):
            self.consider(conn)

    def read(self, conn: Connection) -> bool:
        """Read what has come on a connection; return whether it still stands."""
        try:
            data = conn.sock.recv(READ_AT_ONCE)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return True
        except OSError as error:
            self.lose(conn, error)
            return False
        if not data:
            self.lose(conn, None)
        conn.inbox += data
        return bool(data)

    def consider(self, conn: Connection) -> None:
        """Handle the next frames: remember the requests that this turn can answer, and let h2 read the others."""
        parser: Http2Connection = conn.parser
        data, position, streams = conn.inbox, 0, list[NewStream]()
        if conn.unread_preface and data:
            position = min(conn.unread_preface, len(data))
            conn.unread_preface -= position
            parser.feed(data[:position])
        conn.is_unfinished = False
        for number in range(MAX_FRAMES + 1):
            left = len(data) - position
            if parser.is_closed or left < HEADER_BYTES:
                break
            length = int.from_bytes(data[position : position + 3], "big")
            if length > parser.max_frame_size:
                parser.close(HTTP2ErrorCode.FRAME_SIZE_ERROR)
                break
            if left < HEADER_BYTES + length:
                break
            if number == MAX_FRAMES:
                conn.is_unfinished = True
                break
            frame = data[position : position + HEADER_BYTES + length]
            if not self.handle(conn, frame, streams):
                conn.is_unfinished = True
                break
            position += len(frame)
        conn.inbox = data[position:] if not parser.is_closed else b""
        if parser.is_closed:
            conn.is_unfinished = False
        if streams:
            conn.is_in_turn = True
            self.turn.append((conn, streams))
        else:
            self.settle(conn)

    def handle(self, conn: Connection, frame: bytes, streams: list[NewStream]) -> bool:
        """Handle a frame, or return False if it has to wait until the requests before it have been answered."""
        parser: Http2Connection = conn.parser
        kind, flags = frame[3], frame[4]
        stream = int.from_bytes(frame[5:HEADER_BYTES], "big") & MAX_WINDOW
        if kind == HEADERS and not parser.is_block_open():
            return self.handle_headers(conn, frame, flags, stream, streams)
        if streams and (stream or kind in (GOAWAY, CONTINUATION, DATA)):
            return False
        if stream in conn.unsent and kind in (WINDOW_UPDATE, RST_STREAM) and len(frame) == HEADER_BYTES + 4:
            self.handle_unsent(conn, frame, kind, stream)
        elif kind == SETTINGS:
            before = parser.h2_conn.remote_settings.initial_window_size
            parser.feed(frame)
            self.widen(conn, parser.h2_conn.remote_settings.initial_window_size - before)
        elif kind == GOAWAY and conn.unsent and not parser.pending_requests:
            conn.keeps_alive = False  # the last answers are for it all the same
        else:
            is_closed = 0 < stream <= parser.h2_conn.highest_inbound_stream_id and stream not in parser.h2_conn.streams
            if kind == RST_STREAM and is_closed:
                parser.count_reset()
            if not parser.is_closed:
                parser.feed(frame)
            if parser.has_long_block():
                parser.close(HTTP2ErrorCode.ENHANCE_YOUR_CALM)
        return True

    def handle_headers(self, conn: Connection, frame: bytes, flags: int, stream: int, streams: list[NewStream]) -> bool:
        """Handle a frame that mostly opens a stream."""
        parser: Http2Connection = conn.parser
        last = streams[-1][0] if streams else parser.h2_conn.highest_inbound_stream_id
        is_new = stream > last and stream & 1 == 1
        if is_new and len(streams) + len(conn.unsent) + len(parser.streams) >= parser.max_concurrent_streams:
            parser.close(HTTP2ErrorCode.REFUSED_STREAM)
            return True
        start = HEADER_BYTES + (PRIORITY_BYTES if flags & WITH_PRIORITY else 0)
        fields = None
        if is_new and flags & (REQUEST_FLAGS | PADDED) == REQUEST_FLAGS and len(frame) > start:
            block = frame[start:]
            depends_on_itself = flags & WITH_PRIORITY and (
                int.from_bytes(frame[HEADER_BYTES : HEADER_BYTES + 4], "big") & MAX_WINDOW == stream
            )
            try:
                request, fields = self.requests.read(parser.decoder, block, may_change=not streams)
            except Later:
                return False
            may_answer = conn.keeps_alive and self.worker.alive and not depends_on_itself
            if request and may_answer and response_cache.find(request, conn.client[0]) is not None:
                if fields is None:
                    self.requests.remember(parser.decoder, block, request)
                parser.decoder.decoded = None
                streams.append((stream, request, frame, fields))
                return True
        if streams:
            return False
        parser.feed(frame)
        parser.decoder.decoded = None
        return True

    def handle_unsent(self, conn: Connection, frame: bytes, kind: int, stream: int) -> None:
        """Handle a frame about a stream whose answer is on its way."""
        if kind == RST_STREAM:
            del conn.unsent[stream]
            conn.parser.count_reset()
            return
        unsent = conn.unsent[stream]
        increment = int.from_bytes(frame[HEADER_BYTES:], "big") & MAX_WINDOW
        unsent.window += increment
        if not increment or unsent.window > MAX_WINDOW:
            error = HTTP2ErrorCode.FLOW_CONTROL_ERROR if increment else HTTP2ErrorCode.PROTOCOL_ERROR
            del conn.unsent[stream]
            conn.resets += http2_blocks.reset(stream, error)

    def widen(self, conn: Connection, difference: int) -> None:
        """Change the windows of the streams by what the first window of each has changed."""
        for unsent in conn.unsent.values():
            unsent.window += difference
            if unsent.window > MAX_WINDOW:
                conn.parser.close(HTTP2ErrorCode.FLOW_CONTROL_ERROR)

    def go_on(self, conn: Connection) -> None:
        """Handle frames that have waited for this turn."""
        if conn.is_unfinished and not conn.is_in_turn:
            self.consider(conn)

    # --- Answering ------------------------------------------------------------------------------------------------

    def answer_all(self, turn: Sequence[Turn], *, is_true: bool) -> None:
        """Answer the requests of a turn, or let h2 read them if the feed could not catch up."""
        for conn, streams in turn:
            if conn.is_open and conn.is_in_turn:
                conn.is_in_turn = False
                may_answer = is_true and self.quick.unsent <= self.quick.max_unsent
                self.settle(conn, b"".join(self.answer(conn, streams, is_true=may_answer)))

    def answer(self, conn: Connection, streams: list[NewStream], *, is_true: bool) -> Iterator[bytes | memoryview]:
        parser: Http2Connection = conn.parser
        h2_conn = parser.h2_conn
        largest = h2_conn.max_outbound_frame_size
        left = SENT_AT_ONCE
        yield parser.take_output()
        for stream, request, frame, fields in streams:
            if parser.is_closed:
                return
            answer = response_cache.find(request, conn.client[0]) if is_true else None
            if answer is None:
                parser.decoder.decoded = fields
                parser.feed(frame)
                parser.decoder.decoded = None
                continue
            parser.note_answer(stream)
            body = b"" if request.is_head else answer.body()
            flags = END_HEADERS if body else REQUEST_FLAGS
            yield self.head(conn, stream, flags, request, answer)
            if not body:
                continue
            window = h2_conn.remote_settings.initial_window_size
            if not conn.unsent and len(body) <= min(left, window, h2_conn.outbound_flow_control_window, largest):
                left -= len(body)
                h2_conn.outbound_flow_control_window -= len(body)
                yield frame_header(len(body), DATA, END_STREAM, stream)
                yield body
            else:
                conn.unsent[stream] = Unsent(body, window)
        conn.last_request = time.monotonic()
        conn.has_new_timeout = True

    def head(self, conn: Connection, stream: int, flags: int, request: PlainRequest, answer: KeptAnswer) -> bytes:
        """Return the frame of the headers of an answer."""
        self.quick.count(conn, request, answer)
        if not answer.blocks:
            answer.blocks.extend(http2_blocks.parts_of(answer))
        before, behind = answer.blocks
        request_id = self.quick.id_for(conn, request)
        length = len(before) + 1 + len(request_id) + len(behind) + len(self.last_fields)
        first = frame_header(length, HEADERS, flags, stream)
        return b"".join((first, before, bytes((len(request_id),)), request_id, behind, self.last_fields))

    def begin_second(self, second: int) -> None:
        """Write another date from now on."""
        if second != self.second:
            self.second, self.last_fields = second, http2_blocks.last_fields(second)

    # --- Sending --------------------------------------------------------------------------------------------------

    def settle(self, conn: Connection, data: bytes = b"") -> None:
        """Send what there is to be sent, and let a connection wait for what comes next, or give it to a thread."""
        parser: Http2Connection = conn.parser
        data += parser.take_output()
        if not parser.is_closed:
            data += conn.resets + b"".join(self.bodies(conn))
        conn.resets = b""
        if data and not self.send(conn, data):
            return
        is_sending = bool(conn.outbox) or (not parser.is_closed and self.has_window(conn))
        if parser.is_closed and not conn.outbox:
            self.end(conn)
        elif is_sending or conn.unsent:
            self.move(conn, "sending")
            self.listen(conn, selectors.EVENT_WRITE if is_sending else selectors.EVENT_READ)
        elif not conn.keeps_alive:
            self.end(conn)
        elif parser.has_ready() and (not conn.is_unfinished or conn.delays >= MAX_DELAYS):
            self.hand_over(conn)
            return  # what follows is done if it has read more
        else:
            conn.delays += conn.is_unfinished
            self.move(conn, "bodies" if parser.pending_requests else "new" if conn.is_new else "idle")
            if conn.is_open and conn.queue is not None:
                self.listen(conn, selectors.EVENT_READ)
        if conn.is_unfinished and conn.is_open and conn.events == selectors.EVENT_READ:
            self.quick.unfinished.append(conn)

    def bodies(self, conn: Connection) -> Iterator[bytes]:
        """Return the next frames of the answers that the windows let through."""
        h2_conn, left = conn.parser.h2_conn, SENT_AT_ONCE
        for stream, unsent in list(conn.unsent.items()):
            most = min(left, unsent.window, h2_conn.outbound_flow_control_window)
            while (size := min(most, h2_conn.max_outbound_frame_size, len(unsent.body))) > 0:
                part, unsent.body = unsent.body[:size], unsent.body[size:]
                most -= size
                left -= size
                unsent.window -= size
                h2_conn.outbound_flow_control_window -= size
                yield frame_header(size, DATA, 0 if unsent.body else END_STREAM, stream)
                yield bytes(part)
            if not unsent.body:
                del conn.unsent[stream]

    def has_window(self, conn: Connection) -> bool:
        """Tell whether more of the answers could be sent at once."""
        is_open = conn.parser.h2_conn.outbound_flow_control_window > 0
        return is_open and any(unsent.window > 0 for unsent in conn.unsent.values())

    def send(self, conn: Connection, data: bytes) -> bool:
        """Send as much as the client takes now, and keep the rest; return whether the connection still stands."""
        try:
            sent = conn.sock.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except OSError as error:
            self.lose(conn, error)
            return False
        conn.stalls_at = time.monotonic() + STALL_SECONDS
        if sent < len(data):
            conn.outbox.append(memoryview(data)[sent:])
            self.quick.unsent += len(data) - sent
        return True

    def on_ready(self, conn: Connection, client: Any = None) -> None:
        if conn.is_in_turn:
            self.listen(conn, 0)
        elif conn.events == selectors.EVENT_READ:
            self.receive(conn)
        else:
            self.on_writable(conn)

    def on_writable(self, conn: Connection) -> None:
        if conn.outbox:
            data = conn.outbox.popleft()
            self.quick.unsent -= len(data)
            if not self.send(conn, bytes(data)) or conn.outbox:
                return
        self.settle(conn)

    # --- Waiting --------------------------------------------------------------------------------------------------

    def listen(self, conn: Connection, events: int) -> None:
        """Wait for these events of a connection, or for none."""
        if conn.events == events:
            return
        if not events:
            self.poller.unregister(conn.sock)
        elif conn.events:
            self.poller.modify(conn.sock, events, partial(self.on_ready, conn))
        else:
            self.poller.register(conn.sock, events, partial(self.on_ready, conn))
        conn.events = events

    def move(self, conn: Connection, queue: str) -> None:
        """Let a connection wait among others that wait for the same, with the deadline of these."""
        if conn.queue == queue:
            if queue == "idle" and conn.has_new_timeout:
                conn.timeout, conn.has_new_timeout = self.quick.new_timeout(), False
                self.worker.keepalived_conns.renew(conn)
            return
        self.leave(conn)
        conn.queue = queue
        if queue == "sending":
            conn.begin_response()
            conn.stalls_at = time.monotonic() + STALL_SECONDS
            self.quick.sending[conn] = None
        elif queue == "bodies":
            self.listen(conn, selectors.EVENT_READ)
            self.worker.wait_for_http2_body(conn)
        else:
            if conn.has_new_timeout:
                conn.timeout, conn.has_new_timeout = self.quick.new_timeout(), False
            else:  # frames that bring no request, such as PING, do not prolong it
                conn.timeout = min(conn.last_request + self.quick.keepalive, self.quick.new_timeout())
            self.worker.keepalived_conns.append(conn)

    def leave(self, conn: Connection) -> None:
        """Take a connection from where it waits."""
        queue, conn.queue = conn.queue, None
        if queue == "new":
            self.worker.pending_conns.remove(conn)
        elif queue == "idle":
            self.worker.keepalived_conns.remove(conn)
        elif queue == "bodies":
            self.worker.bodies.remove(conn)
        elif queue == "sending":
            del self.quick.sending[conn]
            conn.taken = None
        if queue is not None:
            conn.is_new = False

    def hand_over(self, conn: Connection) -> None:
        """Give a connection to a thread, once everything that has come was read."""
        if conn.delays < MAX_DELAYS:
            conn.delays += 1
            size = len(conn.inbox)
            if not self.read(conn):
                return
            if len(conn.inbox) > size:
                self.consider(conn)
                return
        conn.delays = 0
        self.listen(conn, 0)
        self.leave(conn)
        conn.is_unfinished = False
        conn.parser.is_idle = False
        self.worker.enqueue_req(conn)

    def end(self, conn: Connection) -> None:
        """End our side of a connection, whatever has come over it and has not been handled."""
        conn.is_unfinished = conn.is_in_turn = False
        self.listen(conn, 0)
        self.leave(conn)
        conn.unsent.clear()
        self.worker.linger(conn)

    def refuse_slow(self, conn: Connection) -> None:
        """End a connection with a body that has not come in time, or has to make room for others."""
        conn.parser.close(HTTP2ErrorCode.ENHANCE_YOUR_CALM)
        self.end(conn)

    def lose(self, conn: Connection, error: OSError | None) -> None:
        """Close a connection whose client has gone."""
        if conn.is_new and error is not None:
            # Right after TLS has agreed on HTTP/2, as probes and scanners are: nobody is there to answer.
            log_event("client_gone", logging.DEBUG, ip=conn.client[0], cause=str(error))
        self.listen(conn, 0)
        self.leave(conn)
        self.quick.unsent -= sum(map(len, conn.outbox))
        conn.outbox.clear()
        conn.unsent.clear()
        self.worker.drop(conn)
