"""What of an ID token is believed: only what is signed by the provider, for this registry, now, in this sign-in."""

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
from tests.support.bad_provider import CLIENT_ID, CLIENT_SECRET, Key, base64url, signed

pytestmark = pytest.mark.database_independent

ISSUER = "https://id.example.com"
NONCE = "nonce of this sign-in"
RSA = Key("rsa", "RS256")
EC = Key("ec", "ES256")
FOREIGN = Key("ec", "ES256", number=1)
NOBODY_SAID = "Openid error: the provider's ID token is refused: it does not say who you are; begin again at /me."


def good(**changes: Any) -> dict[str, Any]:
    """The claims of a good token, with changes, of which `...` takes a claim out."""
    now = int(time.time())
    sound = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "42", "iat": now, "exp": now + 300, "nonce": NONCE}
    return {name: value for name, value in {**sound, **changes}.items() if value is not ...}


def verified(token: Any, *keys: Mapping[str, Any], nonce: str | None = NONCE) -> dict[str, Any]:
    return id_tokens.verify_id_token(token, keys or [EC.jwk()], issuer=ISSUER, client_id=CLIENT_ID, nonce=nonce)


def believed_userinfo(token: str, *keys: Mapping[str, Any]) -> dict[str, Any]:
    return id_tokens.verify_userinfo(token, keys or [EC.jwk()], issuer=ISSUER, client_id=CLIENT_ID)


def hashed(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda message: hmac.digest(secret, message, hashlib.sha256)


# --- Signatures that count ---------------------------------------------------------------------------------------


def test_good_token_is_believed() -> None:
    sound = good(nickname="gagbo")
    assert verified(signed(sound, EC)) == sound


def test_pinned_algorithms_are_asymmetric() -> None:
    assert set(id_tokens.ALGORITHMS) == {
        *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
        *("ES256", "ES384", "ES512", "EdDSA"),
    }


@pytest.mark.parametrize("algorithm", id_tokens.ALGORITHMS)
def test_each_pinned_algorithm_counts(algorithm: str) -> None:
    key = Key("k", algorithm)
    assert verified(signed(good(), key), key.jwk())["sub"] == "42"


@pytest.mark.parametrize("algorithm", id_tokens.ALGORITHMS)
def test_changed_token_is_refused_in_each_algorithm(algorithm: str) -> None:
    key = Key("k", algorithm)
    head, _, signature = signed(good(), key).split(".")
    body = base64url(json.dumps(good(sub="43")).encode())
    with pytest.raises(PermissionDenied, match="InvalidSignatureError"):
        verified(f"{head}.{body}.{signature}", key.jwk())


def test_key_is_found_among_others() -> None:
    assert verified(signed(good(), RSA), EC.jwk(), RSA.jwk(), Key("b", "ES384").jwk())


@pytest.mark.parametrize("member", ["alg", "use"])
def test_key_need_not_say_what_it_is_for(member: str) -> None:
    assert verified(signed(good(), EC), EC.jwk(**{member: None}))


def test_without_a_name_the_only_key_counts() -> None:
    assert verified(signed(good(), EC, {"kid": None}))


def test_without_a_name_the_only_key_of_its_kind_counts() -> None:
    assert verified(signed(good(), EC, {"kid": None}), EC.jwk(), RSA.jwk())


# --- Signatures that do not --------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, "HS256", "HS512", "RS1", "ES256K"])
@pytest.mark.parametrize("signature", [b"", b"x"])
def test_algorithm_that_is_not_pinned_is_refused(algorithm: str | None, signature: bytes) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(good(), EC, {"alg": algorithm}, lambda _: signature))


@pytest.mark.parametrize("junk", [1, True, [], ["ES256"], {}, {"ES256": 1}])
def test_algorithm_that_is_no_text_is_refused(junk: Any) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(good(), EC, {"alg": junk}))


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


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_secret_that_others_know_signs_nothing(secret: bytes) -> None:
    with pytest.raises(PermissionDenied, match="it is not signed in a way that counts here"):
        verified(signed(good(), RSA, {"alg": "HS256"}, hashed(secret)), RSA.jwk())


def test_secret_among_the_keys_of_the_provider_signs_nothing() -> None:
    symmetric = {"kty": "oct", "k": base64url(b"x" * 32), "kid": "rsa", "alg": "HS256"}
    with pytest.raises(PermissionDenied):
        verified(signed(good(), RSA, {"alg": "HS256"}, hashed(b"x" * 32)), symmetric)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256", "RS512"])
def test_key_signs_in_no_other_algorithm_than_its_own(algorithm: str) -> None:
    other = Key("rsa", algorithm)
    with pytest.raises(PermissionDenied):
        verified(signed(good(), other), RSA.jwk())


@pytest.mark.parametrize("said", ["ES256", "RS384", "EdDSA"])
def test_key_of_another_kind_than_it_says_is_none(said: str) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(good(), RSA, {"alg": said}), RSA.jwk(alg=said))


