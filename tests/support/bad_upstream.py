"""A scripted upstream: a sparse registry on loopback, with every fault that one can have."""

import gzip
import hashlib
import json
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from socket import SO_LINGER, SOL_SOCKET, create_server, socket
from typing import Any, TypeVar

from crates.names import index_path


@dataclass(frozen=True)
class Request:
    """A request that came. Header names are in lower case; `peer` is the port of the client."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    peer: int


@dataclass(frozen=True)
class Exchange:
    """A request, and the socket for the response."""

    request: Request
    wire: socket
    ended: threading.Event  # set when the upstream stops, so that no behaviour outlives it

    def send(self, data: bytes) -> None:
        self.wire.sendall(data)

    def head(self, status: int = 200, **headers: str) -> None:
        lines = [
            f"HTTP/1.1 {status} Scripted",
            *(f"{name.replace('_', '-')}: {text}" for name, text in headers.items()),
        ]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def drip(self, data: bytes) -> None:
        """Send the same again and again, without end."""
        while not self.ended.wait(0.02):
            self.send(data)


Behaviour = Callable[[Exchange], None]


def named(name: str, behaviour: Behaviour) -> Behaviour:
    """Return the behaviour with a name for the ids of pytest and for tables."""

    def answer(exchange: Exchange) -> None:
        behaviour(exchange)

    answer.__name__ = name
    return answer


class Close(Exception):
    """The end of a behaviour and of its connection."""


def file(body: bytes, status: int = 200, **headers: str) -> Behaviour:
    """Return a behaviour that sends the bytes, or 304 if the request has their `ETag` or `Last_Modified`."""

    def answer(exchange: Exchange) -> None:
        request = exchange.request.headers
        conditions = {"etag": request.get("if-none-match"), "last-modified": request.get("if-modified-since")}
        validators = {name.lower().replace("_", "-"): text for name, text in headers.items()}
        if any(value and value == validators.get(name) for name, value in conditions.items()):
            exchange.head(304, **headers)
            return
        exchange.head(status, Content_Length=str(len(body)), **headers)
        exchange.send(body)

    answer.__name__ = f"{status}-{len(body)}-bytes"
    return answer


def refusal(status: int) -> Behaviour:
    return named(str(status), file(b"no", status))


def redirect(location: str, status: int = 302) -> Behaviour:
    return named(f"redirect-to-{location}", file(b"there", status, Location=location))


def redirect_to_itself(exchange: Exchange) -> None:
    redirect(exchange.request.path)(exchange)


def hang(exchange: Exchange) -> None:
    """Send nothing, ever."""
    exchange.ended.wait()
    raise Close


def dripping_head(exchange: Exchange) -> None:
    """Send a header that never ends."""
    exchange.send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    exchange.drip(b"x")
    raise Close


def dripping_body(exchange: Exchange) -> None:
    """Send a byte now and then, of many that are promised."""
    exchange.head(Content_Length="1000000")
    exchange.drip(b"x")
    raise Close


def endless(exchange: Exchange) -> None:
    """Send a body without a length and without an end."""
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
    """Return a behaviour that sends half of what its length promises."""
    return named("truncated", halfway(body, close))


def truncated_without_length(body: bytes) -> Behaviour:
    """Return a behaviour that sends half, without a length that would show it."""

    def answer(exchange: Exchange) -> None:
        exchange.head(Connection="close")
        exchange.send(body[: len(body) // 2])
        raise Close

    answer.__name__ = "truncated-without-length"
    return answer


def truncated_chunks(body: bytes) -> Behaviour:
    """Return a behaviour that sends half as a chunk, and not the last chunk."""

    def answer(exchange: Exchange) -> None:
        half = body[: len(body) // 2]
        exchange.head(Transfer_Encoding="chunked")
        exchange.send(b"%x\r\n%b\r\n" % (len(half), half))
        raise Close

    answer.__name__ = "truncated-chunks"
    return answer


def longer_than_promised(body: bytes) -> Behaviour:
    """Return a behaviour that sends the body, and more than its length promises."""

    def answer(exchange: Exchange) -> None:
        exchange.head(Content_Length=str(len(body)))
        exchange.send(body + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore")

    answer.__name__ = "longer-than-promised"
    return answer


def gzipped(body: bytes) -> Behaviour:
    """Return a behaviour that compresses the body, although the request does not accept that."""
    return named("gzipped", file(gzip.compress(body, mtime=0), Content_Encoding="gzip"))


def always_not_modified(exchange: Exchange) -> None:
    """Send 304, whatever the request has."""
    exchange.head(304)


def reset(exchange: Exchange) -> None:
    """Reset the connection."""
    exchange.wire.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    raise Close


def halfway(body: bytes, then: Behaviour) -> Behaviour:
    """Return a behaviour that sends half of what its length promises, and then goes on as another."""

    def answer(exchange: Exchange) -> None:
        exchange.head(Content_Length=str(len(body)))
        exchange.send(body[: len(body) // 2])
        then(exchange)

    answer.__name__ = f"{then.__name__}-halfway"
    return answer


def not_http(exchange: Exchange) -> None:
    exchange.send(b"220 mail.example.org ESMTP\r\n")
    raise Close


def after(event: threading.Event, behaviour: Behaviour) -> Behaviour:
    """Return a behaviour that waits for an event, and then goes on as another."""

    def answer(exchange: Exchange) -> None:
        event.wait(60)
        behaviour(exchange)

    return answer


class PausedHalfway:
    """A behaviour that sends half of a body, sets `reached`, and goes on once `may_go_on` is set."""

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
    """Return a line of the index, without its end."""
    usual = {"name": name, "vers": version, "deps": [], "cksum": hashlib.sha256(content).hexdigest(), "features": {}}
    return json.dumps(usual | {"yanked": False} | fields, separators=(",", ":")).encode()


Kind = TypeVar("Kind", bound="BadUpstream")


class BadUpstream:
    """An upstream whose responses are scripted by path; other paths get 404. `url` is that of its index."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.url = f"http://{self.host}/index/"
        self.plan: dict[str, list[Behaviour]] = {}
        self.requests: list[Request] = []
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.script("/index/config.json", file(json.dumps({"dl": f"http://{self.host}/dl"}).encode()))

    def script(self, path: str, *behaviours: Behaviour) -> None:
        """Set the behaviours at a path: each serves one request, and the last all that follow."""
        with self.lock:
            self.plan[path] = list(behaviours)

    def script_index(self, name: str, *behaviours: Behaviour) -> None:
        self.script(index_file_path(name), *behaviours)

    def script_crate(self, name: str, version: str, *behaviours: Behaviour) -> None:
        self.script(crate_path(name, version), *behaviours)

    def publish(self, name: str, content: bytes = b"the bytes", version: str = "1.0.0") -> bytes:
        """Add a crate of one version; return its index file."""
        body = line(name, version, content) + b"\n"
        self.script_index(name, file(body))
        self.script_crate(name, version, file(content))
        return body

    def request_counts(self) -> Counter[str]:
        """Return the number of requests for each path."""
        return Counter(request.path for request in list(self.requests))

    def count_index_requests(self, name: str) -> int:
        """Return the number of requests for the index file of a crate."""
        return self.request_counts()[index_file_path(name)]

    def requests_for(self, path: str) -> list[Request]:
        return [request for request in list(self.requests) if request.path == path]

    def choose_behaviour(self, request: Request) -> Behaviour:
        """Record the request, and return the behaviour that is next for its path."""
        with self.lock:
            self.requests.append(request)
            behaviours = self.plan.get(request.path, [refusal(404)])
            return behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]


