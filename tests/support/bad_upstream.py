"""An upstream that does as it is told: a sparse registry on loopback, with every fault that one can have."""

import gzip
import hashlib
import json
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET, socket
from typing import Any, TypeVar

from crates.names import index_path


@dataclass(frozen=True)
class Request:
    """One that came; `headers` by their names in lower case, `peer` is the port that it came from."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: int


@dataclass(frozen=True)
class Exchange:
    """A request and the wire to answer it on."""

    request: Request
    wire: socket
    ended: threading.Event  # set when the upstream is, so that nobody hangs longer than that

    def send(self, data: bytes) -> None:
        self.wire.sendall(data)

    def head(self, status: int = 200, **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Told", *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def drip(self, data: bytes) -> None:
        """Byte after byte, without end."""
        while not self.ended.wait(0.02):
            self.send(data)


Behaviour = Callable[[Exchange], None]


def named(name: str, behaviour: Behaviour) -> Behaviour:
    """As pytest shows it, and tables do."""

    def answer(exchange: Exchange) -> None:
        behaviour(exchange)

    answer.__name__ = name
    return answer


class Close(Exception):
    """A behaviour is at its end, and so is the connection."""


def file(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    """The bytes; with an `ETag` or a `Last_Modified`, a 304 for whoever has them."""

    def answer(exchange: Exchange) -> None:
        asked = exchange.request.headers
        known = {"etag": asked.get("if-none-match"), "last-modified": asked.get("if-modified-since")}
        given = {name.lower().replace("_", "-"): text for name, text in headers.items()}
        if any(known[name] and known[name] == given.get(name) for name in known):
            exchange.head(304, **headers)
            return
        exchange.head(status, Content_Length=str(len(body)), **headers)
        exchange.send(body)

    answer.__name__ = f"{status}-{len(body)}-bytes"  # as pytest shows it
    return answer


def refusal(status: int) -> Behaviour:
    return named(str(status), file(b"no", status))


def redirect(place: str, status: int = 302) -> Behaviour:
    return named(f"redirect-to-{place}", file(b"there", status, Location=place))


def redirect_to_itself(exchange: Exchange) -> None:
    redirect(exchange.request.path)(exchange)


def hang(exchange: Exchange) -> None:
    """Never a byte."""
    exchange.ended.wait()
    raise Close


def dripping_head(exchange: Exchange) -> None:
    """A header that never ends."""
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    exchange.drip(b"x")
    raise Close


def dripping_body(exchange: Exchange) -> None:
    """A byte now and then, of many that are promised."""
    exchange.head(Content_Length="1000000")
    exchange.drip(b"x")
    raise Close


def endless(exchange: Exchange) -> None:
    """A body without a length and without an end."""
    exchange.head(Connection="close")
    exchange.drip(bytes(16 * 1024))
    raise Close


def endless_chunks(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    exchange.drip(b"4000\r\n" + bytes(0x4000) + b"\r\n")
    raise Close


def close(exchange: Exchange) -> None:
    raise Close


def truncated(body: bytes) -> Behaviour:
    """Half of what its length promises."""
    return named("truncated", halfway(body, close))


def truncated_without_length(body: bytes) -> Behaviour:
    """Half of it, and nobody can tell."""

    def answer(exchange: Exchange) -> None:
        exchange.head(Connection="close")
        exchange.send(body[: len(body) // 2])
        raise Close

    answer.__name__ = "truncated-without-length"
    return answer


def truncated_chunks(body: bytes) -> Behaviour:
    """Half of it as a chunk, and then no other."""

    def answer(exchange: Exchange) -> None:
        half = body[: len(body) // 2]
        exchange.head(Transfer_Encoding="chunked")
        exchange.send(b"%x\r\n%b\r\n" % (len(half), half))
        raise Close

    answer.__name__ = "truncated-chunks"
    return answer


def longer_than_told(body: bytes) -> Behaviour:
    """All of it, and more than its length promises."""

    def answer(exchange: Exchange) -> None:
        exchange.head(Content_Length=str(len(body)))
        exchange.send(body + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore")

    answer.__name__ = "longer-than-told"
    return answer


def packed(body: bytes) -> Behaviour:
    """By gzip, which nobody has asked for."""
    return named("packed", file(gzip.compress(body, mtime=0), Content_Encoding="gzip"))


def nothing_new(exchange: Exchange) -> None:
    """304, whatever was asked."""
    exchange.head(304)


def reset(exchange: Exchange) -> None:
    """The connection breaks."""
    exchange.wire.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    raise Close


def halfway(body: bytes, then: Behaviour) -> Behaviour:
    """Half of what its length promises, and then another behaviour."""

    def answer(exchange: Exchange) -> None:
        exchange.head(Content_Length=str(len(body)))
        exchange.send(body[: len(body) // 2])
        then(exchange)

    answer.__name__ = f"{then.__name__}-halfway"
    return answer


def no_http(exchange: Exchange) -> None:
    exchange.send(b"220 mail.example.org ESMTP\r\n")
    raise Close


class Halfway:
    """Sends half of a body, tells so, and goes on when it may."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.reached, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, exchange: Exchange) -> None:
        half = len(self.body) // 2
        exchange.head(Content_Length=str(len(self.body)))
        exchange.send(self.body[:half])
        self.reached.set()
        self.may_go_on.wait(60)
        exchange.send(self.body[half:])