def test_foreign_key_of_a_known_name_is_refused() -> None:
    with pytest.raises(PermissionDenied, match="InvalidSignatureError"):
        verified(signed(good(), FOREIGN))


@pytest.mark.parametrize("kid", ["other", "", "EC", "ec ", "../ec"])
def test_unknown_name_of_a_key_is_told_as_such(kid: str) -> None:
    with pytest.raises(id_tokens.UnknownSigningKey, match="is not signed by one of the provider's keys"):
        verified(signed(good(), EC, {"kid": kid}))


@pytest.mark.parametrize("kid", [1, ["ec"], {}, True])
def test_name_of_a_key_that_is_no_text_is_refused(kid: Any) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(good(), EC, {"kid": kid}))


def test_without_a_name_none_of_several_keys_counts() -> None:
    with pytest.raises(id_tokens.UnknownSigningKey):
        verified(signed(good(), EC, {"kid": None}), EC.jwk(), Key("b", number=1).jwk())


def test_without_keys_nothing_counts() -> None:
    with pytest.raises(id_tokens.UnknownSigningKey):
        id_tokens.verify_id_token(signed(good(), EC), [], issuer=ISSUER, client_id=CLIENT_ID, nonce=NONCE)


def test_two_keys_of_one_name_are_none() -> None:
    with pytest.raises(id_tokens.UnknownSigningKey):
        verified(signed(good(), EC), EC.jwk(), Key("ec", number=1).jwk())


def test_key_for_encryption_signs_nothing() -> None:
    with pytest.raises(id_tokens.UnknownSigningKey):
        verified(signed(good(), EC), EC.jwk(use="enc"))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": FOREIGN.jwk()},
        {"jku": "http://127.0.0.1:9/jwks"},
        {"x5u": "http://127.0.0.1:9/certificate"},
        {"x5c": ["MIIB"]},
    ],
    ids=["jwk", "jku", "x5u", "x5c"],
)
def test_key_that_a_token_brings_along_signs_nothing(header: dict[str, Any]) -> None:
    with pytest.raises(PermissionDenied, match="InvalidSignatureError"):
        verified(signed(good(), FOREIGN, header))


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


@pytest.mark.parametrize("junk", JUNK_KEYS, ids=str)
@pytest.mark.parametrize("key", [RSA, EC, Key("ed", "EdDSA")], ids=["RSA", "EC", "Ed25519"])
def test_junk_among_the_keys_is_passed_over(junk: dict[str, Any], key: Key) -> None:
    assert verified(signed(good(), key, {"kid": None}), junk, key.jwk())
    with pytest.raises(id_tokens.UnknownSigningKey):
        verified(signed(good(), key), {**junk, "kid": key.kid})


# --- Whom it is for ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"aud": [CLIENT_ID]}, {"azp": CLIENT_ID}, {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID}]
)
def test_token_for_this_registry_is_believed(changes: dict[str, Any]) -> None:
    assert verified(signed(good(**changes), EC))["sub"] == "42"


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


@pytest.mark.parametrize("changes", NOT_FOR_US, ids=str)
def test_token_for_another_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(good(**changes), EC))


@pytest.mark.parametrize("issuer", [..., None, "", f"{ISSUER}/", "http://id.example.com", ISSUER.upper(), [ISSUER]])
def test_token_of_another_issuer_is_refused(issuer: Any) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(good(iss=issuer), EC))


# --- When it is good ---------------------------------------------------------------------------------------------

SKEW = id_tokens.CLOCK_SKEW
SLACK = 20  # seconds that a slow machine may take


@pytest.mark.parametrize("changes", [{"exp": SLACK - SKEW}, {"nbf": SKEW - SLACK}, {"iat": SKEW - SLACK}])
def test_clocks_may_differ_a_little(changes: dict[str, int]) -> None:
    now = int(time.time())
    assert verified(signed(good(**{name: now + seconds for name, seconds in changes.items()}), EC))


@pytest.mark.parametrize("changes", [{"exp": -SKEW - 1}, {"nbf": SKEW + SLACK}, {"iat": SKEW + SLACK}, {"exp": -1e9}])
def test_token_of_another_time_is_refused(changes: dict[str, int]) -> None:
    now = int(time.time())
    with pytest.raises(PermissionDenied, match=r"ExpiredSignatureError|ImmatureSignatureError"):
        verified(signed(good(**{name: now + seconds for name, seconds in changes.items()}), EC))


@pytest.mark.parametrize("name", ["exp", "iat", "sub", "iss", "aud"])
def test_claim_that_every_token_has_must_be_there(name: str) -> None:
    with pytest.raises(PermissionDenied, match="MissingRequiredClaimError"):
        verified(signed(good(**{name: ...}), EC))


# --- Which sign-in it belongs to ---------------------------------------------------------------------------------


