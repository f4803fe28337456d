"""Answers over HTTP/2 from a worker's memory: the same as the ordinary way gives, and no burden to others."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from h2.settings import SettingCodes
from hyperframe.frame import ContinuationFrame, DataFrame, GoAwayFrame, HeadersFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from crates.names import index_path
from tests.support.concurrency import wait_until
from tests.support.http2_client import Answer, Http2Client
from tests.support.raw_requests import METRICS_TOKEN, publish, quick_answers
from tests.support.servers import Server, certificate, running, running_with

pytestmark = pytest.mark.long

NAMES = ("a", "abc", "serde")
LOGIN = "/ktra/api/v1/login/nobody"
PATHS = ("/index/config.json", "/ready", *(f"/index/{index_path(name)}" for name in NAMES))
SERDE = PATHS[-1]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one thread, which one slow client could keep, and a few crates."""
    directory = tmp_path_factory.mktemp("http2")
    options = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "1", "REGISTRY_METRICS_TOKEN": METRICS_TOKEN}
    with running(directory / "data", **options, **certificate(directory / "tls")) as server:
        token = server.sign_up("alice")
        for name in NAMES:
            publish(server, token, name)
        for path in PATHS:
            wait_until(lambda: is_kept(server, path))  # noqa: B023
        yield server


def is_kept(server: Server, path: str) -> bool:
    """Ask, and tell whether the answers come from memory; those from before a publish are dropped.

    On PostgreSQL two readers drop them, one after the other.
    """
    before = quick_answers(server)
    with Http2Client(server) as client:
        for _ in range(3):
            client.get(path)
    return quick_answers(server) >= before + 3


# --- The same answers ---------------------------------------------------------------------------------------------

FIELDS: Sequence[tuple[str, str]] = (
    *(("accept", "*/*"), ("accept-encoding", "gzip"), ("user-agent", "x"), ("cache-control", "no-cache")),
    *(("cargo-protocol", "version=1"), ("range", "bytes=0-3"), ("te", "trailers"), ("cookie", "a=b")),
    *(("accept", "text/html"), ("if-none-match", "*"), ("if-none-match", '"0"'), ("authorization", "nonsense")),
    *(("x", "y" * 5000), ("te", "gzip"), ("connection", "close"), ("Upper", "x"), ("user-agent", " x"), ("", "x")),
)
ODD_PATHS = ("/index/config.json?", "/index//config.json", "/index/se/rd/none", "/", "*", "x", "/health#x", "/%69ndex")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(PATHS), st.sampled_from(["GET", "GET", "HEAD"]), st.booleans()),
        st.tuples(st.just("ask_oddly"), st.sampled_from(PATHS + ODD_PATHS), st.sampled_from(FIELDS)),
        st.tuples(st.just("ask_without_an_end"), st.sampled_from(PATHS)),
        st.tuples(st.just("log_in"), st.integers(0, 3)),
        st.tuples(st.just("reset"), st.integers(0, 5)),
        st.tuples(st.just("set_window"), st.sampled_from([0, 1, 100, 65_535, 2**20])),
        st.tuples(st.sampled_from(["ping", "send"])),
    ),
    min_size=1,
    max_size=12,
)


class Player:
    """Steps over one connection. `fields` are added to each request."""

    def __init__(self, server: Server, client: Http2Client, *fields: tuple[str, str]) -> None:
        self.server, self.client, self.fields = server, client, fields
        self.reset_streams: set[int] = set()

    def ask(self, path: str, method: str, is_known: bool) -> None:
        tags = [("if-none-match", etag(self.server, path))] if is_known else []
        self.client.begin(path, *tags, *self.fields, method=method)

    def ask_oddly(self, path: str, field: tuple[str, str]) -> None:
        self.client.begin(path, field, *self.fields)

    def ask_without_an_end(self, path: str) -> None:
        self.client.h2.end_stream(self.client.begin(path, *self.fields, ended=False))

    def log_in(self, pieces: int) -> None:
        fields = (("content-type", "application/json"), *self.fields)
        stream = self.client.begin(LOGIN, *fields, method="POST", ended=False)
        for _ in range(pieces):
            self.client.h2.send_data(stream, b" " * 10)
            self.client.flush()
        self.client.h2.send_data(stream, b"{}", end_stream=True)

    def reset(self, number: int) -> None:
        stream = 2 * number + 1
        if stream in self.client.answers and stream not in self.reset_streams and not self.client.answers[stream].end:
            self.client.h2.reset_stream(stream)
            self.reset_streams.add(stream)

    def set_window(self, size: int) -> None:
        self.client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: size})

    def ping(self) -> None:
        self.client.h2.ping(bytes(8))

    def send(self) -> None:
        self.client.flush()

    def answers(self) -> list[Answer]:
        """Return what the streams get that were not reset; if the connection ends, how much comes is chance."""
        self.set_window(2**20)
        streams = [stream for stream in self.client.answers if stream not in self.reset_streams]
        self.client.wait_for(streams)
        return [Answer(end=self.client.end)] if self.client.end else [self.client.answers[stream] for stream in streams]


