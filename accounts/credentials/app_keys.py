"""App keys: a public id and a secret that signs each request, as yapkg's documents have it.

A token is `appid:signature:timestamp:random:body`, the last four in URL-safe base64; the signature is an HMAC of
`timestamp:random:body` under the secret, by SHA-1 as documented or by SHA-256.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import QuerySet, TextChoices
from django.utils import timezone

from accounts import audit, scopes
from accounts.credentials import revocation
from accounts.models import Credential, Nonce, User
from accounts.principals import Principal, principal_of
from accounts.scopes import Scope
from registry_site.encoding import decode_base64url, token_digest
from registry_site.encryption import decrypt, encrypt
from registry_site.errors import Conflict, Invalid, NotFound, Revoked, Unauthenticated
from registry_site.http import client_address

PURPOSE = "app keys"
MOST_PER_USER = 50
CLOCK_SKEW = timedelta(minutes=5)
NONCE_LIFETIME = 2 * CLOCK_SKEW  # a timestamp that is ahead can be used that much longer
SHORTEST_RANDOM = 16  # bytes
DIGESTS = {hashlib.sha1().digest_size: "sha1", hashlib.sha256().digest_size: "sha256"}  # noqa: S324 - HMAC, documented
NOT_GOOD = "The token is not valid: its app key, signature, time, random value or body does not fit."


class Type(TextChoices):
    """What an app key may do."""

    READ_ONLY = "READ_ONLY"
    PUBLISH = "PUBLISH"
    ALL = "ALL"


SCOPES = {
    Type.READ_ONLY: (Scope.READ.value,),
    Type.PUBLISH: (Scope.READ.value, Scope.PUBLISH.value),
    Type.ALL: scopes.ALL,
}
TYPES = {" ".join(allowed): kind for kind, allowed in SCOPES.items()}


class AppKey:
    """An app key with its secret, for its owner's eyes."""

    def __init__(self, row: Credential) -> None:
        self.appid = row.name
        self.appsecret = decrypt(PURPOSE, row.secret)
        self.type = TYPES[row.scopes]


def issue(principal: Principal, kind: str) -> AppKey:
    """A new pair of the principal's.

    Raises `Invalid` for another type, `PermissionDenied`, `Conflict` when there are many.
    """
    principal.require(Scope.ACCOUNT)
    if kind not in Type.values:
        raise Invalid(f"There is no type {kind[:40]!r}; there are: {', '.join(Type.values)}.")
    appid = f"app_{secrets.token_hex(12)}"
    with transaction.atomic():
        principal.revalidate_and_lock()
        if _live(principal.user).count() >= MOST_PER_USER:
            raise Conflict(f"You have {MOST_PER_USER} app keys already; delete one first.", code="too_many_keys")
        row = Credential.objects.create(
            user=principal.user,
            kind=Credential.Kind.APP_KEY,
            name=appid,
            digest=token_digest(appid),
            scopes=" ".join(SCOPES[Type(kind)]),
            secret=encrypt(PURPOSE, secrets.token_urlsafe(30)),
            peer=client_address.client_ip(),
        )
        audit.record(principal.user, "app_key.issue", str(principal.user), appid=appid, type=kind)
    return AppKey(row)


def list_owned(principal: Principal) -> list[AppKey]:
    """The principal's pairs, the newest first.

    Raises `PermissionDenied`, and `Unavailable` when a secret cannot be read.
    """
    principal.require(Scope.ACCOUNT)
    return [AppKey(row) for row in _live(principal.user)]


def delete(principal: Principal, appid: str) -> None:
    """End a pair of the principal's, at once; raises `NotFound` for any other, and `PermissionDenied`."""
    principal.require(Scope.ACCOUNT)
    row = _live(principal.user).filter(name=appid).first()
    if row is None or not revocation.revoke(row, principal.user):
        raise NotFound("You have no app key of this id.")


def authenticate(token: str, body: bytes) -> Principal:
    """Who signed this request with this body; raises `Unauthenticated` for whatever is wrong with it, alike."""
    return _holder(token, lambda signed: signed == body)[0]


def authenticate_upload(token: str) -> tuple[Principal, bytes]:
    """The same for a body that is too large for a header: signed is its SHA-256, or nothing → who, and the digest."""
    return _holder(token, lambda signed: len(signed) in (0, hashlib.sha256().digest_size))


def _holder(token: str, fits: Callable[[bytes], bool]) -> tuple[Principal, bytes]:
    try:
        appid, signature, timestamp, random, serialized = token.split(":")
        principal = principal_of(Credential.Kind.APP_KEY, token_digest(appid))
        row = principal.credential
        assert row is not None  # noqa: S101 - it was found by it
        _check_signature(
            decrypt(PURPOSE, row.secret), decode_base64url(signature), f"{timestamp}:{random}:{serialized}"
        )
        _check_time(timestamp)
        signed = decode_base64url(serialized)
        if not fits(signed) or len(decode_base64url(random)) < SHORTEST_RANDOM:
            raise ValueError("another body, or too little at random")
    except (ValueError, Revoked) as error:
        raise Unauthenticated(NOT_GOOD) from error
    _use(row, random)
    return principal, signed


def _live(user: User) -> QuerySet[Credential]:
    return Credential.objects.filter(user=user, kind=Credential.Kind.APP_KEY, revoked_at=None)


def _check_signature(secret: str, signature: bytes, signed: str) -> None:
    if len(signature) not in DIGESTS:
        raise ValueError("no signature by SHA-1 or SHA-256")
    expected = hmac.digest(secret.encode(), signed.encode(), DIGESTS[len(signature)])
    if not hmac.compare_digest(expected, signature):
        raise ValueError("another signature")


def _check_time(timestamp: str) -> None:
    """Unix seconds in decimal digits, in base64 as documented or bare."""
    digits = timestamp if re.fullmatch(r"[0-9]{1,12}", timestamp) else decode_base64url(timestamp).decode("ascii")
    if not re.fullmatch(r"[0-9]{1,12}", digits):
        raise ValueError("no time")
    if abs(int(digits) - timezone.now().timestamp()) > CLOCK_SKEW.total_seconds():
        raise ValueError("another time")


def _use(row: Credential, random: str) -> None:
    """Whoever inserts the value has used it, whichever way it is padded; those that are out of time are forgotten."""
    digest = hashlib.sha256(decode_base64url(random)).hexdigest()
    try:
        with transaction.atomic():
            row.nonces.filter(used_at__lt=timezone.now() - NONCE_LIFETIME).delete()
            Nonce.objects.create(credential=row, digest=digest)
    except IntegrityError as error:
        raise Unauthenticated(NOT_GOOD) from error
