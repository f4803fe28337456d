"""When clients were last seen, and their failed handshakes: kept when their sessions are gone."""

from datetime import timedelta

from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from files import activity, clients
from files.models import Client, FailedHandshakes, Session
from registry_site import write_buffers
from registry_site.download_counts import today
from registry_site.signals import purge_requested
from tests.support.file_clients import FileClient, failure

FAILED = failure("Handshake challenge response failed")


def fail(machine: FileClient, address: str = "192.0.2.9") -> None:
    machine.defaults["REMOTE_ADDR"] = address
    assert machine.answer(machine.challenge(), encrypted_text="0" * 128).json() == FAILED


def stored(client: Client) -> Client:
    """Return a client as the database has it once everything in memory is stored."""
    write_buffers.flush()
    client.refresh_from_db()
    return client


def test_last_use_outlives_the_session(as_box: FileClient, box: Client) -> None:
    as_box.send("GET", "/")
    seen_at = stored(box).last_seen_at
    assert seen_at is not None
    Session.objects.update(expires_at=timezone.now() - timedelta(days=1))
    purge_requested.send(sender=None)
    assert not Session.objects.exists()
    assert (stored(box).last_seen_at, box.last_seen_ip) == (seen_at, "127.0.0.1")


def test_use_is_stored_at_most_hourly(as_box: FileClient, box: Client) -> None:
    first = stored(box).last_seen_at
    as_box.send("GET", "/")
    assert activity.last_uses.pending == {}
    Client.objects.update(last_seen_at=timezone.now() - timedelta(hours=2))
    as_box.send("GET", "/")
    assert first is not None
    assert first < (stored(box).last_seen_at or first)


def test_request_of_a_machine_only_reads(as_box: FileClient, box: Client) -> None:
    write_buffers.flush()
    Client.objects.update(last_seen_at=None)
    with CaptureQueriesContext(connection) as queries:
        as_box.send("GET", "/")
    assert {query["sql"].split()[0] for query in queries.captured_queries} == {"SELECT"}


def test_handshake_writes_only_its_challenge_and_session(machine: FileClient, box: Client) -> None:
    with CaptureQueriesContext(connection) as queries:
        fail(machine)
        machine.log_in()
    words = {"INSERT", "UPDATE", "DELETE"}
    tables = {query["sql"].split('"')[1] for query in queries.captured_queries if query["sql"].split()[0] in words}
    assert tables.isdisjoint({"files_client", "files_failedhandshakes"})


def test_failed_handshakes_are_counted_by_day(machine: FileClient, box: Client) -> None:
    fail(machine)
    write_buffers.flush()
    fail(machine)
    fail(machine, "198.51.100.7")
    assert (stored(box).last_failure_ip, box.last_seen_at) == ("198.51.100.7", None)
    assert list(FailedHandshakes.objects.values_list("client__name", "day", "count")) == [("box", today(), 3)]


def test_disabled_machine_fails_and_is_counted(machine: FileClient, box: Client) -> None:
    clients.set_active(box, active=False, actor="test")
    assert machine.answer(machine.challenge()).json() == FAILED
    assert stored(box).last_failure_at is not None
    assert box.last_seen_at is None


def test_unknown_name_is_not_counted(machine: FileClient, box: Client) -> None:
    machine.name = "stranger"
    fail(machine)
    write_buffers.flush()
    assert not FailedHandshakes.objects.exists()


def test_later_failure_of_another_worker_stays(box: Client) -> None:
    now = timezone.now()
    Client.objects.update(last_failure_at=now, last_failure_ip="192.0.2.1")
    activity.failed_handshakes.add({(box.pk, today()): activity.Failure(1, now - timedelta(minutes=1), None)})
    assert (stored(box).last_failure_at, box.last_failure_ip) == (now, "192.0.2.1")
    assert FailedHandshakes.objects.get().count == 1


def test_old_counts_of_failures_are_deleted(box: Client) -> None:
    for days in (89, 90):
        FailedHandshakes.objects.create(client=box, day=today() - timedelta(days=days), count=1)
    purge_requested.send(sender=None)
    assert [row.day for row in FailedHandshakes.objects.all()] == [today() - timedelta(days=89)]


def test_staff_find_silent_machines(as_root: Browser, box: Client, reader: Client) -> None:
    now = timezone.now()
    Client.objects.filter(pk=box.pk).update(last_seen_at=now - timedelta(days=8), last_seen_ip="192.0.2.77")
    FailedHandshakes.objects.create(client=box, day=today(), count=4711)
    for silent, names in {"1": {"box"}, "7": {"box"}, "30": set(), "never": {"reader"}, "": {"box", "reader"}}.items():
        response = as_root.get("/admin/files/client/", {"silent": silent} if silent else {})
        assert {client.name for client in response.context["cl"].result_list} == names, silent
    page = response.content.decode()
    assert [text in page for text in ("192.0.2.77", "4711")] == [True, True]
    form = as_root.get(f"/admin/files/client/{box.pk}/change/").content.decode()
    assert [text in form for text in ("192.0.2.77", "4711")] == [True, True]
