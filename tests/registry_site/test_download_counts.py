"""Counts of downloads: in memory, in rows, while the database fails, and when workers end."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from crates.mirror import download_counts as mirror_counts
from crates.mirror.models import CrateDownloads, DailyDownloads, VersionDownloads
from registry_site import download_counts, write_buffers
from registry_site.download_counts import Counts, DownloadCounter
from registry_site.server import metrics
from tests.support import packing
from tests.support.concurrency import run_concurrently, wait_until
from tests.support.mirror_store import query
from tests.support.servers import Server, running_with

DAY = date(2026, 1, 31)


class Storage:
    """Rows in memory, which can fail as a database does."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.stored: dict[tuple[Any, ...], int] = {}
        self.calls = 0

    def store(self, counts: Counts) -> None:
        self.calls += 1
        if self.error:
            raise self.error
        for key, count in counts.items():
            self.stored[key] = self.stored.get(key, 0) + count


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def counter(storage: Storage, db: None) -> Iterator[DownloadCounter]:
    """A counter of its own storage, beside those of the rooms."""
    yield DownloadCounter("crate", storage.store)
    write_buffers.buffers.pop()


def logged_events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.message.startswith("downloads_")]


# --- In memory ----------------------------------------------------------------------------------------------------


def test_downloads_are_stored_by_key_and_day(counter: DownloadCounter, storage: Storage) -> None:
    for key in (1, 2, 1):
        counter.count(key)
    assert storage.stored == {}
    write_buffers.flush()
    today = download_counts.today()
    assert storage.stored == {(1, today): 2, (2, today): 1}
    write_buffers.flush()
    assert storage.calls == 1


