"""The outbox: mails are sent once for each committed row, and tried again until they are given up."""

import smtplib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DataError, OperationalError, connection, transaction
from django.test import Client
from django.utils import timezone

from registry_site import outbox, outbox_thread
from registry_site.logs import fields_of
from registry_site.models import AuditEvent, OutboxEntry
from registry_site.outbox import Mail
from registry_site.signals import hour_passed
from tests.support.admin import run_action
from tests.support.cast import PASSWORD
from tests.support.concurrency import send_json, wait_until
from tests.support.mail_server import running_mail_server
from tests.support.mirror_store import query
from tests.support.sent_mails import sent_mails
from tests.support.servers import running_with

ADDRESS = "dora@example.org"
ADMIN = "/admin/registry_site/outboxentry/"


class Greeting:
    """A kind of mail whose writer can fail."""

    error: Exception | None = None

    def write(self, entry: OutboxEntry) -> Mail | None:
        if self.error is not None:
            raise self.error
        return Mail("Hello", f"Hello {entry.arguments['name']}!") if entry.arguments["name"] else None


@pytest.fixture
def greeting(db: None) -> Iterator[Greeting]:
    greeting = Greeting()
    outbox.mail_kind("greeting", "a greeting")(greeting.write)
    yield greeting
    del outbox._writers["greeting"]


def add(name: str = "Dora", recipient: str = ADDRESS) -> OutboxEntry:
    outbox.add("greeting", recipient, name=name)
    return OutboxEntry.objects.latest("pk")


