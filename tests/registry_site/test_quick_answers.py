"""Answers from a worker's memory: the same bytes as the ordinary way gives, never old, and no burden to others."""

import re
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from urllib.request import Request, urlopen

import pytest

from crates.names import index_path
from tests.support.concurrency import wait_until
from tests.support.mirror_store import query
from tests.support.raw_requests import (
    LOCAL,
    OWN_LINES,
    SETTINGS,
    connect,
    etag_of,
    exchange,
    get,
    head,
    publish,
    quick_answers,
)
from tests.support.servers import Server, certificate, running, running_with

pytestmark = pytest.mark.long

SERVER_SETTINGS = SETTINGS
NAMES = ("a", "ab", "abc", "serde", "tokio-util")
SERDE = f"/index/{index_path('serde')}"


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """The token of an account that has published a few crates."""
    token = server.sign_up("alice")
    for name in NAMES:
        publish(server, token, name)
    for number in range(1, 8):  # so that its index file is worth compressing
        publish(server, token, "serde", f"1.0.{number}")
    return token


def answers_quickly(server: Server) -> bool:
    """Ask over one connection, and tell whether an answer came from memory."""
    before = quick_answers(server)
    exchange(server, *[head("/ready", LOCAL)] * 2, head("/ready", LOCAL, "Connection: close"))
    return quick_answers(server) > before


# --- The same bytes -----------------------------------------------------------------------------------------------

ODD_PATHS = (
    *("/index/config.json?", "/index/config.json?x=1", "/index//config.json", "/index/se/rd/Serde", "/index/serde"),
    *("/index/se/rd/%73erde", "/index/se/rd/none", "/index/../health", "/health/", "/HEALTH", "/index/", "*", "x"),
    *("http://127.0.0.1/index/config.json", "/index/config.json#x", "/index/se/rd/serde/", "/ready?", "/ä", "//"),
)
ODD_LINES = (
    *("Range: bytes=0-3", "Content-Length: 0", "Content-Length: 5", "Expect: 100-continue", "Cookie: a=b", "X: y"),
    *("Authorization: nonsense", "Transfer-Encoding: chunked", "Accept: text/html", "Content-Type: text/plain"),
    *("Host: other.example.com", "Host: 127.0.0.1", "nonsense", ": x", "X_Y: z", "Accept : */*", "If-Range: x"),
    *("If-Modified-Since: Mon, 01 Jan 2001 00:00:00 GMT", "If-Match: *", 'If-Match: "x"', "Upgrade: h2c", " x: y"),
    *(f"User-Agent: {'x' * 5000}", f"User-Agent: {'x' * 17_000}", "Forwarded: for=ä"),
    *("Connection: upgrade", "Connection: keep-alive, close", "Connection: \t close", "User-Agent: \x01", "TE: ä"),
)
CARGO = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"  # no TLS
PLAIN_LINES = (
    *("Accept: */*", "accept: text/plain", "Accept-Encoding: gzip, br", "cargo-protocol: version=1", "User-Agent: x"),
    *("Accept-Encoding: deflate, gzip", "Accept-Encoding: gzip;q=0", "accept-encoding: identity"),
    *("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA", CARGO, CARGO),
    *("USER-AGENT:cargo/1.90  ", "Cache-Control: no-cache", "X-Request-ID: 0123456789", "X-Forwarded-For: 192.0.2.1"),
)
HOSTS = ("Host: 127.0.0.1", "host: 127.0.0.1:80", "Host: LOCALHOST", "Host: 127.0.0.1", "Host:localhost ")
NO_HOSTS = ("Host: other.example.com", "Host: 127.0.0.1:x", "Host:", "X: y")


