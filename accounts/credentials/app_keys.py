"""App keys: a public id, and a secret that signs each request, as yapkg documents it.

A token is `appid:signature:timestamp:random:body`, the last four in URL-safe base64. The signature is an HMAC of
`timestamp:random:body` under the secret, by SHA-1 as documented or by SHA-256.
"""

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts.credentials import last_uses, repeated_forms, revocation
from accounts.models import Credential, CredentialQuerySet, Nonce, User
from accounts.principals import Principal, principal_of
from accounts.scopes import ALL_SCOPES, Scope
from accounts.second_factor import proofs
from registry_site import audit
from registry_site.encoding import decode_base64url, token_digest
from registry_site.encryption import decrypt, encrypt
from registry_site.errors import Conflict, Invalid, NotFound, Revoked, Unauthenticated
from registry_site.http import client_address

PURPOSE = "app keys"
MAX_KEYS_PER_USER = 50
CLOCK_SKEW = timedelta(minutes=5)
NONCE_LIFETIME = 2 * CLOCK_SKEW  # a timestamp five minutes in the future stays valid for ten
MIN_RANDOM_BYTES = 16
SHA256_BYTES = hashlib.sha256().digest_size
ALGORITHM_BY_LENGTH = {hashlib.sha1().digest_size: "sha1", SHA256_BYTES: "sha256"}  # noqa: S324 - HMAC, documented
UNIX_SECONDS = re.compile(r"[0-9]{1,12}")
NOT_GOOD = "The token is not valid: its app key, signature, time, random value or body does not fit."

Type = Credential.AppKeyType
SCOPES_BY_TYPE = {
    Type.READ_ONLY: (Scope.READ,),
    Type.PUBLISH: (Scope.READ, Scope.PUBLISH_NEW, Scope.PUBLISH_UPDATE),
    Type.ALL: ALL_SCOPES,
}


class AppKey:
    """An app key with its secret in clear text, for its owner."""

    def __init__(self, credential: Credential) -> None:
        self.appid = credential.name
        self.appsecret = decrypt(PURPOSE, credential.secret)
        self.type = credential.app_key_type


def issue(principal: Principal, key_type: str, newest: int | None = None) -> AppKey:
    """Create an app key of the principal's. `newest` is what the form of a page carries.

    Raises `Invalid` for another type, `PermissionDenied`, `ConfirmationRequired`, and `Conflict` for too many keys or a
    form sent again.
    """
    principal.require(Scope.ACCOUNT)
    proofs.require_recent(principal)
    if key_type not in Type.values:
        raise Invalid(f"There is no type {key_type[:40]!r}; there are: {', '.join(Type.values)}.")
    user = principal.user
    appid = f"app_{secrets.token_hex(12)}"
    with transaction.atomic():
        principal.revalidate_and_lock()  # before the count, which two requests at once could pass otherwise
        repeated_forms.require_first(user, Credential.Kind.APP_KEY, newest)
        if unrevoked_keys(user).count() >= MAX_KEYS_PER_USER:
            raise Conflict(f"You have {MAX_KEYS_PER_USER} app keys already; delete one first.", code="too_many_keys")
        credential = Credential.objects.create(
            user=user,
            kind=Credential.Kind.APP_KEY,
            name=appid,
            digest=token_digest(appid),
            scopes=SCOPES_BY_TYPE[Type(key_type)],
            app_key_type=key_type,
            secret=encrypt(PURPOSE, secrets.token_urlsafe(30)),
            ip_address=client_address.client_ip(),
        )
        audit.record(user, audit.Action.APP_KEY_ISSUE, user, appid=appid, type=key_type)
    return AppKey(credential)


def list_rows(principal: Principal) -> list[Credential]:
    """Return the rows of the principal's app keys, newest first, without their secrets; raises `PermissionDenied`."""
    principal.require(Scope.ACCOUNT)
    return list(unrevoked_keys(principal.user).defer("secret"))


def list_owned(principal: Principal) -> list[AppKey]:
    """Return the app keys of the principal's, newest first.

    Raises `PermissionDenied`, and `Unavailable` if a secret cannot be decrypted.
    """
    principal.require(Scope.ACCOUNT)
    return [AppKey(credential) for credential in unrevoked_keys(principal.user)]


def delete(principal: Principal, appid: str) -> None:
    """Revoke an app key of the principal's. Raises `NotFound` for any other id, and `PermissionDenied`."""
    principal.require(Scope.ACCOUNT)
    credential = unrevoked_keys(principal.user).filter(name=appid).first()
    if credential is None or not revocation.revoke(credential, principal.user):
        raise NotFound("You have no app key of this id.")


def unrevoked_keys(user: User) -> CredentialQuerySet:
    return Credential.objects.of_kind(Credential.Kind.APP_KEY).unrevoked().filter(user=user)


class SignedToken(NamedTuple):
    """A token, split and decoded. `message` is the part that is signed, as it was sent."""

    appid: str
    signature: bytes
    message: str
    timestamp: int
    random: bytes
    body: bytes


def parse(token: str) -> SignedToken:
    """Split and decode a token. Raises `ValueError`."""
    appid, signature, timestamp, random, body = token.split(":")
    # Clients send Unix seconds in base64 as documented, or in bare digits.
    seconds = timestamp if UNIX_SECONDS.fullmatch(timestamp) else decode_base64url(timestamp).decode("ascii")
    if not UNIX_SECONDS.fullmatch(seconds):
        raise ValueError("no time in Unix seconds")
    return SignedToken(
        appid,
        decode_base64url(signature),
        f"{timestamp}:{random}:{body}",
        int(seconds),
        decode_base64url(random),
        decode_base64url(body),
    )


def authenticate(token: str, body: bytes | None) -> tuple[Principal, bytes]:
    """Return the principal that signed the request, and the signed bytes.

    They equal `body`. Without it, for an upload too large for a header, they are its SHA-256, or empty.
    Raises `Unauthenticated` with the same message for every cause.
    """
    try:
        signed = parse(token)
        principal = principal_of(Credential.Kind.APP_KEY, token_digest(signed.appid))
        credential = principal.credential
        assert credential is not None  # noqa: S101 - for the type checker
        algorithm = ALGORITHM_BY_LENGTH.get(len(signed.signature))
        if algorithm is None:
            raise ValueError("no signature by SHA-1 or SHA-256")
        secret = decrypt(PURPOSE, credential.secret)
        expected = hmac.digest(secret.encode(), signed.message.encode(), algorithm)
    except (ValueError, Revoked) as error:
        raise Unauthenticated(NOT_GOOD) from error
    is_genuine = hmac.compare_digest(expected, signed.signature)
    is_timely = abs(signed.timestamp - timezone.now().timestamp()) <= CLOCK_SKEW.total_seconds()
    is_random = len(signed.random) >= MIN_RANDOM_BYTES
    covers_body = len(signed.body) in (0, SHA256_BYTES) if body is None else signed.body == body
    if not (is_genuine and is_timely and is_random and covers_body):
        raise Unauthenticated(NOT_GOOD)
    # Replays: the unique constraint lets one of many requests at once insert the random value. It is hashed decoded,
    # so that another padding does not make another value.
    try:
        with transaction.atomic():
            credential.nonces.filter(used_at__lt=timezone.now() - NONCE_LIFETIME).delete()
            Nonce.objects.create(credential=credential, digest=hashlib.sha256(signed.random).hexdigest())
    except IntegrityError as error:
        raise Unauthenticated(NOT_GOOD) from error
    return last_uses.record(principal), signed.body
