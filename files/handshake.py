"""The login of a client: the registry sends a random text, and the client returns it encrypted with its key.

A challenge is not stored. Its text and initialization vector derive from its id and the client's name, under a key of
the registry; the id begins with the time of issue and is random otherwise. So requests for challenges fill no table,
and an unknown client receives the same kind of challenge as a known one. The answer inserts the id before anything is
compared. The primary key lets that happen once, so each challenge allows one guess.
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

from files import activity, ciphers, clients, sessions
from files.models import AnsweredChallenge, Client, ClientKey
from registry_site.errors import Invalid
from registry_site.http.request_log import annotate
from registry_site.secret_key import derive_key

TEXT_LENGTH = 64  # hexadecimal digits, which are encrypted as ASCII
IV_ALPHABET = string.ascii_letters + string.digits
CLOCK_SKEW = timedelta(seconds=2)  # between the clocks of several servers

MISSING_NAME = "No such client ''"
INCOMPLETE = "Response to auth handshake should contain id, encrypted_text"
NO_MATCH = "No matching handshake found for response"
TIMED_OUT = "Handshake timedout"
FAILED = "Handshake challenge response failed"


@dataclass(frozen=True)
class IssuedChallenge:
    """A challenge as the client receives it: `text` and `iv` in ASCII, used as they are; `duration` in seconds."""

    id: str
    text: str
    iv: str
    duration: int
    cipher: str = ciphers.AES_CBC


@dataclass(frozen=True)
class IssuedSession:
    """The token of a new session, and the session's duration in seconds."""

    token: str
    duration: int


def create_challenge(name: str) -> IssuedChallenge:
    """Return a challenge for a client that calls itself `name`; raise `Invalid` for an empty name."""
    if not name:
        raise Invalid(MISSING_NAME)
    # 32 hexadecimal digits: milliseconds since 1970 in 11, then 84 random bits.
    return _derive_challenge(name, f"{int(timezone.now().timestamp() * 1000):011x}{secrets.token_hex(11)[1:]}")


def answer_challenge(
    name: str, challenge_id: str | None, encrypted_text: bytes | None, seconds: int | None = None
) -> IssuedSession:
    """Open a session for the right answer to a challenge, and use the challenge up.

    Raises `Invalid`, in the same words for an unknown name, a client without a key and a wrong answer.
    """
    if not name:
        raise Invalid(MISSING_NAME)
    if not challenge_id or not encrypted_text:
        raise Invalid(INCOMPLETE)
    duration = sessions.limited_duration(seconds)
    _use_up(challenge_id)
    ciphertext = ciphers.parse_ciphertext(encrypted_text, TEXT_LENGTH)
    challenge = _derive_challenge(name, challenge_id)
    keys = ClientKey.objects.filter(client__name=name, cipher=challenge.cipher)
    client_id, secret = keys.values_list("client_id", "secret").first() or (None, clients.dummy_secret())
    expected = ciphers.encrypt(clients.decrypt_key(secret), challenge.iv.encode(), challenge.text.encode())
    # Clients may send the ciphertext with the block of padding or without it.
    is_right = ciphertext is not None and hmac.compare_digest(expected[: len(ciphertext)], ciphertext)
    annotate(account=name if client_id else None)  # an unknown name may be a secret in the wrong field
    session = _open_session(client_id, secret, duration) if is_right and client_id is not None else None
    if session is None:
        annotate(event="sign_in_failed")
        if client_id is not None:
            activity.record_failure(client_id)
        raise Invalid(FAILED)
    annotate(event="client.log_in")
    return session


def _open_session(client_id: int, secret: str, duration: int) -> IssuedSession | None:
    """Open a session after the right answer; return None if the client is disabled or has got another key."""
    with transaction.atomic():
        # Whoever rotates the key or disables the client locks this row, too, so the new session cannot escape them.
        client = Client.objects.select_for_update(no_key=True).filter(pk=client_id, is_active=True).first()
        if client is None or not client.keys.filter(secret=secret).exists():
            return None
        token = sessions.create_session(client, duration)
    activity.last_uses.record(client)
    return IssuedSession(token, duration)


def _derive_challenge(name: str, challenge_id: str) -> IssuedChallenge:
    def derived(purpose: str) -> bytes:
        key = derive_key(settings.SECRET_KEY, f"file challenge {purpose}")
        return hmac.digest(key, f"{challenge_id} {name}".encode("utf-8", "surrogateescape"), "sha256")

    iv = "".join(IV_ALPHABET[byte % len(IV_ALPHABET)] for byte in derived("iv")[: ciphers.BLOCK_SIZE])
    return IssuedChallenge(challenge_id, derived("text").hex(), iv, settings.FILE_CHALLENGE_SECONDS)


def _use_up(challenge_id: str) -> None:
    """Insert the id of a challenge; raise `Invalid` if it is malformed, out of time or used before."""
    if not re.fullmatch(r"[0-9a-f]{32}", challenge_id):
        raise Invalid(NO_MATCH)
    now = timezone.now()
    issued_at = datetime.fromtimestamp(int(challenge_id[:11], 16) / 1000, UTC)
    expires_at = issued_at + timedelta(seconds=settings.FILE_CHALLENGE_SECONDS)
    if not issued_at - CLOCK_SKEW <= now <= expires_at:
        raise Invalid(TIMED_OUT)
    try:
        with transaction.atomic():
            # A row has to outlive its challenge on every server, or the challenge could be answered twice.
            AnsweredChallenge.objects.filter(expires_at__lt=now - CLOCK_SKEW).delete()
            AnsweredChallenge.objects.create(id=challenge_id, expires_at=expires_at)
    except IntegrityError as error:
        raise Invalid(NO_MATCH) from error
