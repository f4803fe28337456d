"""Answers that the main loop of a worker sends itself, from memory, in turns that no client can make long.

A turn reads what has come on each connection that is ready, lets the change feed catch up once, and then answers all
plain requests whose answers are kept. So each answer was true after its request had come. All other requests go to a
thread, with the bytes that were read.
"""

import selectors
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import partial
from secrets import token_hex
from typing import Any

from gunicorn import SERVER
from gunicorn.util import http_date
from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from registry_site.change_feed import ChangeFeed, LoopFeed
from registry_site.server import metrics, response_cache
from registry_site.server.connections import STALL_SECONDS, Connection
from registry_site.server.http2_answers import Http2Answers
from registry_site.server.http2_answers import Turn as Http2Turn
from registry_site.server.request_heads import END, REQUEST_ID, HeadReader, PlainRequest
from registry_site.server.response_cache import KeptAnswer
from registry_site.server.stored_files import MAX_FILE, SMALL_FILE, OpenFile

READ_AT_ONCE = 8192  # bytes, as gunicorn reads heads
MAX_ANSWERS = 4  # to one connection in a turn; the others of a pipeline follow in the next turns
MAX_OPEN_FILES = 100  # that are being sent; beyond, requests for large files go to threads
MAX_UNSENT = 32 * 1024 * 1024  # bytes of answers that clients have not taken; beyond, requests go to threads
FEED_SECONDS = 0.25  # between looks whether the feed takes too long
ID_LENGTH = 32  # characters
IDS_AT_ONCE = 128
SENT_AT_ONCE = 1024 * 1024  # bytes; the main loop serves other connections in between
SENT_AT_ONCE_OVER_TLS = 64 * 1024  # bytes; Python tells of them only once a slow client has taken all

MORE = getattr(socket, "MSG_MORE", 0)  # of Linux

Turn = tuple[Connection, bytes, PlainRequest, bytes]  # all that came, the first request in it, and what follows


answers_sent = metrics.Counter(
    "entrepot_quick_answers", "Answers from the memory of a worker, sent without a thread.", ()
)


def send(conn: Connection, data: bytes | memoryview, *, has_more: bool = False) -> int:
    """Send what a connection takes now, and return how much. TLS demands the same bytes again after an error.

    Bytes that have more behind them may wait for it, and so share its packets.
    """
    if conn.is_tls:
        return int(conn.sock.send(data[:SENT_AT_ONCE_OVER_TLS]))
    return int(conn.sock.send(data[:SENT_AT_ONCE], MORE if has_more else 0))


class IdleConnections:
    """Connections in the order of their last requests: gunicorn's queue, without its search through all of them."""

    def __init__(self) -> None:
        self.connections: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self.connections)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self.connections)

    def __getitem__(self, index: int) -> Connection:
        """Return the first, the only one that gunicorn looks at."""
        return next(iter(self.connections))

    def append(self, conn: Connection) -> None:
        self.connections[conn] = None

    def renew(self, conn: Connection) -> None:
        self.connections.move_to_end(conn)

    def remove(self, conn: Connection) -> None:
        del self.connections[conn]

    def popleft(self) -> Connection:
        return self.connections.popitem(last=False)[0]


