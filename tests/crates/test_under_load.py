"""Many publishers at the same time, and a server that is killed between two publishes, on a real server."""

import hashlib
import http.client
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import packing
from tests.support.servers import Server, running

pytestmark = pytest.mark.long

SERVER_SETTINGS = {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0", "REGISTRY_CRATE_CHANGES_PER_MINUTE": "0"}

CLIENTS = 64
RACERS = 32


def send(server: Server, method: str, path: str, token: str = "", body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request(method, path, body, {"Authorization": token} if token else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def publish(server: Server, token: str, body: bytes) -> int:
    return send(server, "PUT", "/api/v1/crates/new", token, body)[0]


def lines(server: Server, path: str) -> list[dict[str, Any]]:
    status, text = send(server, "GET", f"/index/{path}")
    assert status == 404 or text.endswith(b"\n")
    return [json.loads(line) for line in text.splitlines()] if status == 200 else []


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return server.sign_up("alice")


def test_concurrent_publishers_lose_nothing(server: Server, token: str) -> None:
    bodies = {f"crate{n}": packing.body(f"crate{n}") for n in range(CLIENTS)}
    with ThreadPoolExecutor(CLIENTS) as clients:
        statuses = Counter(clients.map(lambda body: publish(server, token, body), bodies.values()))
    assert statuses == {200: len(bodies)}
    for name in bodies:
        (line,) = lines(server, f"cr/at/{name}")
        _, crate = send(server, "GET", f"/dl/{name}/1.0.0/download")
        assert hashlib.sha256(crate).hexdigest() == line["cksum"]


def test_concurrent_versions_of_one_crate_are_all_kept(server: Server, token: str) -> None:
    publish(server, token, packing.body("many", "0.0.0"))
    with ThreadPoolExecutor(CLIENTS) as clients:
        bodies = [packing.body("many", f"1.0.{n}") for n in range(CLIENTS)]
        assert set(clients.map(lambda body: publish(server, token, body), bodies)) == {200}
    assert {line["vers"] for line in lines(server, "ma/ny/many")} == {"0.0.0", *(f"1.0.{n}" for n in range(CLIENTS))}


def test_one_publisher_wins_a_version(server: Server, token: str) -> None:
    bodies = [packing.body("race", toml=packing.manifest("race", extra=f'description = "{n}"')) for n in range(RACERS)]
    with ThreadPoolExecutor(RACERS) as clients:
        statuses = Counter(clients.map(lambda body: publish(server, token, body), bodies))
    assert statuses == {200: 1, 409: RACERS - 1}
    assert len(lines(server, "ra/ce/race")) == 1


@pytest.fixture(scope="module")
def others(server: Server) -> list[str]:
    return [server.sign_up(name) for name in ("bob", "charlie", "dora")]


def test_one_spelling_wins_a_name(server: Server, others: list[str]) -> None:
    for round_ in range(5):
        names = [f"sp-{round_}", f"sp_{round_}", f"SP-{round_}"]
        bodies = [packing.body(name) for name in names]
        with ThreadPoolExecutor(3) as clients:
            statuses = list(clients.map(lambda pair: publish(server, *pair), zip(others, bodies, strict=True)))
        assert sorted(statuses)[0] == 200
        assert all(status in (403, 409) for status in sorted(statuses)[1:])


def change_owner(server: Server, method: str, crate: str, token: str, login: str) -> int:
    body = json.dumps({"users": [login]}).encode()
    return send(server, method, f"/api/v1/crates/{crate}/owners", token, body)[0]


def test_owners_cannot_remove_each_other(server: Server, token: str, others: list[str]) -> None:
    """Without a lock on the crate's row, both removals see the other owner, and no owner is left."""
    for round_ in range(10):
        crate = f"shared{round_}"
        publish(server, token, packing.body(crate))
        assert change_owner(server, "PUT", crate, token, "bob") == 200
        with ThreadPoolExecutor(2) as clients:
            removals = [
                clients.submit(change_owner, server, "DELETE", crate, token, "bob"),
                clients.submit(change_owner, server, "DELETE", crate, others[0], "alice"),
            ]
        assert sorted(removal.result() for removal in removals) in ([200, 403], [200, 409])


def test_concurrent_readers_see_whole_lines_only(server: Server, token: str) -> None:
    publish(server, token, packing.body("storm", "1.0.0"))

    def write(number: int) -> None:
        publish(server, token, packing.body("storm", f"1.1.{number}"))
        send(server, "DELETE", f"/api/v1/crates/storm/1.1.{number}/yank", token)

    def read(_: int) -> list[int]:
        return [len(lines(server, "st/or/storm")) for _ in range(20)]

    with ThreadPoolExecutor(12) as clients:
        writing = clients.map(write, range(20))
        seen = list(clients.map(read, range(4)))
        list(writing)
    assert all(earlier <= later for counts in seen for earlier, later in pairwise(counts))
    assert [line["yanked"] for line in lines(server, "st/or/storm")] == [False] + [True] * 20


def test_acknowledged_versions_survive_a_kill(tmp_path: Path) -> None:
    with running(tmp_path / "data", **SERVER_SETTINGS) as server:
        token = server.sign_up("alice")
        acknowledged: set[str] = set()

        def publish_many(client: int, life: int) -> None:
            for number in range(500):
                body = packing.body(f"kill{client}", f"1.{life}.{number}")
                try:
                    if publish(server, token, body) == 200:
                        acknowledged.add(f"kill{client}@1.{life}.{number}")
                except (OSError, http.client.HTTPException):
                    return

        for life in range(1, 4):
            with ThreadPoolExecutor(4) as clients:
                working = [clients.submit(publish_many, client, life) for client in range(4)]
                while len(acknowledged) < 30 * life and not any(client.done() for client in working):
                    time.sleep(0.01)
                server.kill()
                wait(working)
            server.start()
        assert len(acknowledged) >= 90
        assert_complete(server, acknowledged)


def assert_complete(server: Server, acknowledged: set[str]) -> None:
    """Assert that each acknowledged version is in the index, and that each line of the index has its bytes."""
    listed = {
        f"{line['name']}@{line['vers']}": line["cksum"] for n in range(4) for line in lines(server, f"ki/ll/kill{n}")
    }
    assert acknowledged <= set(listed)
    for version, checksum in listed.items():
        status, crate = send(server, "GET", f"/dl/{version.replace('@', '/')}/download")
        assert (status, hashlib.sha256(crate).hexdigest()) == (200, checksum)