def play(server: Server, steps: Sequence[tuple[Any, ...]], window: int, *fields: tuple[str, str]) -> list[Answer]:
    with Http2Client(server, window=window) as client:
        player = Player(server, client, *fields)
        for step, *values in steps:
            getattr(player, step)(*values)
        return player.answers()


etags: dict[str, str] = {}


def etag(server: Server, path: str) -> str:
    if path not in etags:
        with Http2Client(server) as client:
            etags[path] = dict(client.get(path).headers).get("etag", '"0"')
    return etags[path]


@settings(max_examples=60)
@given(STEPS, st.sampled_from([0, 100, 65_535]))
def test_both_ways_give_the_same_answers(server: Server, steps: Sequence[tuple[Any, ...]], window: int) -> None:
    """A header that is not known makes a request go the ordinary way, and changes nothing else."""
    assert play(server, steps, window) == play(server, steps, window, ("x-ordinary", "1"))


def test_requests_of_one_connection_are_answered_quickly(server: Server) -> None:
    before = quick_answers(server)
    with Http2Client(server) as client:
        streams = [client.begin(path) for path in PATHS * 10]
        client.wait_for(streams)
        assert {client.answers[stream].status for stream in streams} == {"200"}
    assert quick_answers(server) - before == 50


def test_each_change_counts_at_once(server: Server) -> None:
    token, missed = server.sign_up("bob"), []
    path = f"/index/{index_path('changing')}"
    with Http2Client(server) as client:
        for number in range(5):
            publish(server, token, "changing", f"1.0.{number}")
            missed += [number for _ in range(3) if client.get(path).body.count(b"\n") != number + 1]
    assert missed == []


def test_answers_wait_for_windows_and_come_whole(server: Server) -> None:
    large = "/index/la/rg/large"
    token = server.sign_up("carol")
    for number in range(3):
        publish(server, token, "large", f"1.0.{number}")
    wait_until(lambda: all(is_kept(server, path) for path in (large, SERDE, "/ready")))
    with Http2Client(server) as client:
        expected = client.get(large).body
    before = quick_answers(server)
    with Http2Client(server, window=0) as client:
        streams = [client.begin(path) for path in (large, SERDE, large)]
        client.receive_until(lambda: all(client.answers[stream].headers for stream in streams))
        assert client.get("/ready", method="HEAD").status == "200"
        client.h2.increment_flow_control_window(100, streams[0])
        client.receive_until(lambda: len(client.answers[streams[0]].body) == 100)
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
        client.wait_for(streams)
        assert [client.answers[streams[n]].body == expected for n in (0, 2)] == [True, True]
    assert quick_answers(server) - before == 4


def test_requests_behind_a_slow_one_are_answered(server: Server) -> None:
    with Http2Client(server) as client:
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)  # so that the others have come when it gives the first to its thread
        streams = [client.begin("/api/v1/crates")]
        client.flush()
        streams += [client.begin(path) for path in (SERDE, "/api/v1/crates", SERDE)]
        client.flush()
        os.kill(worker, signal.SIGCONT)
        client.wait_for(streams)
        assert {client.answers[stream].status for stream in streams} == {"200"}


# --- Frames against the rules -------------------------------------------------------------------------------------


def headers(stream: int, block: bytes) -> bytes:
    return HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"]).serialize()


def send_trailers_with_pseudo_headers(client: Http2Client) -> None:
    stream = client.begin(SERDE, ended=False)
    client.h2.send_headers(stream, [(":path", "/")], end_stream=True)


def open_too_many_streams(client: Http2Client) -> None:
    for _ in range(100):
        client.begin(SERDE)
    client.send(headers(201, b"\x82"))


def reset_rapidly(client: Http2Client) -> None:
    for _ in range(300):
        client.h2.reset_stream(client.begin(SERDE))
        client.flush()


def send_a_long_block(client: Http2Client) -> None:
    client.send(HeadersFrame(1, b"", flags=["END_STREAM"]).serialize())
    for _ in range(5):
        client.send(ContinuationFrame(1, bytes(16_000)).serialize())


# What follows on a request whose answer waits for its window, as far as h2 does not know of its stream.
VIOLATIONS = {
    DataFrame(1, b"x").serialize(): "reset 5",
    headers(1, b"\x82"): "goaway 5",
    headers(2, b"\x82"): "goaway 1",
    headers(3, b"\xfe"): "goaway 1",
    headers(3, b""): "goaway 1",
    WindowUpdateFrame(1, 2**31 - 1).serialize() + WindowUpdateFrame(1, 1).serialize(): "reset 3",
    WindowUpdateFrame(1, 2**31 - 1).serialize() + SettingsFrame(0, {4: 1}).serialize(): "goaway 3",
    bytes.fromhex("000004 08 00 00000001 00000000"): "reset 1",
    bytes.fromhex("000003 08 00 00000001 000000"): "goaway 6",
    WindowUpdateFrame(3, 1).serialize(): "goaway 1",
    bytes.fromhex("004001 06 00 00000000"): "goaway 6",
    ContinuationFrame(1, b"").serialize(): "goaway 5",
}


