"""The audit log: events are written in the transaction of their change, announced in it, and again after its commit."""

from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.db.models import Model, QuerySet
from django.utils import timezone

from registry_site.http import client_address
from registry_site.logs import request_id
from registry_site.models import Action, AuditEvent
from registry_site.row_writes import insert
from registry_site.signals import event_recorded, event_recording

__all__ = ["OPERATOR", "Action", "events_of", "new_event", "record", "record_all", "run_id"]

OPERATOR = "operator"  # the shell of the server: there is no account behind it

# Of the staff run that is under way, see `registry_site.staff_runs`; None outside of one.
run_id: ContextVar[UUID | None] = ContextVar("run_id", default=None)


def record(actor: AbstractBaseUser | str | None, action: Action, target: Model | str, **detail: Any) -> None:
    """Add an event; `detail` holds what is needed to understand it later, and never a secret.

    `actor` is a user, the name of a file client or a command, or None for the operator.
    """
    record_all([new_event(actor, action, target, **detail)])


def new_event(
    actor: AbstractBaseUser | str | None,
    action: Action,
    target: Model | str,
    *,
    at: datetime | None = None,
    row: Model | None = None,
    **detail: Any,
) -> AuditEvent:
    """Return an event that is not stored yet, for `record_all`; `row` is what a `target` by its name is."""
    event = AuditEvent(
        at=at or timezone.now(),
        action=action,
        target=str(target),
        ip_address=client_address.client_ip(),
        request_id=request_id.get(),
        run=run_id.get(),
        detail=detail,
    )
    if isinstance(actor, AbstractBaseUser):
        event.actor, event.actor_name = actor, actor.get_username()  # type: ignore[assignment]
    else:
        event.actor_name = OPERATOR if actor is None else actor
    subject = target if isinstance(target, Model) else row
    if subject is not None:
        event.object_type, event.object_id = subject._meta.label_lower, subject.pk
    return event


def record_all(events: Sequence[AuditEvent]) -> None:
    """Add events in one statement, and announce each, now and after the commit."""
    if len(events) == 1:
        insert(events[0])
    else:
        AuditEvent.objects.bulk_create(events)
    for event in events:
        event_recording.send(sender=AuditEvent, event=event)

    def announce() -> None:
        for event in events:
            event_recorded.send_robust(sender=AuditEvent, event=event)

    transaction.on_commit(announce)


def events_of(row: Model) -> QuerySet[AuditEvent]:
    """Select the events of a row, latest first."""
    if not isinstance(row.pk, int):  # events name rows by numbers
        return AuditEvent.objects.none()
    return AuditEvent.objects.filter(object_type=row._meta.label_lower, object_id=row.pk).order_by("-pk")
