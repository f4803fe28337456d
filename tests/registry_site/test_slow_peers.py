"""Clients that are silent or slow: they leave the threads of the server to others, and are cut off at a deadline."""

import itertools
import os
import random
import re
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from types import SimpleNamespace
from urllib.request import Request, urlopen

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError

from registry_site.server.address_shares import AddressShares, Share
from tests.support import packing, servers
from tests.support.concurrency import wait_until
from tests.support.servers import Server, certificate, running

pytestmark = [pytest.mark.database_independent, pytest.mark.long]

HEAD = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\n"
LOGIN = "/ktra/api/v1/login/nobody"
CRATE = "/dl/demo/1.0.0/download"
SERVER = """
import os, runpy, sys, django
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "registry_site.settings")
django.setup()
from registry_site.server import connections, worker
{changes}
sys.argv = ["manage.py", "serve"]
runpy.run_path("manage.py", run_name="__main__")
"""


# Time limits of the worker so short that a test can wait for them.
QUICK = (
    "worker.BODY_SECONDS = connections.RESPONSE_SECONDS = 5\n"
    "worker.MIN_BYTES_PER_SECOND = connections.MIN_BYTES_PER_SECOND = 20_000"
)
# One thread, which one slow client could keep.
SERVER_SETTINGS = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "1"}


@contextmanager
def running_with(changes: str, data: Path, **options: str) -> Iterator[Server]:
    """Run a server with changes of its code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(servers, "SERVE", ("-c", SERVER.format(changes=changes)))
        with running(data, **options) as server:
            yield server


def connect(server: Server, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=60, source_address=(address, 0))


def is_closed(peer: socket.socket) -> bool:
    """Tell whether the server has closed a connection of which nothing was read yet."""
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def is_refused(server: Server) -> bool:
    try:
        connect(server).close()
    except ConnectionError:
        return True
    return False


def wait_until_closed(peer: socket.socket) -> None:
    peer.settimeout(60)
    with suppress(ConnectionError):
        while peer.recv(65536):
            pass


def health_status(server: Server, address: str = "127.0.0.1") -> str:
    with connect(server, address) as peer:
        wire = context.wrap_socket(peer, server_hostname="127.0.0.1") if (context := server.tls()) else peer
        with wire:
            wire.sendall(b"GET /health HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n")
            return wire.recv(100).split()[1].decode()


def handshake_status(peer: socket.socket) -> int:
    return status_of(peer, b"POST /auth HTTP/1.1\r\nContent-Length: 2\r\n" + HEAD + b"\r\n{}")


def status_of(peer: socket.socket, request: bytes) -> int:
    """Send a request, read the whole response, and return its status."""
    peer.sendall(request)
    response = HTTPResponse(peer)
    response.begin()
    response.read()
    return response.status


class Http2Peer:
    """An HTTP/2 connection, and the requests that it has begun."""

    def __init__(self, server: Server, address: str = "127.0.0.1") -> None:
        self.server = server
        context = server.tls()
        assert context is not None
        context.set_alpn_protocols(["h2"])
        self.wire = context.wrap_socket(connect(server, address), server_hostname="127.0.0.1")
        self.connection = H2Connection(H2Configuration(header_encoding="utf-8"))
        self.connection.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.wire.sendall(self.connection.data_to_send())

    def begin(self, method: str, path: str, *, ended: bool, **headers: str) -> int:
        stream = self.connection.get_next_available_stream_id()
        head = {":method": method, ":scheme": "https", ":authority": f"127.0.0.1:{self.server.port}", ":path": path}
        self.connection.send_headers(stream, list((head | headers).items()), end_stream=ended)
        self.flush()
        return stream

    def wait_for_head(self) -> None:
        while not any(type(event).__name__ == "ResponseReceived" for event in self.receive()):
            pass

    def receive(self) -> list[object]:
        data = self.wire.recv(65536)
        assert data, "the server has closed the connection"
        events = self.connection.receive_data(data)
        self.flush()
        return list(events)


@contextmanager
def http2_peers(server: Server, number: int) -> Iterator[list[Http2Peer]]:
    with ExitStack() as stack:
        peers = [Http2Peer(server) for _ in range(number)]
        for peer in peers:
            stack.enter_context(peer.wire)
        yield peers


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("tls")
    options = SERVER_SETTINGS | certificate(directory / "tls") | {"REGISTRY_KEEP_ALIVE": "3"}
    with running(directory / "data", **options) as server:
        yield server


@pytest.fixture(scope="module")
def quick_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with short time limits and a large crate."""
    with running_with(QUICK, tmp_path_factory.mktemp("quick") / "data", **SERVER_SETTINGS) as server:
        publish_large_crate(server)
        yield server


