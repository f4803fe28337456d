"""Metrics for Prometheus: of all workers, and only with the token."""

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from crates.mirror import metrics as mirror_metrics
from registry_site import audit, audit_seals, outbox
from registry_site.models import OutboxEntry
from registry_site.server import metrics
from tests.support import bad_upstream
from tests.support.servers import Server, running

pytestmark = pytest.mark.django_db  # figures of the outbox are read there

TOKEN = "for prometheus"
REQUESTS = "entrepot_mirror_requests_total"
SECONDS = "entrepot_mirror_upstream_seconds"


@pytest.fixture
def counters() -> Iterator[metrics.SharedCounters]:
    """Counters for three processes, as they are forked from this one."""
    before = metrics._shared[:]
    yield metrics.create_shared_counters(3)
    metrics._shared[:] = before


def fetch_metrics(client: Client, token: str = f"Bearer {TOKEN}") -> Any:
    return client.get("/metrics", headers={"Authorization": token} if token else {})


def sample_value(text: str, name: str, **labels: str) -> float:
    """Return the value of a sample, as Prometheus itself reads it."""
    (value,) = (
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
    return value


# --- Access --------------------------------------------------------------------------------------------------------


def test_metrics_are_off_without_a_token(client: Client) -> None:
    for token in ("", f"Bearer {TOKEN}", "Bearer "):
        assert fetch_metrics(client, token).status_code == 404


def test_metrics_need_the_token(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    for token in ("", "Bearer", "Bearer wrong", TOKEN, f"bearer {TOKEN} ", f"Bearer {TOKEN}é"):
        response = fetch_metrics(client, token)
        assert (response.status_code, response["WWW-Authenticate"]) == (401, "Bearer")
        assert b"entrepot" not in response.content


def test_metrics_are_read_only(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    assert client.post("/metrics").status_code == 405


# --- Values --------------------------------------------------------------------------------------------------------


def test_prometheus_reads_the_counters(client: Client, settings: Any, counters: metrics.SharedCounters) -> None:
    settings.METRICS_TOKEN = TOKEN
    mirror_metrics.requests.add("index", "hit")
    mirror_metrics.requests.add("index", "hit")
    text = fetch_metrics(client).content.decode()
    assert sample_value(text, REQUESTS, what="index", outcome="hit") == 2
    assert sample_value(text, REQUESTS, what="crate", outcome="hit") == 0


@pytest.mark.parametrize(
    ("seconds", "buckets"),
    [(0.0, 7), (0.01, 7), (0.010001, 6), (9.9, 1), (10.0, 1), (10.1, 0)],
)
def test_duration_counts_in_all_larger_buckets(
    client: Client, settings: Any, counters: metrics.SharedCounters, seconds: float, buckets: int
) -> None:
    settings.METRICS_TOKEN = TOKEN
    mirror_metrics.upstream.observe(seconds, "crate")
    text = fetch_metrics(client).content.decode()
    bounds = metrics.Histogram.bounds
    counts = [sample_value(text, f"{SECONDS}_bucket", what="crate", le=str(bound)) for bound in bounds]
    assert counts == [0.0] * (7 - buckets) + [1.0] * buckets
    assert sample_value(text, f"{SECONDS}_count", what="crate") == 1
    assert sample_value(text, f"{SECONDS}_sum", what="crate") == seconds


def test_counts_of_processes_are_added_up(counters: metrics.SharedCounters) -> None:
    cell = mirror_metrics.requests.cell(("crate", "miss"))
    for taken in ([], [0], [0, 1]):
        counters.claim_row(taken)
        mirror_metrics.requests.add("crate", "miss")
    assert (counters.row, counters.total(cell)) == (2, 3)


def test_new_process_counts_on_in_a_free_row(counters: metrics.SharedCounters) -> None:
    for _ in range(2):
        counters.claim_row([0, 2])
        mirror_metrics.requests.add("crate", "miss")
    assert (counters.row, counters.total(mirror_metrics.requests.cell(("crate", "miss")))) == (1, 2)


def test_waiting_mails_are_figures(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    for age in (90, 30):
        outbox.add("kind", "dora@example.org")
        entry = OutboxEntry.objects.latest("pk")
        OutboxEntry.objects.filter(pk=entry.pk).update(created_at=timezone.now() - timedelta(seconds=age))
    text = fetch_metrics(client).content.decode()
    assert sample_value(text, "outbox_pending") == 2
    assert 90 <= sample_value(text, "outbox_oldest_seconds") < 100
    OutboxEntry.objects.update(state="failed")
    text = fetch_metrics(client).content.decode()
    assert (sample_value(text, "outbox_pending"), sample_value(text, "outbox_oldest_seconds")) == (0, 0)


def test_figures_do_without_the_database(client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.METRICS_TOKEN = TOKEN

    def fail() -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr(outbox, "backlog", fail)
    monkeypatch.setattr(audit_seals, "backlog", fail)
    text = fetch_metrics(client).content.decode()
    assert [name in text for name in ("outbox_pending", "audit_unsealed", "entrepot_")] == [False, False, True]


def test_unsealed_events_are_figures(client: Client, settings: Any) -> None:
    settings.METRICS_TOKEN = TOKEN
    for minutes in (3, 1):
        at = timezone.now() - timedelta(minutes=minutes)
        audit.record_all([audit.new_event("box", audit.Action.FILE_ADD, "weather.txt", at=at)])
    text = fetch_metrics(client).content.decode()
    assert sample_value(text, "audit_unsealed") == 2
    assert 180 <= sample_value(text, "audit_unsealed_oldest_seconds") < 240
    audit_seals.seal_all()
    text = fetch_metrics(client).content.decode()
    assert sample_value(text, "audit_unsealed") == sample_value(text, "audit_unsealed_oldest_seconds") == 0


# --- On a running server -------------------------------------------------------------------------------------------


def fetch(server: Server, path: str) -> int:
    try:
        with urlopen(server.url + path, timeout=20) as response:
            return int(response.status)
    except HTTPError as error:
        return error.code


def read_metrics(server: Server) -> str:
    with urlopen(
        Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}), timeout=20
    ) as response:
        return str(response.read().decode())


def test_counts_outlive_a_killed_worker(tmp_path: Path) -> None:
    with bad_upstream.upstream() as upstream:
        upstream.publish("demo")
        upstream.script_index("broken", bad_upstream.refusal(500))
        environment = {"REGISTRY_MIRROR_UPSTREAM": upstream.url, "REGISTRY_METRICS_TOKEN": TOKEN}
        with running(tmp_path / "data", REGISTRY_WORKERS="2", **environment) as server:
            paths = ["/mirror/index/de/mo/demo", "/ktra/api/v1/mirror/demo/1.0.0/download"] * 10
            assert {fetch(server, path) for path in paths} == {200}
            assert fetch(server, "/mirror/index/br/ok/broken") == 502
            assert fetch(server, "/ktra/api/v1/mirror/broken/1.0.0/download") == 502
            os.kill(server.workers()[0], signal.SIGKILL)
            time.sleep(0.5)
            fetch(server, "/mirror/index/de/mo/demo")
            text = read_metrics(server)
    counts = {
        (kind, outcome): sample_value(text, REQUESTS, what=kind, outcome=outcome)
        for kind in ("index", "crate")
        for outcome in ("hit", "miss", "failed")
    }
    assert counts == {
        ("index", "hit"): 10,
        ("index", "miss"): 1,
        ("index", "failed"): 1,
        ("crate", "hit"): 9,
        ("crate", "miss"): 1,
        ("crate", "failed"): 1,
    }
    assert sample_value(text, f"{SECONDS}_count", what="index") == 4  # broken twice, and config.json
    assert sample_value(text, f"{SECONDS}_count", what="crate") == 1