def test_failing_database_loses_no_download(
    counter: DownloadCounter, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.error = OperationalError("server closed the connection")
    counter.add({(key, DAY): 1 for key in range(2 * write_buffers.BATCH_SIZE)})
    for _ in range(3):
        counter.flush()
        counter.add({(7, DAY): 1})
    assert storage.calls == 3  # no other batch was tried after the first
    assert logged_events(caplog) == ["downloads_not_stored"]
    storage.error = None
    counter.flush()
    assert storage.stored == {(key, DAY): 4 if key == 7 else 1 for key in range(2 * write_buffers.BATCH_SIZE)}


def test_one_bad_row_keeps_only_its_batch(counter: DownloadCounter, storage: Storage) -> None:
    def store(counts: Counts) -> None:
        if (0, DAY) in counts:
            raise ValueError("no such row")
        storage.store(counts)

    counter.store_counts = store
    counter.add({(key, DAY): 1 for key in range(2 * write_buffers.BATCH_SIZE)})
    counter.flush()
    assert len(storage.stored) == len(counter.pending) == write_buffers.BATCH_SIZE


def test_memory_for_downloads_is_bounded(
    counter: DownloadCounter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counter, "max_keys", 3)
    for key in (1, 2, 3, 4, 5, 1):
        counter.count(key)
    assert {key: count for (key, _), count in counter.pending.items()} == {1: 2, 2: 1, 3: 1}
    assert logged_events(caplog) == ["downloads_not_kept"]


def test_worker_says_what_it_could_not_store(
    counter: DownloadCounter, storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.error = OperationalError("server closed the connection")
    thread = write_buffers.FlushThread()
    thread.start()
    for key in (1, 2, 1):
        counter.count(key)
    thread.stop()
    assert not thread.is_alive()
    assert logged_events(caplog) == ["downloads_not_stored", "downloads_lost"]
    assert caplog.records[-1].fields == {"event": "downloads_lost", "kind": "crate", "count": 3}  # type: ignore[attr-defined]


def test_metrics_count_each_download(counter: DownloadCounter) -> None:
    cell = download_counts.downloads.cell(("crate",))
    before = metrics.shared_counters().total(cell)
    counter.count(1)
    assert metrics.shared_counters().total(cell) == before + 1


# --- In rows ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_flush_is_one_statement_for_each_table() -> None:
    counts = {(name, "1.0.0", DAY): 2 for name in ("b", "a", "c")}
    mirror_counts.store(counts)
    with CaptureQueriesContext(connection) as queries:
        mirror_counts.store(counts)
    assert [query["sql"].split()[:2] for query in queries.captured_queries] == [["INSERT", "INTO"]] * 3
    assert list(DailyDownloads.objects.order_by("name").values_list("name", "day", "count")) == [
        (name, DAY, 4) for name in "abc"
    ]
    assert {row.total for row in VersionDownloads.objects.all()} == {4}
    assert {(row.total, row.recent) for row in CrateDownloads.objects.all()} == {(4, 4)}


@pytest.mark.only_postgresql  # SQLite has one writer at a time
@pytest.mark.django_db(transaction=True)
def test_workers_and_purge_meet_without_deadlock() -> None:
    """Each worker stores the same rows again and again, while the purge locks and merges them."""
    keys = [(f"{prefix}{number}", "1.0.0", DAY.replace(day=number)) for prefix in "a-b_" for number in range(1, 29)]

    def flush(seed: int) -> None:
        shuffled = random.Random(seed)
        for _ in range(20):
            mirror_counts.store(dict.fromkeys(shuffled.sample(keys, len(keys)), 1))
        connection.close()

    def purge(_: int) -> None:
        for _ in range(5):
            mirror_counts.purge()
        connection.close()

    run_concurrently([partial(work, seed) for seed in range(4) for work in (flush, purge)])
    for rows, field in ((DailyDownloads, "count"), (VersionDownloads, "total"), (CrateDownloads, "total")):
        assert sum(rows.objects.values_list(field, flat=True)) == 4 * 20 * len(keys), rows
    mirror_counts.purge()
    assert set(DailyDownloads.objects.values_list("day", flat=True)) == {DAY.replace(day=1)}
    assert set(CrateDownloads.objects.values_list("recent", flat=True)) == {0}


# --- In a running server ------------------------------------------------------------------------------------------


def download(server: Server, count: int, clients: int = 8) -> None:
    """Download a crate so many times over a few connections at once, each part of them by another client."""

    def run(_: int) -> None:
        client = HTTPConnection("127.0.0.1", server.port, timeout=30)
        for _ in range(count // clients):
            client.request("GET", "/dl/demo/1.0.0/download")
            response = client.getresponse()
            assert (response.status, bool(response.read())) == (200, True)
        client.close()

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(run, range(clients)))


def stored(server: Server) -> set[int]:
    """Return the number of downloads in each table."""
    columns = {"crates_dailydownloads": "count", "crates_versiondownloads": "total", "crates_cratedownloads": "recent"}
    sums = [query(server, f"SELECT SUM({column}) FROM {table}") for table, column in columns.items()]
    return {int(rows[0][0] or 0) for rows in sums}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that stores its counts each second."""
    changes = "from registry_site import write_buffers\nwrite_buffers.FLUSH_SECONDS = 1"
    with running_with(changes, tmp_path / "data", REGISTRY_WORKERS="2") as server:
        yield server


@pytest.mark.long
def test_stopped_and_killed_workers_have_counted(server: Server) -> None:
    token = server.sign_up("alice")
    published = Request(f"{server.url}/api/v1/crates/new", packing.body(), {"Authorization": token}, method="PUT")
    with urlopen(published):
        pass
    download(server, 200)
    server.stop()
    assert stored(server) == {200}
    assert query(server, "SELECT COUNT(*) FROM accounts_credential WHERE last_used_at IS NOT NULL") == [(1,)]

    server.start()
    download(server, 40)
    wait_until(lambda: stored(server) == {240})  # while the server goes on
    download(server, 16)
    server.kill()
    assert min(stored(server)) >= 240  # all that was counted an interval ago
    assert "downloads_" not in server.log.read_text()