@pytest.fixture(scope="module")
def quick_tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("quick-tls")
    options = SERVER_SETTINGS | certificate(directory / "tls") | {"REGISTRY_KEEP_ALIVE": "3"}
    with running_with(QUICK, directory / "data", **options) as server:
        publish_large_crate(server)
        yield server


@pytest.fixture
def stopping_server(tmp_path: Path) -> Iterator[Server]:
    """A server that the test stops."""
    with running(tmp_path / "data", **SERVER_SETTINGS) as server:
        yield server


def publish_large_crate(server: Server) -> None:
    token = server.sign_up("alice")
    body = packing.frame(packing.metadata(), packing.crate(files={"noise": os.urandom(8_000_000)}))
    request = Request(f"{server.url}/api/v1/crates/new", body, {"Authorization": token}, method="PUT")
    with urlopen(request, context=server.tls()) as response:
        assert response.status == 200


# --- Connections without a request ---------------------------------------------------------------------------------


def test_silent_connections_take_no_thread(server: Server) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(50)]
        assert health_status(server) == "200"
        assert not any(is_closed(peer) for peer in silent[-10:])


def test_silent_connection_is_closed(server: Server) -> None:
    with connect(server) as peer:
        wait_until_closed(peer)


def test_late_first_byte_is_served(server: Server) -> None:
    with connect(server) as peer:
        assert health_status(server) == "200"
        peer.sendall(b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 200")


def test_silent_connections_do_not_delay_a_stop(stopping_server: Server) -> None:
    with connect(stopping_server) as peer:
        stopping_server.process.terminate()
        stopping_server.process.wait(timeout=20)
        wait_until_closed(peer)


def test_idle_http2_takes_no_thread(tls_server: Server) -> None:
    with http2_peers(tls_server, 10) as peers:
        for peer in peers:
            peer.begin("GET", "/health", ended=True)
            peer.wait_for_head()
        assert health_status(tls_server) == "200"
        peers[-1].begin("GET", "/health", ended=True)
        peers[-1].wait_for_head()


def ping_until_closed(peer: Http2Peer) -> None:
    """Send a PING now and then; a flood of them would be refused by another rule."""
    peer.wire.settimeout(0.1)
    while True:
        peer.connection.ping(bytes(8))
        peer.flush()
        with suppress(TimeoutError):
            peer.receive()


def test_pings_do_not_keep_a_connection(tls_server: Server) -> None:
    with http2_peers(tls_server, 1) as (peer,), pytest.raises((AssertionError, OSError, ProtocolError)):
        ping_until_closed(peer)


# --- Ends of connections -------------------------------------------------------------------------------------------


def test_clients_that_stay_after_the_answer_delay_nobody(server: Server) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(connect(server)) for _ in range(20)]
        for peer in peers:
            peer.sendall(b"GET /health HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n")
        for peer in peers:
            wait_until_closed(peer)
        began = time.monotonic()
        assert health_status(server) == "200"
        assert time.monotonic() - began < 10  # a main loop that waited for each of them needed 16 seconds


def test_broken_handshakes_leave_connections_to_others(tmp_path: Path) -> None:
    """Each would have counted down the number of connections twice, and the worker have stopped without waiting."""
    with running(tmp_path / "data", REGISTRY_WORKERS="1", **certificate(tmp_path / "tls")) as server:
        for _ in range(5):
            with connect(server) as peer:
                peer.sendall(b"\x16\x03\x01\x02\x00\x01")
        with http2_peers(server, 1) as (peer,):
            stream = peer.begin("POST", LOGIN, ended=False, **{"content-type": "application/json"})
            time.sleep(0.5)
            server.process.terminate()
            time.sleep(1)
            peer.connection.send_data(stream, b"{}", end_stream=True)
            peer.flush()
            peer.wait_for_head()


def test_stopping_server_refuses_connections_and_ends_requests(stopping_server: Server) -> None:
    with connect(stopping_server) as peer:
        peer.sendall(f"POST {LOGIN} HTTP/1.1\r\nContent-Length: 2\r\n".encode() + HEAD + b"\r\n{")
        time.sleep(0.5)
        stopping_server.process.terminate()
        wait_until(lambda: is_refused(stopping_server))
        peer.sendall(b"}")
        assert peer.recv(100).startswith(b"HTTP/1.1 400")


