"""nginx, HAProxy, Apache, Caddy and Varnish in front of the registry, each with the configuration of `docs/proxies.md`.

What nginx does besides, such as to send files itself, is in `test_nginx.py`.
"""

import json
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from secrets import token_hex

import pytest

from registry_site.server.app import configuration
from tests.support import nginx, packing, proxies
from tests.support.cargo import Cargo, write_files
from tests.support.file_clients import LiveFileClient
from tests.support.servers import Server, certificate, free_port, running

pytestmark = [pytest.mark.database_independent, pytest.mark.long]

SOON = 10  # seconds; a slow body has 60
CLIENT = "127.0.0.2"  # not the address of the proxies, which are trusted
PROXIES: dict[str, Callable[..., AbstractContextManager[None]]] = {
    "nginx": nginx.running_shipped,
    "haproxy": proxies.running_haproxy,
    "apache": proxies.running_apache,
    "caddy": proxies.running_caddy,
    "varnish": proxies.running_varnish,
}
CRATE = b"x" * 2_000_000
# Lines of the documented configurations: without them short bodies go on as they come.
BUFFERING = {
    "haproxy": ("    timeout http-request 10s\n", "    option http-buffer-request\n"),
    "caddy": ("\t\trequest_buffers 64KiB\n",),
}
OTHERS = {"haproxy": (60, 1000)}  # which uses one connection for many clients: refused uploads, and requests of others


@dataclass(frozen=True)
class Answer:
    """A complete answer; `status` is 0 when the connection broke."""

    status: int
    headers: Message = field(default_factory=Message)
    body: bytes = b""

    @property
    def sentence(self) -> str:
        """The sentence that cargo prints; empty if there is none."""
        try:
            return str(json.loads(self.body)["errors"][0]["detail"])
        except (ValueError, KeyError, TypeError):
            return ""


@dataclass(frozen=True)
class Site:
    """A registry behind a proxy."""

    name: str
    server: Server
    port: int
    directory: Path

    @property
    def url(self) -> str:
        return self.server.environment["REGISTRY_PUBLIC_URL"]

    @property
    def scheme(self) -> str:
        return self.url.partition(":")[0]

    def cargo(self, token: str) -> Cargo:
        """Return a cargo with a home of its own."""
        return Cargo(self.directory / f"home-{token_hex(4)}", self, token)

    def connect(self, address: str = CLIENT, port: int = 0) -> HTTPConnection:
        """Return a new connection to the proxy; another port is that of another instance."""
        if self.url.startswith("http:"):
            return HTTPConnection("127.0.0.1", port or self.port, timeout=60, source_address=(address, 0))
        context = ssl.create_default_context(cafile=str(self.directory / "tls" / "ca.pem"))
        source = (address, 0)
        return HTTPSConnection("127.0.0.1", port or self.port, timeout=60, source_address=source, context=context)

    def send(
        self, method: str, path: str, body: bytes | None = None, *, address: str = CLIENT, port: int = 0, **headers: str
    ) -> Answer:
        """Send a request on a connection of its own."""
        connection = self.connect(address, port)
        try:
            return send_on(connection, method, path, body, headers)
        finally:
            connection.close()

    def log_in(self, address: str, forged: str) -> int:
        """Try a wrong password, and return the status."""
        body = json.dumps({"password": "wrong"}).encode()
        path, kind = "/ktra/api/v1/login/carol", "application/json"
        return self.send("POST", path, body, address=address, Content_Type=kind, X_Forwarded_For=forged).status


def send_on(
    connection: HTTPConnection, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = {}
) -> Answer:
    """Send a request, and read the answer also when the body is not taken to its end."""
    fields = {name.replace("_", "-"): text for name, text in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in fields, skip_accept_encoding=True)
    if body is not None and "Transfer-Encoding" not in fields:
        fields["Content-Length"] = str(len(body))
    for name, text in fields.items():
        connection.putheader(name, text)
    try:
        connection.endheaders()
        connection.send(body or b"")
    except OSError:
        pass  # the answer may have come
    try:
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    except (OSError, HTTPException):
        return Answer(0)


