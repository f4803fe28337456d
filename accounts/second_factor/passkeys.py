"""Passkeys (WebAuthn) as a second factor. py_webauthn verifies what browsers answer.

A challenge is no row and stands in no session: the form carries it, signed, with the state that it is for. That changes
when the passkey is used, so that no answer counts twice.

The package django-otp-webauthn has this, too, with views, scripts and settings of its own. Its tables need django-otp's
devices, its scripts their own requests and log-in, and it refuses each origin without TLS but `localhost`.

The functions that call webauthn import it: with its parsers it is large, and most workers never need it.
"""

import hashlib
import ipaddress
import json
import secrets
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from accounts.models import Authenticator, User
from accounts.principals import Principal
from accounts.second_factor import authenticators, proofs
from registry_site.errors import Conflict, Invalid, WrongCode
from registry_site.http.request_log import annotate
from registry_site.origins import origin_of

if TYPE_CHECKING:
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor

SALT = "challenges of passkeys"
SECONDS = 300  # that a challenge is good
MAX_ANSWER_LENGTH = 20_000
REFUSED = "The passkey was not accepted. Load the page again, and use one that you have added here."


class Ceremony(NamedTuple):
    """What a form carries: whether a passkey is made or used, the browser's options as JSON, the signed challenge."""

    kind: str
    options: str
    challenge: str


def are_possible() -> bool:
    """Return whether browsers offer passkeys here: over TLS alone, and under a name."""
    host = relying_party()
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return settings.PUBLIC_URL.startswith("https://") or f".{host}".endswith(".localhost")
    return False


def relying_party() -> str:
    """Return the host that passkeys are bound to."""
    return urlsplit(settings.PUBLIC_URL).hostname or ""


def origins() -> list[str]:
    """Return the origins of our pages on which the passkeys of that host can be used."""
    host = f".{relying_party()}"
    named = (settings.PUBLIC_URL, *settings.ALSO_KNOWN_AS)
    return [origin_of(url) for url in named if f".{urlsplit(url).hostname}".endswith(host)]


def begin_adding(principal: Principal) -> Ceremony:
    """Return what the form for a new passkey carries."""
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    user, challenge = principal.user, secrets.token_bytes(32)
    options = generate_registration_options(
        rp_id=relying_party(),
        rp_name=f"Entrepot at {relying_party()}",
        user_id=hashlib.sha256(f"passkeys of {user.pk}".encode()).digest(),
        user_name=user.username,
        challenge=challenge,
        timeout=SECONDS * 1000,
        exclude_credentials=descriptors(user),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.DISCOURAGED, user_verification=UserVerificationRequirement.PREFERRED
        ),
    )
    return Ceremony("create", options_to_json(options), sign(challenge, state_of_adding(principal)))


def begin_use(user: User, state: str) -> Ceremony | None:
    """Return what a form carries that a passkey of the user answers in some state; None without passkeys."""
    allowed = descriptors(user)
    if not allowed:
        return None
    from webauthn import generate_authentication_options, options_to_json

    challenge = secrets.token_bytes(32)
    options = generate_authentication_options(
        rp_id=relying_party(), challenge=challenge, timeout=SECONDS * 1000, allow_credentials=allowed
    )
    return Ceremony("get", options_to_json(options), sign(challenge, state))


def descriptors(user: User) -> "list[PublicKeyCredentialDescriptor]":
    """Return the passkeys of a user as browsers look for them."""
    passkeys = user.authenticators.filter(kind=Authenticator.Kind.PASSKEY)
    if not passkeys:
        return []
    from webauthn.helpers.structs import AuthenticatorTransport, PublicKeyCredentialDescriptor

    return [
        PublicKeyCredentialDescriptor(
            id=urlsafe_base64_decode(passkey.credential_id),
            transports=[AuthenticatorTransport(transport) for transport in passkey.transports],
        )
        for passkey in passkeys
    ]


def state_of_adding(principal: Principal) -> str:
    digest = principal.credential.digest if principal.credential else ""
    return f"add {principal.user.pk} {digest}"


def state_of_confirming(principal: Principal) -> str:
    """Return what changes with each fresh proof of the session."""
    credential = principal.credential
    return f"confirm {credential.digest} {credential.proven_at}" if credential else ""


