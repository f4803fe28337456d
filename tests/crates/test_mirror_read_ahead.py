"""Read-ahead: requests that are queued on one HTTP/2 connection are fetched from upstream in parallel."""

import itertools
import re
import socket
import threading
import time
from collections import Counter
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

from crates.mirror import downloads, index_cache, overrides
from crates.mirror.models import CachedCrate
from crates.names import index_path
from registry_site.errors import PermissionDenied
from registry_site.server import read_ahead
from tests.support import bad_upstream
from tests.support.bad_upstream import BadUpstream, Behaviour, Exchange
from tests.support.concurrency import wait_until
from tests.support.mirror_client import MirrorClient
from tests.support.mirror_policies import BLOCKED, add_override
from tests.support.mirror_store import mark_stale
from tests.support.servers import Server, certificate, running

pytestmark = pytest.mark.long

TOKEN = "for prometheus"
NUMBER = 6
TESTS = itertools.count()

# --- Queued requests -----------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names whose work was started."""
    paths: list[str] = []
    monkeypatch.setattr(read_ahead, "_handlers", [(re.compile(r"/fetched/([0-9]+)"), paths.append)])
    yield paths
    read_ahead.clear_pending()


def test_next_few_requests_are_started(started: list[str]) -> None:
    names = [str(number) for number in range(100)]
    read_ahead.set_pending(timezone.now(), [f"/fetched/{name}" for name in names])
    read_ahead.start_pending()
    assert started == names[: read_ahead.MAX_STARTED]


def test_other_paths_are_not_started(started: list[str]) -> None:
    read_ahead.set_pending(timezone.now(), ["/other/1", "/fetched/2", "/x/fetched/3", "/fetched/4/more"])
    read_ahead.start_pending()
    assert started == ["2"]


def test_nothing_is_started_without_a_queue(started: list[str]) -> None:
    read_ahead.start_pending()
    assert started == []


