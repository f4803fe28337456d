"""Cargo tokens: issue, rotate, look up. Their checksum refuses a typing error before the database is queried."""

import secrets
import string
import zlib
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import registration, roles, user_agents
from accounts.crate_patterns import parse_patterns
from accounts.credentials import last_uses
from accounts.models import Credential, CredentialQuerySet, User
from accounts.passwords import change, login
from accounts.principals import NOT_GOOD, Principal, principal_of
from accounts.scopes import CARGO_SCOPES, parse_scopes
from accounts.second_factor import policy, proofs
from registry_site import audit
from registry_site.encoding import token_digest
from registry_site.encryption import decrypt, encrypt
from registry_site.errors import Conflict, Invalid, PermissionDenied, Unauthenticated
from registry_site.http import client_address

PURPOSE = "cargo tokens"
PREFIX = "entc_"  # scanners for leaked secrets recognise a token by it
ASYMMETRIC_PREFIX = "v3.public."  # of PASETO, as cargo signs it (RFC 3231)
ALPHABET = string.ascii_letters + string.digits
RANDOM_LENGTH = 32  # 190 bits
CHECKSUM_LENGTH = 6
MAX_NAME_LENGTH = 64
MAX_DAYS = 36500  # a hundred years; far more would overflow a date


class DefaultToken(NamedTuple):
    """A user's default token; `text` is empty if only its digest is stored.

    `previous` is the text of the token that a rotation revoked, if there was one and its text was stored.
    """

    text: str
    is_new: bool
    previous: str | None = None


def sign_up(username: str, password: str) -> str:
    """Sign up as Ktra's clients do, and return the default token. Raises what `registration.sign_up` raises.

    Raises `SecondFactorRequired` where each account needs a second factor before it gets a token.
    """
    policy.require_none_of_new_accounts()
    return rotate_default(registration.sign_up(username, password)).text


def log_in(username: str, password: str) -> str:
    """Log in as Ktra's clients do, and return a new default token. The former one ends.

    Raises what `login.authenticate` raises.
    """
    user = login.authenticate(username, password)
    with transaction.atomic():
        token = rotate_default(user)
        client = user_agents.kind_of(client_address.user_agent())
        audit.record(user, audit.Action.USER_LOG_IN, user, door="cargo", client=client)
        return token.text


def change_password(username: str, old_password: str, new_password: str) -> str:
    """Change a password as Ktra's clients do, and return a new default token. All sessions and the former token end.

    Raises `Invalid` for the new password, and what `login.authenticate` raises.
    """
    if old_password == new_password:
        raise Invalid("the given passwords are the same")
    user = login.authenticate(username, old_password)
    encoded = change.encode_password(user, new_password)
    with transaction.atomic():
        change.store_password(user, new_password, encoded, actor=user)
        return rotate_default(user).text


def get_or_create_default(user: User) -> DefaultToken:
    """Return the user's default token, or a new one if there is none. Raises `Unauthenticated`."""
    with transaction.atomic():
        Principal(user).revalidate_and_lock()
        return find_default(user) or DefaultToken(_issue(user, Credential.DEFAULT_NAME, CARGO_SCOPES), is_new=True)


def find_default(user: User) -> DefaultToken | None:
    """Return the user's default token, if there is one."""
    credential = unrevoked_tokens(user).filter(name=Credential.DEFAULT_NAME).first()
    return None if credential is None else DefaultToken(decrypt_text(credential), is_new=False)


def rotate_default(user: User) -> DefaultToken:
    """Replace the user's default token by a new one. Named tokens stay. Raises `Unauthenticated`."""
    with transaction.atomic():
        Principal(user).revalidate_and_lock()
        default = unrevoked_tokens(user).filter(name=Credential.DEFAULT_NAME)
        former = default.first()
        default.mark_revoked()
        text = _issue(user, Credential.DEFAULT_NAME, CARGO_SCOPES)
        previous = decrypt_text(former) if former else ""
        return DefaultToken(text, is_new=True, previous=previous or None)


def reveal_default_to(principal: Principal, presented: str | None) -> DefaultToken:
    """Get or create the default token for a principal that may see it, or return the one that it has presented.

    Raises `PermissionDenied` for a named token, `ConfirmationRequired`, `Conflict` if only a digest is stored, and
    `Unauthenticated`.
    """
    require_default_or_session(principal)
    if presented is not None:
        return DefaultToken(presented, is_new=False)
    proofs.require_recent(principal)
    token = get_or_create_default(principal.user)
    if not token.text:
        raise Conflict(
            "Your token was shown when it was made and is not kept. Take another at /replace_token, which ends it.",
            code="token_not_kept",
        )
    return token


def rotate_default_for(principal: Principal, presented: str | None) -> DefaultToken:
    """Rotate the default token for a principal that may see it, and has perhaps presented it.

    Raises `PermissionDenied` for a named token, `ConfirmationRequired`, and `Unauthenticated`.
    """
    require_default_or_session(principal)
    proofs.require_recent(principal)
    token = rotate_default(principal.user)
    return token._replace(previous=token.previous or presented)


