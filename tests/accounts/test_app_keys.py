"""Requests signed with an app key: which signatures are valid, how often, and for what."""

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import bans
from accounts.credentials import app_keys, revocation
from accounts.models import Credential, Nonce, User
from accounts.principals import Principal
from accounts.scopes import Scope
from registry_site.encryption import encrypt
from registry_site.errors import Unauthenticated
from tests.support.app_keys import KeyPair, issue_key, sign_request, urlsafe_base64
from tests.support.browser import Browser
from tests.support.cast import PASSWORD
from tests.support.concurrency import count_statuses, run_concurrently, send_json
from tests.support.servers import Server

KEYS = "/settings/appids"
PROFILE = "/settings/profile"
NOW = 1602923788  # the time in the vectors of the contract
AVATAR = b'{"avatar_uri": "http://example.org/"}'
REFUSAL = {
    "error": "unauthenticated",
    "message": "The token is not valid: its app key, signature, time, random value or body does not fit.",
}
CLIENT = Client(enforce_csrf_checks=True, raise_request_exception=False)  # without any cookie


def unpadded(data: bytes | str) -> str:
    return urlsafe_base64(data).rstrip("=")


def send(token: str, method: str = "GET", path: str = KEYS, body: bytes = b"", header: str = "Token") -> Any:
    return CLIENT.generic(method, path, body, "application/json", headers={header: token})


def is_refused(response: Any) -> bool:
    return (response.status_code, response.json()) == (401, REFUSAL)


@pytest.fixture
def key(alice: User) -> KeyPair:
    """A key of alice's, of type ALL."""
    return issue_key(alice)


@pytest.fixture
def frozen_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(NOW, UTC))


# --- The vectors of the contract ---------------------------------------------------------------------------------

VECTORS = {
    b'{"namespace":"acme"}': "client_id_1:alVV5-aIBTTdVuwb69BlurdLfno=:MTYwMjkyMzc4OA==:AAECAwQFBgcICQoLDA0ODw==:"
    "eyJuYW1lc3BhY2UiOiJhY21lIn0=",
    b"": "client_id_1:UdEPlv9_hMdwWFgFKS-IteWF5fc=:MTYwMjkyMzc4OA==:AAECAwQFBgcICQoLDA0ODw==:",
}


@pytest.mark.parametrize(("body", "token"), VECTORS.items(), ids=["body", "empty"])
@pytest.mark.usefixtures("frozen_clock")
def test_vector_of_the_contract_is_valid(alice: User, body: bytes, token: str) -> None:
    Credential.objects.create(
        user=alice,
        kind=Credential.Kind.APP_KEY,
        name="client_id_1",
        digest=hashlib.sha256(b"client_id_1").hexdigest(),
        app_key_type="ALL",
        secret=encrypt(app_keys.PURPOSE, "s3cret"),
    )
    principal, signed_body = app_keys.authenticate(token, body)
    assert (principal.user, signed_body) == (alice, body)


# --- Valid signatures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Token", "X-Auth-Token", "TOKEN"])
def test_signed_request_acts_as_the_owner(key: KeyPair, header: str) -> None:
    response = send(sign_request(key), header=header)
    assert response.status_code == 200
    assert response.json() == [{"appid": key.appid, "appsecret": key.appsecret, "type": "ALL"}]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@pytest.mark.parametrize("encode", [urlsafe_base64, unpadded])
def test_body_is_signed_by_each_algorithm_and_padding(
    key: KeyPair, algorithm: str, encode: Callable[[bytes | str], str]
) -> None:
    bodies = [b"{}", AVATAR, b'{"avatar_uri": ""}\n']
    tokens = {body: sign_request(key, body, algorithm=algorithm, encode=encode) for body in bodies}
    statuses = {body: send(token, "PATCH", PROFILE, body).status_code for body, token in tokens.items()}
    assert statuses == dict.fromkeys(bodies, 200)


def test_timestamp_can_be_bare_digits(key: KeyPair) -> None:
    assert send(sign_request(key, timestamp=str(int(time.time())))).status_code == 200


def test_random_value_can_be_long(key: KeyPair) -> None:
    assert send(sign_request(key, random=urlsafe_base64(secrets.token_bytes(64)))).status_code == 200


