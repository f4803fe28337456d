"""Tokens for cargo: random, recognisable, checked for typing errors before the database is asked."""

import hashlib
import secrets
import string
import zlib
from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import audit, scopes
from accounts.models import Credential, User
from accounts.principals import NOT_GOOD, Principal, principal_of
from registry_site import peers
from registry_site.errors import Conflict, Invalid, Unauthenticated

PREFIX = "entc_"
ALPHABET = string.ascii_letters + string.digits
RANDOM_LENGTH = 32  # 190 bits
CHECK_LENGTH = 6


def replace_default(user: User) -> str:
    """A new default token; the one before it ends. Named tokens stay. The text is given here and never again."""
    with transaction.atomic():
        Principal(user).hold()
        _live(user).filter(name=Credential.DEFAULT).update(revoked_at=timezone.now())
        return _issue(user, Credential.DEFAULT, scopes.CARGO, None)


def create(user: User, name: str, allowed: tuple[str, ...] = scopes.CARGO, expires_at: datetime | None = None) -> str:
    """A further token of its own name, beside the default one; raises `Conflict` when that name is in use."""
    if not name.strip() or len(name) > 64 or name == Credential.DEFAULT:
        raise Invalid(f"Give the token a name of 1 to 64 characters other than {Credential.DEFAULT!r}.")
    if unknown := set(allowed) - set(scopes.CARGO):
        raise Invalid(f"There is no scope {', '.join(sorted(unknown))}; there are: {', '.join(scopes.CARGO)}.")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("The token would be expired from the start.")
    with transaction.atomic():
        Principal(user).hold()
        _live(user).filter(name=name, expires_at__lte=timezone.now()).update(revoked_at=timezone.now())
        if _live(user).filter(name=name).exists():
            raise Conflict(f"{user} has a token named {name!r} already; revoke it first.")
        return _issue(user, name, allowed, expires_at)


def holder(text: str) -> Principal:
    """Who holds this token; raises `Unauthenticated`."""
    if not _is_well_formed(text):
        raise Unauthenticated(NOT_GOOD)
    return principal_of(Credential.Kind.CARGO_TOKEN, digest_of(text))


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _live(user: User) -> QuerySet[Credential]:
    return Credential.objects.filter(user=user, kind=Credential.Kind.CARGO_TOKEN, revoked_at=None)


def _issue(user: User, name: str, allowed: tuple[str, ...], expires_at: datetime | None) -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    text = PREFIX + body + _check_of(body)
    Credential.objects.create(
        user=user,
        kind=Credential.Kind.CARGO_TOKEN,
        name=name,
        digest=digest_of(text),
        scopes=" ".join(dict.fromkeys(allowed)),
        peer=peers.current(),
        expires_at=expires_at,
    )
    audit.record(user, "token.issue", str(user), token=name, scopes=list(allowed))
    return text


def _check_of(body: str) -> str:
    """CRC-32 of the random part in base 62."""
    number, digits = zlib.crc32(body.encode("ascii")), ""
    for _ in range(CHECK_LENGTH):
        number, remainder = divmod(number, len(ALPHABET))
        digits = ALPHABET[remainder] + digits
    return digits


def _is_well_formed(text: str) -> bool:
    body, check = text[len(PREFIX) : -CHECK_LENGTH], text[-CHECK_LENGTH:]
    return (
        text.startswith(PREFIX)
        and len(body) == RANDOM_LENGTH
        and set(body) <= set(ALPHABET)
        and check == _check_of(body)
    )
