"""What never reaches a view: peers that do not speak HTTP, or do not go on."""

import json
import socket
import time

import pytest

from tests.support.servers import Server

pytestmark = pytest.mark.database_independent

SERVER_SETTINGS = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "2"}


def say(server: Server, data: bytes, finish: bool = True) -> tuple[str, bytes]:
    """Everything that the server answers to some bytes → (status line, body)."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=40) as peer:
        peer.sendall(data)
        if finish:
            peer.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.partition(b"\r\n")[0].decode(), body


PUBLISH = b"PUT /api/v1/crates/new HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GARBAGE\r\n\r\n", "400"),
        (PUBLISH + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", "400"),
        (PUBLISH + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        (PUBLISH + b"Content-Length: -5\r\n\r\n", "400"),
        (PUBLISH + b"Transfer-Encoding: xchunked\r\n\r\n", "501"),
        (PUBLISH + b"Authorization: " + b"a" * 20_000 + b"\r\n\r\n", "431"),
        (PUBLISH + b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n", "401"),
        (PUBLISH + b"Content-Length: 100\r\n\r\nabc", "401"),
    ],
    ids=[
        "no HTTP",
        "two lengths",
        "length and chunks",
        "negative",
        "unknown coding",
        "long header",
        "chunked",
        "short",
    ],
)
def test_refusals_below_the_views_are_json_too(server: Server, data: bytes, status: str) -> None:
    line, body = say(server, data)
    assert line.split()[1] == status
    assert set(json.loads(body)) == {"errors"}


def test_uploads_may_be_slower_than_a_stall_of_some_seconds(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=40) as peer:
        peer.sendall(b"POST /ktra/api/v1/login/nobody HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n")
        peer.sendall(b"Content-Type: application/json\r\nContent-Length: 23\r\n\r\n")
        for part in (b'{"password":', b'"secret12"', b"}"):
            time.sleep(1)
            peer.sendall(part)
        answer = b"".join(iter(lambda: peer.recv(65536), b""))
    assert answer.split()[1] == b"401"


def test_peers_that_stop_in_the_head_do_not_keep_the_threads(server: Server) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(4)]
    for peer in silent:
        peer.sendall(b"GET /hea")
    time.sleep(0.5)
    line, _ = say(server, b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", finish=False)
    assert line.split()[1] == "200"
    for peer in silent:
        peer.close()