def test_signed_request_gets_no_cookie(key: KeyPair) -> None:
    assert not send(sign_request(key)).cookies


@pytest.mark.usefixtures("frozen_clock")
def test_clocks_can_differ_by_five_minutes(key: KeyPair) -> None:
    statuses = {
        seconds: send(sign_request(key, timestamp=urlsafe_base64(str(NOW + seconds)))).status_code
        for seconds in (-3600, -301, -300, -299, 0, 299, 300, 301, 3600)
    }
    assert [seconds for seconds, status in statuses.items() if status == 200] == [-300, -299, 0, 299, 300]
    assert set(statuses.values()) == {200, 401}


@pytest.mark.parametrize(
    ("key_type", "scopes"), [("READ_ONLY", ["read"]), ("PUBLISH", ["publish-new", "publish-update", "read"])]
)
def test_key_allows_the_scopes_of_its_type(alice: User, key_type: str, scopes: list[str]) -> None:
    principal, _ = app_keys.authenticate(sign_request(issue_key(alice, key_type)), b"")
    assert [scope for scope in Scope if principal.credential and principal.credential.allows(scope)] == scopes


def test_key_of_type_all_allows_scopes_added_later(key: KeyPair, alice: User) -> None:
    Credential.objects.update(scopes=["read"])  # as stored when there was no other scope
    principal, _ = app_keys.authenticate(sign_request(key), b"")
    for scope in Scope:
        principal.require(scope)
    assert [(owned.appid, owned.type) for owned in app_keys.list_owned(Principal(alice))] == [(key.appid, "ALL")]
    assert send(sign_request(key)).json() == [{"appid": key.appid, "appsecret": key.appsecret, "type": "ALL"}]


# --- Refusals: the answer does not tell them apart ---------------------------------------------------------------


BAD_TIMES = ["", "0", "-1", "1e9", "NaN", "1602923788.5", " 1602923788", "0x5f8a", "٣", "9" * 12, "9" * 5000, "\xff"]


@pytest.mark.parametrize("encode", [urlsafe_base64, str], ids=["base64", "bare"])
@pytest.mark.usefixtures("frozen_clock")
def test_malformed_timestamp_is_refused(key: KeyPair, encode: Callable[[str], str]) -> None:
    tokens = {text: sign_request(key, timestamp=encode(text)).encode().decode("latin-1") for text in BAD_TIMES}
    assert [text for text, token in tokens.items() if not is_refused(send(token))] == []


def test_short_random_value_is_refused(key: KeyPair) -> None:
    statuses = {
        size: send(sign_request(key, random=urlsafe_base64(secrets.token_bytes(size)))).status_code
        for size in (0, 1, 15, 16)
    }
    assert statuses == {0: 401, 1: 401, 15: 401, 16: 200}


def test_random_value_outside_base64_is_refused(key: KeyPair) -> None:
    values = ["!" * 22, "a" * 21 + "=" * 3, "a" * 21, "=" * 24, "ab=" * 10, "+/" * 12, "a b" * 8]
    assert [value for value in values if not is_refused(send(sign_request(key, random=value)))] == []


@pytest.mark.parametrize(
    ("signed_body", "sent"),
    [(b'{"type": "ALL"}', b'{"type": "READ_ONLY"}'), (b"", b"{}"), (b"{}", b""), (b"{}", b"{} "), (b"{}", b"\xff")],
)
def test_body_must_equal_the_signed_one(key: KeyPair, signed_body: bytes, sent: bytes) -> None:
    assert is_refused(send(sign_request(key, signed_body), "POST", KEYS, sent))
    assert Credential.objects.count() == 1


def test_digest_of_a_body_signs_only_uploads(key: KeyPair) -> None:
    body = b'{"type": "ALL"}'
    assert is_refused(send(sign_request(key, hashlib.sha256(body).digest()), "POST", KEYS, body))


