"""Mails to the owners of accounts: queued in the transaction of their cause, and written when they are sent."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.template.loader import render_to_string

from accounts import emails
from registry_site import outbox
from registry_site.encoding import token_digest
from registry_site.outbox import Mail
from registry_site.rate_limits import RateLimit

MAILBOX_LIMIT = RateLimit("mails", 10, timedelta(hours=1), "Too many links were sent to this address; wait an hour.")


def queue_link(kind: str, address: str, **arguments: Any) -> None:
    """Queue a mail with a link. Raises `TooManyRequests` after too many to this mailbox."""
    MAILBOX_LIMIT.count(token_digest(emails.mailbox_of(address)))
    outbox.add(kind, address, **arguments)


def write(subject: str, template: str, headers: Mapping[str, str] | None = None, **context: Any) -> Mail:
    """Return a mail from a template."""
    text = render_to_string(template, {"public_url": settings.PUBLIC_URL, **context})
    return Mail(subject, text, headers or {})