def random_request(random: Random, etags: Sequence[str], token: str, marker: str, *, is_last: bool) -> bytes:
    """Return a request, mostly a plain one; it is never plain with a marker."""
    rarely = random.random() < 0.1
    paths = ["/index/config.json", "/health", "/ready", *(f"/index/{index_path(name)}" for name in NAMES)]
    lines = [random.choice(NO_HOSTS if random.random() < 0.05 else HOSTS)]
    lines += random.sample(PLAIN_LINES, random.randrange(4))
    if random.random() < 0.4:
        tag = random.choice(etags)
        lines.append(f"If-None-Match: {random.choice([tag, tag, tag, f'W/{tag}', f'{tag}, {tag}', '*', 'x', ''])}")
    if random.random() < 0.3:
        values = [*[token] * 4, f"Bearer {token}", f"token  {token}", "", "x"]
        lines.append(f"Authorization: {random.choice(values)}")
    if random.random() < 0.15:
        lines.append(random.choice(ODD_LINES))
    if is_last or random.random() < 0.1:
        lines.append(f"Connection: {random.choice(['close', 'Close'])}")
    elif random.random() < 0.2:
        lines.append(f"connection: {random.choice(['keep-alive', 'Keep-Alive'])}")
    random.shuffle(lines)
    path = random.choice(ODD_PATHS if rarely else paths)
    method = random.choice(["GET"] * 8 + ["HEAD"] * 3 + ["POST", "OPTIONS", "get"])
    version = random.choice(["1.1"] * 8 + ["1.0"] * (1 + is_last) + ["2.0"] * rarely)
    return head(path, *([marker] if marker else []), *lines, method=method, version=version)


def pieces_of(random: Random, data: bytes) -> list[bytes]:
    if random.random() < 0.9:
        return [data]
    cut = sorted(random.randrange(len(data)) for _ in range(2))
    return [data[: cut[0]], data[cut[0] : cut[1]], data[cut[1] :]]


def test_both_ways_give_the_same_bytes(server: Server, token: str) -> None:
    """A header that is not known makes a request go the ordinary way, and changes nothing else."""
    etags = [etag_of(server, SERDE), '"0"']
    before, differences = quick_answers(server), []
    for seed in range(300):
        answers = []
        for marker in ("", "X-Ordinary: 1"):
            random = Random(seed)
            length = random.choice([1, 1, 2, 3, 9])
            data = b"".join(
                random_request(random, etags, token, marker, is_last=n + 1 == length) for n in range(length)
            )
            data = random.choice([b""] * 30 + [b"\r\n", b"\n"]) + data
            answers.append(OWN_LINES.sub(b"", exchange(server, *pieces_of(random, data))))
        if answers[0] != answers[1]:
            differences.append((seed, *answers))
    assert differences == []
    assert quick_answers(server) - before > 80


def test_tls_and_proxies_get_the_same_answers(tmp_path: Path) -> None:
    tls = certificate(tmp_path / "tls")
    with running(tmp_path / "data", **SETTINGS, **tls, REGISTRY_TRUSTED_PROXIES="127.0.0.1") as server:
        wait_until(lambda: answers_quickly(server))
        lines = (LOCAL, "X-Request-ID: request-of-a-proxy", "X-Forwarded-For: 192.0.2.1")
        answers = []
        for marker in ([], ["X-Ordinary: 1"]):
            request = head("/index/config.json", *lines, *marker)
            answers.append(exchange(server, *[request] * 5, head("/ready", *lines, *marker, "Connection: close")))
    assert answers[0].count(b"X-Request-ID: request-of-a-proxy\r\n") == 6
    quick, ordinary = (re.sub(rb"Date: .*\r", b"", answer) for answer in answers)
    assert quick == ordinary


# --- Never old ----------------------------------------------------------------------------------------------------


def test_each_change_counts_at_once(server: Server, token: str) -> None:
    missed: list[tuple[str, str, bytes]] = []
    before = quick_answers(server)
    for number in range(10):
        version = f"1.0.{number}"
        publish(server, token, "changing", version)
        for yanked, path in ((True, "yank"), (False, "unyank")):
            for _ in range(3):
                last = get(server, f"/index/{index_path('changing')}")[1].splitlines()[-1]
                if f'"vers":"{version}"'.encode() not in last or b'"yanked":true' in last:
                    missed.append((version, "", last))
            url = f"{server.url}/api/v1/crates/changing/{version}/{path}"
            method = "DELETE" if yanked else "PUT"
            urlopen(Request(url, headers={"Authorization": token}, method=method)).close()
            last = get(server, f"/index/{index_path('changing')}")[1].splitlines()[-1]
            if (b'"yanked":true' in last) != yanked:
                missed.append((version, path, last))
            urlopen(Request(url.replace(path, "unyank"), headers={"Authorization": token}, method="PUT")).close()
    assert missed == []
    assert quick_answers(server) > before