def test_upload_is_signed_by_a_digest_or_nothing(key: KeyPair) -> None:
    for signed_body in (b"", b"x" * 32):
        assert app_keys.authenticate(sign_request(key, signed_body), None)[1] == signed_body
    for signed_body in (b"x" * 31, b"x" * 33):
        with pytest.raises(Unauthenticated):
            app_keys.authenticate(sign_request(key, signed_body), None)


def change_part(token: str, number: int, change: Callable[[str], str]) -> str:
    parts = token.split(":")
    return ":".join([*parts[:number], change(parts[number]), *parts[number + 1 :]])


CHANGES: list[Callable[[str], str]] = [
    lambda text: "",
    lambda text: text[1:],
    lambda text: text[:-6],
    lambda text: "A" + text[1:] if text[0] != "A" else "B" + text[1:],
    lambda text: text.swapcase(),
    lambda text: text + "A",
    lambda text: text + "é",
    lambda text: "x" * 9216,
    lambda text: "!" + text[1:],
    lambda text: "\x1b[31m" + text,
]


def test_changed_token_is_refused(key: KeyPair) -> None:
    offenders = []
    for part in range(5):
        for number, change in enumerate(CHANGES):
            token = change_part(sign_request(key, AVATAR), part, change)
            if not is_refused(send(token, "PATCH", PROFILE, AVATAR)):
                offenders.append((part, number, token))
    assert offenders == []


JUNK = ["", " ", ":", "::::", ":::::", "x", "Bearer x", "é" * 40, "a:b:c:d:e", "=:=:=:=:=", ":" * 9216, "x" * 9216]


@pytest.mark.parametrize("header", ["Token", "X-Auth-Token"])
def test_junk_is_refused(key: KeyPair, header: str) -> None:
    assert [token for token in JUNK if not is_refused(send(token, header=header))] == []


def test_token_has_five_parts(key: KeyPair) -> None:
    changes: dict[str, Callable[[str], str]] = {
        "four": lambda token: token.rsplit(":", 1)[0],
        "empty sixth": lambda token: f"{token}:",
        "empty first": lambda token: f":{token}",
    }
    assert [name for name, change in changes.items() if not is_refused(send(change(sign_request(key))))] == []


def test_other_algorithms_are_refused(key: KeyPair) -> None:
    algorithms = ["md5", "sha224", "sha384", "sha512"]
    assert [name for name in algorithms if not is_refused(send(sign_request(key, algorithm=name)))] == []


def test_signature_by_another_key_is_refused(key: KeyPair, bob: User) -> None:
    assert is_refused(send(sign_request(KeyPair(key.appid, issue_key(bob).appsecret))))


def test_unknown_key_is_refused(key: KeyPair) -> None:
    assert is_refused(send(sign_request(KeyPair("app_none", key.appsecret))))


@pytest.mark.parametrize("kind", [Credential.Kind.CARGO_TOKEN, Credential.Kind.BROWSER_SESSION])
def test_credential_of_another_kind_is_no_app_key(key: KeyPair, kind: str) -> None:
    Credential.objects.update(kind=kind)
    assert is_refused(send(sign_request(key)))


def delete(key: KeyPair, user: User) -> None:
    app_keys.delete(Principal(user), key.appid)


def revoke(key: KeyPair, user: User) -> None:
    revocation.revoke(Credential.objects.get(name=key.appid), user)


def ban(key: KeyPair, user: User) -> None:
    bans.ban(user, actor=None)