def end_pause(**values: Any) -> None:
    OutboxEntry.objects.update(due_at=timezone.now(), **values)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Return level and event of the lines about mails."""
    fields = ((record.levelname, getattr(record, "fields", {}).get("event", "")) for record in caplog.records)
    return [(level, event) for level, event in fields if event.startswith(("mail", "outbox"))]


# --- Sending -------------------------------------------------------------------------------------------------------


def test_mails_go_out_in_order_and_once(greeting: Greeting, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("Dora", "Emil", ""):
        entry = add(name)
    assert [mail.body for mail in sent_mails()] == ["Hello Dora!", "Hello Emil!"]
    assert len(sent_mails()) == 2
    assert not OutboxEntry.objects.filter(pk=entry.pk).exists()  # there was nothing to send any more
    assert logged(caplog) == [("INFO", "mail_sent")] * 2
    assert ADDRESS not in str([fields_of(record) for record in caplog.records])


def test_mail_says_that_a_machine_sent_it(greeting: Greeting) -> None:
    entry = add()
    [mail] = sent_mails()
    assert mail.to == [ADDRESS]
    assert mail.extra_headers == {"Message-ID": f"<{entry.uuid}@testserver>", "Auto-Submitted": "auto-generated"}


def test_rolled_back_entry_is_gone(greeting: Greeting) -> None:
    with transaction.atomic():
        add()
        transaction.set_rollback(True)
    assert sent_mails() == []


def test_failing_mail_holds_up_no_other(greeting: Greeting, caplog: pytest.LogCaptureFixture) -> None:
    outbox.add("kind of a later version", ADDRESS)
    add()
    assert len(sent_mails()) == 1
    assert logged(caplog) == [("ERROR", "mail_not_written"), ("INFO", "mail_sent")]


def test_pauses_grow_until_it_is_given_up(greeting: Greeting, caplog: pytest.LogCaptureFixture) -> None:
    add()
    greeting.error = ConnectionRefusedError("nobody listens")
    pauses = []
    for _ in range(10):
        outbox.work_off()
        entry = OutboxEntry.objects.get()
        pauses.append(round((entry.due_at - timezone.now()).total_seconds()))
        end_pause()
    assert pauses == [10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]
    assert (entry.state, logged(caplog)) == ("pending", [])
    end_pause(give_up_at=timezone.now() + timedelta(seconds=5))
    outbox.work_off()
    entry = OutboxEntry.objects.get()
    assert (entry.state, entry.error) == ("failed", "ConnectionRefusedError: nobody listens")
    assert logged(caplog) == [("ERROR", "mail_given_up")]


def test_refused_recipient_is_final(greeting: Greeting, caplog: pytest.LogCaptureFixture) -> None:
    for code, state in ((550, "failed"), (450, "pending")):
        add()
        greeting.error = smtplib.SMTPRecipientsRefused({ADDRESS: (code, f"<{ADDRESS}>: no \0 mailbox".encode())})
        outbox.work_off()
        entry = OutboxEntry.objects.latest("pk")
        expected = f"the recipient is refused: {code} <the address>: no  mailbox"
        assert (entry.state, entry.error) == (state, expected)
    assert ADDRESS not in str([fields_of(record) for record in caplog.records])
    assert logged(caplog) == [("WARNING", "mail_given_up")]


def test_failing_server_is_left_alone(greeting: Greeting) -> None:
    for _ in range(3):
        add()
    greeting.error = smtplib.SMTPServerDisconnected()
    assert outbox.work_off() is False
    assert sorted(OutboxEntry.objects.values_list("attempts", flat=True)) == [0, 0, 1]


def test_failing_statement_is_given_up(greeting: Greeting) -> None:
    """It is no sign that the database is away: the same statement may fail for ever."""
    add()
    greeting.error = DataError("value too long")
    outbox.work_off()
    assert OutboxEntry.objects.get().error == "DataError: value too long"
    end_pause(give_up_at=timezone.now() + timedelta(seconds=5))
    outbox.work_off()
    assert OutboxEntry.objects.get().state == "failed"


# --- Claims --------------------------------------------------------------------------------------------------------


def test_claim_of_a_killed_worker_ends(greeting: Greeting) -> None:
    add()
    assert outbox.claim() is not None
    assert outbox.claim() is None
    OutboxEntry.objects.update(due_at=timezone.now())  # a minute later
    assert len(sent_mails()) == 1


def test_mail_that_kills_its_workers_is_given_up(greeting: Greeting) -> None:
    add()
    for _ in range(2):
        assert outbox.claim() is not None
        end_pause(give_up_at=timezone.now())
    assert sent_mails() == []
    entry = OutboxEntry.objects.get()
    assert (entry.state, entry.error) == ("failed", "TimeoutError: its time was over before an attempt ended")


def test_lost_claim_changes_nothing(greeting: Greeting) -> None:
    add()
    late = outbox.claim()
    assert late is not None
    end_pause()
    assert outbox.claim() is not None  # of another worker, which is still at it
    outbox.put_off(late, ConnectionRefusedError())
    assert OutboxEntry.objects.get().error == ""


@pytest.mark.only_postgresql  # SQLite has one writer at a time
@pytest.mark.django_db(transaction=True)
def test_workers_claim_different_entries() -> None:
    for name in ("Dora", "Emil"):
        add(name)

    def claim_elsewhere() -> Any:
        try:
            return outbox.claim()
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        first = outbox.claim()
        second, third = pool.submit(claim_elsewhere).result(), pool.submit(claim_elsewhere).result()
    assert first is not None
    assert (first.arguments["name"], second.arguments["name"], third) == ("Dora", "Emil", None)


def test_idle_look_takes_one_query(db: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert outbox.claim() is None


def test_work_is_done_with_its_row(db: None) -> None:
    done = []

    def fail_at_first(entry: OutboxEntry) -> None:
        outbox.add("greeting", ADDRESS, name="Dora")
        done.append(entry.pk)
        if len(done) == 1:
            raise ZeroDivisionError

    outbox.work_kind("greet all", "job: greet all")(fail_at_first)
    outbox.add("greet all")
    outbox.work_off()
    assert OutboxEntry.objects.get().kind == "greet all"
    end_pause()
    outbox.work_off()
    assert OutboxEntry.objects.get().kind == "greeting"
    del outbox._work["greet all"]


# --- The thread ----------------------------------------------------------------------------------------------------


@pytest.mark.database_independent
def test_thread_survives_the_database(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    attempts: list[int] = []

    def fail(is_stopping: Any) -> bool:
        attempts.append(1)
        raise OperationalError("the database is away")

    monkeypatch.setattr(outbox, "work_off", fail)
    monkeypatch.setattr(outbox_thread, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(outbox_thread, "POLL_SECONDS", 0)
    thread = outbox_thread.OutboxThread()
    thread.start()
    wait_until(lambda: len(attempts) > 2)
    thread.stop()
    assert not thread.is_alive()
    assert logged(caplog) == [("WARNING", "outbox_failed")]


@pytest.mark.only_postgresql
@pytest.mark.django_db(transaction=True)
def test_thread_keeps_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    backends: list[int] = []

    def look(is_stopping: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            backends.append(cursor.fetchone()[0])
        return True

    monkeypatch.setattr(outbox, "work_off", look)
    monkeypatch.setattr(outbox_thread, "POLL_SECONDS", 0)
    thread = outbox_thread.OutboxThread()
    thread.start()
    wait_until(lambda: len(backends) > 2)
    thread.stop()
    assert len(set(backends)) == 1


@pytest.mark.database_independent
def test_stopped_thread_waits_for_its_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = threading.Event(), []

    def send_slowly(is_stopping: Any) -> bool:
        began.set()
        time.sleep(0.3)
        ended.append(is_stopping())
        return True

    monkeypatch.setattr(outbox, "work_off", send_slowly)
    thread = outbox_thread.OutboxThread()
    thread.start()
    outbox.added.set()
    began.wait(10)
    thread.stop()
    assert ended == [True]


def test_thread_announces_each_hour(db: None, caplog: pytest.LogCaptureFixture) -> None:
    hours: list[int] = []

    def receive(**kwargs: Any) -> None:
        hours.append(1)

    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    thread = outbox_thread.OutboxThread()
    hour_passed.connect(fail)
    hour_passed.connect(receive)
    thread.announce_times()  # not at the start
    assert hours == []
    thread.next_hour = 0.0
    for _ in range(2):
        thread.announce_times()
    hour_passed.disconnect(fail)
    hour_passed.disconnect(receive)
    assert (hours, logged(caplog)) == ([1], [("WARNING", "outbox_failed")])


SENT_COUNT = "SELECT COUNT(*) FROM registry_site_outboxentry WHERE state = 'sent'"


@pytest.mark.long
def test_killed_server_sends_after_its_restart(tmp_path: Path) -> None:
    """Two workers send each mail once; what a killed one was about to send, another sends."""
    changes = "from registry_site import outbox_thread\noutbox_thread.POLL_SECONDS = 0.5"
    with running_mail_server() as controller:
        mails, port = controller.handler.mails, controller.port
        settings = {"REGISTRY_EMAIL_URL": f"smtp://127.0.0.1:{port}", "REGISTRY_EMAIL_VERIFICATION": "1"}
        with running_with(changes, tmp_path / "data", REGISTRY_WORKERS="2", **settings) as server:

            def register(number: int) -> int:
                fields = {"username": f"user-{number}", "email": f"user-{number}@example.org", "password": PASSWORD}
                body = {**fields, "confirm_password": PASSWORD}
                return send_json(server, "POST", "/v1/user/register", body).status

            assert [register(number) for number in range(3)] == [200] * 3
            wait_until(lambda: query(server, SENT_COUNT) == [(3,)])
            assert sorted(mails.recipients()) == [[f"user-{number}@example.org"] for number in range(3)]
            mails.is_stalled = True
            began = time.monotonic()
            assert [register(number) for number in (3, 4)] == [200] * 2
            assert time.monotonic() - began < 10  # no request waits for the mail server
            wait_until(lambda: query(server, "SELECT SUM(attempts) FROM registry_site_outboxentry") != [(3,)])
            server.kill()
            mails.is_stalled = False
            query(server, "UPDATE registry_site_outboxentry SET due_at = created_at")  # the claims have ended
            server.start()
            # What was on its way when the server was killed may come twice.
            everybody = {f"user-{number}@example.org" for number in range(5)}
            wait_until(lambda: {address for [address] in mails.recipients()} == everybody)


# --- Staff and the purge -------------------------------------------------------------------------------------------


def test_staff_send_failed_mails_again(greeting: Greeting, as_root: Client) -> None:
    failed, pending = add(), add("Emil")
    OutboxEntry.objects.filter(pk=failed.pk).update(
        state="failed", ended_at=timezone.now(), error="550 no such mailbox", attempts=9
    )
    page = as_root.get(f"{ADMIN}?state__exact=failed").content.decode()
    assert (ADDRESS in page, "550 no such mailbox" in page, "Emil" in page) == (True, True, False)
    assert "1 to be sent again, 1 unchanged." in run_action(as_root, ADMIN, "send_again", failed, pending)
    assert len(sent_mails()) == 2
    event = AuditEvent.objects.get(action="outbox.send_again")
    assert (event.actor_name, event.object_id) == ("root", failed.pk)


def test_page_of_a_mail_shows_no_arguments(greeting: Greeting, as_root: Client) -> None:
    page = as_root.get(f"{ADMIN}{add('Emil').pk}/change/").content.decode()
    assert (ADDRESS in page, "Emil" in page) == (True, False)


def test_purge_deletes_addresses(greeting: Greeting, capsys: pytest.CaptureFixture[str]) -> None:
    now = timezone.now()
    for state, age in (("sent", 23), ("sent", 25), ("failed", 29 * 24), ("failed", 31 * 24)):
        OutboxEntry.objects.filter(pk=add().pk).update(state=state, ended_at=now - timedelta(hours=age))
    add()
    call_command("purge")
    assert "2 sent or failed mails deleted." in capsys.readouterr().out
    assert sorted(OutboxEntry.objects.values_list("state", flat=True)) == ["failed", "pending", "sent"]
