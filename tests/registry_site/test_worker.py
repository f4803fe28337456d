"""Requests that never reach a view, and peers that are slow."""

import json
import os
import re
import selectors
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest
from gunicorn.config import Config

from registry_site.server.worker import Worker
from tests.support import packing
from tests.support.concurrency import wait_until
from tests.support.servers import Server

pytestmark = [pytest.mark.database_independent, pytest.mark.long]

SERVER_SETTINGS = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "2"}


def send(server: Server, data: bytes, finish: bool = True) -> tuple[str, bytes]:
    """Send bytes, and return the head and the body of the response."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=40) as peer:
        peer.sendall(data)
        if finish:
            peer.shutdown(socket.SHUT_WR)
        response = b"".join(iter(lambda: peer.recv(65536), b""))
    head, _, body = response.partition(b"\r\n\r\n")
    return head.decode(), body


PUBLISH = b"PUT /api/v1/crates/new HTTP/1.1\r\nHost: 127.0.0.1\r\n"


def test_refusals_before_the_views_are_json(server: Server) -> None:
    statuses = {
        b"GARBAGE\r\n\r\n": "400",
        PUBLISH + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef": "400",
        PUBLISH + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": "400",
        PUBLISH + b"Content-Length: -5\r\n\r\n": "400",
        PUBLISH + b"Content-Length: " + b"9" * 400 + b"\r\n\r\nabc": "400",
        PUBLISH + b"Content-Length: 1000000000000\r\n\r\nabc": "413",
        PUBLISH + b"Transfer-Encoding: xchunked\r\n\r\n": "501",
        PUBLISH + b"Authorization: " + b"a" * 20_000 + b"\r\n\r\n": "431",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n": "414",
        PUBLISH + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n": "401",
        PUBLISH + b"Content-Length: 100\r\n\r\nabc": "401",
    }
    for data, status in statuses.items():
        head, body = send(server, data)
        assert (data, head.split()[1]) == (data, status)
        assert set(json.loads(body)) == {"errors"}
        assert re.search("(?m)^Cache-Control: .*no-store", head), data


def test_query_of_failed_request_is_not_logged() -> None:
    """A query can hold a token, and gunicorn logs the URI of a request that fails unexpectedly."""
    lines: list[str] = []
    worker = object.__new__(Worker)
    worker.cfg = Config()
    worker.log = SimpleNamespace(
        exception=lambda text, *values: lines.append(text % values), access=lambda *values: None
    )
    request = SimpleNamespace(uri="/me?token=hunter22", method="GET", query="", version=(1, 1), headers=[], body=None)
    client, peer = socket.socketpair()
    with client, peer:
        worker.handle_error(request, client, ("127.0.0.1", 1), RuntimeError("crash"))
        assert peer.recv(65536).startswith(b"HTTP/1.1 500 Internal Server Error")
    assert lines == ["Error handling request GET /me"]


def test_worker_stops_if_asked_right_after_the_fork(server: Server) -> None:
    (former,) = server.workers()
    os.kill(former, signal.SIGKILL)
    end = time.monotonic() + 30
    while not (workers := server.workers()) or workers == [former]:
        assert time.monotonic() < end  # without a sleep, which would see the new worker too late
    for number in (signal.SIGSTOP, signal.SIGTERM, signal.SIGCONT):
        os.kill(workers[0], number)
    wait_until(lambda: server.workers() not in ([], workers))
    server.wait_until_healthy()


def test_event_of_an_ended_connection_is_dropped() -> None:
    """The main loop may end a connection while an event of it waits; a second end would stop the worker."""
    worker = object.__new__(Worker)
    worker.poller = selectors.DefaultSelector()
    pairs = [socket.socketpair() for _ in range(2)]
    ended: list[socket.socket] = []

    def end_both(_: socket.socket) -> None:
        for wire, _peer in pairs:
            worker.poller.unregister(wire)
            ended.append(wire)
            wire.close()

    for wire, peer in pairs:
        worker.poller.register(wire, selectors.EVENT_READ, end_both)
        peer.sendall(b"x")
    worker.dispatch_events(1)
    assert len(ended) == 2
    worker.poller.close()
    for _, peer in pairs:
        peer.close()


def test_endless_bodies_do_not_occupy_threads(server: Server) -> None:
    paths = (b"/api/v1/crates/new", b"/health", b"/nothing", b"/auth")
    peers = [socket.create_connection(("127.0.0.1", server.port), timeout=40) for _ in paths]
    for peer, path in zip(peers, paths, strict=True):
        peer.sendall(b"PUT " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000000\r\n\r\nabc")
    assert [peer.recv(100).split()[1] for peer in peers] == [b"413", b"413", b"404", b"413"]
    head, _ = send(server, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", finish=False)
    assert head.split()[1] == "200"
    for peer in peers:
        peer.close()


def test_empty_chunked_body_is_an_empty_body(server: Server) -> None:
    """`cargo yank --undo` of cargo 1.96 sends one."""
    token = server.sign_up("alice")
    version = f"/api/v1/crates/demo/1.0.0/unyank HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n"
    unyank = f"PUT {version}Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    published = Request(f"{server.url}/api/v1/crates/new", packing.body(), {"Authorization": token}, method="PUT")
    with urlopen(published) as response:
        assert response.status == 200
    statuses = {
        b"0\r\n\r\n": "200",
        b"0;extension=1\r\nX-Sum: 1\r\n\r\n": "200",
        b"2\r\n{}\r\n0\r\n\r\n": "411",
        b"x\r\n": "400",
        b"0\r\nbad trailer\r\n\r\n": "400",
        b"": "400",
    }
    heads = {chunks: send(server, unyank + chunks)[0] for chunks in statuses}
    assert {chunks: head.split()[1] for chunks, head in heads.items()} == statuses


@contextmanager
def begun(server: Server, head: bytes) -> Iterator[socket.socket]:
    """Send the head of a request, and give the server time to answer before the body comes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=40) as peer:
        peer.sendall(head)
        time.sleep(0.2)
        yield peer


