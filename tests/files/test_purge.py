"""What has had its time: expired files, ended sessions, answered challenges, and what killed processes leave behind."""

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
from tests.support.file_clients import FileClient, upload_file
from tests.support.servers import Server

SERVER_SETTINGS = {"REGISTRY_WORKERS": "1"}

pytestmark = pytest.mark.django_db
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
MANY = 600  # more than a batch


def made(serve_path: str = "file", *, expired: timedelta | None = None, died: timedelta | None = None) -> File:
    """A file that expired so long ago, and died so long ago; it does not, or lives, without."""
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
    """What the command says, line by line."""
    call_command("purge")
    return capsys.readouterr().out.splitlines()


def told(died: int = 0, gone: int = 0, ended: int = 0) -> str:
    return f"{died} expired files are dead now, {gone} deleted for good, as were {ended} ended sessions of clients."


# --- Expired files die --------------------------------------------------------------------------------------------


def test_expired_file_is_dead(capsys: pytest.CaptureFixture[str]) -> None:
    file = made(expired=MINUTE)
    assert told(died=1) in purge(capsys)
    file.refresh_from_db()
    assert file.alive is False


@pytest.mark.parametrize("expired", [None, -MINUTE], ids=["never", "later"])
def test_file_that_has_not_expired_lives_on(expired: timedelta | None, capsys: pytest.CaptureFixture[str]) -> None:
    made(expired=expired)
    before = File.objects.values().get()
    assert told() in purge(capsys)
    assert File.objects.values().get() == before


def test_death_of_a_file_is_in_the_history() -> None:
    file = made(expired=MINUTE)
    call_command("purge")
    file.refresh_from_db()
    row = AuditEvent.objects.get()
    assert (row.at, row.actor_name, row.action, row.object_id, row.target, row.detail, row.ip_address) == (
        file.modified_at,
        "manage.py purge",
        "file.expire",
        file.pk,
        "file",
        {},
        None,
    )


def test_death_is_a_change_after_all_others() -> None:
    ahead = timezone.now() + DAY
    ChangeSequence.objects.create(pk=1, changed_at=ahead)
    for name in ("a", "b", "c"):
        made(name, expired=MINUTE)
    call_command("purge")
    assert sorted(File.objects.values_list("modified_at", flat=True)) == [
        ahead + timedelta(microseconds=number) for number in (1, 2, 3)
    ]


def test_who_follows_the_catalogue_learns_of_it(as_box: FileClient) -> None:
    since = datetime.now().timestamp()
    file = made(expired=MINUTE)
    call_command("purge")
    listed = json.loads(as_box.send("GET", "/", {"since": since}).getvalue())["results"]
    assert [(entry["id"], entry["alive"]) for entry in listed] == [(file.pk, False)]


def test_dead_file_dies_no_second_time() -> None:
    made(expired=MINUTE, died=MINUTE)
    before = File.objects.values().get()
    call_command("purge")
    assert (File.objects.values().get(), AuditEvent.objects.exists()) == (before, False)


def test_serve_path_is_free_again(as_box: FileClient) -> None:
    made(expired=MINUTE)
    call_command("purge")
    assert upload_file(as_box, "POST", "/", b"sunny", serve_path="file").json()["success"] is True


def test_upload_that_has_expired_dies_and_its_bytes_stay(as_box: FileClient) -> None:
    (entry,) = upload_file(as_box, "POST", "/", b"sunny", serve_path="file", expiration=1).json()["results"]
    call_command("purge")
    response = as_box.send("GET", f"/{entry['id']}")
    assert (File.objects.get().alive, response.getvalue()) == (False, b"sunny")


# --- Later their entries go ---------------------------------------------------------------------------------------


