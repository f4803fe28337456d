"""Tokens for cargo: random, recognisable, checked for typing errors before the database is asked."""

import secrets
import string
import zlib
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import audit, scopes
from accounts.models import Credential, User
from accounts.passwords import change, login
from accounts.principals import NOT_GOOD, Principal, principal_of
from registry_site.encoding import token_digest
from registry_site.encryption import decrypt, encrypt
from registry_site.errors import Conflict, Invalid, PermissionDenied, Unauthenticated
from registry_site.http import client_address

PURPOSE = "cargo tokens"  # a default one is kept encrypted where it has to be shown again: at /me
PREFIX = "entc_"
ALPHABET = string.ascii_letters + string.digits
RANDOM_LENGTH = 32  # 190 bits
CHECK_LENGTH = 6


class DefaultToken(NamedTuple):
    """A user's default token, or None for one that is not kept so that it can be shown.

    `is_new` when it was just made; `former` is the one that it took the place of.
    """

    text: str | None
    is_new: bool
    former: str | None = None


def log_in(username: str, password: str) -> str:
    """Log in as Ktra's clients do and return a new default token; the former one ends.

    Raises what `login.authenticate` raises.
    """
    user = login.authenticate(username, password)
    with transaction.atomic():
        token = replace_default(user)
        audit.record(user, "user.log_in", str(user), door="cargo")
        return token


def change_password(username: str, old_password: str, new_password: str) -> str:
    """Change a password as Ktra's clients do and return a new default token; all sessions and the former token end.

    Raises `Invalid` for the new password, and what `login.authenticate` raises.
    """
    if old_password == new_password:
        raise Invalid("the given passwords are the same")
    user = login.authenticate(username, old_password)
    encoded = change.encode_password(user, new_password)
    with transaction.atomic():
        change.store_password(user, new_password, encoded, actor=user)
        return replace_default(user)


def replace_default(user: User) -> str:
    """A new default token; the one before it ends. Named tokens stay."""
    return rotate_default(user).text or ""


def get_or_create_default(user: User) -> DefaultToken:
    """The default token, which is made if there is none."""
    with transaction.atomic():
        Principal(user).revalidate_and_lock()
        row = _live(user).filter(name=Credential.DEFAULT).first()
        if row is None:
            return DefaultToken(_issue(user, Credential.DEFAULT, scopes.CARGO, None), is_new=True)
        return DefaultToken(_kept(row), is_new=False)


def rotate_default(user: User) -> DefaultToken:
    """A new default token in the place of the one before, which ends; what it was is told where it was kept."""
    with transaction.atomic():
        Principal(user).revalidate_and_lock()
        row = _live(user).filter(name=Credential.DEFAULT).first()
        if row is not None:
            _live(user).filter(pk=row.pk).update(revoked_at=timezone.now())
        text = _issue(user, Credential.DEFAULT, scopes.CARGO, None)
        return DefaultToken(text, is_new=True, former=None if row is None else _kept(row))


def reveal_default_to(principal: Principal) -> DefaultToken:
    """Get or create the default token for a principal that may see it.

    Raises `PermissionDenied` to named tokens, which can allow less, and `Conflict`.
    """
    _require_whole(principal)
    token = get_or_create_default(principal.user)
    if token.text is None:
        raise Conflict(
            "Your token was shown when it was made and is not kept. Take another at /replace_token, which ends it.",
            code="token_not_kept",
        )
    return token


def rotate_default_for(principal: Principal) -> DefaultToken:
    """`replaced`, for who may see it."""
    _require_whole(principal)
    return rotate_default(principal.user)


def _require_whole(principal: Principal) -> None:
    held = principal.credential
    if held is not None and held.kind == Credential.Kind.CARGO_TOKEN and held.name != Credential.DEFAULT:
        raise PermissionDenied("Only the default token, or a browser that is signed in, is shown the default token.")


def create(user: User, name: str, allowed: tuple[str, ...] = scopes.CARGO, expires_at: datetime | None = None) -> str:
    """A further token of its own name, beside the default one; raises `Conflict` when that name is in use."""
    if not name.strip() or len(name) > 64 or name == Credential.DEFAULT:
        raise Invalid(f"Give the token a name of 1 to 64 characters other than {Credential.DEFAULT!r}.")
    if unknown := set(allowed) - set(scopes.CARGO):
        raise Invalid(f"There is no scope {', '.join(sorted(unknown))}; there are: {', '.join(scopes.CARGO)}.")
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("The token would be expired from the start.")
    with transaction.atomic():
        Principal(user).revalidate_and_lock()
        _live(user).filter(name=name, expires_at__lte=timezone.now()).update(revoked_at=timezone.now())
        if _live(user).filter(name=name).exists():
            raise Conflict(f"{user} has a token named {name!r} already; revoke it first.")
        return _issue(user, name, allowed, expires_at)


def authenticate(text: str) -> Principal:
    """Who holds this token; raises `Unauthenticated`."""
    if not _is_well_formed(text):
        raise Unauthenticated(NOT_GOOD)
    return principal_of(Credential.Kind.CARGO_TOKEN, token_digest(text))


def _kept(row: Credential) -> str | None:
    return decrypt(PURPOSE, row.secret) if row.secret else None


def _live(user: User) -> QuerySet[Credential]:
    return Credential.objects.filter(user=user, kind=Credential.Kind.CARGO_TOKEN, revoked_at=None)


def _issue(user: User, name: str, allowed: tuple[str, ...], expires_at: datetime | None) -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    text = PREFIX + body + _check_of(body)
    Credential.objects.create(
        user=user,
        kind=Credential.Kind.CARGO_TOKEN,
        name=name,
        digest=token_digest(text),
        scopes=" ".join(dict.fromkeys(allowed)),
        secret=encrypt(PURPOSE, text) if settings.OIDC_LOGIN and name == Credential.DEFAULT else "",
        peer=client_address.client_ip(),
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
