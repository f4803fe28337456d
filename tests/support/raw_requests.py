"""Requests to a running server as bytes, as clients send them, and its answers as bytes."""

import re
import socket
import time
from contextlib import suppress
from urllib.request import Request, urlopen

from tests.support import packing
from tests.support.servers import Server

METRICS_TOKEN = "metrics-token"
SETTINGS = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "2", "REGISTRY_METRICS_TOKEN": METRICS_TOKEN}
LOCAL = "Host: 127.0.0.1"
OWN_LINES = re.compile(rb"(?m)^(Date|X-Request-ID): .*\r$")  # which no two answers have in common


def publish(server: Server, token: str, name: str, version: str = "1.0.0", *, content: bytes = b"") -> None:
    packed = packing.crate(name, version, files={"content": content} if content else None)
    body = packing.frame(packing.metadata(name, version), packed)
    request = Request(f"{server.url}/api/v1/crates/new", body, {"Authorization": token}, method="PUT")
    with urlopen(request, context=server.tls()) as response:
        assert response.status == 200


def connect(server: Server) -> socket.socket:
    peer = socket.create_connection(("127.0.0.1", server.port), timeout=40)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = server.tls()
    return tls.wrap_socket(peer, server_hostname="127.0.0.1") if tls else peer


def exchange(server: Server, *pieces: bytes) -> bytes:
    """Send pieces, and return all that comes until the server ends the connection."""
    with connect(server) as peer:
        with suppress(OSError):  # it was refused before its end
            for piece in pieces:
                peer.sendall(piece)
                time.sleep(0.001 if len(pieces) > 1 else 0)
            if server.scheme == "http":
                peer.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: peer.recv(65536), b""))


def get(server: Server, path: str, *lines: str) -> tuple[bytes, bytes]:
    """Return the head and the body of a response."""
    answer = exchange(server, head(path, LOCAL, "Connection: close", *lines))
    first, _, body = answer.partition(b"\r\n\r\n")
    return first, body


def quick_answers(server: Server) -> int:
    """Return how many answers the server has sent from memory."""
    request = Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    with urlopen(request, context=server.tls()) as response:
        (count,) = re.findall(rb"(?m)^entrepot_quick_answers_total ([0-9]+)", response.read())
    return int(count)


def etag_of(server: Server, path: str) -> str:
    match = re.search(r"(?m)^ETag: (.*)\r$", get(server, path)[0].decode())
    return match[1] if match else ""


def head(path: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    first = (f"{method} {path} HTTP/{version}", *lines)
    return "".join(f"{line}\r\n" for line in (*first, "")).encode("latin-1")