def deactivate(key: KeyPair, user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def expire(key: KeyPair, user: User) -> None:
    Credential.objects.filter(name=key.appid).update(expires_at=timezone.now())


def restrict_networks(key: KeyPair, user: User) -> None:
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24")


@pytest.mark.parametrize("end", [delete, revoke, ban, deactivate, expire, restrict_networks])
def test_ended_key_is_refused(key: KeyPair, alice: User, end: Callable[[KeyPair, User], None]) -> None:
    assert send(sign_request(key)).status_code == 200
    end(key, alice)
    assert is_refused(send(sign_request(key)))


def test_key_under_a_lost_secret_is_unavailable(key: KeyPair, settings: Any) -> None:
    settings.SECRET_KEY = "x" * 50
    response = send(sign_request(key))
    assert (response.status_code, response.json()["error"]) == (503, "unavailable")
    assert "Retry-After" in response


def test_large_body_is_refused_before_it_is_read(key: KeyPair) -> None:
    response = send(sign_request(key), "PATCH", PROFILE, b" " * (1024 * 1024 + 1))
    assert (response.status_code, response.json()["error"]) == (413, "too_large")


# --- Replays -----------------------------------------------------------------------------------------------------


def test_token_is_valid_once(key: KeyPair) -> None:
    token = sign_request(key)
    assert send(token).status_code == 200
    assert is_refused(send(token))


def test_used_token_is_refused_at_other_paths(key: KeyPair) -> None:
    token = sign_request(key)
    assert send(token, path="/users/alice").status_code == 200
    assert is_refused(send(token, "DELETE", f"{KEYS}/{key.appid}"))


def test_random_value_is_valid_once_in_each_padding(key: KeyPair) -> None:
    random = secrets.token_bytes(16)
    forms = [urlsafe_base64(random), unpadded(random), unpadded(random) + "="]
    assert [send(sign_request(key, random=form)).status_code for form in forms] == [200, 401, 401]


def test_random_value_is_valid_once_for_all_bodies(key: KeyPair) -> None:
    random = urlsafe_base64(secrets.token_bytes(16))
    assert send(sign_request(key, random=random)).status_code == 200
    later = str(int(time.time()) + 9)
    assert is_refused(send(sign_request(key, b"{}", random=random, timestamp=later), "PATCH", PROFILE, b"{}"))
    assert is_refused(send(sign_request(key, random=random, algorithm="sha256")))


def test_random_value_of_another_key_is_free(key: KeyPair, alice: User) -> None:
    random = urlsafe_base64(secrets.token_bytes(16))
    keys = [key, issue_key(alice)]
    assert [send(sign_request(each, random=random)).status_code for each in keys] == [200, 200]


def test_refused_request_stores_no_random_value(key: KeyPair) -> None:
    random = urlsafe_base64(secrets.token_bytes(16))
    assert is_refused(send(change_part(sign_request(key, random=random), 1, str.swapcase)))
    assert is_refused(send(sign_request(key, b"{}", random=random)))
    assert send(sign_request(key, random=random)).status_code == 200


def test_random_value_is_stored_as_long_as_needed(key: KeyPair) -> None:
    token = sign_request(key, timestamp=urlsafe_base64(str(int(time.time()) + 290)))
    assert send(token).status_code == 200
    Nonce.objects.update(used_at=timezone.now() - timedelta(minutes=9, seconds=50))
    assert send(sign_request(key)).status_code == 200  # deletes the values that are too old
    assert is_refused(send(token))


def test_random_values_are_deleted_after_ten_minutes(key: KeyPair) -> None:
    for _ in range(3):
        send(sign_request(key))
    Nonce.objects.update(used_at=timezone.now() - timedelta(minutes=10, seconds=1))
    assert send(sign_request(key)).status_code == 200
    assert Nonce.objects.count() == 1


# --- Types of keys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", ["READ_ONLY", "PUBLISH", "ALL"])
def test_every_key_reads(alice: User, key_type: str) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    response = send(sign_request(issue_key(alice, key_type)), path="/users/alice")
    assert (response.status_code, response.json()["email"]) == (200, "alice@example.org")


REQUESTS = [
    ("GET", KEYS, b""),
    ("POST", KEYS, b'{"type": "ALL"}'),
    ("PATCH", PROFILE, AVATAR),
    ("PATCH", PROFILE, b"{}"),
    ("DELETE", f"{KEYS}/APPID", b""),
]


@pytest.mark.parametrize("key_type", ["READ_ONLY", "PUBLISH"])
def test_limited_key_has_no_access_to_the_account(alice: User, key_type: str) -> None:
    key = issue_key(alice, key_type)
    for method, path, body in REQUESTS:
        response = send(sign_request(key, body), method, path.replace("APPID", key.appid), body)
        assert (response.status_code, response.json()["error"]) == (403, "scope_missing"), (method, path)
        assert set(response.json()) == {"error", "message"}
    assert (Credential.objects.get().revoked_at, User.objects.get().avatar_uri) == (None, "")


def test_key_of_type_all_manages_the_account(key: KeyPair) -> None:
    statuses = [
        send(sign_request(key, body), method, path.replace("APPID", key.appid), body).status_code
        for method, path, body in REQUESTS
    ]
    assert statuses == [200] * len(REQUESTS)


@pytest.mark.parametrize("field", ["username", "password", "email"])
def test_no_key_changes_name_password_or_email(key: KeyPair, alice: User, field: str) -> None:
    before = User.objects.values().get(pk=alice.pk)
    body = json.dumps({field: "battery@example.org", "avatar_uri": "http://example.org/"}).encode()
    response = send(sign_request(key, body), "PATCH", PROFILE, body)
    assert (response.status_code, response.json()["error"]) == (403, "denied")
    assert User.objects.values().get(pk=alice.pk) == before


@pytest.mark.parametrize("header", ["Authorization", "Cookie", "X-Token"])
def test_token_in_another_header_is_ignored(key: KeyPair, header: str) -> None:
    assert send(sign_request(key), header=header).json()["error"] == "no_credential"


def test_documented_header_comes_first(key: KeyPair) -> None:
    documented = CLIENT.get(KEYS, headers={"Token": sign_request(key), "X-Auth-Token": "junk"})
    assert documented.status_code == 200
    assert is_refused(CLIENT.get(KEYS, headers={"Token": "junk", "X-Auth-Token": sign_request(key)}))


def test_token_in_the_query_is_ignored(key: KeyPair) -> None:
    assert Client().get(KEYS, {"token": sign_request(key)}).json()["error"] == "no_credential"


@pytest.mark.parametrize("path", ["/api/v1/crates/none/owners", "/api/stable/auth/whoami"])
def test_other_dialects_ignore_app_keys(key: KeyPair, path: str) -> None:
    assert send(sign_request(key), path=path).status_code == 401


# --- Beside a cookie ---------------------------------------------------------------------------------------------


@pytest.fixture
def browser_of_bob(bob: User) -> Browser:
    return Browser(bob)


@pytest.mark.parametrize("header", ["Token", "X-Auth-Token"])
def test_cookie_does_not_help_a_bad_token(browser_of_bob: Browser, header: str) -> None:
    assert browser_of_bob.get(KEYS).status_code == 200
    tokens = ["", "junk", "a:b:c:d:e"]
    assert [token for token in tokens if not is_refused(browser_of_bob.get(KEYS, headers={header: token}))] == []


def test_token_comes_before_the_cookie(browser_of_bob: Browser, key: KeyPair) -> None:
    browser_of_bob.generic("PATCH", PROFILE, AVATAR, "application/json", headers={"Token": sign_request(key, AVATAR)})
    assert {user.username: user.avatar_uri for user in User.objects.all()} == {
        "alice": "http://example.org/",
        "bob": "",
    }


def test_cookie_does_not_widen_a_limited_key(browser_of_bob: Browser, bob: User) -> None:
    key = issue_key(bob, "READ_ONLY")
    assert browser_of_bob.get(KEYS, headers={"Token": sign_request(key)}).status_code == 403


def test_signed_change_needs_no_csrf_token(key: KeyPair) -> None:
    client = Client(enforce_csrf_checks=True, headers={"Origin": "http://elsewhere.example"})
    response = client.generic("PATCH", PROFILE, b"{}", "application/json", headers={"Token": sign_request(key, b"{}")})
    assert response.status_code == 200


# --- A race ------------------------------------------------------------------------------------------------------


def test_fifty_concurrent_requests_use_a_token_once(server: Server) -> None:
    server.sign_up("alice")
    session = send_json(server, "POST", "/login", {"username": "alice", "password": PASSWORD}).cookies
    headers = {"Cookie": f"registry_session={session['registry_session'].value}", "Origin": server.url}
    pair = send_json(server, "POST", KEYS, {"type": "ALL"}, headers=headers).body
    token = sign_request(KeyPair(pair["appid"], pair["appsecret"]))
    calls = [partial(send_json, server, "GET", KEYS, headers={"Token": token})] * 50
    assert count_statuses(run_concurrently(calls)) == {200: 1, 401: 49}