def require_default_or_session(principal: Principal) -> None:
    """Raise `PermissionDenied` for a named token: it can allow less than the default one."""
    credential = principal.credential
    if credential is None or credential.kind != Credential.Kind.CARGO_TOKEN:
        return
    if credential.name != Credential.DEFAULT_NAME:
        raise PermissionDenied("Only the default token, or a browser that is signed in, is shown the default token.")


def create(
    user: User,
    name: str,
    allowed: Sequence[str] = CARGO_SCOPES,
    expires_at: datetime | None = None,
    patterns: Sequence[str] = (),
    *,
    actor: User | None = None,
) -> str:
    """Create a named token beside the default one, and return its text. Without patterns it is for all crates.

    `actor` is a member of staff who makes it for the user, and needs rank over the account: else `PermissionDenied`.
    Raises `Invalid`, `Conflict` if the user has a live token of this name, and `Unauthenticated`.
    """
    if actor is not None:
        roles.require_may_act_on(actor, user)
    validate_name(name)
    scopes, crate_patterns = parse_scopes(allowed), parse_patterns(patterns)
    if expires_at is not None and expires_at <= timezone.now():
        raise Invalid("The token would be expired from the start.", code="token_end")
    with transaction.atomic():
        Principal(user).revalidate_and_lock()
        of_this_name = unrevoked_tokens(user).filter(name=name)
        # The unique constraint cannot know the time: an expired token would keep its name for ever.
        of_this_name.filter(expires_at__lte=timezone.now()).mark_revoked()
        if of_this_name.exists():
            raise Conflict(f"{user} has a token named {name!r} already; revoke it first.", code="token_name_taken")
        return _issue(user, name, scopes, expires_at, crate_patterns, actor=actor)


def validate_name(name: str) -> None:
    """Raise `Invalid` for a name that is blank, too long, the default token's, or that would not show on a terminal."""
    if not name.strip() or len(name) > MAX_NAME_LENGTH or name.strip() == Credential.DEFAULT_NAME:
        raise Invalid(
            f"Give the token a name of 1 to {MAX_NAME_LENGTH} characters other than {Credential.DEFAULT_NAME!r}.",
            code="token_name",
        )
    if not name.isprintable():
        raise Invalid("The name of the token has control characters or others that do not show.", code="token_name")


def authenticate(text: str) -> Principal:
    """Return the principal of this token. Raises `Unauthenticated`."""
    if text.startswith(ASYMMETRIC_PREFIX):
        raise Unauthenticated(
            "Asymmetric tokens (`cargo:paseto`) are not supported here; give the registry's `credential-provider` as "
            f"`cargo:token`, get a token at {settings.PUBLIC_URL}/me, and hand it to `cargo login`."
        )
    body, checksum = text[len(PREFIX) : -CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    is_well_formed = text.startswith(PREFIX) and len(body) == RANDOM_LENGTH and set(body) <= set(ALPHABET)
    if not is_well_formed or checksum != checksum_of(body):
        raise Unauthenticated(NOT_GOOD)
    return last_uses.record(principal_of(Credential.Kind.CARGO_TOKEN, token_digest(text)))


def checksum_of(body: str) -> str:
    """Return the CRC-32 of a token's random part, in six digits of base 62."""
    number, digits = zlib.crc32(body.encode("ascii")), ""
    for _ in range(CHECKSUM_LENGTH):
        number, remainder = divmod(number, len(ALPHABET))
        digits = ALPHABET[remainder] + digits
    return digits


def unrevoked_tokens(user: User) -> CredentialQuerySet:
    return Credential.objects.of_kind(Credential.Kind.CARGO_TOKEN).unrevoked().filter(user=user)


def decrypt_text(credential: Credential) -> str:
    """Return the text of a token, or an empty text if only its digest is stored."""
    return decrypt(PURPOSE, credential.secret) if credential.secret else ""


def _issue(
    user: User,
    name: str,
    scopes: Sequence[str],
    expires_at: datetime | None = None,
    patterns: Sequence[str] = (),
    actor: User | None = None,
) -> str:
    body = "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_LENGTH))
    text = PREFIX + body + checksum_of(body)
    # Only `/me` after a sign-in at a provider shows a token again. Else not even its encrypted text is stored.
    is_shown_again = settings.OIDC_LOGIN and name == Credential.DEFAULT_NAME
    Credential.objects.create(
        user=user,
        kind=Credential.Kind.CARGO_TOKEN,
        name=name,
        digest=token_digest(text),
        scopes=list(scopes),
        crate_patterns=list(patterns),
        secret=encrypt(PURPOSE, text) if is_shown_again else "",
        ip_address=client_address.client_ip(),
        expires_at=expires_at,
    )
    crates = {"crates": list(patterns)} if patterns else {}
    audit.record(actor or user, audit.Action.TOKEN_ISSUE, user, token=name, scopes=list(scopes), **crates)
    return text