def index_file_path(name: str) -> str:
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
                upstream.choose_behaviour(request)(Exchange(request, self.connection, upstream.ended))

    def _request(self) -> Request | None:
        words = self.rfile.readline().decode("latin-1").split()
        if len(words) != 3 or not words[2].startswith("HTTP/"):  # the first bytes of TLS may have three words
            return None
        headers = {}
        while text := self.rfile.readline().decode("latin-1").strip():
            name, _, value = text.partition(":")
            headers[name.lower()] = value.strip()
        body = self.rfile.read(int(headers.get("content-length", "0")))
        return Request(words[0], words[1], headers, body, self.client_address[1])


@contextmanager
def upstream() -> Iterator[BadUpstream]:
    """Run an upstream on a free port."""
    with serving(BadUpstream) as running:
        yield running


@contextmanager
def serving(create: Callable[[int], Kind]) -> Iterator[Kind]:
    """Run an upstream of any class on a free port; `create` gets the port."""
    with _Threads(("127.0.0.1", 0), _Handler) as server:
        server.upstream = upstream = create(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield upstream
        finally:
            upstream.ended.set()
            server.shutdown()
            thread.join()


@contextmanager
def full_backlog() -> Iterator[str]:
    """A port that takes no more connections, like a host behind a firewall that drops packets, as a URL."""
    with create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with closing(socket()) as first, closing(socket()) as second:
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(address)
            yield f"http://127.0.0.1:{address[1]}/"