class QuickAnswers:
    """What the main loop of a worker does with requests before it gives them to threads."""

    def __init__(self, worker: Any, feed: ChangeFeed) -> None:
        self.worker, self.loop_feed = worker, LoopFeed(feed, worker.poller)
        self.poller = worker.poller
        self.keepalive: int = worker.cfg.keepalive
        self.heads = HeadReader()
        self.turn: list[Turn] = []
        self.unfinished: list[Connection] = []  # whose next requests have been read already
        self.sending: dict[Connection, None] = {}  # that wait until the client takes more
        self.unsent, self.max_unsent = 0, MAX_UNSENT
        self.open_files = 0
        self.sent = 0  # answers in this turn
        self.ids: list[bytes] = []
        self.second = 0
        self.first_lines: dict[tuple[str, int, bool], bytes] = {}
        self.http2 = Http2Answers(self)
        self.loop_feed.catch_up(lambda _: None)  # connects, before requests come

    def seconds_to_wait(self, seconds: float) -> float:
        """Return how long the main loop may wait for events."""
        if self.unfinished or self.http2.turn:  # begun while the turn before was answered
            return 0
        return min(seconds, FEED_SECONDS) if self.loop_feed.pending else seconds

    # --- Reading --------------------------------------------------------------------------------------------------

    def receive(self, conn: Connection) -> None:
        """Read what has come on a connection, for this turn or for a thread."""
        if conn.is_in_turn:
            self.poller.unregister(conn.sock)
            conn.is_parked = True
            return
        if conn.inbox:
            return  # these requests come first
        try:
            data = conn.sock.recv(READ_AT_ONCE)
            if conn.is_tls and (decrypted := conn.sock.pending()):  # which does not wake the poller
                data += conn.sock.recv(decrypted)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        if data:
            self.consider(conn, data)
        else:  # the client has ended the connection
            self.leave_poller(conn)
            self.worker.drop(conn)

    def consider(self, conn: Connection, data: bytes) -> None:
        """Let a request be answered in this turn, or give it to a thread."""
        request, rest = self.heads.remembered.get(data), b""  # mostly one whole head
        if request is None:
            end = data.find(END) + len(END)
            if end >= len(END):
                request, rest = self.heads.read(data[:end]), data[end:]
        if (
            request is None
            or not self.worker.alive
            or response_cache.find(request, conn.client[0], sends_files=True) is None
        ):
            self.hand_over(conn, data, request)
            return
        self.heads.remember(data[: len(data) - len(rest)], request)
        self.turn.append((conn, data, request, rest))
        conn.is_in_turn = True
        if not conn.is_new:
            conn.timeout = self.new_timeout()
            self.worker.keepalived_conns.renew(conn)

    def consider_next(self, conn: Connection, data: bytes) -> None:
        """Let requests that a thread has read have their turn."""
        conn.inbox = data
        self.unfinished.append(conn)

    def go_on(self) -> None:
        """Let the next requests of pipelines have their turn."""
        unfinished, self.unfinished = self.unfinished, []
        for conn in unfinished:
            if not conn.is_open:
                continue
            if conn.is_http2:
                self.http2.go_on(conn)
                continue
            data, conn.inbox = conn.inbox, b""
            if data:
                self.consider(conn, data)

    def hand_over(self, conn: Connection, data: bytes, request: PlainRequest | None) -> None:
        """Give a connection to a thread, with the bytes of its next requests."""
        self.leave_poller(conn)
        conn.plain_request = request
        conn.init()  # without TLS there is nothing to wait for, and with TLS the first request has done it
        conn.parser.unreader.unread(data)
        conn.data_ready = True
        self.worker.enqueue_req(conn)

    def new_timeout(self) -> float:
        """Return until when a connection waits for its next request; not for long while the worker stops."""
        seconds = self.keepalive if self.worker.alive else min(self.keepalive, STOP_KEEPALIVE_LINGER)
        return time.monotonic() + seconds

    def listen_to(self, conn: Connection) -> None:
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.worker.on_client_socket_readable, conn))

    def leave_poller(self, conn: Connection) -> None:
        self.poller.unregister(conn.sock)
        self.leave_queue(conn)

    def leave_queue(self, conn: Connection) -> None:
        if conn.is_new:
            self.worker.pending_conns.remove(conn)
            conn.is_new = False
        else:
            self.worker.keepalived_conns.remove(conn)

    # --- Answering ------------------------------------------------------------------------------------------------

    def end_turn(self) -> None:
        """Answer the requests of this turn, as soon as the feed has caught up."""
        self.loop_feed.expire()
        if self.unfinished:
            self.go_on()
        if self.turn or self.http2.turn:
            turn, self.turn = self.turn, []
            http2_turn, self.http2.turn = self.http2.turn, []
            self.loop_feed.catch_up(partial(self.answer_all, turn, http2_turn))

    def answer_all(self, turn: Sequence[Turn], http2_turn: Sequence[Http2Turn], is_true: bool) -> None:
        """Answer the requests of a turn, or give them to threads if the feed could not catch up."""
        self.begin_second(int(time.time()))
        for conn, data, request, rest in turn:
            if not conn.is_open:  # it had to make room
                continue
            conn.is_in_turn = False
            if conn.is_parked:
                conn.is_parked = False
                self.listen_to(conn)
            may_answer = is_true and self.unsent <= MAX_UNSENT
            answer = response_cache.find(request, conn.client[0], sends_files=True) if may_answer else None
            if answer is None or not self.answer(conn, request, answer, rest):
                self.hand_over(conn, data, request)
        self.http2.answer_all(http2_turn, is_true=is_true)
        if self.sent:
            answers_sent.add(amount=self.sent)
            self.sent = 0

    def begin_second(self, second: int) -> None:
        """Forget the first lines with an older date."""
        if second != self.second:
            self.second = second
            self.first_lines.clear()
            self.http2.begin_second(second)

    def answer(self, conn: Connection, request: PlainRequest, answer: KeptAnswer, rest: bytes) -> bool:
        """Answer a request, and as many of those in `rest` as one turn has; return False if a thread has to."""
        body = self.body_of(request, answer)
        if body is None:
            return False
        keeps_alive = request.keeps_alive and self.keepalive > 0
        parts = self.parts_of(conn, request, answer, body[0])
        for _ in range(MAX_ANSWERS - 1):
            end = rest.find(END) + len(END)
            if not keeps_alive or body[1] or end < len(END):
                break
            next_request = self.heads.read(rest[:end])
            next_answer = next_request and response_cache.find(next_request, conn.client[0], sends_files=True)
            next_body = next_request and next_answer and self.body_of(next_request, next_answer)
            if not next_request or not next_answer or not next_body:
                break
            request, answer, body, rest = next_request, next_answer, next_body, rest[end:]
            keeps_alive = request.keeps_alive
            parts += self.parts_of(conn, request, answer, body[0])
        conn.keeps_alive = keeps_alive
        conn.inbox = rest if keeps_alive else b""
        self.send_answers(conn, b"".join(parts), body[1])
        return True

    def send_answers(self, conn: Connection, data: bytes, body: bytes | OpenFile | None) -> None:
        """Send these bytes and a large body, as the client takes them."""
        try:
            sent = send(conn, data, has_more=isinstance(body, OpenFile))
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except OSError:
            if isinstance(body, OpenFile):
                self.close_file(body)
            self.leave_poller(conn)
            self.worker.drop(conn)
            return
        if sent < len(data) or body:
            self.begin_sending(conn, memoryview(data)[sent:], body)
        else:
            self.finish(conn)

    def body_of(self, request: PlainRequest, answer: KeptAnswer) -> tuple[bytes, bytes | OpenFile | None] | None:
        """Return what ends an answer: its last lines with a small body, and a large one; None if a thread has to."""
        file = answer.file
        if request.is_head:
            return (answer.after_id, None) if file is None or file.is_whole() else None
        if file is None:
            return answer.rest, answer.large_body or None
        if file.size <= SMALL_FILE:
            content = file.read()
            return None if content is None else (answer.after_id + content, None)
        opened = file.open() if self.open_files < MAX_OPEN_FILES and file.size <= MAX_FILE else None
        if opened is None:
            return None
        self.open_files += 1
        return answer.after_id, opened

    def parts_of(self, conn: Connection, request: PlainRequest, answer: KeptAnswer, end: bytes) -> list[bytes]:
        self.count(conn, request, answer)
        first = (answer.status, request.minor_version, request.keeps_alive and self.keepalive > 0)
        lines = self.first_lines.get(first) or self.first_lines_of(*first)
        return [lines, answer.before_id, self.id_for(conn, request), end]

    def count(self, conn: Connection, request: PlainRequest, answer: KeptAnswer) -> None:
        """Count an answer in all figures in which the ordinary way would."""
        self.sent += 1
        response_cache.count(request, answer, conn.client[0])

    def id_for(self, conn: Connection, request: PlainRequest) -> bytes:
        """Return the id of a request, which a proxy may have chosen."""
        if request.request_id and conn.is_proxy and REQUEST_ID.fullmatch(request.request_id):
            return request.request_id
        return self.new_id()

    def first_lines_of(self, status: str, minor_version: int, keeps_alive: bool) -> bytes:
        """Return the lines that gunicorn writes before those of the application."""
        connection = "keep-alive" if keeps_alive else "close"
        lines = f"HTTP/1.{minor_version} {status}\r\nServer: {SERVER}\r\nDate: {http_date(self.second)}\r\n"
        self.first_lines[status, minor_version, keeps_alive] = result = f"{lines}Connection: {connection}\r\n".encode()
        return result

    def new_id(self) -> bytes:
        if not self.ids:
            digits = token_hex(ID_LENGTH // 2 * IDS_AT_ONCE).encode()
            self.ids = [digits[start : start + ID_LENGTH] for start in range(0, len(digits), ID_LENGTH)]
        return self.ids.pop()

    # --- Sending --------------------------------------------------------------------------------------------------

    def finish(self, conn: Connection) -> None:
        """Let a connection wait for its next request, or end it."""
        if not conn.keeps_alive:
            self.leave_poller(conn)
            self.worker.linger(conn)
            return
        if conn.is_new:
            self.leave_queue(conn)
            self.worker.keepalived_conns.append(conn)
            conn.timeout = self.new_timeout()
            self.poller.modify(conn.sock, selectors.EVENT_READ, partial(self.worker.on_client_socket_readable, conn))
        if conn.inbox:
            self.unfinished.append(conn)

    def begin_sending(self, conn: Connection, rest: memoryview, body: bytes | OpenFile | None) -> None:
        """Send the rest of an answer as the client takes it."""
        self.leave_queue(conn)
        if rest:
            conn.outbox.append(rest)
        if isinstance(body, OpenFile):
            conn.outgoing_file = body
        elif body:
            conn.outbox.append(memoryview(body))
        self.unsent += sum(map(len, conn.outbox))
        conn.begin_response()
        conn.stalls_at = time.monotonic() + STALL_SECONDS
        self.sending[conn] = None
        self.poller.modify(conn.sock, selectors.EVENT_WRITE, partial(self.on_writable, conn))
        self.on_writable(conn)

    def on_writable(self, conn: Connection, client: Any = None) -> None:
        try:
            self.send_more(conn)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            self.stop_sending(conn)
            return
        conn.stalls_at = time.monotonic() + STALL_SECONDS
        if conn.outbox or conn.outgoing_file:
            return
        del self.sending[conn]
        conn.taken = None
        conn.timeout = self.new_timeout()
        self.worker.keepalived_conns.append(conn)
        self.poller.modify(conn.sock, selectors.EVENT_READ, partial(self.worker.on_client_socket_readable, conn))
        self.finish(conn)

    def send_more(self, conn: Connection) -> None:
        """Send what a connection takes now of its answer. Raises `OSError`, also if it takes nothing."""
        file = conn.outgoing_file
        if file and conn.is_tls and not conn.outbox:
            conn.outbox.append(memoryview(file.read()))
            self.unsent += len(conn.outbox[0])
        if conn.outbox:
            sent = send(conn, conn.outbox[0], has_more=file is not None)
            self.unsent -= sent
            part = conn.outbox.popleft()[sent:]
            if part:
                conn.outbox.appendleft(part)
        elif file:
            file.send(conn.sock)
        if file and not conn.outbox and not file.has_more():
            self.close_file(file)
            conn.outgoing_file = None

    def close_file(self, file: OpenFile) -> None:
        file.close()
        self.open_files -= 1

    def stop_sending(self, conn: Connection) -> None:
        """End a connection in the middle of an answer."""
        if conn.is_http2:
            self.http2.lose(conn, None)
            return
        self.poller.unregister(conn.sock)
        del self.sending[conn]
        self.unsent -= sum(map(len, conn.outbox))
        conn.outbox.clear()
        if conn.outgoing_file:
            self.close_file(conn.outgoing_file)
            conn.outgoing_file = None
        self.worker.drop(conn)

    def stop_late(self, now: float) -> None:
        """End connections whose clients take their answers too slowly."""
        for conn in list(self.sending):
            if conn.stalls_at < now or conn.is_late(now):
                self.stop_sending(conn)
