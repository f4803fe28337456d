"""A registry whose blobs are in S3: what its clients see while S3 works, hangs, loses an object, and is gone."""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from tests.support import packing
from tests.support.concurrency import wait_until
from tests.support.s3 import KEYS, S3Server, s3_server
from tests.support.servers import Server, running

pytestmark = [pytest.mark.database_independent, pytest.mark.long]

NEIGHBOUR = "127.0.0.2"  # a client at another address than the publishers
CLIENTS = 40
MAX_GROWTH = 100_000_000  # bytes of both workers: usual are 50 million, and 450 million with a client in each thread


@contextmanager
def running_on(store: S3Server, folder: Path) -> Iterator[Server]:
    """Run a registry with two workers, whose mirror has a bucket that does not exist."""
    blobs = {"REGISTRY_BLOBS_URL": store.blobs_url("blobs"), "REGISTRY_WORKERS": "2"}
    mirrored = {"REGISTRY_MIRROR_BLOBS_URL": f"s3://no-bucket?endpoint={store.url}"}
    with running(folder / "data", **blobs, **mirrored, **KEYS) as server:
        yield server


@pytest.fixture(scope="module")
def store() -> Iterator[S3Server]:
    with s3_server() as store:
        yield store


@pytest.fixture(scope="module")
def server(store: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_on(store, tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    """The token of whoever has published the crate `demo`."""
    token = server.sign_up("alice")
    assert publish(server, token, "demo").status == 200
    return token


def request(
    server: Server, method: str, path: str, body: bytes = b"", token: str = "", source: str = ""
) -> HTTPResponse:
    """Send a request, from another address of this machine if one is named, and read the response."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60, source_address=(source, 0) if source else None)
    try:
        connection.request(method, path, body, {"Authorization": token} if token else {})
        response = connection.getresponse()
        response.content = response.read()  # type: ignore[attr-defined]
        return response
    finally:
        connection.close()


def publish(server: Server, token: str, name: str) -> HTTPResponse:
    return request(server, "PUT", "/api/v1/crates/new", packing.body(name), token)


def download(server: Server, name: str, method: str = "GET") -> HTTPResponse:
    return request(server, method, f"/dl/{name}/1.0.0/download")


def seconds_of_neighbour(server: Server) -> float:
    start = time.monotonic()
    assert request(server, "GET", "/index/de/mo/demo", source=NEIGHBOUR).status == 200
    return time.monotonic() - start


def worker_memory(server: Server) -> int:
    """Return the proportional set size of all workers, in bytes."""
    workers = server.workers()
    assert len(workers) == 2
    rollups = "".join(Path(f"/proc/{worker}/smaps_rollup").read_text() for worker in workers)
    return 1024 * sum(int(size) for size in re.findall(r"^Pss: +([0-9]+) kB", rollups, re.MULTILINE))


def test_frozen_store_keeps_no_neighbour_waiting(server: Server, store: S3Server, token: str) -> None:
    store.freeze()
    with ThreadPoolExecutor(CLIENTS) as publishers:
        waiting = [publishers.submit(publish, server, token, f"crate{number}") for number in range(CLIENTS)]
        try:
            seconds = [seconds_of_neighbour(server) for _ in range(20)]
            wait_until(lambda: any(publisher.done() for publisher in waiting))  # refused, for the others fill the share
        finally:
            store.thaw()
        responses = [publisher.result() for publisher in waiting]
    assert sorted(seconds)[len(seconds) // 2] < 5  # the store answers nothing for 11 seconds
    assert {response.status for response in responses} == {200, 503}
    stored = [number for number, response in enumerate(responses) if response.status == 200]
    assert [number for number in stored if download(server, f"crate{number}").status != 200] == []


def test_absent_store_is_named_with_a_reason(tmp_path: Path) -> None:
    with s3_server() as store, running_on(store, tmp_path) as server:
        token = server.sign_up("alice")
        assert publish(server, token, "demo").status == 200
        wait_until(lambda: "The storage of REGISTRY_MIRROR_BLOBS_URL does not work" in server.log.read_text())
        store.kill()
        for response in (publish(server, token, "other"), download(server, "demo")):
            text = json.loads(response.content)["errors"][0]["detail"]  # type: ignore[attr-defined]
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
            assert text == "The registry's storage does not answer; try again, and tell its operator."
        log = server.log.read_text()
    assert "refuses us (NoSuchBucket)" in log
    assert f"host={store.url.removeprefix('http://')} bucket=crates sha256=" in log
    assert 'failure="not reached"' in log
    assert "Traceback" not in log


def test_lost_object_is_mended_by_a_publish(server: Server, store: S3Server, token: str) -> None:
    assert publish(server, token, "loser").status == 200
    digest = hashlib.sha256(packing.crate("loser")).hexdigest()
    store.client().delete_object(Bucket=store.bucket, Key=f"blobs/{digest[:2]}/{digest[2:4]}/{digest}")
    assert [download(server, "loser", method).status for method in ("GET", "HEAD")] == [404, 404]
    assert f"blob.lost store=blobs sha256={digest}" in server.log.read_text()
    assert publish(server, token, "loser").status == 200
    assert download(server, "loser").status == 200


def test_workers_stay_small_beside_many_downloads(store: S3Server, tmp_path: Path) -> None:
    with running_on(store, tmp_path) as server:  # its own: a store that was frozen leaves threads with much memory
        wait_until(lambda: len(server.workers()) == 2)
        before = worker_memory(server)
        assert publish(server, server.sign_up("alice"), "demo").status == 200
        with ThreadPoolExecutor(CLIENTS) as clients:
            statuses = {response.status for response in clients.map(lambda _: download(server, "demo"), range(200))}
        assert statuses == {200}
        assert worker_memory(server) - before < MAX_GROWTH
