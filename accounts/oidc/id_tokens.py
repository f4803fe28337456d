"""ID tokens and signed userinfo of an OpenID provider, verified against its public keys."""

import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from registry_site.errors import PermissionDenied

# Asymmetric algorithms only: with the others, the client's secret could sign in the provider's name.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
CLOCK_SKEW = 60  # seconds
# Failures that a wrong clock causes, in words; the others have the names of PyJWT.
CLOCKS = "compare the clocks of the provider and of this server"
REASONS: dict[type[Exception], str] = {
    jwt.ImmatureSignatureError: f"it comes from the future (ImmatureSignatureError), so {CLOCKS}",
    jwt.ExpiredSignatureError: f"it has expired (ExpiredSignatureError), so be quicker, or {CLOCKS}",
}
MAX_SUBJECT_LENGTH = 255  # OpenID Connect Core 1.0, section 2

Keys = Sequence[Mapping[str, Any]]


class UnknownSigningKey(PermissionDenied):
    """A token that fits no key of the provider, or several; the provider may have published a new key since."""


def verify_id_token(token: str, keys: Keys, *, issuer: str, client_id: str, nonce: str | None) -> dict[str, Any]:
    """Return the claims of an ID token (OpenID Connect Core 1.0, section 3.1.3.7).

    `nonce` is the one of this sign-in. Raises `PermissionDenied` and `UnknownSigningKey`.
    """
    claims = _decode(token, keys, issuer, client_id, required=["exp", "iat", "iss", "aud", "sub"])
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if (len(audience) > 1 or "azp" in claims) and claims.get("azp") != client_id:
        raise _invalid_token("it is made out to another client")
    # `ascii` makes bytes of any value, lone surrogates included, and tells "None" from None by its quotes.
    if nonce is None or not hmac.compare_digest(ascii(claims.get("nonce")).encode(), ascii(nonce).encode()):
        raise _invalid_token("it belongs to another sign-in")
    get_subject(claims)
    return claims


def verify_userinfo(token: str, keys: Keys, *, issuer: str, client_id: str) -> dict[str, Any]:
    """Return the claims of a signed userinfo answer (section 5.3.2); raises as `verify_id_token` does."""
    return _decode(token, keys, issuer, client_id, required=["iss", "aud", "sub"])


def get_subject(claims: Mapping[str, Any]) -> str:
    """Return the provider's identifier of the user; raises `PermissionDenied` for a missing or unusable one."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_LENGTH or not subject.isprintable():
        raise _invalid_token("it does not say who you are")
    return subject


def list_values(claims: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts of a claim that is a text or a list of them; `a.b` also names the claim `b` within `a`."""
    value = claims.get(name)
    if value is None and "." in name:
        outer_name, _, inner_name = name.partition(".")
        outer = claims.get(outer_name)
        return list_values(outer, inner_name) if isinstance(outer, Mapping) else []
    if isinstance(value, str):
        return [value]
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


def _decode(token: str, keys: Keys, issuer: str, client_id: str, required: list[str]) -> dict[str, Any]:
    """Return the claims of a token that the provider signed for this client."""
    if not token.isascii():  # PyJWT raises UnicodeEncodeError for lone surrogates
        raise _invalid_token("it is no token")
    try:
        header = jwt.get_unverified_header(token)
        if header.get("alg") not in ALGORITHMS:
            raise _invalid_token("it is not signed in a way that counts here")
        candidates = _usable_keys(keys, header)
        if len(candidates) != 1:
            raise UnknownSigningKey(
                "Openid error: the ID token is not signed by one of the provider's keys; begin again at /me."
            )
        claims: dict[str, Any] = jwt.decode(
            token,
            candidates[0],
            algorithms=[header["alg"]],
            audience=client_id,
            issuer=issuer,
            leeway=CLOCK_SKEW,
            options={"require": required},
        )
    except jwt.InvalidTokenError as error:
        raise _invalid_token(REASONS.get(type(error), type(error).__name__)) from error
    return claims


def _usable_keys(keys: Keys, header: Mapping[str, Any]) -> list[jwt.PyJWK]:
    """Return the keys that the header names by id, or all keys for its algorithm if it names none.

    Keys that cannot be read are skipped: a provider may publish kinds that PyJWT does not know.
    """
    usable = []
    for key in keys:
        if key.get("use", "sig") != "sig" or key.get("alg", header["alg"]) != header["alg"]:
            continue
        if "kid" in header and key.get("kid") != header["kid"]:
            continue
        try:
            usable.append(jwt.PyJWK(dict(key), algorithm=header["alg"]))
        except (jwt.PyJWKError, jwt.InvalidKeyError, ValueError, TypeError):
            continue
    return usable


def _invalid_token(reason: str) -> PermissionDenied:
    return PermissionDenied(f"Openid error: the provider's ID token is refused: {reason}; begin again at /me.")