@pytest.fixture(scope="module", params=PROXIES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running_behind(request.param, tmp_path_factory.mktemp(request.param)) as site:
        yield site


@contextmanager
def running_behind(name: str, directory: Path) -> Iterator[Site]:
    """Run a registry behind a proxy during the block."""
    port = free_port()
    certificate(directory / "tls")
    settings = {
        "REGISTRY_PUBLIC_URL": f"{'http' if name == 'varnish' else 'https'}://127.0.0.1:{port}",
        "REGISTRY_TRUSTED_PROXIES": "127.0.0.1",
        "REGISTRY_MAX_LOGIN_FAILURES": "2",
        "REGISTRY_MAX_CRATE_SIZE": "1000000",
        "REGISTRY_WORKERS": "1",
    }
    with running(directory / "data", **settings) as server, PROXIES[name](directory, port, server.port):
        yield Site(name, server, port, directory)


def test_idle_connections_end_at_the_proxies_first() -> None:
    """Else a publish can meet the end of its connection. HAProxy has no such time; it sees the end by itself."""
    apache, caddy = [re.findall(pattern, proxies.DOCUMENT) for pattern in (r" ttl=(\d+)", r"\tkeepalive (\d+)s\n")]
    varnish = ["60"]  # its default of `backend_idle_timeout`
    assert [seconds for seconds in map(int, apache + caddy + varnish) if seconds >= configuration()["keepalive"]] == []
    assert (len(apache), len(caddy)) == (1, 1)


@pytest.fixture(scope="module")
def token(site: Site) -> str:
    """Sign alice up, who has a crate, and return her token."""
    token = site.server.sign_up("alice")
    assert site.send("PUT", "/api/v1/crates/new", packing.body("tagged"), Authorization=token).status == 200
    return token


def test_cargo_sees_at_once_what_it_published(site: Site, token: str, tmp_path: Path) -> None:
    """No answer from before is given out by a cache; cargo itself asks for the index file before it publishes."""
    paths = ("/index/de/mo/demo", "/dl/demo/1.0.0/download", "/api/v1/crates?q=demo")
    before = [site.send("GET", path) for path in paths]
    assert [answer.status for answer in before] == [404, 404, 200]
    cargo = site.cargo(token)
    crate = write_files(tmp_path / "demo", {"Cargo.toml": packing.manifest(), "src/lib.rs": ""})
    cargo.run(crate, "publish", "--registry", "priv", "--no-verify", "--allow-dirty")
    index, download, search = [site.send("GET", path) for path in paths]
    assert (index.status, download.status, json.loads(search.body)["meta"]["total"]) == (200, 200, 1)
    manifest = packing.manifest("consumer") + '[dependencies]\ndemo = { version = "1", registry = "priv" }\n'
    consumer = write_files(tmp_path / "consumer", {"Cargo.toml": manifest, "src/lib.rs": ""})
    assert "Downloaded demo v1.0.0" in cargo.run(consumer, "fetch")


def test_cargo_prints_why_an_upload_is_refused(site: Site, token: str, tmp_path: Path) -> None:
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "noise").write_bytes(random.Random(1).randbytes(len(CRATE)))
    crate = write_files(tmp_path / "large", {"Cargo.toml": packing.manifest("large"), "src/lib.rs": ""})
    output = site.cargo(token).run(crate, "publish", "--registry", "priv", "--no-verify", "--allow-dirty", fails=True)
    assert "at most 1000000" in output


