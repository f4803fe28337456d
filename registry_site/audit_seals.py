"""Seals of the audit log: a chain of digests, in which each covers a batch of events and the digest before.

Writers of events know nothing of it and never wait for each other: events are sealed after their commit. One that
commits late, with a lower key, comes into a later seal. All that seal take turns by the lock on seal 0, on any number
of nodes. Each digest goes to the log, so that there is an anchor outside of the database.
"""

from datetime import timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Min
from django.dispatch import receiver
from django.utils import timezone

from registry_site import audit_digests
from registry_site.logs import log_event
from registry_site.models import AuditEvent, AuditSeal
from registry_site.signals import minute_passed

MAX_EVENTS = 500  # of a seal, so that other writers of SQLite come between
MAX_SEALS = 100  # by a worker in a minute: its mails wait meanwhile, as after the update of a large registry
DUE_AFTER = timedelta(minutes=1)  # so that many workers make about one seal in a minute together


class Backlog(NamedTuple):
    """The events that are not sealed yet: their number, and the age of the oldest in seconds."""

    events: int
    oldest_seconds: float


def lock_chain() -> AuditSeal:
    """Lock the chain until the transaction ends, and return its newest seal."""
    now = timezone.now()
    start = {"format": audit_digests.FORMAT, "first_event": 0, "last_event": 0, "count": 0, "last_at": now}
    AuditSeal.objects.select_for_update().get_or_create(number=0, defaults=start)
    return AuditSeal.objects.latest("number")


def seal_next() -> AuditSeal | None:
    """Seal the oldest unsealed events, up to `MAX_EVENTS`; return the seal, or None if there are no events."""
    with transaction.atomic():
        newest = lock_chain()
        events = list(AuditEvent.objects.filter(seal=None).order_by("pk")[:MAX_EVENTS])
        if not events:
            return None
        seal = AuditSeal(
            number=newest.number + 1,
            format=audit_digests.FORMAT,
            previous=newest.digest,
            first_event=events[0].pk,
            last_event=events[-1].pk,
            count=len(events),
            last_at=max(event.at for event in events),
        )
        total, marks = audit_digests.seal_hash(seal), []
        for event in events:
            digest = audit_digests.event_digest(audit_digests.event_values(event, seal.format), seal.format)
            marks.append(audit_digests.mark(event.pk, digest))
            total.update(digest)
        seal.digest, seal.marks = total.hexdigest(), b"".join(marks)
        seal.save(force_insert=True)
        AuditEvent.objects.filter(pk__in=[event.pk for event in events]).update(seal=seal)
    log_event("audit.sealed", seal=seal.number, events=seal.count, digest=seal.digest)
    return seal


def seal_all(max_seals: int | None = None) -> int:
    """Seal all events that are committed, or the oldest in so many seals; return the number of new seals."""
    number = 0
    while number != max_seals and seal_next():
        number += 1
    return number


@receiver(minute_passed)
def seal_due(**kwargs: Any) -> None:
    """Seal events if the oldest unsealed one has waited for long."""
    if AuditEvent.objects.filter(seal=None, at__lt=timezone.now() - DUE_AFTER).exists():
        seal_all(MAX_SEALS)


def backlog() -> Backlog:
    unsealed = AuditEvent.objects.filter(seal=None)
    oldest = unsealed.aggregate(oldest=Min("at"))["oldest"]
    seconds = max(0.0, (timezone.now() - oldest).total_seconds()) if oldest else 0.0
    return Backlog(unsealed.count(), seconds)
