"""A client for HTTP/2 that sends whatever it is told, one frame or many at once, and notes what each stream gets."""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    SettingsAcknowledged,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes

from tests.support.servers import Server

CONFIGURATION = H2Configuration(
    header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
)
OF_EACH_ANSWER = ("date", "x-request-id")


@dataclass
class Answer:
    """What a stream got, without the headers that each answer has for itself."""

    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    end: str = ""

    @property
    def status(self) -> str:
        return dict(self.headers).get(":status", "")


class Http2Client:
    """A connection, and the answers by their streams."""

    def __init__(self, server: Server, *, window: int = 65_535) -> None:
        context = server.tls()
        assert context is not None
        context.set_alpn_protocols(["h2"])
        peer = socket.create_connection(("127.0.0.1", server.port), timeout=40)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.authority = f"127.0.0.1:{server.port}"
        self.wire = context.wrap_socket(peer, server_hostname="127.0.0.1")
        self.h2 = H2Connection(CONFIGURATION)
        self.h2.local_settings = type(self.h2.local_settings)(
            client=True, initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.INITIAL_WINDOW_SIZE: window}
        )
        self.is_acknowledged = False
        self.h2.initiate_connection()
        self.answers: dict[int, Answer] = {}
        self.resets: dict[int, str] = {}
        self.end = ""  # of the connection
        self.receive_until(lambda: self.is_acknowledged)  # until then h2 takes the settings for older ones

    def __enter__(self) -> "Http2Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.wire.close()

    def send(self, data: bytes) -> None:
        """Send what is queued, and then bytes that h2 does not know of."""
        self.flush()
        self.wire.sendall(data)

    def flush(self) -> None:
        self.wire.sendall(self.h2.data_to_send())

    def begin(self, path: str, *fields: tuple[str, str], method: str = "GET", ended: bool = True) -> int:
        """Queue the head of a request, and return its stream."""
        stream = self.h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path)]
        self.h2.send_headers(stream, [*head, *fields], end_stream=ended)
        self.answers[stream] = Answer()
        return stream

    def get(self, path: str, *fields: tuple[str, str], method: str = "GET") -> Answer:
        """Ask, and wait for the answer."""
        stream = self.begin(path, *fields, method=method)
        self.wait_for([stream])
        return self.answers[stream]

    def wait_for(self, streams: Sequence[int]) -> None:
        """Send what is queued, and read until these streams or the connection have ended."""
        self.receive_until(lambda: all(self.answers[stream].end for stream in streams))

    def receive_until(self, is_over: Callable[[], bool]) -> None:
        self.flush()
        while not self.end and not is_over():
            self.receive()

    def receive(self) -> None:
        data = self.wire.recv(65_536)
        if not data:
            self.end = self.end or "closed"
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, ConnectionTerminated):
                self.end = self.end or f"goaway {int(event.error_code or 0)}"
            elif isinstance(event, SettingsAcknowledged):
                self.is_acknowledged = True
            elif answer := self.answers.get(getattr(event, "stream_id", None) or 0):
                self.note(event, answer)
        if not self.end:
            self.flush()

    def note(self, event: Event, answer: Answer) -> None:
        if isinstance(event, ResponseReceived):
            headers = [(str(name), str(value)) for name, value in event.headers]
            answer.headers = [field for field in headers if field[0] not in OF_EACH_ANSWER]
        elif isinstance(event, DataReceived):
            answer.body += event.data
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            answer.end = "end"
        elif isinstance(event, StreamReset):
            answer.end = self.resets[event.stream_id] = f"reset {int(event.error_code)}"
