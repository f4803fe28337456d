"""ID tokens: accepted only if the provider signed them for this registry, now, and in this sign-in."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from accounts.oidc import id_tokens
from registry_site.errors import PermissionDenied
from tests.support.bad_provider import CLIENT_ID, CLIENT_SECRET, Key, base64url, sign_jwt

pytestmark = pytest.mark.database_independent

ISSUER = "https://id.example.com"
NONCE = "nonce of this sign-in"
RSA = Key("rsa", "RS256")
EC = Key("ec", "ES256")
FOREIGN = Key("ec", "ES256", number=1)


def good_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good token with changes, of which `...` removes a claim."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "42", "iat": now, "exp": now + 300, "nonce": NONCE}
    return {name: value for name, value in {**claims, **changes}.items() if value is not ...}


def sign_claims(**changes: Any) -> str:
    return sign_jwt(good_claims(**changes), EC)


def verify(token: Any, *keys: Mapping[str, Any], nonce: str | None = NONCE) -> dict[str, Any]:
    return id_tokens.verify_id_token(token, keys or [EC.jwk()], issuer=ISSUER, client_id=CLIENT_ID, nonce=nonce)


def verify_userinfo(token: str, *keys: Mapping[str, Any]) -> dict[str, Any]:
    return id_tokens.verify_userinfo(token, keys or [EC.jwk()], issuer=ISSUER, client_id=CLIENT_ID)


def error_of(check: Callable[..., Any], *args: Any, **options: Any) -> PermissionDenied | None:
    """Return the error that a check raises, or None if it accepts the token."""
    try:
        check(*args, **options)
    except PermissionDenied as error:
        return error
    return None


def is_refused(token: str, *keys: Mapping[str, Any], **options: Any) -> bool:
    return error_of(verify, token, *keys, **options) is not None


def hmac_with(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda message: hmac.digest(secret, message, hashlib.sha256)


# --- Accepted signatures -----------------------------------------------------------------------------------------


def test_good_token_is_accepted() -> None:
    claims = good_claims(nickname="gagbo")
    assert verify(sign_jwt(claims, EC)) == claims


def test_accepted_algorithms_are_asymmetric() -> None:
    assert set(id_tokens.ALGORITHMS) == {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA"),
    }


def test_each_algorithm_verifies_the_signature() -> None:
    errors = {}
    for algorithm in id_tokens.ALGORITHMS:
        key = Key("k", algorithm)
        token = sign_jwt(good_claims(), key)
        assert verify(token, key.jwk())["sub"] == "42", algorithm
        header, _, signature = token.split(".")
        body = base64url(json.dumps(good_claims(sub="43")).encode())
        errors[algorithm] = str(error_of(verify, f"{header}.{body}.{signature}", key.jwk()))
    assert [algorithm for algorithm, error in errors.items() if "InvalidSignatureError" not in error] == []


def test_key_id_selects_one_of_several_keys() -> None:
    assert verify(sign_jwt(good_claims(), RSA), EC.jwk(), RSA.jwk(), Key("b", "ES384").jwk())


@pytest.mark.parametrize("member", ["alg", "use"])
def test_key_may_omit_its_purpose(member: str) -> None:
    assert verify(sign_claims(), EC.jwk(**{member: None}))


def test_key_id_is_optional_with_one_key() -> None:
    assert verify(sign_jwt(good_claims(), EC, {"kid": None}))


def test_key_id_is_optional_among_other_kinds() -> None:
    assert verify(sign_jwt(good_claims(), EC, {"kid": None}), EC.jwk(), RSA.jwk())


# --- Refused signatures ------------------------------------------------------------------------------------------


def test_other_algorithms_are_refused() -> None:
    junk: list[Any] = [1, True, [], ["ES256"], {}, {"ES256": 1}]
    names = ["none", "None", "NONE", "nOnE", "", None, "HS256", "HS512", "RS1", "ES256K"]
    accepted = [
        (algorithm, signature)
        for algorithm in [*names, *junk]
        for signature in (b"", b"x")
        if not is_refused(sign_jwt(good_claims(), EC, {"alg": algorithm}, lambda _, value=signature: value))  # type: ignore[misc]
    ]
    assert accepted == []


PUBLIC_KEY = RSA.private.public_key()
SECRETS = {
    "secret of the client": CLIENT_SECRET.encode(),
    "no secret": b"",
    "PEM": PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "PEM without its last line end": PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)[:-1],
    "PKCS 1": PUBLIC_KEY.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    "DER": PUBLIC_KEY.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    "JWK": json.dumps(RSA.jwk()).encode(),
    "modulus": RSA.jwk()["n"].encode(),
}


def test_known_secret_signs_nothing() -> None:
    for name, secret in SECRETS.items():
        token = sign_jwt(good_claims(), RSA, {"alg": "HS256"}, hmac_with(secret))
        assert "it is not signed in a way that counts here" in str(error_of(verify, token, RSA.jwk())), name


def test_symmetric_key_of_the_provider_signs_nothing() -> None:
    symmetric = {"kty": "oct", "k": base64url(b"x" * 32), "kid": "rsa", "alg": "HS256"}
    assert is_refused(sign_jwt(good_claims(), RSA, {"alg": "HS256"}, hmac_with(b"x" * 32)), symmetric)


def test_key_signs_in_its_own_algorithm_only() -> None:
    algorithms = ["ES256", "EdDSA", "PS256", "RS512"]
    assert all(is_refused(sign_jwt(good_claims(), Key("rsa", name)), RSA.jwk()) for name in algorithms)


def test_key_of_another_kind_is_refused() -> None:
    algorithms = ["ES256", "RS384", "EdDSA"]
    assert all(is_refused(sign_jwt(good_claims(), RSA, {"alg": name}), RSA.jwk(alg=name)) for name in algorithms)


def test_foreign_key_with_a_known_id_is_refused() -> None:
    with pytest.raises(PermissionDenied, match="InvalidSignatureError"):
        verify(sign_jwt(good_claims(), FOREIGN))


def test_unknown_key_id_raises_unknown_signing_key() -> None:
    for kid in ("other", "", "EC", "ec ", "../ec"):
        with pytest.raises(id_tokens.UnknownSigningKey, match="is not signed by one of the provider's keys"):
            verify(sign_jwt(good_claims(), EC, {"kid": kid}))


def test_key_id_that_is_no_text_is_refused() -> None:
    junk: list[Any] = [1, ["ec"], {}, True]
    assert all(is_refused(sign_jwt(good_claims(), EC, {"kid": kid})) for kid in junk)


def test_key_id_is_required_among_several_keys() -> None:
    with pytest.raises(id_tokens.UnknownSigningKey):
        verify(sign_jwt(good_claims(), EC, {"kid": None}), EC.jwk(), Key("b", number=1).jwk())


def test_provider_without_keys_signs_nothing() -> None:
    with pytest.raises(id_tokens.UnknownSigningKey):
        id_tokens.verify_id_token(sign_claims(), [], issuer=ISSUER, client_id=CLIENT_ID, nonce=NONCE)


def test_two_keys_of_one_id_are_refused() -> None:
    with pytest.raises(id_tokens.UnknownSigningKey):
        verify(sign_claims(), EC.jwk(), Key("ec", number=1).jwk())


def test_encryption_key_signs_nothing() -> None:
    with pytest.raises(id_tokens.UnknownSigningKey):
        verify(sign_claims(), EC.jwk(use="enc"))


def test_key_in_the_token_signs_nothing() -> None:
    headers: list[dict[str, Any]] = [
        {"jwk": FOREIGN.jwk()},
        {"jku": "http://127.0.0.1:9/jwks"},
        {"x5u": "http://127.0.0.1:9/certificate"},
        {"x5c": ["MIIB"]},
    ]
    for header in headers:
        with pytest.raises(PermissionDenied, match="InvalidSignatureError"):
            verify(sign_jwt(good_claims(), FOREIGN, header))


JUNK_KEYS: list[dict[str, Any]] = [
    {},
    {"kty": None},
    {"kty": 1},
    {"kty": ["RSA"]},
    {"kty": "RSA"},
    {"kty": "RSA", "n": "", "e": ""},
    {"kty": "RSA", "n": 5, "e": "AQAB"},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    {"kty": "RSA", "n": None, "e": None},
    {"kty": "RSA", "n": "ä", "e": "AQAB"},
    {"kty": "EC", "crv": "P-256"},
    {"kty": "EC", "crv": "P-256", "x": 5, "y": []},
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": [], "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": "P-256", "x": base64url(b"x" * 32), "y": base64url(b"x" * 32)},
    {"kty": "OKP", "crv": "Ed25519", "x": "AA"},
    {"kty": "OKP", "crv": "X25519", "x": base64url(b"x" * 32)},
    {"kty": "oct", "k": "AA"},
    {"kty": "RSA", "alg": 1},
    {"kty": "RSA", "alg": []},
    {"kty": "RSA", "use": []},
]


@pytest.mark.parametrize("key", [RSA, EC, Key("ed", "EdDSA")], ids=["RSA", "EC", "Ed25519"])
def test_junk_among_the_keys_is_skipped(key: Key) -> None:
    token, token_without_key_id = sign_jwt(good_claims(), key), sign_jwt(good_claims(), key, {"kid": None})
    for junk in JUNK_KEYS:
        assert verify(token_without_key_id, junk, key.jwk()), junk
        with pytest.raises(id_tokens.UnknownSigningKey):
            verify(token, {**junk, "kid": key.kid})


# --- Audience and issuer -----------------------------------------------------------------------------------------


def test_token_for_this_client_is_accepted() -> None:
    cases: list[dict[str, Any]] = [
        {"aud": [CLIENT_ID]},
        {"azp": CLIENT_ID},
        {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID},
    ]
    assert [verify(sign_claims(**changes))["sub"] for changes in cases] == ["42"] * len(cases)


NOT_FOR_US: list[dict[str, Any]] = [
    {"aud": "other"},
    {"aud": ["other"]},
    {"aud": []},
    {"aud": ""},
    {"aud": None},
    {"aud": ...},
    {"aud": CLIENT_ID.upper()},
    {"aud": f"{CLIENT_ID} other"},
    {"aud": [CLIENT_ID, "other"]},
    {"aud": [CLIENT_ID, CLIENT_ID]},
    {"aud": [CLIENT_ID, "other"], "azp": "other"},
    {"azp": "other"},
    {"azp": None},
    {"azp": [CLIENT_ID]},
]


def test_token_for_another_client_is_refused() -> None:
    assert [changes for changes in NOT_FOR_US if not is_refused(sign_claims(**changes))] == []


def test_token_of_another_issuer_is_refused() -> None:
    issuers: list[Any] = [..., None, "", f"{ISSUER}/", "http://id.example.com", ISSUER.upper(), [ISSUER]]
    assert [issuer for issuer in issuers if not is_refused(sign_claims(iss=issuer))] == []


# --- Validity period ---------------------------------------------------------------------------------------------

SKEW = id_tokens.CLOCK_SKEW
SLACK = 20  # seconds that a slow machine may take


@pytest.mark.parametrize("changes", [{"exp": SLACK - SKEW}, {"nbf": SKEW - SLACK}, {"iat": SKEW - SLACK}])
def test_clocks_may_differ_a_little(changes: dict[str, int]) -> None:
    now = int(time.time())
    assert verify(sign_claims(**{name: now + seconds for name, seconds in changes.items()}))


@pytest.mark.parametrize("changes", [{"exp": -SKEW - 1}, {"nbf": SKEW + SLACK}, {"iat": SKEW + SLACK}, {"exp": -1e9}])
def test_token_outside_its_period_is_refused(changes: dict[str, int]) -> None:
    now = int(time.time())
    with pytest.raises(PermissionDenied, match=r"(Expired|Immature)SignatureError\), so .*compare the clocks"):
        verify(sign_claims(**{name: now + seconds for name, seconds in changes.items()}))


def test_required_claims_must_be_present() -> None:
    for name in ("exp", "iat", "sub", "iss", "aud"):
        with pytest.raises(PermissionDenied, match="MissingRequiredClaimError"):
            verify(sign_claims(**{name: ...}))


# --- Nonce -------------------------------------------------------------------------------------------------------


def test_token_of_another_sign_in_is_refused() -> None:
    nonces: list[Any] = [..., None, "", "other", NONCE.upper(), f"{NONCE} ", 5, [NONCE], {}, "ñ"]
    for nonce in nonces:
        with pytest.raises(PermissionDenied, match="it belongs to another sign-in"):
            verify(sign_claims(nonce=nonce))


def test_sign_in_without_a_nonce_accepts_no_token() -> None:
    nonces: list[Any] = [..., None, "", "None"]
    for nonce in nonces:
        with pytest.raises(PermissionDenied, match="it belongs to another sign-in"):
            verify(sign_claims(nonce=nonce), nonce=None)


# --- Subject -----------------------------------------------------------------------------------------------------


def test_printable_subject_is_accepted() -> None:
    for subject in ("0", "x" * 255, "with blanks and ünïcode", "../..", "' OR 1=1"):
        assert verify(sign_claims(sub=subject))["sub"] == subject


def test_unprintable_subject_is_refused() -> None:
    message = "Openid error: the provider's ID token is refused: it does not say who you are; begin again at /me."
    for subject in ("", "x" * 256, "a\0b", "a\nb", "\x1b[31m", "\u202ea", "\ud800"):
        error = error_of(verify, sign_claims(sub=subject))
        assert error is not None, subject
        assert error.message == message


def test_subject_that_is_no_text_is_refused() -> None:
    junk: list[Any] = [None, 42, True, ["42"], {"sub": "42"}]
    for subject in junk:
        assert is_refused(sign_claims(sub=subject)), subject
        assert error_of(id_tokens.get_subject, {"sub": subject}), subject


# --- Junk --------------------------------------------------------------------------------------------------------

LONG_NUMBER = b'{"exp":' + b"9" * 5000 + b"}"
JUNK_TOKENS = {
    "nothing": "",
    "a word": "x",
    "dots": "..",
    "more dots": "....",
    "no base64": "!.!.!",
    "not ASCII": "ä.ö.ü",
    "a surrogate": "\ud800.x.x",
    "NUL": "\0.\0.\0",
    "five parts": "a.b.c.d.e",
    "a header that is no JSON": f"{base64url(b'x')}.{base64url(b'{}')}.x",
    "a header that is a list": f"{base64url(b'[]')}.{base64url(b'{}')}.x",
    "a header that is null": f"{base64url(b'null')}.{base64url(b'{}')}.x",
    "an empty header": f"{base64url(b'{}')}.{base64url(b'{}')}.x",
    "a header that is deep": f"{base64url(b'[' * 100_000)}.{base64url(b'{}')}.x",
    "a header with a long number": f"{base64url(LONG_NUMBER)}.{base64url(b'{}')}.x",
    "half a megabyte": "x" * 500_000,
}


def test_text_that_is_no_token_is_refused() -> None:
    for check in (verify, verify_userinfo):
        assert [name for name, token in JUNK_TOKENS.items() if error_of(check, token) is None] == []


JUNK_BODIES = {
    "nothing": b"",
    "a word": b"x",
    "a list": b"[]",
    "null": b"null",
    "a text": b'"x"',
    "not UTF-8": b'{"sub": "\xff"}',
    "deep": b'{"x":' + b"[" * 100_000,
    "a long number": LONG_NUMBER,
}


def test_signed_junk_is_refused() -> None:
    for check in (verify, verify_userinfo):
        assert [name for name, body in JUNK_BODIES.items() if error_of(check, sign_jwt(body, EC)) is None] == []


JUNK: list[Any] = [
    None,
    True,
    -1,
    1e999,
    -1e999,
    float("nan"),
    10**400,
    "",
    "x",
    "1e9",
    "\ud800",
    [],
    [[]],
    {},
    {"a": 1},
]


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "jti"])
def test_junk_in_a_claim_is_refused_or_ignored(name: str) -> None:
    for junk in JUNK:
        try:
            claims = verify(sign_claims(**{name: junk}))
        except PermissionDenied:
            continue
        assert name in ("exp", "iat", "nbf", "sub", "jti"), junk
        assert claims["sub"] == (junk if name == "sub" else "42")


def test_infinite_time_is_refused() -> None:
    cases = [(name, value) for name in ("exp", "nbf") for value in (1e999, float("nan"))]
    assert [case for case in cases if not is_refused(sign_claims(**dict([case])))] == []


# --- Signed userinfo ---------------------------------------------------------------------------------------------


def test_signed_userinfo_is_accepted() -> None:
    claims = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "42", "nickname": "gagbo"}
    assert verify_userinfo(sign_jwt(claims, EC)) == claims


def test_signed_userinfo_needs_issuer_audience_and_subject() -> None:
    for name in ("iss", "aud", "sub"):
        with pytest.raises(PermissionDenied, match="MissingRequiredClaimError"):
            verify_userinfo(sign_claims(**{name: ...}))


def test_signed_userinfo_of_others_is_refused() -> None:
    cases: list[dict[str, Any]] = [{"iss": "https://evil.example.com"}, {"aud": "other"}, {"exp": 1}]
    assert [changes for changes in cases if error_of(verify_userinfo, sign_claims(**changes)) is None] == []


def test_forged_userinfo_is_refused() -> None:
    forgeries = [
        sign_jwt(good_claims(), FOREIGN),
        sign_jwt(good_claims(), EC, {"alg": "none"}, lambda _: b""),
        sign_jwt(good_claims(), EC, {"alg": "HS256"}, hmac_with(CLIENT_SECRET.encode())),
    ]
    assert [token for token in forgeries if error_of(verify_userinfo, token) is None] == []


# --- Lists in claims ---------------------------------------------------------------------------------------------


def test_values_of_a_claim() -> None:
    cases: list[tuple[dict[str, Any], str, list[str]]] = [
        ({"groups": "ops"}, "groups", ["ops"]),
        ({"groups": "two words"}, "groups", ["two words"]),
        ({"groups": ["ops", "devs"]}, "groups", ["ops", "devs"]),
        ({"groups": []}, "groups", []),
        ({"groups": ""}, "groups", [""]),
        ({}, "groups", []),
        ({"realm_access": {"roles": ["ops"]}}, "realm_access.roles", ["ops"]),
        ({"a": {"b": {"c": "ops"}}}, "a.b.c", ["ops"]),
        ({"a": {"b.c": "ops"}}, "a.b.c", ["ops"]),
        ({"a.b": ["flat"], "a": {"b": ["nested"]}}, "a.b", ["flat"]),
        ({"https://example.com/groups": ["ops"]}, "https://example.com/groups", ["ops"]),
        ({"a": "ops"}, "a.b", []),
        ({"a": ["b"]}, "a.b", []),
        ({"a": {"c": "ops"}}, "a.b", []),
    ]
    assert [case for case in cases if id_tokens.list_values(case[0], case[1]) != case[2]] == []


def test_claim_of_another_type_has_no_values() -> None:
    cases: list[Any] = [None, 0, 5, 1.5, True, False, {}, {"ops": True}, {"ops": "ops"}]
    for junk in cases:
        assert id_tokens.list_values({"groups": junk}, "groups") == [], junk
        assert id_tokens.list_values({"a": {"groups": junk}}, "a.groups") == [], junk


def test_list_values_are_texts_only() -> None:
    assert id_tokens.list_values({"groups": [None, 1, True, ["ops"], {"ops": 1}, "devs"]}, "groups") == ["devs"]


def test_odd_claim_name_has_no_values() -> None:
    for name in ("", ".", "..", "a.", ".a", "a..b"):
        assert id_tokens.list_values({"a": {"c": "ops"}}, name) == [], name
