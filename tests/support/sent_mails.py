"""Mails that this process has sent, for tests without a mail server."""

from django.core import mail
from django.core.mail import EmailMessage
from django.utils import timezone

from registry_site import outbox
from registry_site.models import OutboxEntry


def send_all() -> None:
    """Find the users of all events, and send all mails, also those that wait to be joined."""
    outbox.work_off()
    OutboxEntry.objects.filter(state="pending").update(due_at=timezone.now())
    outbox.work_off()


def sent_mails() -> list[EmailMessage]:
    """Send what waits in the outbox, and return all mails of the test."""
    outbox.work_off()
    return mail.outbox
