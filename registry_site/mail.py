"""Mail to an SMTP server, within a deadline and the share of threads that may wait for other servers."""

import smtplib
import ssl
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends import smtp

from registry_site import http_client, trust
from registry_site.errors import Unavailable
from registry_site.http_client import Limits, RequestFailed
from registry_site.upstream_failures import logged_failure
from registry_site.upstream_limiter import Kind, limiter

SECONDS = 15  # for the whole conversation; smtplib's own timeout begins again with each line
MAIL = Kind(
    quarters=1, refusal="The mail server is slow, and enough requests wait for it; try again.", error=Unavailable
)


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
    """Django's back end for SMTP within limits. Raises `Unavailable` when too many mails are on their way."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return WatchedTLSConnection if self.use_ssl else WatchedConnection

    @property
    def ssl_context(self) -> ssl.SSLContext:
        return trust.client_context()

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        errors = (smtplib.SMTPException, OSError)
        with (
            limiter.slot(MAIL),
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
