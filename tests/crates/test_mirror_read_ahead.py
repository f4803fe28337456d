"""What one client wants over one HTTP/2 connection is fetched from upstream at the same time."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from ssl import SSLSocket
from urllib.request import Request, urlopen

import pytest
from django.utils import timezone
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived, StreamEnded
from prometheus_client.parser import text_string_to_metric_families

from crates.names import index_path
from registry_site.server import read_ahead
from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream, Behaviour, Exchange
from tests.support.servers import Server, certificate, running

TOKEN = "for prometheus"
NUMBER = 6
BYTES = {f"together{number}": f"the bytes of {number}".encode() for number in range(NUMBER)}

# --- What waits ----------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Paths that were begun."""
    paths: list[str] = []
    monkeypatch.setattr(read_ahead, "_handlers", [(re.compile(r"/fetched/(.*)"), paths.append)])
    yield paths
    read_ahead.clear_pending()


def test_next_few_are_begun(begun: list[str]) -> None:
    waiting = [str(number) for number in range(100)]
    read_ahead.set_pending(timezone.now(), [f"/fetched/{name}" for name in waiting])
    read_ahead.start_pending()
    assert begun == waiting[: read_ahead.MAX_STARTED]


def test_other_paths_are_not_begun(begun: list[str]) -> None:
    read_ahead.set_pending(timezone.now(), ["/other/1", "/fetched/2", "/x/fetched/3"])
    read_ahead.start_pending()
    assert begun == ["2"]


def test_nothing_is_begun_on_a_connection_without_a_queue(begun: list[str]) -> None:
    read_ahead.start_pending()
    assert begun == []


# --- On a running server -------------------------------------------------------------------------------------------


class Together:
    """Answers when all of them have been asked for, and fails when they never are at the same time."""

    def __init__(self, number: int) -> None:
        self.all_asked = threading.Barrier(number)

    def then(self, behaviour: Behaviour) -> Behaviour:
        def answer(exchange: Exchange) -> None:
            self.all_asked.wait(20)
            behaviour(exchange)

        return answer


@pytest.fixture
def server(upstream: BadUpstream, tmp_path: Path) -> Iterator[Server]:
    """Of its two threads one may wait for upstream."""
    environment = {"REGISTRY_MIRROR_UPSTREAM": upstream.url, "REGISTRY_MIRROR_TIMEOUT": "60", "REGISTRY_THREADS": "2"}
    tls = certificate(tmp_path / "tls")
    with running(tmp_path / "data", REGISTRY_WORKERS="1", REGISTRY_METRICS_TOKEN=TOKEN, **environment, **tls) as server:
        yield server


@contextmanager
def asking_at_once(server: Server, paths: Sequence[str]) -> Iterator[tuple[SSLSocket, H2Connection]]:
    """An HTTP/2 connection on which all were sent, and nothing is read yet."""
    tls = server.tls()
    assert tls is not None
    tls.set_alpn_protocols(["h2"])
    connection = H2Connection(H2Configuration(header_encoding="utf-8"))
    plain = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    with tls.wrap_socket(plain, server_hostname="127.0.0.1") as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)  # so that many TLS records come at once
        connection.initiate_connection()
        for number, path in enumerate(paths):
            head = {":method": "GET", ":scheme": "https", ":authority": f"127.0.0.1:{server.port}", ":path": path}
            connection.send_headers(2 * number + 1, list(head.items()), end_stream=True)
            wire.sendall(connection.data_to_send())
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        yield wire, connection


