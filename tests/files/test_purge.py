"""The purge of files: expired files, ended sessions, answered challenges, and unfinished files on the disk."""

import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.utils import timezone

from files import sessions
from files.models import AnsweredChallenge, ChangeSequence, Client, File, Session
from registry_site.errors import Unauthenticated
from registry_site.models import AuditEvent
from tests.support.file_clients import FileClient, failure, upload_file
from tests.support.servers import Server

SERVER_SETTINGS = {"REGISTRY_WORKERS": "1"}

pytestmark = pytest.mark.django_db
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MANY = 600  # more than a batch


def create_file(serve_path: str = "file", *, expired: timedelta | None = None, died: timedelta | None = None) -> File:
    """Create a file that expired and died so long ago; without, it never expires and is alive."""
    now = timezone.now()
    return File.objects.create(
        path="/file",
        serve_path=serve_path,
        size=5,
        alive=died is None,
        uploaded_at=now - 1000 * DAY,
        modified_at=now - (1000 * DAY if died is None else died),
        expires_at=None if expired is None else now - expired,
    )


def purge(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Run the command, and return its output line by line."""
    call_command("purge")
    return capsys.readouterr().out.splitlines()


def summary(died: int = 0, deleted: int = 0, ended: int = 0) -> str:
    return f"{died} expired files are dead now, {deleted} deleted for good, as were {ended} ended sessions of clients."


# --- Expired files die --------------------------------------------------------------------------------------------


def test_expired_file_is_dead(capsys: pytest.CaptureFixture[str]) -> None:
    file = create_file(expired=MINUTE)
    assert summary(died=1) in purge(capsys)
    file.refresh_from_db()
    assert file.alive is False


@pytest.mark.parametrize("expired", [None, -MINUTE], ids=["never", "later"])
def test_unexpired_file_stays_alive(expired: timedelta | None, capsys: pytest.CaptureFixture[str]) -> None:
    create_file(expired=expired)
    before = File.objects.values().get()
    assert summary() in purge(capsys)
    assert File.objects.values().get() == before


def test_death_is_in_the_audit_log() -> None:
    file = create_file(expired=MINUTE)
    call_command("purge")
    file.refresh_from_db()
    event = AuditEvent.objects.get(action="file.expire")
    assert (
        event.at,
        event.actor_name,
        event.action,
        event.object_id,
        event.target,
        event.detail,
        event.ip_address,
    ) == (
        file.modified_at,
        "manage.py purge",
        "file.expire",
        file.pk,
        "file",
        {},
        None,
    )


def test_death_is_the_latest_change() -> None:
    ahead = timezone.now() + DAY
    ChangeSequence.objects.create(pk=1, changed_at=ahead)
    for name in ("a", "b", "c"):
        create_file(name, expired=MINUTE)
    call_command("purge")
    assert sorted(File.objects.values_list("modified_at", flat=True)) == [
        ahead + timedelta(microseconds=number) for number in (1, 2, 3)
    ]


def test_death_is_in_the_list_of_changes(as_box: FileClient) -> None:
    since = datetime.now().timestamp()
    file = create_file(expired=MINUTE)
    call_command("purge")
    listed = json.loads(as_box.send("GET", "/", {"since": since}).getvalue())["results"]
    assert [(entry["id"], entry["alive"]) for entry in listed] == [(file.pk, False)]


def test_dead_file_does_not_die_again() -> None:
    create_file(expired=MINUTE, died=MINUTE)
    before = File.objects.values().get()
    call_command("purge")
    assert (File.objects.values().get(), AuditEvent.objects.filter(action="file.expire").exists()) == (before, False)


def test_serve_path_of_an_expired_file_is_free(as_box: FileClient) -> None:
    create_file(expired=MINUTE)
    call_command("purge")
    assert upload_file(as_box, "POST", "/", b"sunny", serve_path="file").json()["success"] is True


def test_expired_upload_keeps_its_bytes(as_box: FileClient) -> None:
    (entry,) = upload_file(as_box, "POST", "/", b"sunny", serve_path="file", expiration=1).json()["results"]
    call_command("purge")
    response = as_box.send("GET", f"/{entry['id']}")
    assert (File.objects.get().alive, response.getvalue()) == (False, b"sunny")


# --- Long-dead files are deleted ----------------------------------------------------------------------------------


def test_long_dead_file_is_deleted(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.TRASH_DAYS = 14
    create_file(expired=15 * DAY, died=15 * DAY)
    assert summary(deleted=1) in purge(capsys)
    assert not File.objects.exists()


@pytest.mark.parametrize(
    ("expired", "died"),
    [(13 * DAY, 13 * DAY), (15 * DAY, 13 * DAY), (13 * DAY, 15 * DAY), (-DAY, 15 * DAY), (None, 15 * DAY)],
    ids=["both_lately", "died_lately", "expired_lately", "removed_before_it_expires", "removed_and_never_expires"],
)
def test_other_dead_file_is_not_deleted(
    expired: timedelta | None, died: timedelta, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.TRASH_DAYS = 14
    create_file(expired=expired, died=died)
    assert summary() in purge(capsys)
    assert File.objects.exists()


def test_newly_dead_file_is_not_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    create_file(expired=500 * DAY)
    assert summary(died=1) in purge(capsys)
    assert summary() in purge(capsys)
    assert File.objects.get().alive is False


def test_audit_events_outlive_the_file() -> None:
    file = create_file(expired=MINUTE)
    call_command("purge")
    File.objects.update(expires_at=timezone.now() - 15 * DAY, modified_at=timezone.now() - 15 * DAY)
    call_command("purge")
    event = AuditEvent.objects.get(action="file.expire")
    assert (event.object_id, event.action, event.target) == (file.pk, "file.expire", "file")


# --- Sessions and challenges --------------------------------------------------------------------------------------


def test_live_session_stays(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert summary() in purge(capsys)
    assert sessions.authenticate(session).is_live


@pytest.mark.parametrize("column", ["expires_at", "ended_at"])
def test_dead_session_is_deleted(column: str, session: str, capsys: pytest.CaptureFixture[str]) -> None:
    Session.objects.update(**{column: timezone.now() - MINUTE})
    assert summary(ended=1) in purge(capsys)
    assert not Session.objects.exists()


def test_token_of_a_deleted_session_is_refused(session: str) -> None:
    Session.objects.update(ended_at=timezone.now())
    call_command("purge")
    with pytest.raises(Unauthenticated, match="No session found"):
        sessions.authenticate(session)


def test_clients_are_not_deleted(box: Client, reader: Client) -> None:
    call_command("purge")
    assert set(Client.objects.all()) == {box, reader}


def test_expired_challenge_is_deleted() -> None:
    AnsweredChallenge.objects.create(id="0" * 32, expires_at=timezone.now() - 2 * MINUTE)
    call_command("purge")
    assert not AnsweredChallenge.objects.exists()


def test_answered_challenge_stays_used(machine: FileClient) -> None:
    challenge = machine.challenge()
    machine.answer(challenge)
    call_command("purge")
    assert machine.answer(challenge).json() == failure("No matching handshake found for response")


# --- Unfinished files on the disk ---------------------------------------------------------------------------------


@pytest.fixture(params=["uploads", "blobs"])
def incoming(request: pytest.FixtureRequest, tmp_path: Path, blob_directory: Path, settings: Any) -> Path:
    """A directory of unfinished files: bodies of requests, or blobs."""
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    directory: Path = settings.FILE_UPLOAD_TEMP_DIR if request.param == "uploads" else blob_directory / "incoming"
    directory.mkdir(parents=True)
    return directory


def create_old_file(path: Path, hours: int) -> Path:
    path.write_bytes(b"half of")
    modified_at = time.time() - hours * 3600
    os.utime(path, (modified_at, modified_at))
    return path


def test_old_unfinished_files_are_deleted(incoming: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create_old_file(incoming / "old", hours=25)
    young = create_old_file(incoming / "young", hours=23)
    assert "1 unfinished files deleted." in purge(capsys)
    assert list(incoming.iterdir()) == [young]


def test_directory_among_unfinished_files_is_skipped(incoming: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (incoming / "lost+found").mkdir()
    os.utime(incoming / "lost+found", (1, 1))
    create_old_file(incoming / "old", hours=25)
    assert "1 unfinished files deleted." in purge(capsys)


def test_old_blobs_are_not_deleted(as_box: FileClient, blob_directory: Path) -> None:
    upload_file(as_box, "POST", "/", b"sunny", serve_path="file")
    (blob,) = (path for path in blob_directory.rglob("*") if path.is_file())
    os.utime(blob, (1, 1))
    call_command("purge")
    assert blob.read_bytes() == b"sunny"


def test_missing_directory_is_no_error(tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "none"
    assert "0 unfinished files deleted." in purge(capsys)


# --- Runs at the same time ---------------------------------------------------------------------------------------

FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {many})
INSERT INTO files_file
    (path, serve_path, size, aired, alive, uploaded_at, modified_at, expires_at, sha256, mtime_ns, uploaded_by)
SELECT '/file', '{name}/' || n, 5, false, {alive}, '{then}', '{then}', {expires_at}, '', 0, '' FROM numbers
"""
LONG_AGO = "2020-01-01 00:00:00+00:00"


@contextmanager
def database(server: Server) -> Iterator[Any]:
    """Yield a cursor in the database of a running server."""
    url = server.environment.get("REGISTRY_DATABASE_URL")
    connection: Any = psycopg.connect(url) if url else sqlite3.connect(server.data / "registry.sqlite3")
    with closing(connection), connection, closing(connection.cursor()) as cursor:
        yield cursor


def test_parallel_runs_do_everything_once(server: Server) -> None:
    with database(server) as cursor:
        for name, many, alive, expires_at in (
            ("expired", MANY, "true", f"'{LONG_AGO}'"),
            ("dead", MANY, "false", f"'{LONG_AGO}'"),
            ("living", 1, "true", "NULL"),
        ):
            cursor.execute(FILL.format(name=name, many=many, alive=alive, expires_at=expires_at, then=LONG_AGO))
    with ThreadPoolExecutor(3) as pool:
        outputs = list(pool.map(lambda _: server.manage("purge"), range(3)))
    died = [int(number) for output in outputs for number in re.findall("([0-9]+) expired files are dead now", output)]
    assert (len(died), sum(died)) == (3, MANY)
    with database(server) as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT modified_at) FROM files_file WHERE NOT alive")
        assert cursor.fetchall() == [(MANY, MANY)]
        cursor.execute("SELECT serve_path FROM files_file WHERE alive")
        assert cursor.fetchall() == [("living/1",)]
        cursor.execute(
            "SELECT count(*), count(DISTINCT object_id) FROM registry_site_auditevent WHERE action = 'file.expire'"
        )
        assert cursor.fetchall() == [(MANY, MANY)]