def line(name: str, version: str, content: bytes, **fields: Any) -> bytes:
    """A line of the index, without its end."""
    usual = {"name": name, "vers": version, "deps": [], "cksum": hashlib.sha256(content).hexdigest(), "features": {}}
    return json.dumps(usual | {"yanked": False} | fields, separators=(",", ":")).encode()


Kind = TypeVar("Kind", bound="BadUpstream")


class BadUpstream:
    """`url` is that of its index; what nobody told it to have is answered with 404."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}/index/"
        self.plan: dict[str, list[Behaviour]] = {}
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.tell("/index/config.json", file(json.dumps({"dl": f"http://{self.host}/dl"}).encode()))

    def tell(self, path: str, *behaviours: Behaviour) -> None:
        """How to answer there: each serves once, and the last for good."""
        with self.lock:
            self.plan[path] = list(behaviours)

    def tell_entry(self, name: str, *behaviours: Behaviour) -> None:
        self.tell(entry_path(name), *behaviours)

    def tell_crate(self, name: str, version: str, *behaviours: Behaviour) -> None:
        self.tell(crate_path(name, version), *behaviours)

    def publish(self, name: str, content: bytes = b"the bytes", version: str = "1.0.0") -> bytes:
        """A crate of one version as it should be → its file in the index."""
        body = line(name, version, content) + b"\n"
        self.tell_entry(name, file(body))
        self.tell_crate(name, version, file(content))
        return body

    def counts(self) -> Counter[str]:
        """How often each path was asked for."""
        return Counter(request.path for request in list(self.requests))

    def asked_for(self, name: str) -> int:
        """How often for the index file of a crate."""
        return self.counts()[entry_path(name)]

    def asked(self, path: str) -> list[Request]:
        return [request for request in list(self.requests) if request.path == path]

    def chosen(self, request: Request) -> Behaviour:
        """How to answer it."""
        with self.lock:
            self.requests.append(request)
            behaviours = self.plan.get(request.path, [refusal(404)])
            return behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]


def entry_path(name: str) -> str:
    return f"/index/{index_path(name)}"


def crate_path(name: str, version: str = "1.0.0") -> str:
    return f"/dl/{name}/{version}/download"


class _Threads(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    block_on_close = False
    daemon_threads = True
    request_queue_size = 128
    upstream: BadUpstream


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Threads)
        upstream = self.server.upstream
        with suppress(OSError, Close):
            while (request := self._request()) is not None:
                upstream.chosen(request)(Exchange(request, self.connection, upstream.ended))

    def _request(self) -> Request | None:
        words = self.rfile.readline().decode("latin-1").split()
        if len(words) != 3:
            return None
        headers = {}
        while text := self.rfile.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", "0")))
        return Request(words[0], words[1], headers, body, self.client_address[1])


@contextmanager
def upstream() -> Iterator[BadUpstream]:
    """One on a free port."""
    with serving(BadUpstream) as running:
        yield running


@contextmanager
def serving(make: Callable[[int], Kind]) -> Iterator[Kind]:
    """One of any kind, made for a free port."""
    with _Threads(("127.0.0.1", 0), _Handler) as server:
        server.upstream = made = make(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            made.ended.set()
            server.shutdown()
            thread.join()
