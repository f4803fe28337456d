"""Downloads that a worker sends without a thread: the same bytes and counts as the ordinary way, and no burden."""

import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from urllib.request import Request, urlopen

import pytest

from tests.support.concurrency import wait_until
from tests.support.mirror_store import query
from tests.support.raw_requests import (
    LOCAL,
    METRICS_TOKEN,
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
from tests.support.servers import Server, certificate, running

pytestmark = pytest.mark.long

SERVER_SETTINGS = SETTINGS
SMALL, LARGE = "/dl/small/1.0.0/download", "/dl/large/1.0.0/download"
CONTENT = Random(0).randbytes(3_000_000)  # no compression makes it smaller


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """The token of an account that has published a small crate and a large one."""
    token = server.sign_up("alice")
    publish(server, token, "small")
    publish(server, token, "large", content=CONTENT)
    return token


@pytest.fixture(params=[SMALL, LARGE])
def path(request: pytest.FixtureRequest, server: Server, token: str) -> str:
    """A download that is answered from memory."""
    path: str = request.param
    wait_until(lambda: answers_quickly(server, path))
    return path


def answers_quickly(server: Server, path: str) -> bool:
    before = quick_answers(server)
    return get(server, path)[0].startswith(b"HTTP/1.1 200") and quick_answers(server) > before


def downloads(server: Server) -> int:
    """Return how many downloads of crates the server has counted."""
    request = Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    with urlopen(request) as response:
        (count,) = re.findall(rb'(?m)^entrepot_downloads_total\{kind="crate"\} ([0-9]+)', response.read())
    return int(count)


def blobs(server: Server) -> dict[int, Path]:
    """Return the stored files by their sizes."""
    files = (path for path in (server.data / "blobs").rglob("*") if path.is_file())
    return {path.stat().st_size: path for path in files}


def random_request(random: Random, tags: Sequence[str], token: str, marker: str, *, is_last: bool) -> bytes:
    lines = [LOCAL, *([marker] if marker else [])]
    if random.random() < 0.4:
        lines.append(f"If-None-Match: {random.choice(tags)}")
    if random.random() < 0.3:
        lines.append(f"Authorization: {token}")
    if random.random() < 0.15:
        lines.append(random.choice(["Range: bytes=2-9", "Range: bytes=0-", 'If-Range: "x"', "Accept-Encoding: gzip"]))
    if is_last:
        lines.append("Connection: close")
    odd = ["/dl/Small/1.0.0/download", "/dl/small/1.0.1/download", "/dl/small/1.0.0/readme", f"{SMALL}?x=1"]
    path = random.choice([*[SMALL] * 6, *[LARGE] * 2, *odd])
    return head(path, *lines, method=random.choice(["GET"] * 3 + ["HEAD"]))


def test_both_ways_send_the_same_bytes(server: Server, token: str) -> None:
    """A header that is not known makes a request go the ordinary way, and changes nothing else."""
    tags = [etag_of(server, SMALL), etag_of(server, LARGE), '"0"']
    before, differing = quick_answers(server), []
    for seed in range(80):
        answers = []
        for marker in ("", "X-Ordinary: 1"):
            random = Random(seed)
            count = random.choice([1, 1, 2, 5])
            requests = [random_request(random, tags, token, marker, is_last=n + 1 == count) for n in range(count)]
            answers.append(OWN_LINES.sub(b"", exchange(server, b"".join(requests))))
        if answers[0] != answers[1]:
            differing.append((seed, *(answer[-700:] for answer in answers)))
    assert differing == []
    assert quick_answers(server) - before > 60


def test_downloads_count_once_each(server: Server, path: str) -> None:
    tag, before = etag_of(server, path), downloads(server)
    get(server, path, f"If-None-Match: {tag}")
    get(server, path, f"If-None-Match: {tag}")
    exchange(server, head(path, LOCAL, "Connection: close", method="HEAD"))
    assert downloads(server) == before
    exchange(server, head(path, LOCAL) * 2 + head(path, LOCAL, "Connection: close"))
    assert downloads(server) == before + 3


def test_lost_or_damaged_bytes_are_reported(server: Server, path: str) -> None:
    size = len(get(server, path)[1])
    file = blobs(server)[size]
    content = file.read_bytes()
    try:
        statuses = []
        for damage in (content[:-1], content + b"x", None):
            file.unlink()
            if damage is not None:
                file.write_bytes(damage)
            statuses += [
                exchange(server, head(path, LOCAL, "Connection: close", method=method))[9:12]
                for method in ("GET", "HEAD")
            ]
    finally:
        file.write_bytes(content)
    assert statuses == [b"404"] * 6
    assert server.log.read_text().count("blob.lost") >= 6
    assert get(server, path)[1] == content


def test_removed_version_is_gone_at_once(server: Server, token: str) -> None:
    publish(server, token, "passing")
    path = "/dl/passing/1.0.0/download"
    wait_until(lambda: answers_quickly(server, path))
    query(
        server,
        "UPDATE crates_version SET removed_at = published_at WHERE crate_id = "
        "(SELECT id FROM crates_crate WHERE name = 'passing')",
    )
    assert get(server, path)[0].startswith(b"HTTP/1.1 410")


def slowly(peer: socket.socket) -> Iterator[bytes]:
    while piece := peer.recv(200_000):
        yield piece
        time.sleep(0.002)


def test_slow_reader_gets_a_large_file_whole(server: Server, token: str) -> None:
    for path in (SMALL, LARGE):
        wait_until(lambda: answers_quickly(server, path))  # noqa: B023
    before = quick_answers(server)
    with socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        peer.settimeout(40)
        peer.connect(("127.0.0.1", server.port))
        peer.sendall(head(LARGE, LOCAL) + head("/ready", LOCAL, "Connection: close"))
        time.sleep(0.05)
        assert get(server, SMALL)[0].startswith(b"HTTP/1.1 200")
        received = b"".join(slowly(peer))
    size = len(get(server, LARGE)[1])
    body, _, rest = received.partition(b"\r\n\r\n")[2].partition(b"HTTP/1.1 200 OK\r\n")
    assert (len(body), rest[-4:]) == (size, b"rue}")
    assert quick_answers(server) >= before + 3


def test_client_that_leaves_gives_its_file_back(server: Server, token: str) -> None:
    wait_until(lambda: answers_quickly(server, LARGE))
    (pid,) = server.workers()
    for _ in range(3):
        with connect(server) as peer:
            peer.sendall(head(LARGE, LOCAL))
            peer.recv(1000)
    wait_until(lambda: not any("blobs" in str(link) for link in open_files(pid)))


def open_files(pid: int) -> list[Path]:
    links = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            links.append(descriptor.readlink())
        except OSError:  # it was closed just now
            continue
    return links


def test_tls_gets_the_same_file(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SETTINGS, **certificate(tmp_path / "tls")) as server:
        publish(server, server.sign_up("alice"), "large", content=CONTENT)
        answers = [
            exchange(server, head(LARGE, LOCAL, *lines) * 3 + head("/ready", LOCAL, *lines, "Connection: close"))
            for lines in ([], [], ["X: y"])
        ]
        assert quick_answers(server) > 0
    assert len({OWN_LINES.sub(b"", answer) for answer in answers}) == 1
    assert len(answers[0]) > len(CONTENT)
