"""The queue in front of SQLite's write lock, on a database file of its own."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import OperationalError

from registry_site.environment import sqlite_database
from registry_site.sqlite.base import DatabaseWrapper
from registry_site.sqlite.log_sync import LogSync, log_of
from tests.support.concurrency import wait_until

NORMAL, FULL = 1, 2  # of PRAGMA synchronous


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "queue.sqlite3"


@pytest.fixture
def connections(path: Path) -> Iterator[list[DatabaseWrapper]]:
    """Three connections to one file, each usable from any thread, that wait for 0.2 s at most."""
    configuration = sqlite_database(str(path))
    configuration["OPTIONS"] = {**configuration["OPTIONS"], "timeout": 0.2}
    defaults = {"ATOMIC_REQUESTS": False, "AUTOCOMMIT": True, "CONN_HEALTH_CHECKS": False, "TIME_ZONE": None}
    connections = [DatabaseWrapper({**defaults, **configuration}, alias=f"queue{number}") for number in range(3)]
    for connection in connections:
        connection.inc_thread_sharing()
    with connections[0].cursor() as cursor:
        cursor.execute("CREATE TABLE counts (n INTEGER)")
        cursor.execute("INSERT INTO counts VALUES (0)")
    yield connections
    for connection in connections:
        connection.close()


def begin(connection: DatabaseWrapper) -> None:
    connection.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)


def end(connection: DatabaseWrapper) -> None:
    connection.commit()
    connection.set_autocommit(True)


@pytest.mark.django_db
def test_concurrent_writers_lose_nothing(connections: list[DatabaseWrapper]) -> None:
    for connection in connections:
        connection.settings_dict["OPTIONS"]["timeout"] = 60  # a busy machine must not end the wait

    def count(connection: DatabaseWrapper) -> None:
        for _ in range(50):
            begin(connection)
            with connection.cursor() as cursor:
                cursor.execute("UPDATE counts SET n = n + 1")
            end(connection)

    threads = [threading.Thread(target=count, args=[connection]) for connection in connections]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connections[0].cursor() as cursor:
        assert cursor.execute("SELECT n FROM counts").fetchone() == (150,)


@pytest.mark.django_db
def test_writer_gives_up_after_the_timeout(connections: list[DatabaseWrapper]) -> None:
    first, second, _ = connections
    begin(first)
    with pytest.raises(OperationalError, match="database is locked"):
        begin(second)
    end(first)
    begin(second)
    end(second)


@pytest.mark.django_db
def test_writer_waits_for_other_processes(path: Path, connections: list[DatabaseWrapper]) -> None:
    descriptor = os.open(f"{path}-queue", os.O_RDWR | os.O_CREAT)  # flock(2) excludes it like another process
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    for connection in connections[:2]:
        with pytest.raises(OperationalError, match="database is locked: the queue of its writers does not move"):
            begin(connection)
    os.close(descriptor)
    begin(connections[1])
    end(connections[1])


@pytest.mark.django_db
def test_missing_directory_is_an_operational_error(path: Path, connections: list[DatabaseWrapper]) -> None:
    connections[0].settings_dict["NAME"] = str(path.parent / "missing" / "queue.sqlite3")
    for _ in range(2):
        with pytest.raises(OperationalError, match="unable to open the queue of the database: No such file"):
            begin(connections[0])


@pytest.mark.django_db
def test_rollback_and_close_release_the_queue(connections: list[DatabaseWrapper]) -> None:
    first, second, third = connections
    begin(first)
    first.rollback()
    first.set_autocommit(True)
    begin(second)
    second.close()
    begin(third)
    end(third)


@pytest.mark.django_db
def test_writer_outside_the_queue_is_respected(path: Path, connections: list[DatabaseWrapper]) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="database is locked"):
        begin(connections[0])
    other.execute("COMMIT")
    other.close()
    begin(connections[0])
    end(connections[0])


def synchronous(connection: DatabaseWrapper) -> int:
    with connection.cursor() as cursor:
        return int(cursor.execute("PRAGMA synchronous").fetchone()[0])


@pytest.fixture
def syncs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were synced for their data."""
    fdatasync, synced = os.fdatasync, list[str]()

    def record(descriptor: int) -> None:
        fdatasync(descriptor)
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fdatasync", record)
    return synced


def count_waiting(log: LogSync) -> int:
    return len(log.condition._waiters)  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_commit_waits_for_a_sync_without_the_lock(
    path: Path, connections: list[DatabaseWrapper], syncs: list[str]
) -> None:
    first, second, _ = connections
    begin(first)
    assert (synchronous(first), syncs) == (NORMAL, [])
    log = log_of(str(path))
    log.begun += 1  # one is under way, so the commit waits
    thread = threading.Thread(target=first.commit)
    thread.start()
    wait_until(lambda: count_waiting(log) == 1)
    begin(second)  # a queue that is not free would raise
    second.rollback()
    assert thread.is_alive()
    with log.condition:
        log.finished += 1
        log.condition.notify_all()
    thread.join()
    first.set_autocommit(True)
    assert (synchronous(first), syncs) == (FULL, [f"{path}-wal"])


@pytest.mark.django_db
def test_waiting_commits_share_a_sync(path: Path, connections: list[DatabaseWrapper], syncs: list[str]) -> None:
    log = log_of(str(path))
    log.prepare()
    log.begun += 1  # one is under way

    def commit(connection: DatabaseWrapper) -> None:
        begin(connection)
        connection.commit()

    for connection in connections:
        connection.settings_dict["OPTIONS"]["timeout"] = 60
    threads = [threading.Thread(target=commit, args=[connection]) for connection in connections]
    for thread in threads:
        thread.start()
    wait_until(lambda: count_waiting(log) == len(threads))
    assert syncs == []
    with log.condition:
        log.finished += 1
        log.condition.notify_all()
    for thread in threads:
        thread.join()
    assert syncs == [f"{path}-wal"]


@pytest.mark.django_db
def test_statements_and_rollbacks_leave_the_usual_syncs(connections: list[DatabaseWrapper], syncs: list[str]) -> None:
    connection = connections[0]
    begin(connection)
    connection.rollback()
    connection.set_autocommit(True)
    with connection.without_sync():
        begin(connection)
        end(connection)
        assert synchronous(connection) == NORMAL
    assert (synchronous(connection), syncs) == (FULL, [])


@pytest.mark.django_db
def test_log_that_was_deleted_is_opened_anew(path: Path, connections: list[DatabaseWrapper], syncs: list[str]) -> None:
    for _ in range(2):
        begin(connections[0])
        end(connections[0])
        for connection in connections:  # the last one deletes the log
            connection.close()
        assert not Path(f"{path}-wal").exists()
    assert syncs == [f"{path}-wal"] * 2


@pytest.mark.django_db
def test_linked_database_has_its_log_beside_its_file(
    path: Path, connections: list[DatabaseWrapper], syncs: list[str]
) -> None:
    link = path.with_name("link.sqlite3")
    link.symlink_to(path)
    connections[0].close()
    connections[0].settings_dict["NAME"] = str(link)
    begin(connections[0])
    end(connections[0])
    assert syncs == [f"{path}-wal"]


def test_nothing_is_committed_after_a_failed_sync(caplog: pytest.LogCaptureFixture) -> None:
    log = LogSync(os.devnull)  # which no sync works for
    log.prepare()
    for call in (log.wait, log.wait, log.prepare):
        with pytest.raises(OperationalError, match="the log of the database could not be synced"):
            call()
    assert caplog.text.count("log_sync.failed") == 1