@pytest.mark.parametrize("nonce", [..., None, "", "other", NONCE.upper(), f"{NONCE} ", 5, [NONCE], {}, "ñ"])
def test_token_of_another_sign_in_is_refused(nonce: Any) -> None:
    with pytest.raises(PermissionDenied, match="it belongs to another sign-in"):
        verified(signed(good(nonce=nonce), EC))


@pytest.mark.parametrize("nonce", [..., None, "", "None"])
def test_sign_in_without_a_nonce_believes_nothing(nonce: Any) -> None:
    with pytest.raises(PermissionDenied, match="it belongs to another sign-in"):
        verified(signed(good(nonce=nonce), EC), nonce=None)


# --- Who it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", ["0", "x" * 255, "with blanks and ünïcode", "../..", "' OR 1=1"])
def test_subject_is_any_text_that_can_be_shown(subject: str) -> None:
    assert verified(signed(good(sub=subject), EC))["sub"] == subject


@pytest.mark.parametrize("subject", ["", "x" * 256, "a\0b", "a\nb", "\x1b[31m", "\u202ea", "\ud800"])
def test_subject_that_cannot_be_shown_is_refused(subject: str) -> None:
    with pytest.raises(PermissionDenied) as refused:
        verified(signed(good(sub=subject), EC))
    assert refused.value.message == NOBODY_SAID


@pytest.mark.parametrize("subject", [None, 42, True, ["42"], {"sub": "42"}])
def test_subject_that_is_no_text_is_refused(subject: Any) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(good(sub=subject), EC))
    with pytest.raises(PermissionDenied):
        id_tokens.get_subject({"sub": subject})


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


@pytest.mark.parametrize("token", JUNK_TOKENS.values(), ids=JUNK_TOKENS)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(PermissionDenied):
        verified(token)
    with pytest.raises(PermissionDenied):
        believed_userinfo(token)


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


@pytest.mark.parametrize("body", JUNK_BODIES.values(), ids=JUNK_BODIES)
def test_signed_junk_is_refused(body: bytes) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(body, EC))
    with pytest.raises(PermissionDenied):
        believed_userinfo(signed(body, EC))


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
@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_in_a_claim_is_refused_or_without_effect(name: str, junk: Any) -> None:
    try:
        believed = verified(signed(good(**{name: junk}), EC))
    except PermissionDenied:
        return
    assert name in ("exp", "iat", "nbf", "sub", "jti")
    assert believed["sub"] == (junk if name == "sub" else "42")


@pytest.mark.parametrize("name", ["exp", "nbf"])
@pytest.mark.parametrize("never", [1e999, float("nan")])
def test_time_that_never_comes_is_no_time(name: str, never: float) -> None:
    with pytest.raises(PermissionDenied):
        verified(signed(good(**{name: never}), EC))


# --- Signed userinfo ---------------------------------------------------------------------------------------------


def test_signed_userinfo_is_believed() -> None:
    told = {"iss": ISSUER, "aud": CLIENT_ID, "sub": "42", "nickname": "gagbo"}
    assert believed_userinfo(signed(told, EC)) == told


@pytest.mark.parametrize("name", ["iss", "aud", "sub"])
def test_signed_userinfo_says_whose_it_is(name: str) -> None:
    with pytest.raises(PermissionDenied, match="MissingRequiredClaimError"):
        believed_userinfo(signed(good(**{name: ...}), EC))


@pytest.mark.parametrize("changes", [{"iss": "https://evil.example.com"}, {"aud": "other"}, {"exp": 1}], ids=str)
def test_signed_userinfo_of_others_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(PermissionDenied):
        believed_userinfo(signed(good(**changes), EC))


def test_forged_userinfo_is_refused() -> None:
    for token in (
        signed(good(), FOREIGN),
        signed(good(), EC, {"alg": "none"}, lambda _: b""),
        signed(good(), EC, {"alg": "HS256"}, hashed(CLIENT_SECRET.encode())),
    ):
        with pytest.raises(PermissionDenied):
            believed_userinfo(token)


# --- Lists of words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "name", "words"),
    [
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
    ],
)
def test_words_of_a_claim(said: dict[str, Any], name: str, words: list[str]) -> None:
    assert id_tokens.list_values(said, name) == words


@pytest.mark.parametrize("junk", [None, 0, 5, 1.5, True, False, {}, {"ops": True}, {"ops": "ops"}], ids=repr)
def test_claim_that_is_neither_text_nor_list_has_no_words(junk: Any) -> None:
    assert id_tokens.list_values({"groups": junk}, "groups") == []
    assert id_tokens.list_values({"a": {"groups": junk}}, "a.groups") == []


def test_only_texts_of_a_list_are_words() -> None:
    assert id_tokens.list_values({"groups": [None, 1, True, ["ops"], {"ops": 1}, "devs"]}, "groups") == ["devs"]


@pytest.mark.parametrize("name", ["", ".", "..", "a.", ".a", "a..b"])
def test_odd_name_of_a_claim_has_no_words(name: str) -> None:
    assert id_tokens.list_values({"a": {"c": "ops"}}, name) == []
