"""Retention of the audit log: the purge exports whole seals to files, and then deletes their events.

A file is JSON lines in gzip: a seal, its events, the runs of staff that made them, the next seal. It is written under
another name, stored on the disk and verified before any event is deleted, so that a full disk or a killed purge loses
nothing. The rows of seals stay, and the chain goes on. A purge that was killed in between leaves seals that the next
one exports once more.
"""

import gzip
import json
import logging
import os
from datetime import timedelta
from itertools import takewhile
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Least
from django.dispatch import receiver
from django.utils import timezone

from registry_site import audit_digests, audit_seals
from registry_site.audit_verification import FileVerification
from registry_site.errors import RegistryError, Unavailable
from registry_site.file_locks import file_lock
from registry_site.logs import log_event
from registry_site.models import AuditEvent, AuditSeal, StaffRun
from registry_site.signals import purge_requested
from registry_site.storage import free_space

RUN_COLUMNS = [column.attname for column in StaffRun._meta.concrete_fields]
BATCH = 500  # runs that are deleted in one transaction
SEALS_OF_A_FILE = 200  # with 100,000 events at most


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Seal all events, and export and delete those that are too old; return a sentence with the numbers."""
    seals = audit_seals.seal_all()
    report = f"{seals} seals added to the audit log."
    if not settings.AUDIT_DAYS:
        return report
    deleted = deleted_runs = 0
    try:
        with file_lock("audit export", seconds=0) as locked:
            while locked and (numbers := next_to_export()):
                deleted += delete_events(numbers, export(numbers).name)
            deleted_runs = delete_runs() if locked else 0
    except (OSError, RegistryError) as error:
        cause = error.message if isinstance(error, RegistryError) else str(error)
        log_event("audit.not_exported", logging.ERROR, cause=cause)
        return f"{report} {deleted} of its events exported and deleted; older ones stay: {cause}"
    runs = f" {deleted_runs} runs of staff deleted." if deleted_runs else ""
    return f"{report} {deleted} of its events exported and deleted.{runs}"


def next_to_export() -> list[int]:
    """Return the numbers of the first seals whose events are all too old, up to those of one file."""
    limit = timezone.now() - timedelta(days=settings.AUDIT_DAYS)
    rest = AuditSeal.objects.filter(number__gt=0, exported_to="").order_by("number")
    # An event later than its own seal has the time of a wrong clock, and must not keep all others for ever.
    times = rest.values_list("number", Least("last_at", "sealed_at"))[:SEALS_OF_A_FILE]
    return [number for number, _ in takewhile(lambda row: row[1] < limit, times)]


def export(numbers: list[int]) -> Path:
    """Write seals with their events to a file, and return its path once it is stored and verified.

    Raises `OSError`, and `Unavailable` for a disk without room or seals that are not whole.
    """
    directory = settings.DATA_DIR / "audit"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"seals-{numbers[0]:08}-{numbers[-1]:08}.jsonl.gz"
    partial = path.with_suffix(".partial")
    for leftover in directory.glob("*.partial"):  # of a killed purge
        leftover.unlink()
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                for number in numbers:
                    free_space.require(0, directory)
                    write_seal(packed, number)
            file.flush()
            os.fsync(file.fileno())
        for problem in FileVerification(partial).problems():
            raise Unavailable(f"{problem} See manage.py verifyaudit.")
        os.replace(partial, path)
        sync_directory(directory)
    finally:
        partial.unlink(missing_ok=True)
    return path


def write_seal(file: IO[bytes] | gzip.GzipFile, number: int) -> None:
    """Write a seal and its events, each in a line."""
    seal = AuditSeal.objects.get(number=number)
    fields = {name: audit_digests.as_json(getattr(seal, name)) for name in (*audit_digests.HEADER, "digest")}
    write_line(file, {"seal": {**fields, "marks": bytes(seal.marks).hex()}})
    runs: set[UUID] = set()
    for event in AuditEvent.objects.filter(seal=number).order_by("pk").iterator(chunk_size=500):
        write_line(file, {"event": audit_digests.event_values(event, seal.format)})
        if event.run:
            runs.add(event.run)
    for run in StaffRun.objects.filter(pk__in=runs).order_by("pk"):
        write_line(file, {"run": {name: audit_digests.as_json(getattr(run, name)) for name in RUN_COLUMNS}})


def write_line(file: IO[bytes] | gzip.GzipFile, record: dict[str, Any]) -> None:
    file.write(json.dumps(record).encode() + b"\n")


def sync_directory(directory: Path) -> None:
    """Store the names in a directory on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete_events(numbers: list[int], file_name: str) -> int:
    """Delete the events of exported seals, and return their number; each seal in a transaction of its own."""
    total = 0
    for number in numbers:
        with transaction.atomic():
            audit_seals.lock_chain()
            if AuditSeal.objects.filter(number=number, exported_to="").update(exported_to=file_name, marks=b""):
                total += AuditEvent.objects.filter(seal=number).delete()[0]
    return total


def delete_runs() -> int:
    """Delete the old runs of staff whose events have all left the database, or that changed nothing.

    Return their number.
    """
    limit, total = timezone.now() - timedelta(days=settings.AUDIT_DAYS), 0
    has_events = Exists(AuditEvent.objects.filter(run=OuterRef("pk")))
    old = StaffRun.objects.filter(~has_events, started_at__lt=limit).order_by("started_at")
    while keys := list(old.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            total += StaffRun.objects.filter(pk__in=keys).delete()[0]
    return total
