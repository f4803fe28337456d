"""HTTP/2 connections that the main loop of a worker and its threads have in turn.

In the main loop nothing waits: what is to be sent is collected, and the credit for bodies is withheld, so that a
connection has at most one window of them in memory. A thread gets the connection when a request is ready: its body has
come, or is too long to wait for. It serves one request. Then the main loop reads what has come meanwhile, streams that
were reset and requests whose answers are in memory among it, and gives the connection to a thread for the next one.

gunicorn (27, pinned in pyproject.toml) has no hook for this. This module overrides `receive_data`, `close`,
`_send_pending_data` and `_handle_data_received` of its `HTTP2ServerConnection`, and uses `pending_requests`, `streams`,
`_deferred_events`, `_process_events`, `_read_and_process` and `_count_reset`; none of them is documented. Of h2 it
replaces the decoder and the memory of closed streams, and reads the buffer of incoming frames.
"""

import logging
from collections.abc import Iterable
from contextlib import suppress
from ssl import SSLWantReadError, SSLWantWriteError
from typing import Any

from django.utils import timezone
from gunicorn.http.errors import NoMoreData
from gunicorn.http2.connection import HTTP2ServerConnection
from gunicorn.http2.errors import HTTP2ConnectionError, HTTP2Error, HTTP2ErrorCode, HTTP2ProtocolError
from h2.connection import ConnectionInputs
from h2.exceptions import ProtocolError
from h2.stream import StreamClosedBy
from h2.utilities import SizeLimitDict

from registry_site.logs import log_event
from registry_site.server.http2_requests import BlockDecoder

MAX_READS = 100  # TLS records before a worker stops: a client that never stops sending must not win
MAX_CLOSED_STREAMS = 1000  # remembered, to tell which frames come too late; h2 remembers 65,536
LONG_BODY = 32 * 1024  # bytes, half of a window: a thread reads the rest
SEND_SECONDS = 30  # for which a thread waits until the client takes more


