"""Figures for a Prometheus server: whole, of all workers, and for nobody else."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from crates.mirror import metrics as mirrored
from registry_site.server import metrics
from tests.support import bad_upstream
from tests.support.servers import Server, running

TOKEN = "for prometheus"
REQUESTS = "entrepot_mirror_requests_total"
SECONDS = "entrepot_mirror_upstream_seconds"


@pytest.fixture
def board() -> Iterator[metrics.SharedCounters]:
    """Of three processes, as they are forked from this one."""
    before = metrics._shared[:]
    yield metrics.create_shared_counters(3)
    metrics._shared[:] = before


def asked(client: Client, token: str = f"Bearer {TOKEN}") -> Any:
    return client.get("/metrics", headers={"Authorization": token} if token else {})


def told(text: str, name: str, **labels: str) -> float:
    """The figure of this name and these labels, as Prometheus itself reads it."""
    (value,) = (
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
    return value


# --- Who may read them ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", f"Bearer {TOKEN}", "Bearer "])
def test_without_a_token_in_the_settings_there_are_none(client: Client, token: str) -> None:
    assert asked(client, token).status_code == 404


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer wrong", TOKEN, f"bearer {TOKEN} ", f"Bearer {TOKEN}é"])
def test_who_has_not_the_token_is_refused(client: Client, settings: Any, token: str) -> None:
    settings.METRICS_TOKEN = TOKEN
    response = asked(client, token)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
    assert b"entrepot" not in response.content


def test_they_are_only_looked_at(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert client.post("/metrics").status_code == 405


# --- What they say -------------------------------------------------------------------------------------------------


def test_prometheus_reads_all_of_them(client: Client, settings: Any, board: metrics.SharedCounters) -> None:
    settings.METRICS_TOKEN = TOKEN
    mirrored.requests.add("index", "hit")
    mirrored.requests.add("index", "hit")
    text = asked(client).content.decode()
    assert told(text, REQUESTS, what="index", outcome="hit") == 2
    assert told(text, REQUESTS, what="crate", outcome="hit") == 0


@pytest.mark.parametrize(
    ("seconds", "bounds"),
    [(0.0, 7), (0.01, 7), (0.010001, 6), (9.9, 1), (10.0, 1), (10.1, 0)],
)
def test_duration_is_counted_beneath_all_bounds_that_it_keeps(
    client: Client, settings: Any, board: metrics.SharedCounters, seconds: float, bounds: int
) -> None:
    settings.METRICS_TOKEN = TOKEN
    mirrored.upstream.observe(seconds, "crate")
    text = asked(client).content.decode()
    kept = [told(text, f"{SECONDS}_bucket", what="crate", le=str(bound)) for bound in metrics.Histogram.bounds]
    assert kept == [0.0] * (7 - bounds) + [1.0] * bounds
    assert told(text, f"{SECONDS}_count", what="crate") == 1
    assert told(text, f"{SECONDS}_sum", what="crate") == seconds


def test_what_each_process_counts_is_added_up(board: metrics.SharedCounters) -> None:
    cell = mirrored.requests.cell(("crate", "miss"))
    for taken in ([], [0], [0, 1]):
        board.claim_row(taken)
        mirrored.requests.add("crate", "miss")
    assert (board.row, board.total(cell)) == (2, 3)


def test_process_in_the_place_of_one_that_ended_counts_on(board: metrics.SharedCounters) -> None:
    for _ in range(2):
        board.claim_row([0, 2])
        mirrored.requests.add("crate", "miss")
    assert (board.row, board.total(mirrored.requests.cell(("crate", "miss")))) == (1, 2)


# --- On a running server -------------------------------------------------------------------------------------------


def fetch(server: Server, path: str) -> int:
    try:
        with urlopen(server.url + path, timeout=20) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def figures(server: Server) -> str:
    with urlopen(
        Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}), timeout=20
    ) as response:
        return str(response.read().decode())


def worker_of(server: Server) -> int:
    parent = server.process.pid
    return int(Path(f"/proc/{parent}/task/{parent}/children").read_text().split()[0])


def test_hits_misses_and_failures_of_all_workers_outlive_a_worker_that_is_killed(tmp_path: Path) -> None:
    with bad_upstream.upstream() as upstream:
        upstream.publish("demo")
        upstream.script_index("broken", bad_upstream.refusal(500))
        environment = {"REGISTRY_MIRROR_UPSTREAM": upstream.url, "REGISTRY_METRICS_TOKEN": TOKEN}
        with running(tmp_path / "data", REGISTRY_WORKERS="2", **environment) as server:
            paths = ["/mirror/index/de/mo/demo", "/ktra/api/v1/mirror/demo/1.0.0/download"] * 10
            assert {fetch(server, path) for path in paths} == {200}
            assert fetch(server, "/mirror/index/br/ok/broken") == 502
            assert fetch(server, "/ktra/api/v1/mirror/broken/1.0.0/download") == 502
            os.kill(worker_of(server), signal.SIGKILL)
            time.sleep(0.5)
            fetch(server, "/mirror/index/de/mo/demo")
            text = figures(server)
    counted = {
        (what, outcome): told(text, REQUESTS, what=what, outcome=outcome)
        for what in ("index", "crate")
        for outcome in ("hit", "miss", "failed")
    }
    assert counted == {
        ("index", "hit"): 10,
        ("index", "miss"): 1,
        ("index", "failed"): 1,
        ("crate", "hit"): 9,
        ("crate", "miss"): 1,
        ("crate", "failed"): 1,
    }
    assert told(text, f"{SECONDS}_count", what="index") == 4  # broken twice, and config.json
    assert told(text, f"{SECONDS}_count", what="crate") == 1
