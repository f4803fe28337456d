"""Retention of the audit log: old events leave for files that are safe and whole, or they stay."""

import gzip
import json
import stat
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from accounts.models import User
from registry_site import audit, audit_retention, audit_seals, staff_runs
from registry_site.audit_verification import FileVerification, Verification
from registry_site.models import Action, AuditEvent, AuditSeal, StaffRun

pytestmark = pytest.mark.django_db
NAME = "seals-00000001-00000002.jsonl.gz"


@pytest.fixture(autouse=True)
def folder(settings: Any, tmp_path: Path) -> Path:
    """The folder of the files, which is not there yet."""
    settings.DATA_DIR, settings.AUDIT_DAYS = tmp_path, 90
    return tmp_path / "audit"


def seal(days: int, *more_days: int) -> None:
    """Seal events that happened so many days ago, in one seal."""
    now = timezone.now()
    ages = (days, *more_days)
    events = [audit.new_event("box", Action.FILE_ADD, "x", at=now - timedelta(days=age), size=1.5) for age in ages]
    audit.record_all(events)
    audit_seals.seal_all()


@pytest.fixture
def old() -> None:
    """Two old seals with two events each, and a young one."""
    seal(200, 150)
    seal(100, 91)
    seal(89)


def purge() -> str:
    return audit_retention.purge()


def is_whole() -> bool:
    return list(Verification().problems()) == []


def problems_of(path: Path) -> list[str]:
    return list(FileVerification(path).problems())


def exported(folder: Path) -> list[str]:
    """Return the lines of the one file."""
    return gzip.decompress((folder / NAME).read_bytes()).decode().splitlines(keepends=True)


# --- Exported and deleted ------------------------------------------------------------------------------------------


def test_old_events_move_into_a_file(old: None, folder: Path) -> None:
    assert purge() == "0 seals added to the audit log. 4 of its events exported and deleted."
    assert [path.name for path in folder.iterdir()] == [NAME]
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / NAME)] == [0o700, 0o600]
    assert [line[:8] for line in exported(folder)] == [*('{"seal":', '{"event"', '{"event"') * 2]
    assert list(AuditEvent.objects.values_list("seal", flat=True)) == [3]
    assert list(AuditSeal.objects.order_by("number").values_list("exported_to", flat=True)) == ["", NAME, NAME, ""]
    assert (is_whole(), problems_of(folder / NAME)) == (True, [])


def test_all_is_kept_by_default(old: None, folder: Path, settings: Any) -> None:
    settings.AUDIT_DAYS = 0
    assert purge() == "0 seals added to the audit log."
    assert (AuditEvent.objects.count(), folder.exists()) == (5, False)


def test_seal_with_a_young_event_stays(folder: Path) -> None:
    seal(200, 10)
    seal(200)
    assert purge().endswith(" 0 of its events exported and deleted.")
    assert (AuditEvent.objects.count(), folder.exists()) == (3, False)


def test_wrong_clock_keeps_nothing_for_ever() -> None:
    seal(-3650)
    assert audit_retention.next_to_export() == []
    AuditSeal.objects.update(sealed_at=timezone.now() - timedelta(days=91))
    assert audit_retention.next_to_export() == [1]


def test_another_purge_changes_nothing(old: None, folder: Path) -> None:
    purge()
    content = (folder / NAME).read_bytes()
    assert purge() == "0 seals added to the audit log. 0 of its events exported and deleted."
    assert ([path.name for path in folder.iterdir()], (folder / NAME).read_bytes()) == ([NAME], content)


def test_chain_goes_on_after_an_export(old: None) -> None:
    purge()
    seal(1)
    assert is_whole()
    AuditSeal.objects.filter(number=2).update(digest="0" * 64)
    assert list(Verification().problems()) == ["Seal 3 does not follow on seal 2."]


def test_event_of_an_exported_seal_was_added(old: None) -> None:
    purge()
    AuditEvent.objects.update(seal=2)
    assert next(Verification().problems()).endswith(" was added to seal 2.")


def test_own_events_are_a_page_without_the_old(alice: User, client: Client) -> None:
    audit.record(alice, Action.USER_CHANGE, alice)
    AuditEvent.objects.update(at=timezone.now() - timedelta(days=100))
    purge()
    audit.record(alice, Action.USER_CHANGE_AVATAR, alice)
    client.force_login(alice)
    response = client.get("/account/events")
    assert (response.status_code, response.content.count(b"The picture was changed.")) == (200, 1)


def begin_run(root: User, days: int, *, changes: bool = True) -> StaffRun:
    """Store a run of so many days ago, with a sealed event if it changed anything."""
    columns = {"model": "accounts.user", "action": "ban", "label": "Ban", "done": "banned", "reason": "spam"}
    run = staff_runs.begin(uuid4(), actor=root, total=1, **columns)
    at = timezone.now() - timedelta(days=days)
    StaffRun.objects.filter(pk=run.pk).update(started_at=at)
    if changes:
        AuditEvent.objects.create(at=at, actor_name="root", action="user.ban", target="alice", run=run.pk)
        audit_seals.seal_all()
    return run