class Http2Connection(HTTP2ServerConnection):  # type: ignore[misc]  # gunicorn ships no types
    """A connection with its requests that are not answered yet."""

    def __init__(self, cfg: Any, sock: Any, client: Any) -> None:
        super().__init__(cfg, sock, client)
        self.is_in_loop = True
        self.has_served = False  # this thread has answered its request
        self.is_idle = False  # and goes
        self.withheld = 0  # bytes of bodies for which the client has no credit yet
        self.heads = 0  # bytes of the headers of requests whose bodies have not come
        size = self.h2_conn.decoder.max_header_list_size
        self.decoder = self.h2_conn.decoder = BlockDecoder()
        self.decoder.max_header_list_size = size
        self.h2_conn._closed_streams = SizeLimitDict(size_limit=MAX_CLOSED_STREAMS)

    # --- In the main loop -----------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Let h2 read whole frames, or only handle what it has read. Afterwards the connection may be closed."""
        try:
            self.queue(self._read_and_process(data) if data else self._process_events(()))
        except HTTP2Error:  # frames that gunicorn or h2 does not expect
            self.close(HTTP2ErrorCode.PROTOCOL_ERROR)
        except Exception:  # it must not end the main loop
            log_event("http2_failed", logging.ERROR, exc_info=True)
            self.close(HTTP2ErrorCode.INTERNAL_ERROR)
        if not self.pending_requests:
            self.give_credit()

    def leave_thread(self) -> bytes:
        """Take the connection back from a thread, and return the beginning of a frame that it has read."""
        self.is_in_loop = True
        unread = bytes(self.h2_conn.incoming_buffer._data)
        self.h2_conn.incoming_buffer._data.clear()
        if self._deferred_events:  # it has waited for a window, and read what came behind
            self.feed(b"")
        return unread

    def take_output(self) -> bytes:
        return bytes(self.h2_conn.data_to_send())

    def is_block_open(self) -> bool:
        """Tell whether the next frame has to continue a header block."""
        return bool(self.h2_conn.incoming_buffer._headers_buffer)

    def has_long_block(self) -> bool:
        """Tell whether a header block that goes on is longer already than the headers of a request may be."""
        frames = self.h2_conn.incoming_buffer._headers_buffer
        return bool(sum(len(frame.data) for frame in frames) > self.max_header_list_size)

    def note_answer(self, stream: int) -> None:
        """Let h2 know of a stream that is opened, answered and closed without it."""
        if not self.h2_conn.highest_inbound_stream_id:
            self.h2_conn.state_machine.process_input(ConnectionInputs.RECV_HEADERS)
        self.h2_conn.highest_inbound_stream_id = stream
        self.h2_conn._closed_streams[stream] = StreamClosedBy.SEND_END_STREAM

    def count_reset(self) -> None:
        """Count a reset of a stream that h2 does not know; a client that resets too many is cut off."""
        with suppress(HTTP2ProtocolError):
            self._count_reset()

    def has_ready(self) -> bool:
        return any(map(self.is_ready, self.pending_requests))

    def is_ready(self, request: Any) -> bool:
        """Tell whether a thread need not wait for the body of a request, or has to read it."""
        stream = request.stream
        return bool(
            stream.body_complete
            or stream.expect_continue
            or self.withheld + self.heads >= LONG_BODY
            or (request.content_length or 0) >= LONG_BODY
        )

    def give_credit(self) -> None:
        """Let the client send as much as has been withheld."""
        self.heads = 0
        if self.withheld:
            withheld, self.withheld = self.withheld, 0
            with suppress(ValueError, ProtocolError):
                self.h2_conn.increment_flow_control_window(withheld, stream_id=None)

    def _handle_data_received(self, event: Any) -> None:
        stream = self.streams.get(event.stream_id)
        if not self.is_in_loop or stream is None:
            super()._handle_data_received(event)
            return
        stream.receive_data(event.data, end_stream=False)
        self.withheld += event.flow_controlled_length
        if padding := event.flow_controlled_length - len(event.data):
            with suppress(ValueError, ProtocolError):
                self.h2_conn.increment_flow_control_window(padding, stream_id=event.stream_id)

    def _send_pending_data(self) -> None:
        if not self.is_in_loop:
            super()._send_pending_data()

    # --- In a thread ----------------------------------------------------------------------------------------------

    def enter_thread(self, unread: bytes) -> None:
        """Let a thread serve the connection, whose last bytes h2 has not read yet. Afterwards it may be closed."""
        if unread:
            self.feed(unread)
        self.is_in_loop = self.is_idle = self.has_served = False
        self.give_credit()
        self.sock.settimeout(SEND_SECONDS)
        with suppress(HTTP2ConnectionError):  # the client has gone
            self._send_pending_data()

    def receive_data(self, data: bytes | None = None) -> list[Any]:
        """Return one request. gunicorn passes `data` only when the worker stops: then return all of them.

        Raises `NoMoreData` and sets `is_idle` after that: the connection goes back to the main loop.
        """
        if data is not None:
            self.read_all()
        self.queue(())
        if self.is_closed:
            return []
        ready = [request for request in self.pending_requests if self.is_ready(request)][: not self.has_served]
        taken = ready if data is None else list(self.pending_requests)
        for request in taken:
            self.pending_requests.remove(request)
        if data is None and not taken:
            self.is_idle = True
            raise NoMoreData
        self.has_served = True
        return taken

    def read_all(self) -> None:
        """Read what has come over the connection: further requests, streams that were reset, or its end."""
        for _ in range(MAX_READS):
            if self.is_closed:
                break
            if self._deferred_events:
                self.queue(self._process_events(()))
                continue
            self.sock.setblocking(False)
            try:
                data = self.sock.recv(self.READ_BUFFER_SIZE)
            except (BlockingIOError, SSLWantReadError, SSLWantWriteError):
                break
            except OSError as error:
                raise HTTP2ConnectionError(f"Socket read error: {error}") from error
            finally:
                self.sock.settimeout(SEND_SECONDS)
            self.queue(self._read_and_process(data))

    # --- In both --------------------------------------------------------------------------------------------------

    def queue(self, requests: Iterable[Any]) -> None:
        """Keep requests until their turn, with the time of their arrival."""
        self.pending_requests.extend(requests)
        for request in self.pending_requests:
            if not hasattr(request, "arrived"):  # gunicorn queues those itself that come while a body is read
                request.arrived = timezone.now()
                self.heads += sum(len(name) + len(value) for name, value in request.headers)

    def close(self, error_code: int = HTTP2ErrorCode.NO_ERROR, last_stream_id: int | None = None) -> None:
        """Say that the connection ends, and up to which stream it may have answered: gunicorn says none if it can."""
        if last_stream_id is None:
            last_stream_id = self.h2_conn.highest_inbound_stream_id
        super().close(error_code, last_stream_id)