def test_time_of_change_appears_once_it_has_come(server: Server, token: str) -> None:
    """Quick publishes of a crate give a time that lies ahead, which is left out until then."""
    publish(server, token, "hasty")
    soon = datetime.now(UTC) + timedelta(seconds=3)
    query(server, f"UPDATE crates_crate SET index_modified = '{soon}' WHERE name = 'hasty'")
    path, before = f"/index/{index_path('hasty')}", quick_answers(server)
    heads = [get(server, path)[0] for _ in range(4)]
    assert quick_answers(server) > before
    assert [b"Last-Modified" in head for head in heads].count(False) > 1
    wait_until(lambda: b"Last-Modified" in get(server, path)[0])


# --- No burden to others ------------------------------------------------------------------------------------------


def test_endless_pipeline_does_not_delay_others(server: Server, token: str) -> None:
    get(server, SERDE)
    requests, is_over = head(SERDE, LOCAL) * 500, threading.Event()

    def send_and_read(peer: socket.socket) -> None:
        while not is_over.is_set():
            peer.sendall(requests)
            peer.recv(1024 * 1024)

    def send_without_reading(peer: socket.socket) -> None:
        with suppress(TimeoutError):
            while not is_over.is_set():
                peer.sendall(requests)

    with connect(server) as reading, connect(server) as deaf:
        deaf.settimeout(0.2)
        threads = [
            threading.Thread(target=send_and_read, args=[reading]),
            threading.Thread(target=send_without_reading, args=[deaf]),
        ]
        for thread in threads:
            thread.start()
        try:
            assert [get(server, path, line)[0][:12] for path in (SERDE, "/health") for line in ("A: b", "Via: x")] == [
                b"HTTP/1.1 200"
            ] * 4
        finally:
            is_over.set()
            for thread in threads:
                thread.join()


LARGE = "/index/la/rg/large"
OF_LARGE = "crate_id = (SELECT id FROM crates_crate WHERE name = 'large')"


def enlarge(server: Server) -> None:
    """Let the index file of the crate `large` be larger than what a socket takes at once."""
    query(server, f"UPDATE crates_indexline SET text = '{'x' * 7_000_000}' WHERE {OF_LARGE}")
    query(server, "UPDATE crates_crate SET index_etag = '\"large\"' WHERE name = 'large'")


@pytest.fixture
def large_file(server: Server, token: str) -> bytes:
    """An index file that no socket takes at once."""
    if get(server, LARGE)[0].startswith(b"HTTP/1.1 404"):
        publish(server, token, "large")
        enlarge(server)
    return get(server, LARGE)[1]


def test_large_answer_arrives_whole_at_a_slow_reader(server: Server, large_file: bytes) -> None:
    get(server, LARGE)
    before = quick_answers(server)
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.settimeout(40)
        peer.connect(("127.0.0.1", server.port))
        peer.sendall(head(LARGE, LOCAL) + head("/ready", LOCAL, "Connection: close"))
        time.sleep(0.05)
        assert get(server, "/ready")[0].startswith(b"HTTP/1.1 200")
        received = b"".join(iter(lambda: peer.recv(65536), b""))
    body, _, rest = received.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1 200 OK\r\n")
    assert (len(large_file), body == large_file, rest[-4:]) == (7_000_000, True, b"rue}")
    assert quick_answers(server) >= before + 3


def test_client_that_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    changes = "from registry_site.server import quick_answers; quick_answers.STALL_SECONDS = 0.5"
    with running_with(changes, tmp_path / "data", **SERVER_SETTINGS) as server:
        publish(server, server.sign_up("alice"), "large")
        enlarge(server)
        for _ in range(2):
            assert len(get(server, LARGE)[1]) == 7_000_000
        with connect(server) as peer:
            peer.sendall(head(LARGE, LOCAL))
            pid = server.workers()[0]
            wait_until(lambda: is_sending(pid, peer.getsockname()[1]))
            wait_until(lambda: not is_sending(pid, peer.getsockname()[1]))
        assert get(server, "/ready")[0].startswith(b"HTTP/1.1 200")


def is_sending(pid: int, port: int) -> bool:
    """Tell whether a process has a connection to this port of a client."""
    lines = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    sockets = {line.split()[9] for line in lines if line.split()[2].endswith(f":{port:04X}")}
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            links.append(str(descriptor.readlink()))
    return any(f"socket:[{inode}]" in links for inode in sockets)


def test_no_answers_are_kept_without_memory_for_them(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SETTINGS, REGISTRY_INDEX_CACHE_SIZE="0") as server:
        answers = {get(server, "/index/config.json")[1] for _ in range(5)}
        assert (len(answers), quick_answers(server)) == (1, 0)