def test_idle_connections_give_way(tmp_path: Path) -> None:
    """With few open files allowed, each new client takes the place of the one that has been idle for longest."""
    changes = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120))"
    options = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "2", "REGISTRY_ADDRESS_SHARE": "100"}
    with running_with(changes, tmp_path / "data", **options) as server, ExitStack() as stack:
        peers = []
        for _ in range(8):
            peers.append(stack.enter_context(connect(server)))
            assert status_of(peers[-1], b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n") == 200
        wait_until(lambda: is_closed(peers[0]))
        assert not is_closed(peers[-1])


# --- Slow bodies and slow readers ----------------------------------------------------------------------------------


def begin_log_in(server: Server, stack: ExitStack, length: int, headers: str = "") -> socket.socket:
    """Begin a log-in, of whose body one byte comes."""
    peer = stack.enter_context(connect(server))
    wire = (
        stack.enter_context(context.wrap_socket(peer, server_hostname="127.0.0.1"))
        if (context := server.tls())
        else peer
    )
    wire.sendall(f"POST {LOGIN} HTTP/1.1\r\nContent-Length: {length}\r\n{headers}".encode() + HEAD + b"\r\n{")
    return wire


def worker_of(server: Server) -> Path:
    """Return the directory of a server's one worker in `/proc`."""
    (worker,) = server.workers()
    return Path("/proc", str(worker))


@pytest.mark.parametrize("scheme", ["server", "tls_server"])
def test_short_bodies_take_no_thread(scheme: str, request: pytest.FixtureRequest) -> None:
    """Up to 1 MiB, more of them than one client may have in memory, and those that wait to be asked for."""
    server: Server = request.getfixturevalue(scheme)
    with ExitStack() as stack:
        for _ in range(20):
            begin_log_in(server, stack, 40)
            begin_log_in(server, stack, 1_000_000)
            begin_log_in(server, stack, 40, "Expect: 100-continue\r\n")
        began = time.monotonic()
        assert health_status(server) == "200"
        assert time.monotonic() - began < 10  # a slow body has 60 seconds


@pytest.mark.parametrize("scheme", ["server", "tls_server"])
def test_body_in_pieces_arrives_whole(scheme: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(scheme)
    context, token = server.tls(), server.sign_up("pieces")
    with connect(server) as peer:
        wire = context.wrap_socket(peer, server_hostname="127.0.0.1") if context else peer
        for number, size in enumerate((10, 50_000, 600_000)):
            version = f"1.0.{number}"
            crate = packing.crate(version=version, files={"noise": os.urandom(size)})
            body = packing.frame(packing.metadata(vers=version), crate)
            head = f"PUT /api/v1/crates/new HTTP/1.1\r\nAuthorization: {token}\r\nContent-Length: {len(body)}\r\n"
            request_bytes = head.encode() + HEAD + b"\r\n" + body
            ends = sorted(random.Random(size).sample(range(1, len(request_bytes)), 9))
            for start, end in itertools.pairwise([0, *ends]):
                wire.sendall(request_bytes[start:end])
                time.sleep(0.01)
            assert status_of(wire, request_bytes[ends[-1] :]) == 200
        wire.close()


def test_request_behind_a_slow_body_is_answered(server: Server) -> None:
    with ExitStack() as stack:
        peer = begin_log_in(server, stack, 2)
        time.sleep(0.2)
        assert status_of(peer, b"}") == 400
        peer.sendall(f"POST {LOGIN} HTTP/1.1\r\nContent-Length: 2\r\n".encode() + HEAD + b"\r\n")
        time.sleep(0.2)
        peer.sendall(b"{}GET /health HTTP/1.1\r\nConnection: close\r\n" + HEAD + b"\r\n")
        answers = b"".join(iter(lambda: peer.recv(65536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"400", b"200"]


def test_peer_that_goes_leaves_its_connection(server: Server) -> None:
    def open_files() -> int:
        return len(list((worker_of(server) / "fd").iterdir()))

    with ExitStack() as stack:
        for length in [40, 1_000_000] * 50:
            peer = begin_log_in(server, stack, length)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wait_until(lambda: open_files() > 100)
    wait_until(lambda: open_files() < 50)


def test_waiting_bodies_cost_no_processor_time(server: Server) -> None:
    def ticks() -> int:
        return sum(map(int, (worker_of(server) / "stat").read_text().rpartition(")")[2].split()[11:13]))

    with ExitStack() as stack:
        for length in [40, 1_000_000] * 20:
            begin_log_in(server, stack, length)
        assert health_status(server) == "200"
        before = ticks()
        time.sleep(1)
        assert ticks() - before < os.sysconf("SC_CLK_TCK") / 5


def test_stopped_body_is_refused(quick_server: Server) -> None:
    with ExitStack() as stack:
        peer = begin_log_in(quick_server, stack, 1000)
        peer.settimeout(10)
        assert peer.recv(100).startswith(b"HTTP/1.1 408")
        wait_until_closed(peer)
    assert "INFO refused status=408 ip=127.0.0.1" in quick_server.log.read_text()


@pytest.mark.parametrize("headers", [{}, {"content-length": "1000"}], ids=["without length", "with length"])
def test_stopped_http2_body_is_cut_off(quick_tls_server: Server, headers: dict[str, str]) -> None:
    with http2_peers(quick_tls_server, 1) as (peer,):
        headers = {"content-type": "application/json", **headers}
        stream = peer.begin("POST", LOGIN, ended=False, **headers)
        peer.connection.send_data(stream, b"{")
        peer.flush()
        assert health_status(quick_tls_server) == "200"
        wait_until_closed(peer.wire)


@contextmanager
def download(server: Server, buffer: int = 4096) -> Iterator[socket.socket]:
    """Begin a download through a small buffer, and read the first bytes of it."""
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        peer.settimeout(60)
        peer.connect(("127.0.0.1", server.port))
        peer.sendall(f"GET {CRATE} HTTP/1.1\r\nConnection: close\r\n".encode() + HEAD + b"\r\n")
        assert peer.recv(15) == b"HTTP/1.1 200 OK"
        yield peer


def read_slowly(peer: socket.socket, size: int, pause: float) -> int:
    """Read `size` bytes between two pauses, as long as bytes come; return how many came."""
    received = 0
    with suppress(ConnectionError):
        while data := peer.recv(size):
            received += len(data)
            time.sleep(pause)
    return received


def test_stopped_reader_is_cut_off(quick_server: Server) -> None:
    with download(quick_server) as peer:
        assert health_status(quick_server) == "200"
        assert read_slowly(peer, 65536, 0) < 8_000_000


def test_slow_reader_is_cut_off(quick_server: Server) -> None:
    with download(quick_server) as peer, ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_slowly, peer, 100, 0.1)  # a twentieth of the least rate
        assert health_status(quick_server) == "200"
        assert not reading.done()
        peer.shutdown(socket.SHUT_RDWR)


def test_reader_over_the_least_rate_is_served(quick_server: Server) -> None:
    with download(quick_server, buffer=65_536) as peer:
        assert read_slowly(peer, 32_768, 0.03) > 8_000_000


def test_stopped_http2_reader_is_cut_off(quick_tls_server: Server) -> None:
    with http2_peers(quick_tls_server, 1) as (peer,):
        peer.begin("GET", CRATE, ended=True)
        peer.wait_for_head()
        assert health_status(quick_tls_server) == "200"
        wait_until_closed(peer.wire)


# --- Shares of addresses -------------------------------------------------------------------------------------------


def test_address_has_a_share_of_threads(tmp_path: Path) -> None:
    options = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "4", "REGISTRY_ADDRESS_SHARE": "50"}
    with running(tmp_path / "data", **options) as server, ExitStack() as stack:
        peers = [stack.enter_context(connect(server, "127.0.0.2")) for _ in range(8)]
        for peer in peers:
            peer.sendall(b"GET /hea")
        assert health_status(server) == "200"
        assert not any(is_closed(peer) for peer in peers)


def test_address_has_a_share_of_connections(tmp_path: Path) -> None:
    options = {"REGISTRY_ADDRESS_SHARE": "1", "REGISTRY_TRUSTED_PROXIES": "127.0.0.3"}
    with running(tmp_path / "data", REGISTRY_WORKERS="1", **options) as server, ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(connect(server, "127.0.0.2"))
            stack.enter_context(connect(server, "127.0.0.3"))
        assert health_status(server, "127.0.0.3") == "200"
        assert health_status(server) == "200"
        with connect(server, "127.0.0.2") as refused:
            wait_until_closed(refused)
        assert "REGISTRY_TRUSTED_PROXIES" in server.log.read_text()


def test_refused_connections_share_few_threads(tmp_path: Path) -> None:
    options = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "4", "REGISTRY_FILE_HANDSHAKES_PER_MINUTE": "1"}
    with running(tmp_path / "data", **options) as server, ExitStack() as stack:
        slow, patient = [stack.enter_context(connect(server, "127.0.0.2")) for _ in range(2)]
        assert [handshake_status(slow), handshake_status(slow), handshake_status(patient)] == [200, 429, 429]
        slow.sendall(b"GET /hea")
        time.sleep(0.3)
        patient.sendall(b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n")
        patient.settimeout(0.3)
        with pytest.raises(TimeoutError):
            patient.recv(1)
        assert health_status(server, "127.0.0.2") == "200"
        patient.settimeout(60)
        slow.sendall(b"lth HTTP/1.1\r\n" + HEAD + b"\r\n")
        assert patient.recv(100).split()[1] == b"200"


def test_client_behind_proxy_has_its_share(tmp_path: Path) -> None:
    options = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "4", "REGISTRY_ADDRESS_SHARE": "50"}
    with running(tmp_path / "data", REGISTRY_TRUSTED_PROXIES="127.0.0.1", **options) as server, ExitStack() as stack:

        def begin(client: str) -> socket.socket:
            peer = stack.enter_context(connect(server))
            head = f"POST {LOGIN} HTTP/1.1\r\nX-Forwarded-For: {client}\r\nContent-Length: 2\r\n".encode()
            peer.sendall(head + HEAD + b"\r\n{")
            return peer

        slow = [begin("192.0.2.1") for _ in range(8)]
        time.sleep(0.5)
        other = begin("192.0.2.2")
        other.sendall(b"}")
        assert other.recv(100).startswith(b"HTTP/1.1 400")
        for peer in reversed(slow):
            peer.sendall(b"}")
        assert [peer.recv(100)[:12] for peer in slow] == [b"HTTP/1.1 400"] * 8


def test_shares_of_addresses(settings: object) -> None:
    settings.ADDRESS_SHARE, settings.TRUSTED_PROXIES = 50, "10.0.0.0/8"  # type: ignore[attr-defined]
    log = SimpleNamespace(warning=lambda *values: None)
    shares = AddressShares(connections=4, threads=3)
    share = shares.open_connection("2001:db8::1", log)
    assert share is not None
    assert [shares.open_connection(f"2001:db8::{number}", log) for number in (2, 3)] == [share, None]
    assert all(shares.open_connection("10.1.2.3", log) for _ in range(9))
    share.running = {1}
    assert shares.may_run(share)
    share.running = {1, 2}
    assert not shares.may_run(share)
    shares.close_connection(share)
    assert shares.open_connection("2001:db8::3", log) is share
    for _ in range(2):
        shares.close_connection(share)
    assert list(shares.shares) == ["10.1.2.3"]


@dataclass(eq=False)
class RequestOf:
    """A connection with a request, as shares see it."""

    share: Share
    was_refused: bool = False


def test_last_threads_serve_addresses_without_any(settings: object) -> None:
    settings.ADDRESS_SHARE = 75  # type: ignore[attr-defined]
    shares = AddressShares(connections=100, threads=8)
    crowd, second, third = [Share(f"192.0.2.{number}", is_limited=True) for number in (1, 2, 3)]
    begun = [RequestOf(crowd) for _ in range(6)]
    assert all(shares.begin(request) for request in begun)
    late = [RequestOf(share) for share in (crowd, second, second, third, third)]
    assert [shares.begin(request) for request in late] == [False, True, False, True, False]
    for request in begun[:3]:
        shares.end(request)
    assert shares.next_waiting() is late[0]
    assert shares.begin(late[0])
    assert shares.next_waiting() is None
    shares.end(late[0])
    assert [shares.next_waiting(), shares.begin(late[2])] == [late[2], True]
    assert shares.next_waiting() is None
    shares.end(late[1])
    assert [shares.next_waiting(), shares.begin(late[4]), shares.next_waiting()] == [late[4], True, None]


def test_client_gone_after_its_handshake_is_one_line(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    reset = struct.pack("ii", 1, 0)
    with running(tmp_path / "data", REGISTRY_WORKERS="1", REGISTRY_LOG_LEVEL="debug", **tls) as server:
        context = server.tls()
        assert context is not None
        context.set_alpn_protocols(["h2"])
        for _ in range(200):  # one may be gone before the server has shaken hands
            with context.wrap_socket(connect(server), server_hostname="127.0.0.1") as wire:
                wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            if "client_gone" in server.log.read_text():
                break
        assert health_status(server) == "200"
        log = server.log.read_text()
    (line, *_) = [line for line in log.splitlines() if "client_gone" in line]
    assert "DEBUG client_gone ip=127.0.0.1 cause=" in line
    assert "Traceback" not in log
    assert "ERROR" not in log
