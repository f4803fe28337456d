"""What an account did, and what others did to it: its events of the audit log, page by page."""

from heapq import merge
from itertools import islice
from typing import NamedTuple

from django.db.models import QuerySet

from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from registry_site.models import AuditEvent
from registry_site.unions import first_rows

PAGE_SIZE = 50


class EventPage(NamedTuple):
    """The events of a page, latest first, and the key to give for the next page, if there is one."""

    events: list[AuditEvent]
    next_before: int | None


def list_events(principal: Principal, before: int | None = None) -> EventPage:
    """Return the events by the principal and about the account, older than the event of the key `before`."""
    principal.require(Scope.ACCOUNT)
    user = principal.user
    by_user = AuditEvent.objects.filter(actor=user)
    about_user = AuditEvent.objects.filter(object_type=User._meta.label_lower, object_id=user.pk)
    # Two queries, each along its index: one with OR would sort all events of the account.
    newest = []
    for events in (by_user, about_user):
        older = events if before is None else events.filter(pk__lt=before)
        newest.append(older.order_by("-pk")[: PAGE_SIZE + 1])
    merged = {event.pk: event for event in merge(*newest, key=lambda event: event.pk, reverse=True)}
    page = list(islice(merged.values(), PAGE_SIZE))
    return EventPage(page, page[-1].pk if len(merged) > PAGE_SIZE else None)


def newest_events(user: User, number: int) -> QuerySet[AuditEvent]:
    """Select the newest events by a user and about the account, for staff."""
    events = AuditEvent.objects.order_by("-pk")
    by_user = events.filter(actor=user)
    about_user = events.filter(object_type=User._meta.label_lower, object_id=user.pk)
    # One query, and each part of it along its index.
    keys = [first_rows(part, number).values("pk") for part in (by_user, about_user)]
    return events.filter(pk__in=keys[0].union(keys[1]))
