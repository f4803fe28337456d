"""Notifications by mail: from an event of the audit log to the mails about it.

An event adds one row to the outbox, in the transaction of its change. The thread of the outbox finds the users later,
so a publish costs the same for one owner and for a hundred. Mails about the same thing are joined for a minute, and a
mailbox gets a limited number in a day. Without a mail server nothing is added.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count
from django.dispatch import receiver
from django.utils import timezone

from accounts import emails, mails
from accounts.models import User, UserQuerySet
from accounts.notification_choices import unsubscribe_headers
from registry_site import mail, outbox
from registry_site.logs import log_event
from registry_site.models import AuditEvent, OutboxEntry
from registry_site.outbox import Mail
from registry_site.signals import event_recording

EVENT_KIND = "notify"  # in the outbox: an event whose mails are to be added
JOINED = timedelta(minutes=1)
DAY = timedelta(days=1)
MAX_LINES = 20  # of a mail
MAX_MAILS = 50  # to one mailbox in a day, and as many about security


@dataclass(frozen=True)
class Topic:
    """A kind of mails. One without a `choice` is about security, and nobody switches it off."""

    name: str
    opening: str
    advice: str
    path: str  # of the page that the advice leads to
    reason: str
    choice: str = ""

    @property
    def prefix(self) -> str:
        return "notice." if self.choice else "security."

    @property
    def kind(self) -> str:
        return self.prefix + self.name


def add_topic(topic: Topic) -> Topic:
    """Register a topic with the outbox."""
    outbox.mail_kind(topic.kind, f"notice: {topic.name.replace('_', ' ')}")(lambda entry: write(topic, entry))
    return topic


Handler = Callable[[AuditEvent], None]
_handlers: dict[str, Handler] = {}


def on(*actions: str) -> Callable[[Handler], Handler]:
    """Register the function that notifies users of events of some actions, by `notify` or `queue`."""

    def register(handler: Handler) -> Handler:
        _handlers.update(dict.fromkeys(actions, handler))
        return handler

    return register


@receiver(event_recording)
def queue_event(event: AuditEvent, **kwargs: Any) -> None:
    if event.action in _handlers and mail.is_configured():
        outbox.add(EVENT_KIND, event=event.pk)


@outbox.work_kind(EVENT_KIND, "job: notices of an event")
def notify_of_event(entry: OutboxEntry) -> None:
    """Add the mails about an event."""
    event = AuditEvent.objects.get(pk=entry.arguments["event"])
    _handlers[event.action](event)


def with_address(users: UserQuerySet) -> UserQuerySet:
    """Filter by an address that mails may go to: a verified one, where addresses are verified."""
    users = users.exclude(email="")
    return users.exclude(email_verified_at=None) if settings.EMAIL_VERIFICATION else users


def wanting(topic: Topic, users: UserQuerySet) -> UserQuerySet:
    """Filter by open accounts with an address whose owners want mails of a topic."""
    users = with_address(users).in_good_standing()
    return users.exclude(**{f"notification_choices__{topic.choice}": False}) if topic.choice else users


def notify(topic: Topic, users: UserQuerySet, subject: str, line: str, key: str = "") -> None:
    """Add mails to all users who want them. `line` joins those that wait, about the same `key`."""
    queue(topic, {user.email: user for user in wanting(topic, users)}, subject, line, key)


def queue(topic: Topic, users: Mapping[str, User], subject: str, line: str, key: str = "") -> None:
    """Add mails to addresses, by which users are given, whatever these have chosen."""
    boxes = {address: emails.mailbox_of(address) for address in users}
    pending = OutboxEntry.objects.filter(
        state=OutboxEntry.State.PENDING, attempts=0, due_at__gt=timezone.now(), kind=topic.kind, key=key
    )
    waiting = list(pending.filter(mailbox__in=boxes.values(), recipient__in=boxes).select_for_update().order_by("pk"))
    for entry in waiting:
        entry.arguments["count"] += 1
        if len(entry.arguments["lines"]) < MAX_LINES:
            entry.arguments["lines"].append(line)
    OutboxEntry.objects.bulk_update(waiting, ["arguments"])
    for entry in waiting:
        boxes.pop(entry.recipient, None)
    content = {"subject": subject, "lines": [line], "count": 1}
    due_at = timezone.now() + JOINED if topic.choice else None
    outbox.add_all(
        outbox.new_entry(topic.kind, address, key=key, mailbox=box, due_at=due_at, user=users[address].pk, **content)
        for address, box in within_limit(topic, boxes)
    )


def within_limit(topic: Topic, boxes: Mapping[str, str]) -> Sequence[tuple[str, str]]:
    """Return those addresses, with their mailboxes, that have not got the mails of a day yet."""
    recent = OutboxEntry.objects.filter(
        mailbox__in=boxes.values(), created_at__gt=timezone.now() - DAY, kind__startswith=topic.prefix
    )
    counts = Counter(dict(recent.order_by().values_list("mailbox").annotate(Count("pk"))))
    allowed = [(address, box) for address, box in boxes.items() if counts[box] < MAX_MAILS]
    if len(allowed) < len(boxes):
        log_event("mails_dropped", kind=topic.kind, count=len(boxes) - len(allowed), cause="too many in a day")
    return allowed


def write(topic: Topic, entry: OutboxEntry) -> Mail | None:
    """Write a mail; None if its user does not want it any more."""
    users = User.objects.filter(pk=entry.arguments["user"])
    user = (wanting(topic, users.filter(email=entry.recipient)) if topic.choice else users).first()
    if user is None:
        return None
    more = entry.arguments["count"] - len(entry.arguments["lines"])
    joined = entry.arguments["count"] - 1
    subject = entry.arguments["subject"] + (f" (and {joined} more)" if joined else "")
    context = {"user": user, "topic": topic, "lines": entry.arguments["lines"], "more": more}
    headers = unsubscribe_headers(user, topic.choice) if topic.choice else {}
    return mails.write(subject, "mail/notification.txt", headers, **context)
