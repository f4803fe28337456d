"""The chain of the audit log: sealed behind its writers, the same on both databases, and proof against any change."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.models import User
from registry_site import audit, audit_digests, audit_seals
from registry_site.audit_verification import Verification
from registry_site.models import Action, AuditEvent, AuditSeal
from registry_site.signals import minute_passed

pytestmark = pytest.mark.django_db

DETAIL = {"b": 1.0, "a": [True, None, "é\u2028\U0001f980"], "n": 1e300, "f": 0.1, "i": 2**60, "s": -1.5e-7, "z": {}}
RUN = UUID(int=10)
AT = datetime(2026, 12, 1, 6, 50, 1, 20, UTC)


def record(count: int = 1, **detail: Any) -> list[AuditEvent]:
    """Record events that no seal covers yet."""
    events = [audit.new_event("box", Action.FILE_ADD, f"file {number}", **detail) for number in range(count)]
    audit.record_all(events)
    return events


def sealed(*counts: int) -> list[AuditEvent]:
    """Record events, and seal them by these numbers; return them all."""
    events = []
    for count in counts:
        events += record(count, size=7)
        audit_seals.seal_all()
    return events


def problems(first: int = 1, digest: str = "") -> list[str]:
    return list(Verification(first, digest).problems())


def run(*arguments: str) -> tuple[str, str]:
    """Run the command; return what it prints, and its problems with the last line of a failure."""
    out, err = StringIO(), StringIO()
    try:
        call_command("verifyaudit", *arguments, stdout=out, stderr=err)
    except CommandError as error:  # which exits with 1
        return out.getvalue(), f"{err.getvalue()}{error}"
    return out.getvalue(), err.getvalue()


# --- Digests -------------------------------------------------------------------------------------------------------


@pytest.mark.database_independent
def test_each_column_is_decided_about() -> None:
    columns = {field.attname for field in AuditEvent._meta.concrete_fields}
    assert columns - {"seal_id"} == set(audit_digests.COLUMNS[audit_digests.FORMAT])


def test_digest_is_the_same_on_each_database() -> None:
    values: dict[str, Any] = {
        "at": AT,
        "actor_id": 7,
        "actor_name": "é",
        "action": "file.add",
        "target": "x",
        "detail": DETAIL,
    }
    values |= {"object_type": "files.file", "object_id": 17, "ip_address": "2001:DB8::0:1", "run": RUN}
    AuditEvent.objects.create(pk=4711, **values)
    stored = audit_digests.event_values(AuditEvent.objects.get(pk=4711), 1)
    assert audit_digests.canonical(list(stored.values())) == (
        '[4711,"2026-12-01T06:50:01.000020+00:00",7,"\\u00e9","file.add","x","files.file",17,"2001:db8::1","","00000000-0000-0000-0000-00000000000a",'
        '{"a":[true,null,"\\u00e9\\u2028\\ud83e\\udd80"],"b":1,"f":0.1,"i":1152921504606846976,"n":1E+300,"s":-1.5E-7,'
        '"z":{}}]'
    )


def test_digest_covers_each_column_of_a_seal() -> None:
    sealed(1)
    seal = AuditSeal.objects.get(number=1)
    digest = audit_digests.seal_hash(seal).hexdigest()
    changes = {"number": 2, "format": 2, "previous": "0", "first_event": 0, "last_event": 0, "count": 2}
    for name, value in {**changes, "last_at": AT, "sealed_at": AT}.items():
        changed = AuditSeal.objects.get(number=1)
        setattr(changed, name, value)
        assert audit_digests.seal_hash(changed).hexdigest() != digest, name


# --- Sealing -------------------------------------------------------------------------------------------------------


def test_seals_follow_on_each_other(caplog: pytest.LogCaptureFixture) -> None:
    events = sealed(2, 3)
    start, first, second = AuditSeal.objects.order_by("number")
    assert (start.number, start.digest, first.previous, second.previous) == (0, "", "", first.digest)
    assert [(seal.first_event, seal.last_event, seal.count) for seal in (first, second)] == [
        (events[0].pk, events[1].pk, 2),
        (events[2].pk, events[4].pk, 3),
    ]
    assert list(AuditEvent.objects.order_by("pk").values_list("seal", flat=True)) == [1, 1, 2, 2, 2]
    anchors = [record.fields for record in caplog.records if record.message == "audit.sealed"]  # type: ignore[attr-defined]
    assert [anchor["digest"] for anchor in anchors] == [first.digest, second.digest]


def test_seal_has_a_limit_of_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_seals, "MAX_EVENTS", 2)
    record(5)
    assert audit_seals.seal_all() == 3
    assert problems() == []


def test_nothing_to_seal_makes_no_seal() -> None:
    sealed(1)
    assert audit_seals.seal_all() == 0


def test_late_event_is_in_a_later_seal() -> None:
    late, *_ = record(3)
    AuditEvent.objects.filter(pk=late.pk).delete()
    audit_seals.seal_all()
    late.save(force_insert=True)
    audit_seals.seal_all()
    assert list(AuditEvent.objects.order_by("pk").values_list("seal", flat=True)) == [2, 1, 1]
    assert problems() == []


def test_workers_seal_what_has_waited_a_minute() -> None:
    record()
    minute_passed.send(sender=None)
    assert audit_seals.backlog().events == 1
    AuditEvent.objects.update(at=timezone.now() - timedelta(minutes=2))
    record()
    minute_passed.send(sender=None)
    assert audit_seals.backlog() == (0, 0)


def test_worker_seals_a_long_log_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_seals, "MAX_EVENTS", 1)
    monkeypatch.setattr(audit_seals, "MAX_SEALS", 2)
    record(5)
    AuditEvent.objects.update(at=timezone.now() - timedelta(minutes=2))
    for rest in (3, 1, 0):
        minute_passed.send(sender=None)
        assert audit_seals.backlog().events == rest


@pytest.mark.only_postgresql
@pytest.mark.django_db(transaction=True)
def test_many_that_seal_at_once_make_one_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_seals, "MAX_EVENTS", 5)
    record(60)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            audit_seals.seal_all()
        except BaseException as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (failures, AuditSeal.objects.count(), problems()) == ([], 13, [])


@pytest.mark.only_postgresql
@pytest.mark.django_db(transaction=True)
def test_writers_do_not_wait_for_seals() -> None:
    written = threading.Event()

    def write() -> None:
        record()
        connections.close_all()
        written.set()

    record()
    with transaction.atomic():
        record()
        audit_seals.seal_next()
        thread = threading.Thread(target=write)
        thread.start()
        assert written.wait(30)
    thread.join()
    audit_seals.seal_all()
    assert problems() == []


def test_writing_costs_one_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    sealed(1)
    with transaction.atomic(), django_assert_num_queries(1):
        record(50)


# --- Verification --------------------------------------------------------------------------------------------------


def test_each_change_of_an_event_is_named() -> None:
    event = sealed(3)[1]
    changes: dict[str, Any] = {
        "at": AT,
        "actor": 4711,
        "actor_name": "root",
        "action": "user.ban",
        "target": "y",
        "object_type": "files.file",
        "object_id": 1,
        "ip_address": "192.0.2.1",
        "request_id": "r",
        "run": RUN,
        "detail": {"size": 8},
    }
    row = AuditEvent.objects.filter(pk=event.pk)
    (former,) = row.values(*changes)
    for name, value in changes.items():
        row.update(**{name: value})
        assert problems() == [f"Event {event.pk} of seal 1 was changed."], name
        row.update(**{name: former[name]})
    assert problems() == []


def move(event: AuditEvent, seal: int) -> None:
    AuditEvent.objects.filter(pk=event.pk).update(seal=seal)


def test_what_was_added_and_deleted_is_named() -> None:
    first, _, third, *_ = sealed(2, 2, 2)
    AuditEvent.objects.filter(pk=first.pk).delete()
    assert problems() == [f"Event {first.pk} of seal 1 is missing."]
    first.seal_id = 1
    first.save(force_insert=True)
    assert problems() == []
    move(third, 1)
    assert problems() == [f"Event {third.pk} was added to seal 1.", f"Event {third.pk} of seal 2 is missing."]
    move(third, 0)
    missing = f"Event {third.pk} of seal 2 is missing."
    assert problems() == [missing, f"Event {third.pk} has the seal 0, which is missing."]


def test_deleted_seal_is_named() -> None:
    _, second, _ = sealed(1, 1, 1)
    AuditEvent.objects.filter(pk=second.pk).delete()
    AuditSeal.objects.filter(number=2).delete()
    assert problems() == ["Seal 2 is missing."]


def test_change_of_a_seal_is_named() -> None:
    sealed(1, 1)
    seal = AuditSeal.objects.filter(number=1)
    former: dict[str, Any] = dict(seal.values("sealed_at", "format", "digest")[0])
    expected = {
        "sealed_at": (AT, ["The row of seal 1 was changed."]),
        "format": (9, ["Seal 1 has the format 9, which this version does not know."]),
        "digest": ("0" * 64, ["The row of seal 1 was changed.", "Seal 2 does not follow on seal 1."]),
    }
    for name, (value, sentences) in expected.items():
        seal.update(**{name: value})
        assert problems() == sentences, name
        seal.update(**{name: former[name]})
    assert problems() == []


def cut_off() -> None:
    """Delete the newest seal with its events."""
    AuditEvent.objects.filter(seal=2).delete()
    AuditSeal.objects.filter(number=2).delete()


def write_anew() -> None:
    """Change an event, and seal anew as whoever controls the database could."""
    AuditEvent.objects.filter(seal=2).update(target="y", seal=None)
    AuditSeal.objects.filter(number=2).delete()
    audit_seals.seal_all()


@pytest.mark.parametrize("attack", [cut_off, write_anew])
def test_noted_digest_shows_another_end(attack: Callable[[], None]) -> None:
    sealed(1, 1)
    first, second = AuditSeal.objects.filter(number__gt=0).order_by("number").values_list("digest", flat=True)
    assert problems(digest=second.upper()) == []
    attack()
    assert problems() == problems(digest=first) == []
    assert problems(digest=second) == [f"No seal has the digest {second}: seals were deleted or written anew."]


def test_deleted_account_breaks_no_seal(alice: User) -> None:
    audit.record(alice, Action.USER_CHANGE, alice)
    audit_seals.seal_all()
    key = alice.pk
    alice.delete()
    event = AuditEvent.objects.select_related("actor").get(action="user.change")
    assert (event.actor_id, event.actor, problems()) == (key, None, [])


def test_many_seals_take_few_queries(monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any) -> None:
    monkeypatch.setattr(audit_seals, "MAX_EVENTS", 2)
    record(240)
    audit_seals.seal_all()
    with django_assert_max_num_queries(8):
        assert problems() == []


# --- The command ---------------------------------------------------------------------------------------------------


def test_command_seals_and_proves_the_log() -> None:
    sealed(2)
    record(3)
    out, err = run()
    digest = AuditSeal.objects.get(number=2).digest
    assert (out, err) == (f"2 seals of 5 events are whole.\nSeal 2 has the digest {digest}.\n", "")


def test_command_fails_and_names_each_problem() -> None:
    first, second = sealed(1, 1)
    AuditEvent.objects.update(target="y")
    assert run() == (
        "",
        f"Event {first.pk} of seal 1 was changed.\nEvent {second.pk} of seal 2 was changed.\n"
        "The audit log is not whole: 2 problems.",
    )
    assert run("--from", "2")[1].startswith(f"Event {second.pk} of seal 2 was changed.\nThe")
    assert run("--from", "7")[1].startswith("Seal 6 is missing.\n")


def test_command_requires_a_noted_digest() -> None:
    sealed(1)
    assert "No seal has the digest 00:" in run("--digest", "00")[1]
    assert run("--digest", AuditSeal.objects.get(number=1).digest)[1] == ""


def test_problems_are_printed_up_to_a_limit() -> None:
    sealed(150)
    AuditEvent.objects.update(target="y")
    out, err = run()
    assert (out, err.count("was changed"), err.splitlines()[-1]) == (
        "",
        100,
        "The audit log is not whole: 100 problems and more.",
    )


def test_empty_log_is_whole() -> None:
    assert run() == ("0 seals of 0 events are whole.\nSeal 0 has the digest .\n", "")