def test_runs_leave_with_their_events(root: User, folder: Path) -> None:
    AuditEvent.objects.all().delete()
    old, _, undoing = begin_run(root, 100), begin_run(root, 100, changes=False), begin_run(root, 10)
    StaffRun.objects.filter(pk=undoing.pk).update(undoes=old)
    assert purge().endswith(" 1 of its events exported and deleted. 2 runs of staff deleted.")
    assert list(StaffRun.objects.values_list("pk", "undoes")) == [(undoing.pk, None)]
    (path,) = folder.iterdir()
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert [next(iter(line)) for line in lines] == ["seal", "event", "run"]
    assert (lines[2]["run"]["reason"], lines[2]["run"]["id"]) == ("spam", lines[1]["event"]["run"])
    assert (is_whole(), problems_of(path)) == (True, [])


def test_run_stays_with_its_last_event(root: User) -> None:
    run = begin_run(root, 100)
    AuditEvent.objects.create(actor_name="root", action="user.ban", target="bob", run=run.pk)
    purge()
    assert StaffRun.objects.filter(pk=run.pk).exists()


# --- Failures ------------------------------------------------------------------------------------------------------


def file_in_the_way(folder: Path, settings: Any) -> str:
    folder.touch()
    return "File exists"


def full_disk(folder: Path, settings: Any) -> str:
    settings.MIN_FREE_SPACE = 10**18
    return "too little free space"


def changed_event(folder: Path, settings: Any) -> str:
    AuditEvent.objects.filter(seal=1).update(target="y")
    return " of seal 1 was changed. See manage.py verifyaudit."


@pytest.mark.parametrize("fault", [file_in_the_way, full_disk, changed_event])
def test_nothing_is_deleted_without_a_file(
    old: None, folder: Path, settings: Any, fault: Callable[[Path, Any], str]
) -> None:
    cause = fault(folder, settings)
    report = purge()
    assert " 0 of its events exported and deleted; older ones stay: " in report
    assert (cause in report, AuditEvent.objects.count()) == (True, 5)
    assert not folder.is_dir() or list(folder.iterdir()) == []


def test_killed_purge_is_made_up_for(old: None, folder: Path) -> None:
    audit_retention.delete_events([1], audit_retention.export([1, 2]).name)
    (folder / "seals-00000009-00000009.jsonl.partial").touch()
    assert purge().endswith(" 2 of its events exported and deleted.")
    rest = "seals-00000002-00000002.jsonl.gz"
    assert sorted(path.name for path in folder.iterdir()) == [NAME, rest]
    assert (is_whole(), problems_of(folder / NAME), problems_of(folder / rest)) == (True, [], [])


# --- Files ---------------------------------------------------------------------------------------------------------


def test_changed_file_is_noticed(old: None, folder: Path, tmp_path: Path) -> None:
    purge()
    seal_1, event_1, event_2, seal_2, *rest = exported(folder)
    first, second = (line.split('"id": ')[1].split(",")[0] for line in (event_1, event_2))
    path = tmp_path / "changed.gz"
    cases = {
        "changed event": ([seal_1, event_1.replace("box", "bux"), event_2], [f"Event {first} of seal 1 was changed."]),
        "missing event": ([seal_1, event_2, seal_2, *rest], [f"Event {first} of seal 1 is missing."]),
        "seal without events": (
            [seal_1, seal_2, *rest],
            [f"Event {first} of seal 1 is missing.", f"Event {second} of seal 1 is missing."],
        ),
        "added event": (
            [seal_1, event_1, event_2, event_2.replace(f'"id": {second}', '"id": 99')],
            ["Event 99 was added to seal 1."],
        ),
        "event without a seal": ([event_1], [f"{path} begins with an event that has no seal."]),
        "missing seal": ([seal_2, *rest, seal_1, event_1, event_2], ["Seal 1 does not follow on seal 2."]),
        "no seal": (["7\n"], [f"{path} cannot be read: TypeError: argument of type 'int' is not iterable"]),
        "half a line": ([seal_1[:50]], None),
    }
    offenders = []
    for name, (lines, sentences) in cases.items():
        path.write_bytes(gzip.compress("".join(lines).encode()))
        problems = problems_of(path)
        if problems != sentences and not (sentences is None and problems[0].startswith(f"{path} cannot be read: ")):
            offenders.append((name, problems))
    assert offenders == []
    path.write_bytes((folder / NAME).read_bytes()[:-20])
    assert problems_of(path)[-1].startswith(f"{path} cannot be read: EOFError")


def test_command_verifies_a_file(old: None, folder: Path) -> None:
    purge()
    out = StringIO()
    call_command("verifyaudit", file=folder / NAME, stdout=out)
    digest = AuditSeal.objects.get(number=2).digest
    expected = f"Seals 1 to 2 of 4 events are whole.\nSeal 2 has the digest {digest}.\n"
    assert out.getvalue() == expected
    out = StringIO()
    call_command("verifyaudit", stdout=out)
    assert f"4 events more were exported; verify {NAME} with --file.\n" in out.getvalue()
    AuditSeal.objects.filter(number=2).update(digest="0" * 64)
    with pytest.raises(CommandError):
        call_command("verifyaudit", file=folder / NAME, stdout=out, stderr=out)
    assert out.getvalue().endswith("Seal 2 is another one in the database.\n")


def test_missing_file_is_an_error(folder: Path) -> None:
    with pytest.raises(CommandError):
        call_command("verifyaudit", file=folder / NAME, stderr=StringIO())
