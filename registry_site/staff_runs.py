"""Runs of staff: one action on many rows, each in a transaction of its own, whose events have the id of the run.

The page that asks for an action makes the id, so the same form runs once, however often it is sent. A killed process
leaves a run without an end: its events say which rows it has changed.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.utils import timezone

from registry_site import audit
from registry_site.errors import Conflict, RegistryError, RetryLater
from registry_site.logs import log_event
from registry_site.models import Action, AuditEvent, StaffRun

MAX_ROWS = 1000
MAX_PROBLEMS = 50  # that a run stores
MAX_LATER_EVENTS = 200  # that the page of an undoing reads
NOTHING_TO_UNDO = "Nothing is left to undo: it was changed since."
GONE = "It does not exist any more."
DONE_ANEW = "Somebody has done the same since. It stays as it is now."
OUR_FAULT = "The registry failed; the log has the reason."


class Shown(NamedTuple):
    """A text that a run has made for a row, such as a new key. It is shown once, and stored nowhere."""

    row: str
    text: str


class RanBefore(Conflict):
    """The form was sent before: its run exists."""


def begin(key: UUID, *, actor: AbstractBaseUser, total: int, **columns: Any) -> StaffRun:
    """Store a new run; raises `RanBefore` if there is one of this key."""
    run = StaffRun(pk=key, actor_id=actor.pk, actor_name=actor.get_username(), total=total, **columns)
    try:
        with transaction.atomic():
            run.save(force_insert=True)
    except IntegrityError as error:
        raise RanBefore("This form was sent before; see what it did.") from error
    return run


def change_rows(
    run: StaffRun, rows: Iterable[Any], change: Callable[[Any], bool | str], refusals: Mapping[Any, str]
) -> list[Shown]:
    """Call `change` for each row but those with a refusal by their key, and store how many it has changed.

    `change` returns whether it changed the row, or a text that is to be shown once. What it raises stops no other row.
    """
    shown: list[Shown] = []
    token = audit.run_id.set(run.pk)
    try:
        for row in rows:
            if row.pk in refusals:
                add_problem(run, "refused", row, refusals[row.pk])
                continue
            outcome = change_row(run, row, change)
            if isinstance(outcome, str):
                shown.append(Shown(str(row), outcome))
    finally:
        audit.run_id.reset(token)
    end(run)
    return shown


def change_together(
    run: StaffRun, rows: Iterable[Any], change: Callable[[list[Any]], object], refusals: Mapping[Any, str]
) -> None:
    """Call `change` once with all rows but those with a refusal by their key: it changes all of these, or none.

    Raises the `RegistryError` that it raises; then there was no run.
    """
    changing = []
    for row in rows:
        if row.pk in refusals:
            add_problem(run, "refused", row, refusals[row.pk])
        else:
            changing.append(row)
    token = audit.run_id.set(run.pk)
    try:
        change(changing)
        run.changed = len(changing)
    except RegistryError:
        run.delete()
        raise
    except Exception:
        log_event("staff_run_failed", logging.ERROR, exc_info=True, run=str(run.pk), model=run.model)
        for row in changing:
            add_problem(run, "failed", row, OUR_FAULT)
    finally:
        audit.run_id.reset(token)
    end(run)


def end(run: StaffRun) -> None:
    run.ended_at = timezone.now()
    run.save(update_fields=["changed", "unchanged", "refused", "failed", "problems", "ended_at"])


def refusal_of_one(run: StaffRun) -> str:
    """Return why the only row of a run was refused, and forget the run: its form is shown again. Empty for others."""
    if run.total != 1 or not run.problems or events_of(run).exists():
        return ""
    run.delete()
    message: str = run.problems[0][2]
    return message


def change_row(run: StaffRun, row: Any, change: Callable[[Any], bool | str]) -> bool | str:
    """Call `change` for one row, and count the outcome, which is returned."""
    try:
        outcome = change(row)
    except RegistryError as error:
        add_problem(run, "failed" if isinstance(error, RetryLater) else "refused", row, error.message)
        return False
    except Exception:
        log_event("staff_run_failed", logging.ERROR, exc_info=True, run=str(run.pk), model=run.model, key=str(row.pk))
        add_problem(run, "failed", row, OUR_FAULT)
        return False
    if outcome is False and run.undoes_id:
        add_problem(run, "unchanged", row, NOTHING_TO_UNDO)
    elif outcome is False:
        run.unchanged += 1
    else:
        run.changed += 1
    return outcome


def add_problem(run: StaffRun, kind: str, row: Any, message: str) -> None:
    """Count a row that was not changed, and keep its name and why, of the first of them."""
    setattr(run, kind, getattr(run, kind) + 1)
    if len(run.problems) < MAX_PROBLEMS:
        run.problems.append([kind, str(row)[:100], message[:300]])


def events_of(run: StaffRun) -> QuerySet[AuditEvent]:
    """Return the events of a run, in their order."""
    return AuditEvent.objects.filter(run=run.pk).order_by("pk")


def changed_rows(run: StaffRun, label: str) -> dict[int, str]:
    """Return the rows of a model that a run has changed, as its events name them: their keys, with their names."""
    events = events_of(run).filter(object_type=label).exclude(object_id=None).order_by("object_id")
    pairs = events.values_list("object_id", "target").distinct()[: 2 * MAX_ROWS + 1]
    return {key: target for key, target in pairs if key is not None}


def events_by_row(run: StaffRun, label: str) -> dict[int, list[AuditEvent]]:
    """Return the events of a run about rows of a model, by the keys of the rows."""
    events: defaultdict[int, list[AuditEvent]] = defaultdict(list)
    for event in events_of(run).filter(object_type=label).exclude(object_id=None):
        events[event.object_id or 0].append(event)
    return events


def rows_done_anew(run: StaffRun, label: str, keys: Collection[int]) -> set[int]:
    """Return the rows to which others have done since what a run did to them, by their keys.

    Such a row may look as the run left it, but for another reason.
    """
    own = events_of(run).filter(object_type=label)
    same = own.filter(object_id=OuterRef("object_id"), action=OuterRef("action"), pk__lt=OuterRef("pk"))
    since = AuditEvent.objects.filter(object_type=label, object_id__in=keys, pk__gt=Subquery(own.values("pk")[:1]))
    anew = since.exclude(run=run.pk).filter(Exists(same)).order_by().values_list("object_id", flat=True)
    return {key for key in anew.distinct() if key is not None}


def later_events(run: StaffRun, label: str, keys: Collection[int]) -> dict[int, list[AuditEvent]]:
    """Return what has happened to rows since a run changed each, by their keys; of many events only the newest."""
    first, of_row = events_of(run), events_of(run).filter(object_type=label, object_id=OuterRef("object_id"))
    since = AuditEvent.objects.filter(
        object_type=label,
        object_id__in=keys,
        pk__gt=Subquery(first.values("pk")[:1]),  # saves the next comparison for older events
    ).filter(pk__gt=Subquery(of_row.order_by("-pk").values("pk")[:1]))
    events: defaultdict[int, list[AuditEvent]] = defaultdict(list)
    for event in since.exclude(action=Action.USER_LOG_IN).order_by("-pk")[:MAX_LATER_EVENTS]:
        events[event.object_id or 0].append(event)
    return events
