"""Mail to an SMTP server, within a deadline. The thread of the outbox sends it, and no request waits for that."""

import smtplib
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from django.core.mail.backends import smtp

from registry_site import http_client, trust
from registry_site.http_client import Limits, RequestFailed
from registry_site.upstream_failures import logged_failure

SECONDS = 15  # for the whole conversation; smtplib's own timeout begins again with each line


def is_configured() -> bool:
    """Tell whether there is a mail server. Without one, mails with links are printed, and no others are made."""
    return bool(settings.EMAIL_HOST)


class WatchedConnection(smtplib.SMTP):
    """A connection that begins and ends within the limits that apply, also while TLS begins."""

    def _get_socket(self, host: str, port: int, timeout: float) -> Any:
        try:
            connection = http_client.connect(host, port)
        except RequestFailed as error:
            raise TimeoutError(f"the mail server is not reached: {error}") from error
        connection.settimeout(timeout)
        return connection


class WatchedTLSConnection(smtplib.SMTP_SSL, WatchedConnection):
    """`SMTP_SSL` opens its connection by the method of the next class, which is `WatchedConnection`."""


class EmailBackend(smtp.EmailBackend):
    """Django's back end for SMTP within limits."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return WatchedTLSConnection if self.use_ssl else WatchedConnection

    @property
    def ssl_context(self) -> ssl.SSLContext:
        return trust.client_context()

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        errors = (smtplib.SMTPException, OSError)
        with (
            closing(Limits(SECONDS)) as limits,
            limits.applied(),
            logged_failure("mail", "send", self.host, errors) as line,
        ):
            try:
                return super().send_messages(email_messages)
            except smtplib.SMTPResponseException as error:
                line["status"] = error.smtp_code
                raise
            except errors as error:
                if time.monotonic() >= limits.deadline:
                    raise TimeoutError(f"the mail server took more than {SECONDS} seconds") from error
                raise
