"""A running mirror: refreshes, outages of upstream, changed checksums, many clients, and a killed server."""

import hashlib
import http.client
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from crates.names import index_path
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, PausedHalfway, crate_path, index_file_path, line
from tests.support.concurrency import wait_until
from tests.support.mirror_store import find_damage, mark_stale, query, read_files, temporary_files
from tests.support.raw_requests import LOCAL, METRICS_TOKEN, OWN_LINES, exchange, head, quick_answers
from tests.support.servers import Server, running

pytestmark = pytest.mark.long

BYTES = b"the bytes of a crate"


@pytest.fixture(scope="module")
def upstream() -> Iterator[BadUpstream]:
    with bad_upstream.upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def mirror(upstream: BadUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A mirror with two workers, whose upstream has at most two seconds."""
    with running(
        tmp_path_factory.mktemp("mirror") / "data",
        REGISTRY_MIRROR_UPSTREAM=f"sparse+{upstream.url}",
        REGISTRY_MIRROR_INDEX_TTL="100000",
        REGISTRY_MIRROR_TIMEOUT="2",
        REGISTRY_WORKERS="2",
        REGISTRY_METRICS_TOKEN=METRICS_TOKEN,
    ) as server:
        yield server


def get(server: Server, path: str) -> tuple[int, bytes]:
    """Return status and body of a response, or status 0 when the connection broke."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def get_index_file(server: Server, name: str) -> tuple[int, bytes]:
    return get(server, f"/mirror/index/{index_path(name)}")


def get_crate(server: Server, name: str) -> tuple[int, bytes]:
    return get(server, f"/ktra/api/v1/mirror/{name}/1.0.0/download")


def incidents_with(server: Server, text: str) -> set[tuple[str, str, int]]:
    """Return the incidents with a text in their subject or in their last detail."""
    condition = f"subject LIKE '{text}%' OR detail LIKE '{text}%'"
    return set(query(server, f"SELECT kind, subject, count FROM mirror_incident WHERE {condition}"))


# --- Facts ---------------------------------------------------------------------------------------------------------


def test_fetched_crate_is_examined_afterwards(mirror: Server, upstream: BadUpstream) -> None:
    content = packing.crate("examined", files={"README.md": "# Hello"})
    upstream.script_index("examined", bad_upstream.file(line("examined", "1.0.0", content)))
    upstream.script_crate("examined", "1.0.0", bad_upstream.file(content))
    assert get_crate(mirror, "examined") == (200, content)
    for _ in range(300):
        status, page = get(mirror, "/mirror/crates/examined/1.0.0/readme")
        if status == 200:
            break
        time.sleep(0.1)
    assert b"<h1" in page


# --- Refreshes -----------------------------------------------------------------------------------------------------


def test_refresh_sends_the_validators(mirror: Server, upstream: BadUpstream) -> None:
    date = "Sat, 01 Jan 2000 00:00:00 GMT"
    cases = {
        "by-etag": ({"ETag": '"one"'}, {"if-none-match": '"one"'}),
        "by-time": ({"Last_Modified": date}, {"if-modified-since": date}),
    }
    for name, (validators, conditions) in cases.items():
        body = upstream.publish(name)
        upstream.script_index(name, bad_upstream.file(body, 200, **validators))
        assert get_index_file(mirror, name) == (200, body)
        mark_stale(mirror, name)
        assert [get_index_file(mirror, name) for _ in range(3)] == [(200, body)] * 3
        first, refresh = upstream.requests_for(index_file_path(name))
        assert refresh.headers == first.headers | conditions


def test_changed_index_file_is_served_after_a_refresh(mirror: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("news")
    assert get_index_file(mirror, "news") == (200, body)
    newer = body + line("news", "1.1.0", b"newer") + b"\n"
    upstream.script_index("news", bad_upstream.file(newer))
    assert get_index_file(mirror, "news") == (200, body)
    mark_stale(mirror, "news")
    assert get_index_file(mirror, "news") == (200, newer)


def test_crate_gone_upstream_is_gone(mirror: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("going")
    assert get_index_file(mirror, "going") == (200, body)
    upstream.script_index("going", bad_upstream.refusal(410))
    mark_stale(mirror, "going")
    assert get_index_file(mirror, "going")[0] == 410
    assert get_crate(mirror, "going")[0] == 404


def test_version_gone_upstream_is_not_served(mirror: Server, upstream: BadUpstream) -> None:
    upstream.publish("away")
    assert get_crate(mirror, "away") == (200, b"the bytes")
    upstream.script_index("away", bad_upstream.file(line("away", "1.1.0", b"newer") + b"\n"))
    mark_stale(mirror, "away")
    assert get_crate(mirror, "away")[0] == 404


# --- Memory --------------------------------------------------------------------------------------------------------


def answers(server: Server, path: str) -> tuple[set[bytes], int]:
    """Return the answers of a few requests, of which each second one goes the ordinary way, and how many were quick."""
    before = quick_answers(server)
    requests = [head(path, LOCAL, *line, "Connection: close") for line in ([], ["X-Ordinary: 1"]) * 4]
    return {OWN_LINES.sub(b"", exchange(server, request)) for request in requests}, quick_answers(server) - before


def test_warm_crate_is_sent_until_it_is_blocked(mirror: Server, upstream: BadUpstream) -> None:
    upstream.publish("warm")
    path = "/ktra/api/v1/mirror/warm/1.0.0/download"
    assert get(mirror, path) == (200, b"the bytes")
    wait_until(lambda: answers(mirror, path)[1] == 4)
    assert len(answers(mirror, path)[0]) == 1
    query(
        mirror,
        "INSERT INTO mirror_override (kind, name, requirement, reason, created_at) "
        "VALUES ('blocked', 'warm', '*', 'bad', '2026-01-01 00:00:00+00')",
    )
    assert get(mirror, path)[0] == 403


# --- Outages -------------------------------------------------------------------------------------------------------


def test_stale_file_is_served_during_an_outage(mirror: Server, upstream: BadUpstream) -> None:
    outages = {
        "stale-reset": bad_upstream.reset,
        "stale-500": bad_upstream.refusal(500),
        "stale-cut": bad_upstream.truncated(b"x" * 100),
        "stale-hang": bad_upstream.hang,
    }
    for name, behaviour in outages.items():
        body = upstream.publish(name)
        assert get_crate(mirror, name) == (200, b"the bytes")
        upstream.script_index(name, behaviour)
        mark_stale(mirror, name)
        assert get_index_file(mirror, name) == (200, body)
        assert get_crate(mirror, name) == (200, b"the bytes")


def test_failing_upstream_is_not_asked_each_time(mirror: Server, upstream: BadUpstream) -> None:
    upstream.publish("pause")
    get_index_file(mirror, "pause")
    upstream.script_index("pause", bad_upstream.refusal(500))
    mark_stale(mirror, "pause")
    assert [get_index_file(mirror, "pause")[0] for _ in range(5)] == [200] * 5
    assert upstream.count_index_requests("pause") == 2
    assert [(kind, subject) for kind, subject, _ in incidents_with(mirror, "pause")] == [("fault", upstream.url)]


def test_others_are_served_while_upstream_is_slow(mirror: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("quick", BYTES)
    assert get_crate(mirror, "quick") == (200, BYTES)
    upstream.script_index("slow", bad_upstream.hang)
    upstream.script_index("slowly", bad_upstream.dripping_head)
    upstream.publish("slowest")
    upstream.script_crate("slowest", "1.0.0", bad_upstream.dripping_body)
    requests = [(get_index_file, "slow"), (get_index_file, "slowly"), (get_crate, "slowest")] * 2
    with ThreadPoolExecutor(len(requests)) as clients:
        slow = [clients.submit(request, mirror, name) for request, name in requests]
        for _ in range(10):
            assert get_index_file(mirror, "quick") == (200, body)
            assert get_crate(mirror, "quick") == (200, BYTES)
        assert [future.result()[0] for future in slow] == [502] * 6


# --- Checksums -----------------------------------------------------------------------------------------------------


def test_changed_checksum_is_refused_and_recorded(mirror: Server, upstream: BadUpstream) -> None:
    body = upstream.publish("changed")
    assert get_index_file(mirror, "changed") == (200, body)
    upstream.publish("changed", b"the bytes of a thief")
    counts = []
    for _ in range(2):
        mark_stale(mirror, "changed")
        assert get_index_file(mirror, "changed") == (200, body)
        assert get_crate(mirror, "changed")[1] != b"the bytes of a thief"
        [(kind, subject, count)] = incidents_with(mirror, "changed")  # one of one kind, whatever has shown it
        assert (kind, subject) == ("changed", "changed")
        counts.append(count)
    assert counts[0] < counts[1]


def test_checksum_of_a_removed_version_is_remembered(mirror: Server, upstream: BadUpstream) -> None:
    upstream.publish("back")
    get_index_file(mirror, "back")
    without = line("back", "1.1.0", b"newer") + b"\n"
    upstream.script_index("back", bad_upstream.file(without))
    mark_stale(mirror, "back")
    assert get_index_file(mirror, "back") == (200, without)
    upstream.publish("back", b"the bytes of a thief")
    mark_stale(mirror, "back")
    assert get_index_file(mirror, "back") == (200, without)


# --- Many clients, and a power cut ---------------------------------------------------------------------------------


def test_many_clients_cause_one_fetch(mirror: Server, upstream: BadUpstream) -> None:
    content = random.Random(1).randbytes(3_000_000)
    upstream.publish("many", content)
    behaviour = PausedHalfway(content)
    upstream.script_crate("many", "1.0.0", behaviour)
    with ThreadPoolExecutor(20) as clients:
        futures = [clients.submit(get_crate, mirror, "many") for _ in range(20)]
        assert behaviour.reached.wait(20)
        behaviour.may_go_on.set()
        assert all(future.result() == (200, content) for future in futures)
    assert (upstream.count_index_requests("many"), upstream.request_counts()[crate_path("many")]) == (1, 1)


def test_killed_server_leaves_nothing_wrong(mirror: Server, upstream: BadUpstream) -> None:
    content = random.Random(2).randbytes(3_000_000)
    upstream.publish("killed", content)
    behaviour = PausedHalfway(content)
    upstream.script_crate("killed", "1.0.0", behaviour, bad_upstream.file(content))
    with ThreadPoolExecutor(1) as client:
        future = client.submit(get_crate, mirror, "killed")
        assert behaviour.reached.wait(20)
        mirror.kill()
        assert future.result() == (0, b"")
    behaviour.may_go_on.set()
    assert hashlib.sha256(content).hexdigest() not in read_files(mirror.data / "mirror")
    mirror.start()
    assert get_crate(mirror, "killed") == (200, content)
    assert (find_damage(mirror), temporary_files(mirror)) == ([], [])
