"""The audit log: what is recorded, announced and shown, and that older logs are carried over."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from accounts.models import User
from files import clients
from registry_site import audit, signals
from registry_site.logs import request_id
from registry_site.models import Action, AuditEvent
from tests.support.migrations import models_at

EVENTS = "/admin/registry_site/auditevent/"


@pytest.fixture
def announced() -> Any:
    """The events that were announced."""
    events: list[AuditEvent] = []

    def receive(event: AuditEvent, **kwargs: Any) -> None:
        events.append(event)

    signals.event_recorded.connect(receive)
    yield events
    signals.event_recorded.disconnect(receive)


def test_event_names_actor_and_object(alice: User, root: User) -> None:
    audit.record(root, Action.USER_BAN, alice, reason="spam")
    event = AuditEvent.objects.get(action="user.ban")
    assert (event.actor, event.actor_name, event.target) == (root, "root", "alice")
    assert (event.object_type, event.object_id, event.detail) == ("accounts.user", alice.pk, {"reason": "spam"})


@pytest.mark.django_db
def test_actor_without_account_is_a_name() -> None:
    audit.record("box", Action.FILE_ADD, "weather.txt")
    audit.record(None, Action.USER_UNBAN, "alice")
    events = AuditEvent.objects.filter(actor=None, object_type="", object_id=None)
    assert list(events.order_by("pk").values_list("actor_name", flat=True)) == ["box", "operator"]


@pytest.mark.django_db
def test_record_takes_one_query(django_assert_num_queries: Any) -> None:
    with transaction.atomic(), django_assert_num_queries(1):
        audit.record_all([audit.new_event("box", Action.FILE_ADD, str(number)) for number in range(50)])


@pytest.mark.django_db(transaction=True)
def test_event_is_announced_after_commit(announced: list[AuditEvent]) -> None:
    with transaction.atomic():
        audit.record(None, Action.USER_UNBAN, "alice")
        assert announced == []
    assert announced == list(AuditEvent.objects.all())


@pytest.mark.django_db(transaction=True)
def test_rolled_back_event_is_not_announced(announced: list[AuditEvent]) -> None:
    with transaction.atomic():
        audit.record(None, Action.USER_UNBAN, "alice")
        transaction.set_rollback(True)
    assert announced == []


@pytest.mark.django_db(transaction=True)
def test_failing_receiver_harms_nobody(announced: list[AuditEvent], caplog: pytest.LogCaptureFixture) -> None:
    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    signals.event_recorded.connect(fail)
    try:
        audit.record(None, Action.USER_UNBAN, "alice")
    finally:
        signals.event_recorded.disconnect(fail)
    assert len(announced) == 1
    assert "ZeroDivisionError" in caplog.text


def test_staff_find_events(as_root: Client, alice: User) -> None:
    audit.record("box", Action.FILE_UPDATE, "weather.txt", fields=["size"])
    audit.record(None, Action.USER_BAN, alice)
    for query in ("q=box", "q=weather", "q=file.update", "action__exact=file.update"):
        page = as_root.get(f"{EVENTS}?{query}").content.decode()
        assert "weather.txt" in page, query
        assert "operator" not in page, query
    assert f'<a href="/admin/accounts/user/{alice.pk}/">alice</a>' in as_root.get(EVENTS).content.decode()


def record_in_request(key: str, *targets: str) -> list[AuditEvent]:
    """Record a change of each target, all by one request."""
    token = request_id.set(key)
    for target in targets:
        audit.record("box", Action.FILE_UPDATE, target, fields=["size"])
    request_id.reset(token)
    return list(AuditEvent.objects.filter(request_id=key).order_by("pk"))


def test_event_leads_to_all_of_its_request(as_root: Client) -> None:
    event, _ = record_in_request("0123456789abcdef", "weather.txt", "tides.txt")
    record_in_request("fedcba9876543210", "moon.txt")
    page = as_root.get(f"{EVENTS}{event.pk}/").content.decode()
    assert f'href="{EVENTS}?request=0123456789abcdef"' in page
    assert ("tides.txt" in page, "moon.txt" in page, "<dd>size</dd>" in page) == (True, False, True)
    listed = as_root.get(f"{EVENTS}?request=0123456789abcdef").context["cl"].result_list
    assert {row.target for row in listed} == {"weather.txt", "tides.txt"}


def test_event_shows_the_first_of_a_large_request(as_root: Client) -> None:
    first = record_in_request("0123456789abcdef", *(f"file-{number}.txt" for number in range(11)))[0]
    page = as_root.get(f"{EVENTS}{first.pk}/").content.decode()
    assert ("Only the first 10 are shown." in page, "file-10.txt" in page) == (True, False)


def test_histories_lead_to_the_request_of_an_event(as_root: Client, alice: User) -> None:
    token = request_id.set("0123456789abcdef")
    audit.record(None, Action.USER_UNBAN, alice)
    request_id.reset(token)
    for path in (f"/admin/accounts/user/{alice.pk}/history/", f"/admin/accounts/user/{alice.pk}/"):
        assert f'href="{EVENTS}?request=0123456789abcdef"' in as_root.get(path).content.decode(), path


def test_event_of_a_command_has_no_request(as_root: Client) -> None:
    audit.record(None, Action.FILE_ADD, "weather.txt")
    audit.record(None, Action.FILE_ADD, "tides.txt")
    page = as_root.get(f"{EVENTS}{AuditEvent.objects.latest('pk').pk}/").content.decode()
    assert ("weather.txt" in page, "?request=" in page) == (False, False)


# --- Older logs --------------------------------------------------------------------------------------------------


@contextmanager
def former_table(app: str, migration: str, model: str) -> Iterator[tuple[Any, Any]]:
    """The models as they were before a migration, with the table that it empties, and the migration's functions."""
    apps = models_at((app, migration))
    with connection.schema_editor() as editor:
        editor.create_model(apps.get_model(app, model))
    try:
        yield apps, importlib.import_module(f"{app}.migrations.{migration}")
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(apps.get_model(app, model))


