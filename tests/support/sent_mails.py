"""Mails that this process has sent, for tests without a mail server."""

from django.core import mail
from django.core.mail import EmailMessage

from registry_site import outbox


def sent_mails() -> list[EmailMessage]:
    """Send what waits in the outbox, and return all mails of the test."""
    outbox.work_off()
    return mail.outbox
