"""Mails to the owners of accounts, with links."""

from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string

from accounts import emails
from registry_site.encoding import token_digest
from registry_site.errors import Invalid, Unavailable
from registry_site.rate_limits import RateLimit

MAILBOX_LIMIT = RateLimit("mails", 10, timedelta(hours=1), "Too many links were sent to this address; wait an hour.")


def send(address: str, subject: str, template: str, **context: Any) -> None:
    """Send a mail from a template.

    Raises `Invalid` when the mail server refuses the address, `TooManyRequests` after too many mails to it, and
    `Unavailable` when the mail cannot be sent.
    """
    MAILBOX_LIMIT.count(token_digest(emails.mailbox_of(address)))
    text = render_to_string(template, {"public_url": settings.PUBLIC_URL, **context})
    try:
        send_mail(subject, text, None, [address])
    except (SMTPException, OSError) as error:
        # 5xx: the mailbox will never take mail. 4xx, such as grey-listing: it may take it later.
        if isinstance(error, SMTPRecipientsRefused) and all(code >= 500 for code, _ in error.recipients.values()):
            raise Invalid(f"The mail server refuses the address {address}.", code="email_invalid") from error
        raise Unavailable(
            "The mail could not be sent; nothing was changed.", retry_after=60, code="mail_failed"
        ) from error