def ask_at_once(server: Server, paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Status and body of each, over one HTTP/2 connection on which all were sent before any was answered."""
    statuses: dict[int, str] = {}
    bodies: dict[int, bytes] = {}
    ended: set[int] = set()
    with asking_at_once(server, paths) as (wire, connection):
        while len(ended) < len(paths):
            for event in connection.receive_data(wire.recv(65536)):
                if isinstance(event, ResponseReceived):
                    statuses[event.stream_id] = str(dict(event.headers)[":status"])  # type: ignore[index]  # texts
                elif isinstance(event, DataReceived):
                    bodies[event.stream_id] = bodies.get(event.stream_id, b"") + event.data
                elif isinstance(event, StreamEnded):
                    ended.add(event.stream_id)
            wire.sendall(connection.data_to_send())
    return [(statuses[stream], bodies.get(stream, b"")) for stream in sorted(statuses)]


def index(name: str) -> str:
    return f"/mirror/index/{index_path(name)}"


def download(name: str) -> str:
    return f"/ktra/api/v1/mirror/{name}/1.0.0/download"


def counted(server: Server) -> dict[tuple[str, str], float]:
    """Requests by what they were for and what came of them, without those that never were."""
    request = Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=20, context=server.tls()) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    samples = next(family.samples for family in families if family.name == "entrepot_mirror_requests")
    return {(one.labels["what"], one.labels["outcome"]): one.value for one in samples if one.value}


def test_all_that_waits_is_fetched_at_the_same_time(server: Server, upstream: BadUpstream) -> None:
    asked, bodies = Together(NUMBER), {name: upstream.publish(name, content) for name, content in BYTES.items()}
    for name, body in bodies.items():
        upstream.script_index(name, asked.then(bad_upstream.file(body)))
    answers = ask_at_once(server, [index(name) for name in BYTES])
    assert answers == [("200", body) for body in bodies.values()]
    assert [upstream.count_index_requests(name) for name in BYTES] == [1] * NUMBER

    asked = Together(NUMBER)
    for name, content in BYTES.items():
        upstream.script_crate(name, "1.0.0", asked.then(bad_upstream.file(content)))
    assert ask_at_once(server, [download(name) for name in BYTES]) == [("200", content) for content in BYTES.values()]
    assert [upstream.request_counts()[bad_upstream.crate_path(name)] for name in BYTES] == [1] * NUMBER

    misses = counted(server)
    assert (misses["index", "miss"], misses["crate", "miss"]) == (NUMBER, NUMBER)
    assert ("crate", "hit") not in misses


def test_what_is_here_is_no_miss_because_it_was_begun(server: Server, upstream: BadUpstream) -> None:
    paths = []
    for name, content in BYTES.items():
        upstream.publish(name, content)
        paths.append(index(name))
    ask_at_once(server, paths[1:])
    ask_at_once(server, paths)
    assert counted(server) == {("index", "miss"): NUMBER, ("index", "hit"): NUMBER - 1}


def test_entry_that_is_looked_at_again_before_its_turn_is_renewed(server: Server, upstream: BadUpstream) -> None:
    for name in BYTES:
        upstream.script_index(name, bad_upstream.file(upstream.publish(name), ETag='"one"'))
    paths = [index(name) for name in BYTES]
    ask_at_once(server, paths)
    outdate(server)
    ask_at_once(server, paths)
    assert counted(server) == {("index", "miss"): NUMBER, ("index", "renewed"): NUMBER}


def outdate(server: Server) -> None:
    """Upstream is to be asked for all entries again."""
    code = "from crates.mirror import index_cache, models; index_cache.mark_stale(models.CachedIndexFile.objects.all())"
    server.manage("shell", "--no-imports", "-c", code)


def test_what_waits_does_not_delay_what_is_asked_for_now(server: Server, upstream: BadUpstream) -> None:
    names = ["first", *(f"later{number}" for number in range(12))]
    for name in names:
        upstream.publish(name)
    ask_at_once(server, [index(name) for name in names])
    outdate(server)
    news, may_go = upstream.publish("first", b"other bytes", "1.0.1"), threading.Event()
    for name in names[1:]:
        upstream.script_index(name, held(may_go))
    try:
        assert ask_at_once(server, [index(name) for name in names])[0] == ("200", news)
    finally:
        may_go.set()


def held(may_go: threading.Event) -> Behaviour:
    """An index file that comes when it may."""

    def answer(exchange: Exchange) -> None:
        may_go.wait(60)
        bad_upstream.file(b"")(exchange)

    return answer


def test_nothing_is_begun_when_nobody_is_to_be_asked(server: Server, upstream: BadUpstream) -> None:
    upstream.publish("known")
    upstream.publish("other")
    ask_at_once(server, [index("known")])
    server.stop()
    server.environment["REGISTRY_MIRROR_OFFLINE"] = "1"
    server.start()
    answers = ask_at_once(server, [download("known"), index("other")])
    assert [status for status, _ in answers] == ["404", "404"]
    time.sleep(0.5)
    assert upstream.count_index_requests("other") == 0


def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def leave(wire: SSLSocket, connection: H2Connection, streams: Sequence[int]) -> None:
    wire.close()


def give_up(wire: SSLSocket, connection: H2Connection, streams: Sequence[int]) -> None:
    for stream in streams:
        connection.reset_stream(stream)
    wire.sendall(connection.data_to_send())


@pytest.mark.parametrize("away", [leave, give_up])
def test_what_nobody_wants_any_more_is_not_answered(
    server: Server, upstream: BadUpstream, away: Callable[[SSLSocket, H2Connection, Sequence[int]], None]
) -> None:
    upstream.publish("here")
    ask_at_once(server, [index("here")])
    may_go = threading.Event()
    upstream.script_index("slow", held(may_go))
    with asking_at_once(server, [index("slow"), *[index("here")] * NUMBER]) as (wire, connection):
        until(lambda: upstream.count_index_requests("slow") == 1)
        away(wire, connection, range(3, 2 * NUMBER + 3, 2))
        may_go.set()
        until(lambda: counted(server)["index", "miss"] == 2)
        time.sleep(0.5)
        assert counted(server) == {("index", "miss"): 2}
