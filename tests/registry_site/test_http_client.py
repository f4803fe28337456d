"""Requests to other servers: never too long, never too large, never to a private address if that is forbidden."""

import io
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from unittest.mock import Mock

import pytest

from registry_site import http_client
from registry_site.http_client import RequestFailed
from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream, Behaviour, Exchange
from tests.support.servers import free_port

pytestmark = pytest.mark.database_independent

MAX_BYTES = 100_000


@pytest.fixture
def server() -> Iterator[BadUpstream]:
    with bad_upstream.upstream() as server:
        yield server


def fetch(server: BadUpstream, path: str = "/", seconds: float = 10, **options: Any) -> http_client.Response:
    return http_client.fetch("GET", f"http://{server.host}{path}", seconds=seconds, max_bytes=MAX_BYTES, **options)


def download(server: BadUpstream, file: io.BytesIO, seconds: float = 10) -> http_client.Response:
    return http_client.download(f"http://{server.host}/", file, seconds=seconds, max_bytes=MAX_BYTES)


def without_length(exchange: Exchange) -> None:
    exchange.head(Connection="close")
    exchange.send(b"all of it")
    raise bad_upstream.Close


def in_chunks(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    exchange.send(b"4\r\nall \r\n5\r\nof it\r\n0\r\n\r\n")


def long_without_length(exchange: Exchange) -> None:
    exchange.head(Connection="close")
    exchange.send(bytes(MAX_BYTES + 1))
    raise bad_upstream.Close


def dripping_without_length(exchange: Exchange) -> None:
    exchange.head(Connection="close")
    exchange.drip(b"x")
    raise bad_upstream.Close


def dripping_chunks(exchange: Exchange) -> None:
    exchange.head(Connection="close", Transfer_Encoding="chunked")
    exchange.drip(b"1\r\nx\r\n")
    raise bad_upstream.Close


def dripping_until_closed(exchange: Exchange) -> None:
    exchange.head(Connection="close", Content_Length="1000000")
    exchange.drip(b"x")
    raise bad_upstream.Close


def dripping_head_of_a_404(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 404 Not Found\r\nX-Long: ")
    exchange.drip(b"x")


def endless_interim_heads(exchange: Exchange) -> None:
    exchange.drip(b"HTTP/1.1 100 Continue\r\n\r\n")
    raise bad_upstream.Close


def broken_chunks(exchange: Exchange) -> None:
    exchange.head(Transfer_Encoding="chunked")
    exchange.send(b"4\r\nall \r\n5\r\nof")
    raise bad_upstream.Close


def test_response_is_returned_unchanged(server: BadUpstream) -> None:
    server.script("/", bad_upstream.file(b"all of it", 203, X_Word="one, two"))
    assert fetch(server) == http_client.Response(203, {"content-length": "9", "x-word": "one, two"}, b"all of it")


@pytest.mark.parametrize("behaviour", [bad_upstream.file(b"all of it"), without_length, in_chunks])
def test_body_is_complete_in_each_framing(server: BadUpstream, behaviour: Behaviour) -> None:
    server.script("/", behaviour)
    file = io.BytesIO()
    assert fetch(server).body == b"all of it"
    assert download(server, file).status == 200
    assert file.getvalue() == b"all of it"


def test_compressed_body_is_not_decoded(server: BadUpstream) -> None:
    server.script("/", bad_upstream.file(b"\x1f\x8b no gzip", Content_Encoding="gzip"))
    assert fetch(server).body == b"\x1f\x8b no gzip"


def test_request_has_no_other_headers(server: BadUpstream) -> None:
    url = f"http://{server.host}/x?y=1"
    http_client.fetch("POST", url, seconds=10, max_bytes=MAX_BYTES, headers={"X-Word": "one"}, body=b"data")
    (request,) = server.requests
    assert (request.method, request.path, request.body) == ("POST", "/x?y=1", b"data")
    assert request.headers == {
        "host": server.host,
        "user-agent": http_client.USER_AGENT,
        "accept-encoding": "identity",
        "content-length": "4",
        "x-word": "one",
    }


def test_redirect_is_not_followed(server: BadUpstream) -> None:
    server.script("/", bad_upstream.redirect("/elsewhere"))
    response = fetch(server)
    assert (response.status, response.headers["location"]) == (302, "/elsewhere")
    assert server.request_counts() == {"/": 1}


def test_body_of_a_404_is_not_written(server: BadUpstream) -> None:
    file = io.BytesIO()
    server.script("/", bad_upstream.file(b"no", 404))
    response = download(server, file)
    assert (response.status, response.body, file.getvalue()) == (404, b"no", b"")


def test_refusal_counts_without_its_body(server: BadUpstream) -> None:
    def cut_off(exchange: Exchange) -> None:
        exchange.head(404, Content_Length="10")
        raise bad_upstream.Close

    server.script("/", cut_off)
    assert download(server, io.BytesIO()).status == 404


SLOW = [
    bad_upstream.hang,
    bad_upstream.dripping_head,
    bad_upstream.dripping_body,
    bad_upstream.endless,
    bad_upstream.endless_chunks,
    dripping_without_length,
    dripping_chunks,
    dripping_until_closed,
    endless_interim_heads,
]
BROKEN = [
    bad_upstream.reset,
    bad_upstream.not_http,
    bad_upstream.truncated(b"all of it"),
    broken_chunks,
]


@pytest.mark.parametrize("behaviour", [*SLOW, *BROKEN])
def test_late_or_broken_response_fails(server: BadUpstream, behaviour: Behaviour) -> None:
    server.script("/", behaviour)
    with pytest.raises(RequestFailed):
        http_client.fetch("GET", f"http://{server.host}/", seconds=0.2, max_bytes=10**9)
    with pytest.raises(RequestFailed):
        http_client.download(f"http://{server.host}/", io.BytesIO(), seconds=0.2, max_bytes=10**9)


@contextmanager
def dripping_tls_server() -> Iterator[str]:
    """A server whose TLS handshake never ends, as a URL."""
    ended = threading.Event()

    def drip(listener: socket.socket) -> None:
        with suppress(OSError), listener.accept()[0] as peer:
            peer.sendall(b"\x16\x03\x03\x40\x00\x02")  # a record of 16 kB with a ServerHello
            while not ended.wait(0.02):
                peer.sendall(b"\x00")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)  # on a busy machine, the time of a request may be up before it connects
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            ended.set()
            thread.join()


def test_dripping_tls_handshake_fails() -> None:
    with dripping_tls_server() as url:
        start = time.monotonic()
        with pytest.raises(RequestFailed):
            http_client.fetch("GET", url, seconds=0.2, max_bytes=MAX_BYTES)
        assert time.monotonic() - start < 60  # the record would take five minutes


@pytest.fixture
def hanging_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A resolver of names without an answer; the names that were looked up."""
    names: list[str] = []
    may_answer = threading.Event()

    def look_up(name: str, *args: Any, **options: Any) -> list[Any]:
        names.append(name)
        may_answer.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield names
    may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "http-lookup":
            thread.join()  # or the next test finds too many look-ups


def test_hanging_look_ups_fail(hanging_resolver: list[str]) -> None:
    for _ in range(3):
        with pytest.raises(RequestFailed, match="look-up of its name"):
            http_client.fetch("GET", "http://example.com/", seconds=0.1, max_bytes=MAX_BYTES)
    assert hanging_resolver == ["example.com"]


def test_hanging_look_ups_are_few(hanging_resolver: list[str]) -> None:
    for number in range(http_client.MAX_LOOKUPS + 3):
        with pytest.raises(RequestFailed):
            http_client.fetch("GET", f"http://{number}.example.com/", seconds=0.1, max_bytes=MAX_BYTES)
    assert len(hanging_resolver) <= http_client.MAX_LOOKUPS


def test_unknown_name_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Mock(side_effect=socket.gaierror("unknown")))
    for _ in range(http_client.MAX_LOOKUPS + 3):
        with pytest.raises(RequestFailed, match="unknown"):
            http_client.fetch("GET", "http://example.com/", seconds=5, max_bytes=MAX_BYTES)


def test_dripping_head_of_a_404_fails(server: BadUpstream) -> None:
    server.script("/", dripping_head_of_a_404)
    with pytest.raises(RequestFailed):
        download(server, io.BytesIO(), seconds=0.2)


def test_request_needs_some_time(server: BadUpstream) -> None:
    with pytest.raises(RequestFailed):
        fetch(server, seconds=0)
    with pytest.raises(RequestFailed):
        download(server, io.BytesIO(), seconds=0)


def test_closed_port_fails() -> None:
    with pytest.raises(RequestFailed):
        http_client.fetch("GET", f"http://127.0.0.1:{free_port()}/", seconds=5, max_bytes=MAX_BYTES)


def test_other_texts_are_no_urls() -> None:
    for url in ("ftp://127.0.0.1/", "http://", "http://[::1", "http://127.0.0.1:99999/"):
        with pytest.raises(RequestFailed):
            http_client.fetch("GET", url, seconds=5, max_bytes=MAX_BYTES)


def test_body_may_have_the_maximum_size(server: BadUpstream) -> None:
    server.script("/", bad_upstream.file(bytes(MAX_BYTES)))
    file = io.BytesIO()
    assert fetch(server).body == bytes(MAX_BYTES)
    assert download(server, file).status == 200
    assert file.getvalue() == bytes(MAX_BYTES)


@pytest.mark.parametrize(
    "behaviour",
    [
        bad_upstream.file(bytes(MAX_BYTES + 1)),
        long_without_length,
        bad_upstream.endless,
        bad_upstream.endless_chunks,
    ],
)
def test_larger_body_fails(server: BadUpstream, behaviour: Behaviour) -> None:
    server.script("/", behaviour)
    file = io.BytesIO()
    with pytest.raises(RequestFailed, match=f"^the answer has more than {MAX_BYTES} bytes$"):
        fetch(server)
    with pytest.raises(RequestFailed, match=f"^the answer has more than {MAX_BYTES} bytes$"):
        download(server, file)
    assert file.tell() <= MAX_BYTES


def test_loopback_is_not_public(server: BadUpstream) -> None:
    port = server.host.partition(":")[2]
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433"):
        with pytest.raises(RequestFailed):
            http_client.fetch("GET", f"http://{host}:{port}/", seconds=5, max_bytes=MAX_BYTES, private_networks=())
    assert server.requests == []


def test_reused_connection_must_be_public_too(server: BadUpstream) -> None:
    assert fetch(server, "/one").status == 404
    with pytest.raises(RequestFailed):
        fetch(server, "/two", private_networks=())
    assert server.request_counts() == {"/one": 1}


def test_refused_address_serves_other_requests(server: BadUpstream) -> None:
    with pytest.raises(RequestFailed):
        fetch(server, private_networks=())
    assert fetch(server).status == 404


@pytest.mark.parametrize("status", [200, 304, 404, 500])
def test_connection_is_reused(server: BadUpstream, status: int) -> None:
    server.script("/", bad_upstream.file(b"" if status == 304 else b"body", status))
    assert [fetch(server).status for _ in range(3)] == [status] * 3
    assert len({request.peer for request in server.requests}) == 1


@pytest.mark.parametrize("behaviour", [bad_upstream.dripping_body, *BROKEN, bad_upstream.file(bytes(MAX_BYTES + 1))])
def test_fault_does_not_spoil_the_next_response(server: BadUpstream, behaviour: Behaviour) -> None:
    server.script("/bad", behaviour)
    server.script("/", bad_upstream.file(b"good"))
    with pytest.raises(RequestFailed):
        fetch(server, "/bad", seconds=0.2)
    assert fetch(server).body == b"good"


@pytest.mark.parametrize("behaviour", [*BROKEN, bad_upstream.file(bytes(MAX_BYTES * 4))])
def test_many_faults_leave_a_connection(server: BadUpstream, behaviour: Behaviour) -> None:
    server.script("/bad", behaviour)
    server.script("/", bad_upstream.file(b"good"))
    for _ in range(http_client.MAX_CONNECTIONS + 1):
        with pytest.raises(RequestFailed):
            fetch(server, "/bad", seconds=1)
    assert fetch(server, seconds=1).body == b"good"


@pytest.mark.parametrize("behaviour", [bad_upstream.hang, bad_upstream.dripping_head, bad_upstream.dripping_body])
def test_many_late_responses_leave_a_connection(server: BadUpstream, behaviour: Behaviour) -> None:
    server.script("/bad", behaviour)
    server.script("/", bad_upstream.file(b"good"))

    def request_late(_: int) -> None:
        with pytest.raises(RequestFailed):
            http_client.fetch("GET", f"http://{server.host}/bad", seconds=0.3, max_bytes=10**9)

    with ThreadPoolExecutor(http_client.MAX_CONNECTIONS) as clients:
        list(clients.map(request_late, range(http_client.MAX_CONNECTIONS)))
    assert fetch(server, seconds=1).body == b"good"


def test_many_redirects_leave_a_connection(server: BadUpstream) -> None:
    server.script("/", bad_upstream.redirect("/elsewhere"))
    for _ in range(http_client.MAX_CONNECTIONS + 1):
        assert download(server, io.BytesIO(), seconds=2).status == 302