def test_violations_are_refused(server: Server) -> None:
    results = {}
    for data in VIOLATIONS:
        wait_until(lambda: is_kept(server, SERDE))
        with Http2Client(server, window=0) as client, suppress(ConnectionError):
            client.begin(SERDE)
            client.send(data)
            client.receive_until(lambda: 1 in client.resets)
            results[data] = client.end or client.resets[1]
    assert results == VIOLATIONS


@pytest.mark.parametrize(
    ("violate", "end"),
    [
        (send_trailers_with_pseudo_headers, "goaway 1"),
        (open_too_many_streams, "goaway 7"),
        (reset_rapidly, "goaway 11"),
        (send_a_long_block, "goaway 11"),
    ],
)
def test_violating_requests_are_refused(server: Server, violate: Callable[[Http2Client], None], end: str) -> None:
    with Http2Client(server, window=0) as client, suppress(ConnectionError):
        violate(client)
        client.receive_until(lambda: False)
        assert client.end == end


def test_last_answers_come_after_a_graceful_end(server: Server) -> None:
    with Http2Client(server, window=0) as client:
        stream = client.begin(SERDE)
        client.receive_until(lambda: bool(client.answers[stream].headers))
        client.send(GoAwayFrame(0).serialize())
        client.h2.increment_flow_control_window(65_535, stream)
        client.wait_for([stream])
        assert client.answers[stream].end == "end"


# --- No burden to others ------------------------------------------------------------------------------------------


def begin_handshake(server: Server, stack: ExitStack) -> None:
    peer = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
    peer.sendall(b"\x16\x03\x01\x02\x00\x01")


def begin_frame(server: Server, stack: ExitStack) -> None:
    client = stack.enter_context(Http2Client(server))
    client.begin("/api/v1/crates")
    client.send(client.h2.data_to_send()[:-1])


def begin_body(server: Server, stack: ExitStack) -> None:
    send_half_a_body(stack.enter_context(Http2Client(server)))


def send_half_a_body(client: Http2Client) -> None:
    client.h2.send_data(client.begin(LOGIN, ("content-type", "application/json"), method="POST", ended=False), b"{")
    client.flush()


def begin_to_read(server: Server, stack: ExitStack) -> None:
    client = stack.enter_context(Http2Client(server, window=0))
    client.begin(SERDE)
    client.flush()


@pytest.mark.parametrize("begin", [begin_handshake, begin_frame, begin_body, begin_to_read])
def test_slow_peers_take_no_thread(server: Server, begin: Callable[[Server, ExitStack], None]) -> None:
    with ExitStack() as stack:
        for _ in range(10):
            begin(server, stack)
        began = time.monotonic()
        with Http2Client(server) as client:
            assert client.get("/api/v1/crates").status == "200"
        assert time.monotonic() - began < 5  # such a peer has ten seconds or more


def test_client_that_opens_no_window_is_cut_off(tmp_path: Path) -> None:
    changes = "from registry_site.server import http2_answers; http2_answers.STALL_SECONDS = 0.5"
    options = {"REGISTRY_WORKERS": "1", **certificate(tmp_path / "tls")}
    with running_with(changes, tmp_path / "data", **options) as server:
        with Http2Client(server) as client:
            client.get("/ready")
            client.get("/ready")
        with Http2Client(server, window=0) as client:
            client.begin("/ready")
            client.receive_until(lambda: False)
            assert client.end == "goaway 0"


def test_connection_making_room_ends_once(tmp_path: Path) -> None:
    """A second end would stop the worker."""
    changes = "from registry_site.server import worker; bodies = worker.WaitingBodies; "
    changes += "worker.WaitingBodies = lambda _: bodies(2)"  # of which half may wait
    options = {"REGISTRY_WORKERS": "1", **certificate(tmp_path / "tls")}
    with running_with(changes, tmp_path / "data", **options) as server, ExitStack() as stack:
        former, latter = (stack.enter_context(Http2Client(server)) for _ in range(2))
        former.get("/ready")
        send_half_a_body(former)
        former.get("/ready")  # the body has come, too
        (worker,) = server.workers()
        os.kill(worker, signal.SIGSTOP)  # so that both find their requests in one turn
        former.begin("/ready")
        former.flush()
        send_half_a_body(latter)
        os.kill(worker, signal.SIGCONT)
        former.receive_until(lambda: False)
        assert (former.end, latter.get("/ready").status) == ("goaway 11", "200")


def test_renewed_certificate_counts_for_the_next_connection(tmp_path: Path) -> None:
    options = {"REGISTRY_WORKERS": "1", "REGISTRY_METRICS_TOKEN": METRICS_TOKEN, **certificate(tmp_path / "tls")}
    with running(tmp_path / "data", **options) as server:
        certificate(tmp_path / "renewed")
        key = tmp_path / "tls/key.pem"
        old_key = key.read_bytes()
        key.write_text("half of it")
        wait_until(lambda: is_kept(server, "/ready"))
        key.write_bytes(old_key)
        for file in (tmp_path / "renewed").iterdir():
            file.rename(tmp_path / "tls" / file.name)
        with Http2Client(server) as client:  # it trusts the new authority alone
            assert client.get("/ready").status == "200"