def read_all(peer: socket.socket) -> bytes:
    return b"".join(iter(lambda: peer.recv(65536), b""))


def test_refused_upload_gets_its_answer_after_the_body(server: Server) -> None:
    """A client that reads only after it has sent all sees the refusal, and sends nothing else over the connection."""
    for framing in (b"Content-Length: 9000000\r\n", b"Transfer-Encoding: chunked\r\n"):
        with begun(server, PUBLISH + framing + b"\r\n") as peer:
            peer.sendall(b"895440\r\n" if b"chunked" in framing else b"")
            peer.sendall(b"x" * 9_000_000)
            answer = read_all(peer)
        assert answer.startswith(b"HTTP/1.1 401")
        assert b"\r\nConnection: close\r\n" in answer
        assert b"errors" in answer


def test_short_body_that_nobody_reads_keeps_the_connection(server: Server) -> None:
    with begun(server, PUBLISH + b"Content-Length: 3\r\n\r\nabc") as peer:
        peer.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        answers = read_all(peer)
    assert answers.startswith(b"HTTP/1.1 401")
    assert b'{"status": "ok"' in answers


def test_body_is_requested_once_a_view_reads(server: Server) -> None:
    with begun(server, PUBLISH + b"Content-Length: 9000000\r\nExpect: 100-continue\r\n\r\n") as peer:
        assert read_all(peer).startswith(b"HTTP/1.1 401")
    login = b"POST /ktra/api/v1/login/nobody HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with begun(server, login + b"Connection: close\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n") as peer:
        assert peer.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(b"{}")
        assert read_all(peer).startswith(b"HTTP/1.1 400")


def test_health_answers_to_any_host(server: Server) -> None:
    for path, status in (("/health", "200"), ("/ready", "200"), ("/", "400")):
        request = f"GET {path} HTTP/1.1\r\nHost: 10.0.0.7:8000\r\nConnection: close\r\n\r\n"
        assert send(server, request.encode(), finish=False)[0].split()[1] == status


def test_head_requests_log_no_warning(server: Server) -> None:
    for path in ("/health", "/index/config.json", "/docs/api", "/static/registry_site/page.css", "/nothing"):
        answers = [
            send(server, f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode(), False)
            for method in ("GET", "HEAD")
        ]
        assert answers[0][0].split("\r\n")[0] == answers[1][0].split("\r\n")[0]
        assert (path, bool(answers[0][1]), answers[1][1]) == (path, True, b"")
    assert "no-body response" not in server.log.read_text()


def test_slow_upload_is_served(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=40) as peer:
        peer.sendall(b"POST /ktra/api/v1/login/nobody HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n")
        peer.sendall(b"Content-Type: application/json\r\nContent-Length: 23\r\n\r\n")
        for part in (b'{"password":', b'"secret12"', b"}"):
            time.sleep(1)
            peer.sendall(part)
        response = b"".join(iter(lambda: peer.recv(65536), b""))
    assert response.split()[1] == b"401"


def test_silent_peers_do_not_occupy_the_threads(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(2)]  # one for each thread
    for peer in silent:
        peer.sendall(b"GET /hea")
    time.sleep(0.5)
    head, _ = send(server, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", finish=False)
    assert head.split()[1] == "200"
    for peer in silent:
        peer.close()