def test_file_that_expired_and_died_long_ago_is_gone(settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.TRASH_DAYS = 14
    made(expired=15 * DAY, died=15 * DAY)
    assert told(gone=1) in purge(capsys)
    assert not File.objects.exists()


@pytest.mark.parametrize(
    ("expired", "died"),
    [(13 * DAY, 13 * DAY), (15 * DAY, 13 * DAY), (13 * DAY, 15 * DAY), (-DAY, 15 * DAY), (None, 15 * DAY)],
    ids=["both_lately", "died_lately", "expired_lately", "removed_before_it_expires", "removed_and_never_expires"],
)
def test_other_dead_file_stays(
    expired: timedelta | None, died: timedelta, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.TRASH_DAYS = 14
    made(expired=expired, died=died)
    assert told() in purge(capsys)
    assert File.objects.exists()


def test_file_that_expired_long_ago_stays_for_a_while_after_it_died(capsys: pytest.CaptureFixture[str]) -> None:
    made(expired=500 * DAY)
    assert told(died=1) in purge(capsys)
    assert told() in purge(capsys)
    assert File.objects.get().alive is False


def test_history_of_a_file_outlives_it() -> None:
    file = made(expired=MINUTE)
    call_command("purge")
    File.objects.update(expires_at=timezone.now() - 15 * DAY, modified_at=timezone.now() - 15 * DAY)
    call_command("purge")
    row = AuditEvent.objects.get()
    assert (row.object_id, row.action, row.target) == (file.pk, "file.expire", "file")


# --- Sessions and challenges --------------------------------------------------------------------------------------


def test_live_session_stays(session: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told() in purge(capsys)
    assert sessions.authenticate(session).is_live


@pytest.mark.parametrize("column", ["expires_at", "ended_at"])
def test_dead_session_is_gone(column: str, session: str, capsys: pytest.CaptureFixture[str]) -> None:
    Session.objects.update(**{column: timezone.now() - MINUTE})
    assert told(ended=1) in purge(capsys)
    assert not Session.objects.exists()


def test_client_without_a_session_has_to_log_in_again(session: str) -> None:
    Session.objects.update(ended_at=timezone.now())
    call_command("purge")
    with pytest.raises(Unauthenticated, match="No session found"):
        sessions.authenticate(session)


def test_clients_stay(box: Client, reader: Client) -> None:
    call_command("purge")
    assert set(Client.objects.all()) == {box, reader}


def test_challenge_that_nobody_can_answer_any_more_is_gone() -> None:
    AnsweredChallenge.objects.create(id="0" * 32, expires_at=timezone.now() - 2 * MINUTE)
    call_command("purge")
    assert not AnsweredChallenge.objects.exists()


def test_answered_challenge_that_is_still_good_stays_used(machine: FileClient) -> None:
    challenge = machine.challenge()
    machine.answer(challenge)
    call_command("purge")
    assert machine.answer(challenge).json() == {
        "success": False,
        "error": "No matching handshake found for response",
        "message": "No matching handshake found for response",
    }


# --- What killed processes leave on the disk ----------------------------------------------------------------------


@pytest.fixture(params=["uploads", "blobs"])
def incoming(request: pytest.FixtureRequest, tmp_path: Path, blob_directory: Path, settings: Any) -> Path:
    """Where files come in: bodies of requests, and blobs."""
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    directory: Path = settings.FILE_UPLOAD_TEMP_DIR if request.param == "uploads" else blob_directory / "incoming"
    directory.mkdir(parents=True)
    return directory


def aged(path: Path, hours: int) -> Path:
    path.write_bytes(b"half of")
    then = time.time() - hours * 3600
    os.utime(path, (then, then))
    return path


def test_old_temporary_files_are_gone_and_young_ones_stay(incoming: Path, capsys: pytest.CaptureFixture[str]) -> None:
    aged(incoming / "old", hours=25)
    young = aged(incoming / "young", hours=23)
    assert "1 unfinished files deleted." in purge(capsys)
    assert list(incoming.iterdir()) == [young]


def test_directory_among_the_temporary_files_stops_nothing(incoming: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (incoming / "lost+found").mkdir()
    os.utime(incoming / "lost+found", (1, 1))
    aged(incoming / "old", hours=25)
    assert "1 unfinished files deleted." in purge(capsys)


def test_old_blobs_stay(as_box: FileClient, blob_directory: Path) -> None:
    upload_file(as_box, "POST", "/", b"sunny", serve_path="file")
    (blob,) = (path for path in blob_directory.rglob("*") if path.is_file())
    os.utime(blob, (1, 1))
    call_command("purge")
    assert blob.read_bytes() == b"sunny"


def test_nothing_came_in_yet(tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "none"
    assert "0 unfinished files deleted." in purge(capsys)


# --- Two at once --------------------------------------------------------------------------------------------------

FILL = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {many})
INSERT INTO files_file
    (path, serve_path, size, category, aired, alive, uploaded_at, modified_at, expires_at, sha256, mtime_ns)
SELECT '/file', '{name}/' || n, 5, NULL, false, {alive}, '{then}', '{then}', {expires_at}, '', 0 FROM numbers
"""
LONG_AGO = "2020-01-01 00:00:00+00:00"


@contextmanager
def database(server: Server) -> Iterator[Any]:
    """A cursor in the database of a running server."""
    url = server.environment.get("REGISTRY_DATABASE_URL")
    connection: Any = psycopg.connect(url) if url else sqlite3.connect(server.data / "registry.sqlite3")
    with closing(connection), connection, closing(connection.cursor()) as cursor:
        yield cursor


def test_two_at_once_do_everything_once(server: Server) -> None:
    with database(server) as cursor:
        for name, many, alive, expires_at in (
            ("expired", MANY, "true", f"'{LONG_AGO}'"),
            ("dead", MANY, "false", f"'{LONG_AGO}'"),
            ("living", 1, "true", "NULL"),
        ):
            cursor.execute(FILL.format(name=name, many=many, alive=alive, expires_at=expires_at, then=LONG_AGO))
    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(lambda _: server.manage("purge"), range(2)))
    died = [int(number) for output in outputs for number in re.findall("([0-9]+) expired files are dead now", output)]
    assert (len(died), sum(died)) == (2, MANY)
    with database(server) as cursor:
        cursor.execute("SELECT count(*), count(DISTINCT modified_at) FROM files_file WHERE NOT alive")
        assert cursor.fetchall() == [(MANY, MANY)]
        cursor.execute("SELECT serve_path FROM files_file WHERE alive")
        assert cursor.fetchall() == [("living/1",)]
        cursor.execute(
            "SELECT count(*), count(DISTINCT object_id) FROM registry_site_auditevent WHERE action = 'file.expire'"
        )
        assert cursor.fetchall() == [(MANY, MANY)]