def test_refused_uploads_leave_others_alone(site: Site) -> None:
    """An answer to an upload that nobody read must not reach, or break, the request of somebody else."""
    uploads, requests = OTHERS.get(site.name, (20, 200))
    with ThreadPoolExecutor(12) as pool:
        others = [pool.submit(read_in_turn, site, requests // 8) for _ in range(8)]
        refusals = [pool.submit(refuse_in_turn, site, uploads // 4) for _ in range(4)]
        statuses = Counter(status for client in others for status in client.result())
        sentences = Counter(sentence[:16] for client in refusals for sentence in client.result())
    assert statuses == {200: requests}
    assert sentences == {"This needs a tok": uploads}


def read_in_turn(site: Site, requests: int) -> list[int]:
    """Send requests over one connection, and return their statuses."""
    connection = site.connect()
    try:
        return [send_on(connection, "GET", "/index/config.json").status for _ in range(requests)]
    finally:
        connection.close()


def refuse_in_turn(site: Site, uploads: int) -> list[str]:
    """Upload without a token, each on a connection of its own, and return the sentences of the refusals."""
    sizes = [len(CRATE) >> number % 4 for number in range(uploads)]
    return [site.send("PUT", "/api/v1/crates/new", CRATE[:size]).sentence for size in sizes]


def test_writes_over_idle_connections_are_answered(site: Site, token: str) -> None:
    def write(_: int) -> int:
        connection = site.connect()
        try:
            paths = ("/api/v1/crates/nothing/1.0.0/unyank",) * 10
            return sum(
                send_on(connection, "PUT", path, b"{}", {"Authorization": token}).status == 404 for path in paths
            )
        finally:
            connection.close()

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(write, range(10))) == 100


def test_chunked_publish_is_refused_or_collected(site: Site, token: str) -> None:
    statuses = []
    for body in (CRATE, packing.body("chunked")):
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        path, coding = "/api/v1/crates/new", "chunked"
        statuses.append(site.send("PUT", path, chunks, Authorization=token, Transfer_Encoding=coding).status)
    # nginx collects bodies, and Apache short ones, and they send them with their length.
    assert statuses == {"nginx": [413, 200], "apache": [411, 200]}.get(site.name, [411, 411])


def test_wrong_passwords_count_for_the_client(site: Site) -> None:
    """The address that a client has written in `X-Forwarded-For` itself is not believed."""
    statuses = [site.log_in("127.0.0.2", forged=f"192.0.2.{number}") for number in range(3)]
    assert statuses == [401, 401, 429]
    assert site.log_in("127.0.0.3", forged="127.0.0.2") == 401


def test_host_reaches_the_registry(site: Site) -> None:
    answer = site.send("GET", "/index/config.json", Host="else.example")
    if site.name == "caddy":
        assert answer.body == b""  # it serves the names in its configuration alone
    else:
        assert "This registry answers as" in answer.sentence


def test_too_long_header_is_refused(site: Site) -> None:
    statuses = [site.send("GET", "/index/config.json", Authorization="a" * size).status for size in (7_000, 17_000)]
    assert statuses[0] == 401
    assert statuses[1] in (400, 431)


def test_parts_and_heads_of_a_crate(site: Site, token: str) -> None:
    path = "/dl/tagged/1.0.0/download"
    for _ in range(2):  # the second is of a cache, if it keeps one
        whole, part, head = site.send("GET", path), site.send("GET", path, Range="bytes=5-9"), site.send("HEAD", path)
        assert (part.status, part.body) == (206, whole.body[5:10])
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(whole.body)))


def test_tag_of_a_compressed_answer_matches(site: Site, token: str) -> None:
    assert is_compressed_and_unchanged(site) == (site.name in ("apache", "nginx"), 304)


def is_compressed_and_unchanged(site: Site, port: int = 0) -> tuple[bool, int]:
    """Return whether an index file comes compressed, and the status of the request with its tag."""
    first = site.send("GET", "/index/ta/gg/tagged", port=port, Accept_Encoding="gzip")
    tag = first.headers["ETag"]
    again = site.send("GET", "/index/ta/gg/tagged", port=port, Accept_Encoding="gzip", If_None_Match=tag)
    return first.headers.get("Content-Encoding") == "gzip", again.status


def test_slow_bodies_leave_threads_to_others(site: Site) -> None:
    with slow_log_ins(site, site.port, addresses=48):
        assert seconds_of_others(site, site.port) < SOON


@contextmanager
def slow_log_ins(site: Site, port: int, *, addresses: int) -> Iterator[None]:
    """Keep three log-ins for each thread of the registry in the middle of their bodies during the block."""
    head = "POST /ktra/api/v1/login/dave HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    with ExitStack() as stack:
        for number in range(48):
            connection = site.connect(f"127.0.1.{number % addresses + 1}", port)
            stack.callback(connection.close)
            connection.connect()
            connection.send(f"{head}Content-Length: 40\r\n\r\n{{".encode())
        time.sleep(0.5)  # in which they would take the threads
        yield


def seconds_of_others(site: Site, port: int) -> float:
    began = time.monotonic()
    assert site.send("GET", "/index/config.json", address="127.0.0.3", port=port).status == 200
    return time.monotonic() - began


# --- single proxies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("site", BUFFERING, indirect=True)
def test_slow_bodies_without_buffering_leave_threads(site: Site) -> None:
    """The registry itself waits for short bodies outside of its threads."""
    port = free_port()
    changes = dict.fromkeys(BUFFERING[site.name], "")
    with PROXIES[site.name](site.directory, port, site.server.port, changes):
        for addresses in (1, 2, 48):
            with slow_log_ins(site, port, addresses=addresses):
                assert (addresses, seconds_of_others(site, port) < SOON) == (addresses, True)


@pytest.mark.parametrize("site", ["apache"], indirect=True)
def test_tag_with_the_suffix_of_apache_matches(site: Site, token: str) -> None:
    """`DeflateAlterETag` may stay as it is by default."""
    port = free_port()
    changes = {"    DeflateAlterETag NoChange\n": ""}
    with proxies.running_apache(site.directory, port, site.server.port, changes):
        first = site.send("GET", "/index/ta/gg/tagged", port=port, Accept_Encoding="gzip")
        assert first.headers["ETag"].endswith('-gzip"')
        assert is_compressed_and_unchanged(site, port) == (True, 304)


@pytest.mark.parametrize("site", ["varnish"], indirect=True)
def test_list_is_not_given_to_others(site: Site) -> None:
    """The token stands in the query, which a cache takes for a part of the address."""
    token = LiveFileClient(site.server, "station").token
    path = f"/?session_token={token}"
    statuses = [site.send("GET", path).status]
    site.server.manage("disableclient", "station")
    statuses.append(site.send("GET", path).status)
    assert statuses == [200, 401]


@pytest.mark.parametrize("site", ["varnish"], indirect=True)
def test_immutable_bytes_are_kept(site: Site, token: str) -> None:
    """Without this the tests of Varnish would hold for a cache that is off."""
    answers = [site.send("GET", "/dl/tagged/1.0.0/download") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 200]
    assert len(answers[1].headers["X-Varnish"].split()) == 2  # the second number is the request that filled the cache
