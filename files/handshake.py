"""The encrypted challenge: the registry sends a text, the client sends it back encrypted with the key that both know.

Nothing is kept of a challenge until it is answered. Its text and initialization vector come out of its id, which begins
with the time and is random otherwise, and of the client's name, under a key that only the registry has; so asking
stores nothing, and a client that does not exist is told what one that does is told. The answer inserts the id, which
can be done once, before anything is compared; a row is forgotten as soon as its time is over.
"""

import hmac
import re
import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from files import ciphers, clients, sessions
from files.models import Challenge, Client, ClientKey
from registry_site.errors import Invalid
from registry_site.secret_key import derive

LENGTH = 64  # of the text, which is hexadecimal digits and is encrypted as such
LETTERS = string.ascii_letters + string.digits
SKEW = timedelta(seconds=2)  # between the clocks of several servers

NO_NAME = "No such client ''"
INCOMPLETE = "Response to auth handshake should contain id, encrypted_text"
NO_MATCH = "No matching handshake found for response"
TIMED_OUT = "Handshake timedout"
FAILED = "Handshake challenge response failed"


@dataclass(frozen=True)
class Issued:
    """What a client is sent: `text` and `iv` are ASCII, to be used as they are; `duration` in seconds."""

    id: str
    text: str
    iv: str
    duration: int
    cipher: str = ciphers.AES_CBC


@dataclass(frozen=True)
class Opened:
    """A session: its token, and for how many seconds it is good."""

    token: str
    duration: int


def begin(name: str) -> Issued:
    """A challenge for whoever calls itself so; raises `Invalid` when it is called nothing."""
    if not name:
        raise Invalid(NO_NAME)
    return _issued(name, f"{int(timezone.now().timestamp() * 1000):011x}{secrets.token_hex(11)[1:]}")


def answer(name: str, challenge_id: str | None, given: bytes | None, seconds: int | None = None) -> Opened:
    """The encrypted text of a challenge → a new session.

    Raises `Invalid`, with the same words for a name that is not known, a client without a key, and a wrong answer.
    """
    if not name:
        raise Invalid(NO_NAME)
    if not challenge_id or not given:
        raise Invalid(INCOMPLETE)
    duration = sessions.clamped(seconds)
    _use(challenge_id)
    encrypted = ciphers.ciphertext(given, LENGTH)
    issued = _issued(name, challenge_id)
    known = ClientKey.objects.filter(client__name=name, client__is_active=True, cipher=issued.cipher)
    client_id, secret = known.values_list("client_id", "secret").first() or (None, clients.decoy())
    expected = ciphers.encrypt(clients.opened(secret), issued.iv.encode(), issued.text.encode())
    fits = encrypted is not None and hmac.compare_digest(expected[: len(encrypted)], encrypted)
    if not fits or client_id is None:
        raise Invalid(FAILED)
    with transaction.atomic():
        client = Client.objects.select_for_update(no_key=True).filter(pk=client_id, is_active=True).first()
        if client is None or not client.keys.filter(secret=secret).exists():  # disabled or rotated meanwhile
            raise Invalid(FAILED)
        return Opened(sessions.open_for(client, duration), duration)


def _issued(name: str, challenge_id: str) -> Issued:
    def derived(purpose: str) -> bytes:
        key = derive(settings.SECRET_KEY, f"file challenge {purpose}")
        return hmac.digest(key, f"{challenge_id} {name}".encode("utf-8", "surrogateescape"), "sha256")

    iv = "".join(LETTERS[byte % len(LETTERS)] for byte in derived("iv")[: ciphers.BLOCK])
    return Issued(challenge_id, derived("text").hex(), iv, settings.FILE_CHALLENGE_SECONDS)


def _use(challenge_id: str) -> None:
    """Whoever inserts the row may answer, rightly or not; those that are out of time are forgotten."""
    if not re.fullmatch(r"[0-9a-f]{32}", challenge_id):
        raise Invalid(NO_MATCH)
    now = timezone.now()
    issued_at = datetime.fromtimestamp(int(challenge_id[:11], 16) / 1000, UTC)
    expires_at = issued_at + timedelta(seconds=settings.FILE_CHALLENGE_SECONDS)
    if not issued_at - SKEW <= now <= expires_at:
        raise Invalid(TIMED_OUT)
    try:
        with transaction.atomic():
            Challenge.objects.filter(expires_at__lt=now - SKEW).delete()
            Challenge.objects.create(id=challenge_id, expires_at=expires_at)
    except IntegrityError as error:
        raise Invalid(NO_MATCH) from error
