"""Mails that follow a change: a row is written in the transaction of the cause, and a thread of a worker sends it.

A row has a kind and the keys of what it is about. Its kind writes the text when the mail is sent, so the signed links
of verifications and lost passwords stand in no row. A failed mail is tried again with growing pauses for a day, then
it is given up, and staff see it. The claim of a killed worker ends after a minute. A mail is sent at least once: a
worker that is killed between the mail server's answer and the row sends it twice, with the same Message-ID. First
attempts go out in the order of their causes; a mail that has to be tried again holds up no other.

`django-tasks` with `django-tasks-db` (0.13) writes rows in the transaction, too, and lacks the rest: the task of a
killed worker stays claimed, a failed one is not tried again, the worker is a process that sets signal handlers, and
each look for tasks takes the write lock of SQLite.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from smtplib import SMTPDataError, SMTPRecipientsRefused
from threading import Event
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.mail import EmailMessage
from django.db import Error, transaction
from django.db.models import Count, Min, Q, QuerySet
from django.dispatch import receiver
from django.utils import timezone

from registry_site import audit
from registry_site.logs import log_event
from registry_site.models import OutboxEntry
from registry_site.signals import hour_passed, purge_requested

LEASE = timedelta(seconds=60)  # of a claim; a conversation with the mail server takes 15 seconds at most
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=10), timedelta(minutes=30)
GIVE_UP_AFTER = timedelta(days=1)
KEEP_SENT, KEEP_FAILED = timedelta(days=1), timedelta(days=30)
MAX_ERROR_LENGTH = 500

PENDING, SENT, FAILED = OutboxEntry.State.PENDING, OutboxEntry.State.SENT, OutboxEntry.State.FAILED


@dataclass(frozen=True)
class Mail:
    """The text of a mail. Its recipient stands in the row."""

    subject: str
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)


Writer = Callable[[OutboxEntry], Mail | None]
Work = Callable[[OutboxEntry], None]
Kind = TypeVar("Kind", Writer, Work)

_writers: dict[str, Writer] = {}
_work: dict[str, Work] = {}

added = Event()  # set after a commit that added entries, for the thread of this process


def mail_kind(name: str, label: str) -> Callable[[Writer], Writer]:
    """Register the function that writes mails of a kind; it returns None for one that need not be sent any more.

    Staff read the label.
    """
    return _registration(_writers, name, label)


def work_kind(name: str, label: str) -> Callable[[Work], Work]:
    """Register a function that does work of a kind; the entry is deleted in the same transaction."""
    return _registration(_work, name, label)


def _registration(kinds: dict[str, Kind], name: str, label: str) -> Callable[[Kind], Kind]:
    OutboxEntry.labels[name] = label

    def register(function: Kind) -> Kind:
        kinds[name] = function
        return function

    return register


def add(kind: str, recipient: str = "", **arguments: Any) -> None:
    """Add an entry in the transaction of its cause. `arguments` are keys and short texts, and never a secret."""
    add_all([new_entry(kind, recipient, **arguments)])


def new_entry(
    kind: str,
    recipient: str = "",
    *,
    mailbox: str = "",
    key: str = "",
    due_at: datetime | None = None,
    **arguments: Any,
) -> OutboxEntry:
    """Return an entry that is not stored yet, for `add_all`."""
    due_at = due_at or timezone.now()
    return OutboxEntry(
        kind=kind,
        recipient=recipient,
        mailbox=mailbox,
        key=key,
        due_at=due_at,
        give_up_at=due_at + GIVE_UP_AFTER,
        arguments=arguments,
    )


def add_all(entries: Iterable[OutboxEntry]) -> None:
    """Add entries in one statement, and wake the thread of this process after the commit."""
    OutboxEntry.objects.bulk_create(entries)
    transaction.on_commit(added.set)


# --- Sending -------------------------------------------------------------------------------------------------------


def work_off(is_stopping: Callable[[], bool] = lambda: False) -> bool:
    """Do what is due; return whether all of it was tried. It ends at a failure that all other mails would have, too."""
    while not is_stopping() and (entry := claim()) is not None:
        try:
            require_time_left(entry)
            process(entry)
        except Exception as error:  # whatever it is, the other entries are to be tried
            put_off(entry, error)  # raises while the database is away; then the claim ends by itself
            if is_failure_of_server(error):
                return False
    return True


def claim() -> OutboxEntry | None:
    """Return the entry that is due first, which no other worker gets for a minute; None if there is none."""
    due = Q(state=PENDING, due_at__lte=timezone.now())
    if not OutboxEntry.objects.filter(due).exists():
        return None  # so that a look takes no lock
    with transaction.atomic():
        entry = OutboxEntry.objects.filter(due).select_for_update(skip_locked=True).order_by("due_at", "pk").first()
        if entry is not None:
            entry.due_at, entry.attempts = timezone.now() + LEASE, entry.attempts + 1
            entry.save(update_fields=["due_at", "attempts"])
    return entry


def require_time_left(entry: OutboxEntry) -> None:
    """Raise `TimeoutError` for an entry whose time was over before an attempt ended, as if it kills its workers."""
    if entry.attempts > 1 and timezone.now() > entry.give_up_at:
        raise TimeoutError("its time was over before an attempt ended")


def claimed(entry: OutboxEntry) -> QuerySet[OutboxEntry]:
    """Return the row of an entry as long as the claim on it is the last one."""
    return OutboxEntry.objects.filter(pk=entry.pk, state=PENDING, attempts=entry.attempts)


def process(entry: OutboxEntry) -> None:
    """Do the work of an entry or send its mail; raises whatever fails."""
    if entry.kind in _work:
        with transaction.atomic():
            if claimed(entry).delete()[0]:
                _work[entry.kind](entry)
        return
    mail = _writers[entry.kind](entry)
    if mail is None:
        claimed(entry).delete()
        return
    send(entry, mail)
    claimed(entry).update(state=SENT, ended_at=timezone.now(), error="")
    log_event("mail_sent", kind=entry.kind, entry=entry.pk, attempts=entry.attempts)


def send(entry: OutboxEntry, mail: Mail) -> None:
    headers = {
        "Message-ID": f"<{entry.uuid}@{urlsplit(settings.PUBLIC_URL).hostname}>",
        "Auto-Submitted": "auto-generated",
        **mail.headers,
    }
    EmailMessage(mail.subject, mail.text, None, [entry.recipient], headers=headers).send()


def put_off(entry: OutboxEntry, error: Exception) -> None:
    """Let an entry wait for its next attempt, or give it up."""
    now = timezone.now()
    due_at = now + min(FIRST_PAUSE * 2 ** min(entry.attempts - 1, 10), LONGEST_PAUSE)
    cause = cause_of(error, entry.recipient)
    if is_final := is_refusal_of_recipient(error) or due_at > entry.give_up_at:
        claimed(entry).update(state=FAILED, ended_at=now, error=cause)
    else:
        claimed(entry).update(due_at=due_at, error=cause)
    fields = {"kind": entry.kind, "entry": entry.pk, "attempts": entry.attempts, "cause": cause}
    if is_final:
        level = logging.WARNING if is_refusal_of_recipient(error) else logging.ERROR
        log_event("mail_given_up", level, **fields)
    elif not isinstance(error, OSError):  # a failure of the way has a line of its own
        log_event("mail_not_written", logging.ERROR, exc_info=error, **fields)


def cause_of(error: Exception, recipient: str) -> str:
    """Return a failure in words for staff and the log, without the address."""
    if isinstance(error, SMTPRecipientsRefused):
        answers = [f"{code} {text.decode('utf-8', 'replace')}" for code, text in error.recipients.values()]
        cause = f"the recipient is refused: {', '.join(answers)}"
    else:
        cause = f"{type(error).__name__}: {error}"
    if recipient:  # many mail servers repeat it
        cause = cause.replace(recipient, "the address")
    return cause.replace("\0", "")[:MAX_ERROR_LENGTH]


def is_refusal_of_recipient(error: Exception) -> bool:
    """Tell whether the mail server will never take mails for this mailbox. 4xx, such as grey-listing, is no such."""
    return isinstance(error, SMTPRecipientsRefused) and all(code >= 500 for code, _ in error.recipients.values())


def is_failure_of_server(error: Exception) -> bool:
    """Tell whether the failure concerns every entry, instead of this recipient or this text."""
    return isinstance(error, OSError | Error) and not isinstance(error, SMTPRecipientsRefused | SMTPDataError)


# --- Staff and the purge -------------------------------------------------------------------------------------------


def send_again(entries: Iterable[OutboxEntry], *, actor: AbstractBaseUser) -> int:
    """Let failed entries be tried again for a day; return how many those are."""
    restarted = 0
    now = timezone.now()
    for entry in entries:
        with transaction.atomic():
            failed = OutboxEntry.objects.filter(pk=entry.pk, state=FAILED)
            values = {"state": PENDING, "due_at": now, "give_up_at": now + GIVE_UP_AFTER, "ended_at": None}
            if failed.update(attempts=0, **values):
                audit.record(actor, audit.Action.OUTBOX_SEND_AGAIN, entry)
                transaction.on_commit(added.set)
                restarted += 1
    return restarted


class Backlog(NamedTuple):
    """How many entries wait, and the age of the oldest of these."""

    pending: int
    oldest_seconds: float


def backlog() -> Backlog:
    waiting = OutboxEntry.objects.filter(state=PENDING).aggregate(number=Count("pk"), oldest=Min("created_at"))
    age = timezone.now() - waiting["oldest"] if waiting["oldest"] else timedelta()
    return Backlog(waiting["number"], max(age.total_seconds(), 0.0))


@receiver([purge_requested, hour_passed])
def purge(**kwargs: Any) -> str:
    """Delete mails a day after they were sent, and failed ones after 30 days: they have addresses."""
    now = timezone.now()
    ended = Q(state=SENT, ended_at__lt=now - KEEP_SENT) | Q(state=FAILED, ended_at__lt=now - KEEP_FAILED)
    deleted, _ = OutboxEntry.objects.filter(ended).delete()
    return f"{deleted} sent or failed mails deleted."