def sign(challenge: bytes, state: str) -> str:
    return signing.dumps([urlsafe_base64_encode(challenge), state], salt=SALT)


def open_challenge(signed: str, state: str) -> bytes:
    """Return a challenge of a form. Raises `Invalid` for a forged or old one, and one of another state."""
    try:
        challenge, signed_state = signing.loads(signed, salt=SALT, max_age=SECONDS)
    except signing.BadSignature:
        challenge, signed_state = "", ""
    if not challenge or signed_state != state:
        raise Invalid("This page has grown old: try once more.", code="challenge_ended")
    return urlsafe_base64_decode(challenge)


def add(principal: Principal, name: str, signed: str, answer: str) -> list[str]:
    """Add a passkey by the browser's answer; return the recovery codes that it makes, if it is the first factor.

    Raises `ConfirmationRequired`, `Invalid` for the name, the challenge and the answer, and `Conflict` for too many or
    one that is there.
    """
    from webauthn import verify_registration_response

    authenticators.require_may_add(principal, name)
    challenge = open_challenge(signed, state_of_adding(principal))
    try:
        made = verify_registration_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=relying_party(),
            expected_origin=origins(),
        )
        transports = read_transports(answer)
    except Exception as error:  # the library passes on what its parsers of CBOR, keys and certificates raise
        raise Invalid("The browser's answer is no new passkey for this registry.", code="passkey_invalid") from error
    passkey = Authenticator(
        kind=Authenticator.Kind.PASSKEY,
        digest=digest_of(made.credential_id),
        credential_id=urlsafe_base64_encode(made.credential_id),
        public_key=urlsafe_base64_encode(made.credential_public_key),
        sign_count=made.sign_count,
        transports=transports,
    )
    if (
        len(passkey.credential_id) > authenticators.MAX_KEY_LENGTH
        or len(passkey.public_key) > authenticators.MAX_KEY_LENGTH
    ):
        raise Invalid("This passkey is larger than any known kind.", code="passkey_invalid")
    with transaction.atomic():
        principal.revalidate_and_lock()
        try:
            with transaction.atomic():
                return authenticators.insert(principal, passkey, name)
        except IntegrityError as error:
            raise Conflict("This passkey is added already: see the list.", code="sent_before") from error


def read_transports(answer: str) -> list[str]:
    """Return the ways to reach the passkey that are known: browsers may name others."""
    from webauthn.helpers.structs import AuthenticatorTransport

    named = json.loads(answer)["response"].get("transports") or []
    return [transport.value for transport in AuthenticatorTransport if transport.value in named]


def use(user: User, state: str, signed: str, answer: str) -> None:
    """Use a passkey of the user in a state. Raises `Invalid` for the challenge, and `WrongCode`.

    A signature cannot be guessed, so nothing is counted: wrong codes of somebody else must not keep out the owner, who
    has a passkey.
    """
    from webauthn import verify_authentication_response

    challenge = open_challenge(signed, state)
    try:
        passkey = user.authenticators.get(
            kind=Authenticator.Kind.PASSKEY, digest=digest_of(urlsafe_base64_decode(json.loads(answer)["rawId"]))
        )
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError, Authenticator.DoesNotExist) as error:
        raise refused() from error
    try:
        verified = verify_authentication_response(
            credential=answer,
            expected_challenge=challenge,
            expected_rp_id=relying_party(),
            expected_origin=origins(),
            credential_public_key=urlsafe_base64_decode(passkey.public_key),
            credential_current_sign_count=passkey.sign_count,
        )
    except Exception as error:  # as above
        raise refused() from error
    unchanged = Authenticator.objects.filter(pk=passkey.pk, sign_count=passkey.sign_count)
    if not unchanged.update(sign_count=verified.new_sign_count, last_used_at=timezone.now()):
        raise refused()


def refused() -> WrongCode:
    annotate(event="sign_in_failed")
    return WrongCode(REFUSED)


def prove(principal: Principal, signed: str, answer: str) -> None:
    """Use a passkey as a fresh proof of the session. Raises what `use` raises."""
    use(principal.user, state_of_confirming(principal), signed, answer)
    proofs.record(principal, by="a passkey")


def digest_of(credential_id: bytes) -> str:
    """Return what a passkey is looked up by: its id can have a thousand bytes."""
    return hashlib.sha256(credential_id).hexdigest()
