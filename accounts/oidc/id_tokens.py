"""What a provider says of a user, believed only when it is signed for this registry, now, and in this sign-in."""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jwt

from registry_site.errors import PermissionDenied

# Asymmetric ones only: with the others, the client's secret could sign for the provider.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
CLOCK_SKEW = 60  # seconds
MAX_SUBJECT_LENGTH = 255

Keys = Sequence[Mapping[str, Any]]


class UnknownSigningKey(PermissionDenied):
    """It is signed by a key that the provider has not, or had not when it was asked."""


def verify_id_token(token: str, keys: Keys, *, issuer: str, client_id: str, nonce: str | None) -> dict[str, Any]:
    """The claims of an id token (OpenID Connect Core 1.0, section 3.1.3.7).

    Raises `PermissionDenied` and `UnknownKey`.
    """
    claims = _signed(token, keys, issuer, client_id, ["exp", "iat", "iss", "aud", "sub"])
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if (len(audience) > 1 or "azp" in claims) and claims.get("azp") != client_id:
        raise _refused("it is made out to another client")
    if nonce is None or not hmac.compare_digest(ascii(claims.get("nonce")).encode(), ascii(nonce).encode()):
        raise _refused("it belongs to another sign-in")
    get_subject(claims)
    return claims


def verify_userinfo(token: str, keys: Keys, *, issuer: str, client_id: str) -> dict[str, Any]:
    """The claims of a signed answer of the userinfo endpoint (section 5.3.2); raises as `verified` does."""
    return _signed(token, keys, issuer, client_id, ["iss", "aud", "sub"])


def get_subject(claims: Mapping[str, Any]) -> str:
    """Who it is, in the provider's own terms; raises `PermissionDenied`."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise _refused("it does not say who you are")
    return subject


def list_values(claims: Mapping[str, Any], name: str) -> list[str]:
    """A claim that is a list of texts, or one; `a.b` is also the claim `b` within `a`."""
    found = claims.get(name)
    if found is None and "." in name:
        outer, _, inner = name.partition(".")
        within = claims.get(outer)
        return list_values(within, inner) if isinstance(within, Mapping) else []
    if isinstance(found, str):
        return [found]
    return [word for word in found if isinstance(word, str)] if isinstance(found, list) else []


def _signed(token: str, keys: Keys, issuer: str, client_id: str, required: list[str]) -> dict[str, Any]:
    if not token.isascii():
        raise _refused("it is no token")
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS:
            raise _refused("it is not signed in a way that counts here")
        return _decoded(token, list(_candidates(keys, header)), header["alg"], issuer, client_id, required)
    except jwt.InvalidTokenError as error:
        raise _refused(f"{type(error).__name__}") from error


def _decoded(
    token: str, candidates: list[jwt.PyJWK], algorithm: str, issuer: str, client_id: str, required: list[str]
) -> dict[str, Any]:
    if len(candidates) != 1:
        raise UnknownSigningKey("Openid error: the ID token is not signed by one of the provider's keys.")
    claims: dict[str, Any] = jwt.decode(
        token,
        candidates[0],
        algorithms=[algorithm],
        audience=client_id,
        issuer=issuer,
        leeway=CLOCK_SKEW,
        options={"require": required},
    )
    return claims


def _candidates(keys: Keys, header: Mapping[str, Any]) -> Iterable[jwt.PyJWK]:
    """The key that the header names; where it names none, all that can have signed it."""
    for key in keys:
        if key.get("use", "sig") != "sig" or key.get("alg", header["alg"]) != header["alg"]:
            continue
        if "kid" in header and key.get("kid") != header["kid"]:
            continue
        try:
            read = jwt.PyJWK(dict(key), algorithm=header["alg"])
        except (jwt.PyJWKError, jwt.InvalidKeyError, ValueError, TypeError):
            continue
        yield read


def _refused(why: str) -> PermissionDenied:
    return PermissionDenied(f"Openid error: the provider's ID token is refused: {why}; begin again at /me.")
