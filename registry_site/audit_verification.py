"""Verification of the audit log: recompute the seals, in bounded memory, and say what was changed, added or deleted."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from django.db.models import Q
from django.utils.dateparse import parse_datetime

from registry_site import audit_digests
from registry_site.models import AuditEvent, AuditSeal

PAGE_SIZE = 100  # seals whose events one query reads, a few at a time

Values = Mapping[str, Any]


class Verification:
    """A walk along the chain, from the seal `first` on; `problems` yields a sentence for each fault.

    `digest`, which somebody noted earlier, has to be among the digests of the chain: it shows that the end of the
    chain was not cut off or written anew.
    """

    def __init__(self, first: int = 1, digest: str = "") -> None:
        self.number, self.anchor = first - 1, digest.lower()
        self.seals = self.events = self.exported = 0
        self.digest = ""  # of the seal before
        self.files: list[str] = []

    def problems(self) -> Iterator[str]:
        if start := AuditSeal.objects.filter(number=self.number).first():
            self.digest = start.digest
        elif self.number:
            yield f"Seal {self.number} is missing."
        is_anchored = self.digest == self.anchor
        while page := list(AuditSeal.objects.filter(number__gt=self.number).order_by("number")[:PAGE_SIZE]):
            is_anchored |= self.anchor in {seal.digest for seal in page}
            yield from self._problems_of_page(page)
        of_no_seal = AuditEvent.objects.filter(Q(seal__gt=self.number) | Q(seal__lt=1))
        for event in of_no_seal.order_by("pk")[:PAGE_SIZE]:
            yield f"Event {event.pk} has the seal {event.seal_id}, which is missing."
        if self.anchor and not is_anchored:
            yield f"No seal has the digest {self.anchor}: seals were deleted or written anew."

    def _problems_of_page(self, page: list[AuditSeal]) -> Iterator[str]:
        seals = {seal.number: seal for seal in page}
        rows = AuditEvent.objects.filter(seal__gt=self.number, seal__lte=page[-1].number).order_by("seal_id", "pk")
        groups = groupby(rows.iterator(chunk_size=500), key=lambda event: event.seal_id)
        checked = set()
        for number, events in groups:
            seal = seals.get(number or 0)
            if seal is None:
                yield from (f"Event {event.pk} has the seal {number}, which is missing." for event in events)
                continue
            checked.add(seal.number)
            yield from self._problems_of(seal, events)
        for seal in page:
            if seal.number not in checked:
                yield from self._problems_of(seal, ())
            yield from self._problems_of_link(seal)

    def _problems_of(self, seal: AuditSeal, events: Iterable[AuditEvent]) -> Iterator[str]:
        if seal.exported_to:
            yield from (f"Event {event.pk} was added to seal {seal.number}." for event in events)
            return
        values = (audit_digests.event_values(event, seal.format) for event in events)
        problems = list(problems_of(seal, self._counted(values)))
        # A purge may have exported the seal since it was read.
        if problems and not AuditSeal.objects.filter(pk=seal.pk).exclude(exported_to="").exists():
            yield from problems

    def _problems_of_link(self, seal: AuditSeal) -> Iterator[str]:
        if seal.number == self.number + 2:
            yield f"Seal {self.number + 1} is missing."
        elif seal.number != self.number + 1:
            yield f"Seals {self.number + 1} to {seal.number - 1} are missing."
        elif seal.previous != self.digest:
            yield f"Seal {seal.number} does not follow on seal {self.number}."
        self.number, self.digest = seal.number, seal.digest
        self.seals += 1
        if seal.exported_to:
            self.exported += seal.count
            if seal.exported_to not in self.files[-1:]:
                self.files.append(seal.exported_to)

    def _counted(self, events: Iterable[Values]) -> Iterator[Values]:
        for values in events:
            self.events += 1
            yield values


class FileVerification:
    """The same of a file of exported seals; where the database has their rows, too, these have to agree."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seals = self.events = 0
        self.first: AuditSeal | None = None
        self.last: AuditSeal | None = None

    def problems(self) -> Iterator[str]:
        try:
            with gzip.open(self.path, "rt", encoding="utf-8") as lines:
                yield from self._problems_of_lines(lines)
        except (
            OSError,
            EOFError,
            zlib.error,
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            yield f"{self.path} cannot be read: {type(error).__name__}: {error}"

    def _problems_of_lines(self, lines: Iterable[str]) -> Iterator[str]:
        # Runs of staff are there for readers; the digests cover events alone.
        records = (record for record in map(json.loads, lines) if "run" not in record)
        groups = groupby(records, key=lambda record: "seal" in record)
        for is_seal, group in groups:
            if not is_seal:
                yield f"{self.path} begins with an event that has no seal."
                continue
            *empty, record = group
            for other in empty:
                yield from self._problems_of(read_seal(other["seal"]), ())
            _, events = next(groups, (False, iter(())))
            yield from self._problems_of(read_seal(record["seal"]), (event["event"] for event in events))

    def _problems_of(self, seal: AuditSeal, events: Iterable[Values]) -> Iterator[str]:
        if self.last and (seal.number, seal.previous) != (self.last.number + 1, self.last.digest):
            yield f"Seal {seal.number} does not follow on seal {self.last.number}."
        yield from problems_of(seal, self._counted(events))
        row = AuditSeal.objects.filter(number=seal.number).first()
        if row is not None and row.digest != seal.digest:
            yield f"Seal {seal.number} is another one in the database."
        self.first, self.last = self.first or seal, seal
        self.seals += 1

    def _counted(self, events: Iterable[Values]) -> Iterator[Values]:
        for values in events:
            self.events += 1
            yield values


def problems_of(seal: AuditSeal, events: Iterable[Values]) -> Iterator[str]:
    """Yield a sentence for each difference between a seal and the events that it was made of."""
    if seal.format not in audit_digests.COLUMNS:
        yield f"Seal {seal.number} has the format {seal.format}, which this version does not know."
        return
    total, marks = audit_digests.seal_hash(seal), dict(audit_digests.read_marks(seal))
    differences = []
    for values in events:
        digest = audit_digests.event_digest(values, seal.format)
        total.update(digest)
        former = marks.pop(values["id"], None)
        if former is None:
            differences.append(f"Event {values['id']} was added to seal {seal.number}.")
        elif former != digest[: audit_digests.MARK_LENGTH]:
            differences.append(f"Event {values['id']} of seal {seal.number} was changed.")
    if total.hexdigest() != seal.digest:
        differences += [f"Event {pk} of seal {seal.number} is missing." for pk in marks]
        yield from differences or [f"The row of seal {seal.number} was changed."]


def read_seal(fields: Values) -> AuditSeal:
    """Return a seal of a file; raises `ValueError`, `KeyError` and `TypeError`."""
    seal = AuditSeal(**{name: fields[name] for name in (*audit_digests.HEADER, "digest")})
    seal.last_at, seal.sealed_at = (parse_datetime(fields[name]) for name in ("last_at", "sealed_at"))  # type: ignore[assignment]
    seal.marks = bytes.fromhex(fields["marks"])
    return seal
