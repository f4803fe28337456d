"""A real mail server on loopback, which keeps its mails."""

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.concurrency import wait_until
from tests.support.servers import free_port

LINK = re.compile(r"^(http://[^/\s]+)(/(?:v1/user/email/verify|password-reset)/\S+)\r?$", re.MULTILINE)


class MailServer:
    """A mail server that keeps its mails; `refusals` answers SMTP commands, `drops` is a command that ends it.

    `deliver` brings what waits in an outbox, before a test looks at the mails.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.received: list[tuple[list[str], EmailMessage]] = []
        self.refusals: dict[str, str] = {}
        self.drops = ""
        self.is_stalled = False
        self.deliver: Callable[[], object] = bool  # nothing

    @property
    def delivered(self) -> list[tuple[list[str], EmailMessage]]:
        self.deliver()
        return self.received

    def recipients(self) -> list[list[str]]:
        return [recipients for recipients, _ in self.delivered]

    def link(self) -> str:
        """Return the path of the last link in a mail."""
        return self.match_link()[2]

    def wait_for_link(self, recipient: str, beginning: str) -> str:
        """Wait for a mail to somebody with a link whose path begins so, and return the path of the newest one."""
        wait_until(lambda: any(self.links(recipient, beginning)))
        return list(self.links(recipient, beginning))[-1]

    def links(self, recipient: str, beginning: str) -> Iterator[str]:
        for recipients, mail in self.delivered:
            match = LINK.search(mail.get_content())
            if match and recipients == [recipient] and match[2].startswith(beginning):
                yield match[2]

    def match_link(self) -> re.Match[str]:
        """Return the match of the last link in a mail: the origin, and the path."""
        texts = (message.get_content() for _, message in reversed(self.delivered))
        return next(match for match in map(LINK.search, texts) if match)


class Hooks:
    """What aiosmtpd calls. It reads all attributes of this, so the mails are apart."""

    def __init__(self) -> None:
        self.mails = MailServer()

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        return self._reply(server, "MAIL")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        envelope.rcpt_tos.append(address)
        return self._reply(server, "RCPT")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        while self.mails.is_stalled:
            await asyncio.sleep(0.02)
        reply = self._reply(server, "DATA")
        if reply.startswith("250") and isinstance(envelope.content, bytes):
            message = message_from_bytes(envelope.content, policy=policy.default)
            self.mails.received.append((envelope.rcpt_tos, message))
        return reply

    def _reply(self, server: SMTP, command: str) -> str:
        if command == self.mails.drops and server.transport is not None:
            server.transport.close()
        return self.mails.refusals.get(command, "250 OK")


@contextmanager
def running_mail_server() -> Iterator[Controller]:
    """Run a mail server; `handler.mails` of its controller has what it got."""
    controller = Controller(Hooks(), hostname="127.0.0.1", port=free_port())
    controller.start()
    try:
        yield controller
    finally:
        controller.stop()