@pytest.fixture
def prefetches(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """Work that was submitted as a prefetch, and has not started."""
    submitted: list[Callable[[], object]] = []
    monkeypatch.setattr(index_cache, "submit_prefetch", lambda key, fetch: submitted.append(fetch))
    return submitted


def test_queued_crate_is_prefetched_unless_blocked(
    mirror: MirrorClient, upstream: BadUpstream, prefetches: list[Callable[[], object]]
) -> None:
    upstream.publish("demo")
    downloads.prefetch_crate("demo", "1.0.0")
    override = add_override(BLOCKED)
    with pytest.raises(PermissionDenied):
        prefetches[0]()
    assert upstream.requests == []
    overrides.end_override(override, actor=None)
    prefetches[0]()
    assert [str(crate) for crate in CachedCrate.objects.all()] == ["demo@1.0.0"]


# --- On a running server -------------------------------------------------------------------------------------------


def when_all_arrived(number: int) -> Callable[[Behaviour], Behaviour]:
    """Return a function that delays behaviours until so many requests have arrived, and fails if they never do."""
    barrier = threading.Barrier(number)

    def delay(behaviour: Behaviour) -> Behaviour:
        def answer(exchange: Exchange) -> None:
            barrier.wait(20)
            behaviour(exchange)

        return answer

    return delay


@contextmanager
def running_mirror(upstream: BadUpstream, directory: Path) -> Iterator[Server]:
    """Run a mirror with two threads, of which one may wait for upstream."""
    environment = {"REGISTRY_MIRROR_UPSTREAM": upstream.url, "REGISTRY_MIRROR_TIMEOUT": "60", "REGISTRY_THREADS": "2"}
    environment |= {"REGISTRY_WORKERS": "1", "REGISTRY_METRICS_TOKEN": TOKEN, **certificate(directory / "tls")}
    with running(directory / "data", **environment) as server:
        yield server


@pytest.fixture(scope="module")
def live_upstream() -> Iterator[BadUpstream]:
    with bad_upstream.upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(live_upstream: BadUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_mirror(live_upstream, tmp_path_factory.mktemp("mirror")) as server:
        yield server


@pytest.fixture
def crates() -> dict[str, bytes]:
    """Bytes of crates by their names, which no other test has."""
    test = next(TESTS)
    return {f"test{test}-{number}": f"the bytes of {number}".encode() for number in range(NUMBER)}


@contextmanager
def queued_requests(server: Server, paths: Sequence[str]) -> Iterator[tuple[SSLSocket, H2Connection]]:
    """Open an HTTP/2 connection and send all requests, without reading a response."""
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


def get_queued(server: Server, paths: Sequence[str]) -> list[tuple[str, bytes]]:
    """Return status and body of each response over one HTTP/2 connection, on which all requests are sent first."""
    statuses: dict[int, str] = {}
    bodies: dict[int, bytes] = {}
    ended: set[int] = set()
    with queued_requests(server, paths) as (wire, connection):
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


def index_url(name: str) -> str:
    return f"/mirror/index/{index_path(name)}"


def crate_url(name: str) -> str:
    return f"/ktra/api/v1/mirror/{name}/1.0.0/download"


def count_outcomes(server: Server) -> Counter[tuple[str, str]]:
    """Return the numbers of requests by kind and outcome."""
    request = Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urlopen(request, timeout=20, context=server.tls()) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    samples = next(family.samples for family in families if family.name == "entrepot_mirror_requests")
    return Counter({(sample.labels["what"], sample.labels["outcome"]): int(sample.value) for sample in samples})


def test_queued_requests_are_fetched_in_parallel(
    server: Server, live_upstream: BadUpstream, crates: dict[str, bytes]
) -> None:
    before, delay = count_outcomes(server), when_all_arrived(NUMBER)
    bodies = {name: live_upstream.publish(name, content) for name, content in crates.items()}
    for name, body in bodies.items():
        live_upstream.script_index(name, delay(bad_upstream.file(body)))
    answers = get_queued(server, [index_url(name) for name in crates])
    assert answers == [("200", body) for body in bodies.values()]
    assert [live_upstream.count_index_requests(name) for name in crates] == [1] * NUMBER

    delay = when_all_arrived(NUMBER)
    for name, content in crates.items():
        live_upstream.script_crate(name, "1.0.0", delay(bad_upstream.file(content)))
    assert get_queued(server, [crate_url(name) for name in crates]) == [("200", content) for content in crates.values()]
    assert [live_upstream.request_counts()[bad_upstream.crate_path(name)] for name in crates] == [1] * NUMBER

    outcomes = count_outcomes(server) - before
    assert (outcomes["index", "miss"], outcomes["crate", "miss"]) == (NUMBER, NUMBER)
    assert ("crate", "hit") not in outcomes


def test_cached_file_is_a_hit_despite_read_ahead(
    server: Server, live_upstream: BadUpstream, crates: dict[str, bytes]
) -> None:
    before, paths = count_outcomes(server), []
    for name, content in crates.items():
        live_upstream.publish(name, content)
        paths.append(index_url(name))
    get_queued(server, paths[1:])
    get_queued(server, paths)
    assert count_outcomes(server) - before == {("index", "miss"): NUMBER, ("index", "hit"): NUMBER - 1}


def test_refresh_before_the_turn_is_a_renewal(
    server: Server, live_upstream: BadUpstream, crates: dict[str, bytes]
) -> None:
    before = count_outcomes(server)
    for name in crates:
        live_upstream.script_index(name, bad_upstream.file(live_upstream.publish(name), ETag='"one"'))
    paths = [index_url(name) for name in crates]
    get_queued(server, paths)
    mark_stale(server)
    get_queued(server, paths)
    assert count_outcomes(server) - before == {("index", "miss"): NUMBER, ("index", "renewed"): NUMBER}


def test_read_ahead_does_not_delay_the_present_request(server: Server, live_upstream: BadUpstream) -> None:
    names = ["first", *(f"later{number}" for number in range(12))]
    for name in names:
        live_upstream.publish(name)
    get_queued(server, [index_url(name) for name in names])
    mark_stale(server)
    newer, may_answer = live_upstream.publish("first", b"other bytes", "1.0.1"), threading.Event()
    for name in names[1:]:
        live_upstream.script_index(name, bad_upstream.after(may_answer, bad_upstream.file(b"")))
    try:
        assert get_queued(server, [index_url(name) for name in names])[0] == ("200", newer)
    finally:
        may_answer.set()


def test_nothing_is_fetched_offline(upstream: BadUpstream, tmp_path: Path) -> None:
    upstream.publish("cached")
    upstream.publish("other")
    with running_mirror(upstream, tmp_path) as server:
        get_queued(server, [index_url("cached")])
        server.stop()
        server.environment["REGISTRY_MIRROR_OFFLINE"] = "1"
        server.start()
        answers = get_queued(server, [crate_url("cached"), index_url("other")])
        assert [status for status, _ in answers] == ["404", "404"]
        time.sleep(0.5)
        assert upstream.count_index_requests("other") == 0


def close_connection(wire: SSLSocket, connection: H2Connection, streams: Sequence[int]) -> None:
    wire.close()


def reset_streams(wire: SSLSocket, connection: H2Connection, streams: Sequence[int]) -> None:
    for stream in streams:
        connection.reset_stream(stream)
    wire.sendall(connection.data_to_send())


@pytest.mark.parametrize("abandon", [close_connection, reset_streams])
def test_abandoned_requests_are_not_answered(
    server: Server,
    live_upstream: BadUpstream,
    crates: dict[str, bytes],
    abandon: Callable[[SSLSocket, H2Connection, Sequence[int]], None],
) -> None:
    before, (cached, slow, *_) = count_outcomes(server), crates
    live_upstream.publish(cached)
    get_queued(server, [index_url(cached)])
    may_answer = threading.Event()
    live_upstream.script_index(slow, bad_upstream.after(may_answer, bad_upstream.file(b"")))
    paths = [index_url(slow), *[f"{index_url(cached)}?"] * NUMBER]  # with a query, none is answered from memory
    with queued_requests(server, paths) as (wire, connection):
        wait_until(lambda: live_upstream.count_index_requests(slow) == 1)
        abandon(wire, connection, range(3, 2 * NUMBER + 3, 2))
        may_answer.set()
        wait_until(lambda: (count_outcomes(server) - before)["index", "miss"] == 2)
        time.sleep(0.5)
        assert count_outcomes(server) - before == {("index", "miss"): 2}