@pytest.mark.django_db(transaction=True)
def test_events_of_accounts_are_carried_over_and_back(root: User) -> None:
    AuditEvent.objects.all().delete()
    audit.record("box", Action.FILE_ADD, "weather.txt")
    with former_table("accounts", "0008_move_audit_events", "AuditEvent") as (apps, migration):
        migration.BATCH = 2
        table = apps.get_model("accounts", "AuditEvent").objects
        for number in range(5):
            table.create(
                actor_id=root.pk,
                actor_name="root",
                action="user.ban",
                target=f"user{number}",
                peer="10.0.0.1",
                detail={"a": 1},
            )
        before = list(table.order_by("pk").values(*migration.COLUMNS))
        migration.forwards(apps, None)
        assert list(AuditEvent.objects.filter(actor=root).order_by("pk").values(*migration.COLUMNS)) == before
        assert set(AuditEvent.objects.filter(actor=root).values_list("ip_address", flat=True)) == {"10.0.0.1"}
        table.all().delete()
        migration.backwards(apps, None)
        assert list(table.order_by("pk").values(*migration.COLUMNS)) == before
        assert set(table.values_list("peer", flat=True)) == {"10.0.0.1"}
    assert AuditEvent.objects.get().target == "weather.txt"


@pytest.mark.django_db(transaction=True)
def test_history_of_files_is_carried_over_and_back(alice: User) -> None:
    AuditEvent.objects.all().delete()
    client = clients.add_client("box", bytes(32), actor="test").pk
    AuditEvent.objects.update(action="user.ban")
    columns = ("at", "actor", "action", "target", "detail", "peer", "file_id", "client_id")
    rows = [
        ("add", "7 a b.txt", "", None, None),
        ("update", "7 a b.txt", "size, path", None, None),
        ("client.rotate", "box", "2 sessions ended", None, client),
        ("client.sessions", "box", "that of 2026-10-31 08:00", None, client),
        ("client.change", "box", "rights", None, client),
    ]
    with former_table("files", "0004_move_history", "History") as (apps, migration):
        migration.BATCH = 2
        table = apps.get_model("files", "History").objects
        for action, target, detail, file, of_client in rows:
            row = {"action": action, "target": target, "detail": detail, "file_id": file, "client_id": of_client}
            table.create(at=timezone.now(), actor="box", peer="10.0.0.1", **row)
        before = list(table.order_by("pk").values(*columns))
        migration.forwards(apps, None)
        events = AuditEvent.objects.filter(actor_name="box").order_by("pk")
        assert list(events.values_list("action", "target", "object_type", "object_id", "detail")) == [
            ("file.add", "a b.txt", "files.file", 7, {}),
            ("file.update", "a b.txt", "files.file", 7, {"fields": ["size", "path"]}),
            ("client.rotate", "box", "files.client", client, {"sessions_ended": 2}),
            ("client.sessions", "box", "files.client", client, {"session": "2026-10-31 08:00"}),
            ("client.change", "box", "files.client", client, {"fields": ["rights"]}),
        ]
        table.all().delete()
        migration.backwards(apps, None)
        assert list(table.order_by("pk").values(*columns)) == before
    assert AuditEvent.objects.get().action == "user.ban"
