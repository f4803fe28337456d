"""Requests that are signed with an app key: which signatures are good, how often, and for what."""

import hashlib
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from threading import Barrier
from typing import Any, NamedTuple

import pytest
from django.test import Client
from django.utils import timezone

from accounts import bans
from accounts.credentials import app_keys, revocation
from accounts.models import Credential, Nonce, User
from accounts.principals import Principal
from accounts.scopes import Scope
from registry_site.encryption import encrypt
from tests.support.app_keys import KeyPair, issue_key, sign_request, urlsafe_base64
from tests.support.cast import PASSWORD
from tests.support.servers import Server, running

KEYS = "/settings/appids"
PROFILE = "/settings/profile"
REFUSAL = {
    "error": "unauthenticated",
    "message": "The token is not valid: its app key, signature, time, random value or body does not fit.",
}


def bare(data: bytes | str) -> str:
    """Base64 without its padding, as Django's own helper has it."""
    return urlsafe_base64(data).rstrip("=")


STRANGER = Client(enforce_csrf_checks=True, raise_request_exception=False)  # is never given a cookie


def ask(token: str, method: str = "GET", path: str = KEYS, body: bytes = b"", header: str = "Token") -> Any:
    return STRANGER.generic(method, path, body, "application/json", headers={header: token})


def assert_refused(response: Any) -> None:
    assert (response.status_code, response.json()) == (401, REFUSAL)


@pytest.fixture
def key(alice: User) -> KeyPair:
    """Alice's, for all that she may."""
    return issue_key(alice)


# --- The vectors of the contract ---------------------------------------------------------------------------------

VECTORS = [
    (
        b'{"namespace":"acme"}',
        "client_id_1:alVV5-aIBTTdVuwb69BlurdLfno=:MTYwMjkyMzc4OA==:AAECAwQFBgcICQoLDA0ODw==:eyJuYW1lc3BhY2UiOiJhY21lIn0=",
    ),
    (b"", "client_id_1:UdEPlv9_hMdwWFgFKS-IteWF5fc=:MTYwMjkyMzc4OA==:AAECAwQFBgcICQoLDA0ODw==:"),
]


@pytest.mark.parametrize(("body", "token"), VECTORS, ids=["body", "empty"])
def test_vector_of_the_contract_is_good(alice: User, monkeypatch: pytest.MonkeyPatch, body: bytes, token: str) -> None:
    Credential.objects.create(
        user=alice,
        kind=Credential.Kind.APP_KEY,
        name="client_id_1",
        digest=hashlib.sha256(b"client_id_1").hexdigest(),
        app_key_type="ALL",
        secret=encrypt(app_keys.PURPOSE, "s3cret"),
    )
    monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(1602923788, UTC))
    assert app_keys.authenticate(token, body)[0].user == alice


# --- What is good ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("header", ["Token", "X-Auth-Token", "TOKEN"])
def test_signed_request_is_its_owners(key: KeyPair, header: str) -> None:
    response = ask(sign_request(key), header=header)
    assert response.status_code == 200
    assert response.json() == [{"appid": key.appid, "appsecret": key.appsecret, "type": "ALL"}]


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@pytest.mark.parametrize("coded", [urlsafe_base64, bare])
@pytest.mark.parametrize("body", [b"{}", b'{"avatar_uri": "http://example.org/"}', b'{"avatar_uri": ""}\n'])
def test_body_is_signed_in_each_way(
    key: KeyPair, algorithm: str, coded: Callable[[bytes | str], str], body: bytes
) -> None:
    token = sign_request(key, body, algorithm=algorithm, coded=coded)
    assert ask(token, "PATCH", PROFILE, body).status_code == 200


def test_time_may_stand_there_in_digits(key: KeyPair) -> None:
    assert ask(sign_request(key, at=str(int(time.time())))).status_code == 200


def test_random_value_may_be_long(key: KeyPair) -> None:
    assert ask(sign_request(key, random=urlsafe_base64(secrets.token_bytes(64)))).status_code == 200


def test_no_cookie_is_given_to_a_signed_request(key: KeyPair) -> None:
    assert not ask(sign_request(key)).cookies


@pytest.mark.parametrize("ahead", [-300, -299, 0, 299, 300])
def test_clocks_may_differ_by_five_minutes(key: KeyPair, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(1602923788, UTC))
    assert ask(sign_request(key, at=urlsafe_base64(str(1602923788 + ahead)))).status_code == 200


@pytest.mark.parametrize(("key_type", "scopes"), [("READ_ONLY", ["read"]), ("PUBLISH", ["read", "publish"])])
def test_key_allows_the_scopes_of_its_type(alice: User, key_type: str, scopes: list[str]) -> None:
    key = issue_key(alice, key_type)
    principal, _ = app_keys.authenticate(sign_request(key), b"")
    assert [scope for scope in Scope if principal.credential and principal.credential.allows(scope)] == scopes


def test_key_of_type_all_allows_scopes_added_later(key: KeyPair, alice: User) -> None:
    Credential.objects.update(scopes=["read"])  # as stored when there was no other scope
    principal, _ = app_keys.authenticate(sign_request(key), b"")
    for scope in Scope:
        principal.require(scope)
    assert [(owned.appid, owned.type) for owned in app_keys.list_owned(Principal(alice))] == [(key.appid, "ALL")]
    assert ask(sign_request(key)).json() == [{"appid": key.appid, "appsecret": key.appsecret, "type": "ALL"}]


# --- What is refused, all of it alike ----------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-3600, -301, 301, 3600])
def test_other_times_are_refused(key: KeyPair, monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    monkeypatch.setattr(timezone, "now", lambda: datetime.fromtimestamp(1602923788, UTC))
    assert_refused(ask(sign_request(key, at=urlsafe_base64(str(1602923788 + ahead)))))


BAD_TIMES = ["", "0", "-1", "1e9", "NaN", "1602923788.5", " 1602923788", "0x5f8a", "٣", "9" * 12, "9" * 5000, "\xff"]


@pytest.mark.parametrize("at", BAD_TIMES)
@pytest.mark.parametrize("coded", [urlsafe_base64, str], ids=["base64", "bare"])
def test_what_is_no_time_is_refused(key: KeyPair, at: str, coded: Callable[[str], str]) -> None:
    assert_refused(ask(sign_request(key, at=coded(at)).encode().decode("latin-1")))


@pytest.mark.parametrize("size", [0, 1, 15])
def test_short_random_value_is_refused(key: KeyPair, size: int) -> None:
    assert_refused(ask(sign_request(key, random=urlsafe_base64(secrets.token_bytes(size)))))


@pytest.mark.parametrize("random", ["!" * 22, "a" * 21 + "=" * 3, "a" * 21, "=" * 24, "ab=" * 10, "+/" * 12, "a b" * 8])
def test_random_value_in_no_base64_is_refused(key: KeyPair, random: str) -> None:
    assert_refused(ask(sign_request(key, random=random)))


@pytest.mark.parametrize(
    ("signed_body", "sent"),
    [(b'{"type": "ALL"}', b'{"type": "READ_ONLY"}'), (b"", b"{}"), (b"{}", b""), (b"{}", b"{} "), (b"{}", b"\xff")],
)
def test_another_body_than_the_signed_one_is_refused(key: KeyPair, signed_body: bytes, sent: bytes) -> None:
    assert_refused(ask(sign_request(key, signed_body), "POST", KEYS, sent))
    assert Credential.objects.count() == 1


def altered(token: str, part: int, change: Callable[[str], str]) -> str:
    parts = token.split(":")
    return ":".join([*parts[:part], change(parts[part]), *parts[part + 1 :]])


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


@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("change", CHANGES, ids=map(str, range(len(CHANGES))))
def test_altered_token_is_refused(key: KeyPair, part: int, change: Callable[[str], str]) -> None:
    body = b'{"avatar_uri": "http://example.org/"}'
    assert_refused(ask(altered(sign_request(key, body), part, change), "PATCH", PROFILE, body))


JUNK = ["", " ", ":", "::::", ":::::", "x", "Bearer x", "é" * 40, "a:b:c:d:e", "=:=:=:=:=", ":" * 9216, "x" * 9216]


@pytest.mark.parametrize("token", JUNK)
@pytest.mark.parametrize("header", ["Token", "X-Auth-Token"])
def test_junk_is_refused(key: KeyPair, header: str, token: str) -> None:
    assert_refused(ask(token, header=header))


@pytest.mark.parametrize(
    "change", [lambda token: token.rsplit(":", 1)[0], lambda token: f"{token}:", lambda token: f":{token}"]
)
def test_token_has_five_parts(key: KeyPair, change: Callable[[str], str]) -> None:
    assert_refused(ask(change(sign_request(key))))


@pytest.mark.parametrize("algorithm", ["md5", "sha224", "sha384", "sha512"])
def test_other_algorithms_are_refused(key: KeyPair, algorithm: str) -> None:
    assert_refused(ask(sign_request(key, algorithm=algorithm)))


def test_signature_by_another_key_is_refused(key: KeyPair, bob: User) -> None:
    assert_refused(ask(sign_request(KeyPair(key.appid, issue_key(bob).appsecret))))


def test_unknown_key_is_refused(key: KeyPair) -> None:
    assert_refused(ask(sign_request(KeyPair("app_none", key.appsecret))))


@pytest.mark.parametrize("kind", [Credential.Kind.CARGO_TOKEN, Credential.Kind.BROWSER_SESSION])
def test_credential_of_another_kind_is_no_app_key(key: KeyPair, kind: str) -> None:
    Credential.objects.update(kind=kind)
    assert_refused(ask(sign_request(key)))


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


def confine(key: KeyPair, user: User) -> None:
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24")


@pytest.mark.parametrize("end", [delete, revoke, ban, deactivate, expire, confine])
def test_ended_key_is_refused(key: KeyPair, alice: User, end: Callable[[KeyPair, User], None]) -> None:
    assert ask(sign_request(key)).status_code == 200
    end(key, alice)
    assert_refused(ask(sign_request(key)))


def test_key_under_a_lost_secret_is_told_as_unavailable(key: KeyPair, settings: Any) -> None:
    settings.SECRET_KEY = "x" * 50
    response = ask(sign_request(key))
    assert (response.status_code, response.json()["error"]) == (503, "unavailable")
    assert "Retry-After" in response


def test_large_body_is_refused_before_it_is_read(key: KeyPair) -> None:
    response = ask(sign_request(key), "PATCH", PROFILE, b" " * (1024 * 1024 + 1))
    assert (response.status_code, response.json()["error"]) == (413, "too_large")


# --- Once --------------------------------------------------------------------------------------------------------


def test_token_is_good_once(key: KeyPair) -> None:
    token = sign_request(key)
    assert ask(token).status_code == 200
    assert_refused(ask(token))


def test_token_is_used_up_at_every_path(key: KeyPair, alice: User) -> None:
    token = sign_request(key)
    assert ask(token, path="/users/alice").status_code == 200
    assert_refused(ask(token, "DELETE", f"{KEYS}/{key.appid}"))


def test_random_value_is_good_once_in_each_padding(key: KeyPair) -> None:
    random = secrets.token_bytes(16)
    forms = [urlsafe_base64(random), bare(random), bare(random) + "="]
    assert [ask(sign_request(key, random=form)).status_code for form in forms] == [200, 401, 401]


def test_random_value_is_good_once_for_other_bodies_and_times(key: KeyPair) -> None:
    random = urlsafe_base64(secrets.token_bytes(16))
    assert ask(sign_request(key, random=random)).status_code == 200
    assert_refused(ask(sign_request(key, b"{}", random=random, at=str(int(time.time()) + 9)), "PATCH", PROFILE, b"{}"))
    assert_refused(ask(sign_request(key, random=random, algorithm="sha256")))


def test_random_value_of_another_key_is_free(key: KeyPair, alice: User) -> None:
    random = urlsafe_base64(secrets.token_bytes(16))
    other = issue_key(alice)
    assert [ask(sign_request(each, random=random)).status_code for each in (key, other)] == [200, 200]


def test_refused_request_uses_nothing_up(key: KeyPair) -> None:
    random = urlsafe_base64(secrets.token_bytes(16))
    assert_refused(ask(altered(sign_request(key, random=random), 1, str.swapcase)))
    assert_refused(ask(sign_request(key, b"{}", random=random)))
    assert ask(sign_request(key, random=random)).status_code == 200


def test_value_cannot_come_back_while_its_time_is_good(key: KeyPair) -> None:
    token = sign_request(key, at=urlsafe_base64(str(int(time.time()) + 290)))
    assert ask(token).status_code == 200
    Nonce.objects.update(used_at=timezone.now() - timedelta(minutes=9, seconds=50))
    assert ask(sign_request(key)).status_code == 200  # this one forgets the values that are out of time
    assert_refused(ask(token))


def test_values_older_than_ten_minutes_are_forgotten(key: KeyPair) -> None:
    for _ in range(3):
        ask(sign_request(key))
    Nonce.objects.update(used_at=timezone.now() - timedelta(minutes=10, seconds=1))
    assert ask(sign_request(key)).status_code == 200
    assert Nonce.objects.count() == 1


# --- What a key allows -------------------------------------------------------------------------------------------

LIMITED = ["READ_ONLY", "PUBLISH"]


@pytest.mark.parametrize("kind", [*LIMITED, "ALL"])
def test_every_key_reads(alice: User, bob: User, kind: str) -> None:
    User.objects.filter(pk=bob.pk).update(email="bob@example.org")
    key = issue_key(alice, kind)
    response = ask(sign_request(key), path="/users/bob")
    assert (response.status_code, response.json()["email"]) == (200, "bob@example.org")


REQUESTS = [
    ("GET", KEYS, b""),
    ("POST", KEYS, b'{"type": "ALL"}'),
    ("DELETE", f"{KEYS}/APPID", b""),
    ("PATCH", PROFILE, b'{"avatar_uri": "http://example.org/"}'),
    ("PATCH", PROFILE, b"{}"),
]


@pytest.mark.parametrize("kind", LIMITED)
@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_limited_key_touches_no_account(alice: User, kind: str, method: str, path: str, body: bytes) -> None:
    key = issue_key(alice, kind)
    response = ask(sign_request(key, body), method, path.replace("APPID", key.appid), body)
    assert (response.status_code, response.json()["error"]) == (403, "scope_missing")
    assert set(response.json()) == {"error", "message"}
    assert (Credential.objects.get().revoked_at, User.objects.get().avatar_uri) == (None, "")


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_key_for_all_may(key: KeyPair, method: str, path: str, body: bytes) -> None:
    response = ask(sign_request(key, body), method, path.replace("APPID", key.appid), body)
    assert response.status_code == 200


@pytest.mark.parametrize("field", ["username", "password", "email"])
def test_no_key_changes_what_one_signs_in_with(key: KeyPair, alice: User, field: str) -> None:
    before = User.objects.values().get(pk=alice.pk)
    body = json.dumps({field: "battery@example.org", "avatar_uri": "http://example.org/"}).encode()
    response = ask(sign_request(key, body), "PATCH", PROFILE, body)
    assert (response.status_code, response.json()["error"]) == (403, "denied")
    assert User.objects.values().get(pk=alice.pk) == before


@pytest.mark.parametrize("header", ["Authorization", "Cookie", "X-Token"])
def test_token_counts_in_its_own_headers_alone(key: KeyPair, header: str) -> None:
    assert ask(sign_request(key), header=header).json()["error"] == "no_credential"


def test_token_counts_not_in_the_address(key: KeyPair) -> None:
    assert Client().get(KEYS, {"token": sign_request(key)}).json()["error"] == "no_credential"


@pytest.mark.parametrize("path", ["/api/v1/crates/none/owners", "/api/stable/auth/whoami"])
def test_key_is_none_for_other_dialects(key: KeyPair, path: str) -> None:
    assert ask(sign_request(key), path=path).status_code == 401


# --- Beside a cookie ---------------------------------------------------------------------------------------------


@pytest.fixture
def browser(bob: User) -> Client:
    browser = Client(enforce_csrf_checks=True, headers={"Origin": "http://testserver"})
    browser.force_login(bob)
    return browser


@pytest.mark.parametrize("header", ["Token", "X-Auth-Token"])
@pytest.mark.parametrize("token", ["", "junk", "a:b:c:d:e"])
def test_bad_token_is_not_helped_by_a_cookie(browser: Client, header: str, token: str) -> None:
    assert browser.get(KEYS).status_code == 200
    assert_refused(browser.get(KEYS, headers={header: token}))


def test_token_comes_before_the_cookie(browser: Client, key: KeyPair) -> None:
    body = b'{"avatar_uri": "http://example.org/"}'
    browser.generic("PATCH", PROFILE, body, "application/json", headers={"Token": sign_request(key, body)})
    assert {user.username: user.avatar_uri for user in User.objects.all()} == {
        "alice": "http://example.org/",
        "bob": "",
    }


def test_limited_token_is_not_widened_by_a_cookie(browser: Client, bob: User) -> None:
    key = issue_key(bob, "READ_ONLY")
    assert browser.get(KEYS, headers={"Token": sign_request(key)}).status_code == 403


def test_signed_write_needs_no_proof_of_its_page(key: KeyPair) -> None:
    client = Client(enforce_csrf_checks=True, headers={"Origin": "http://elsewhere.example"})
    response = client.generic("PATCH", PROFILE, b"{}", "application/json", headers={"Token": sign_request(key, b"{}")})
    assert response.status_code == 200


# --- At once -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("appkeys") / "data") as server:
        server.sign_up("alice")
        yield server


class Answer(NamedTuple):
    status: int
    body: Any
    cookies: SimpleCookie


def call(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        cookies = SimpleCookie("; ".join(answer.headers.get_all("Set-Cookie", [])))
        return Answer(answer.status, json.loads(answer.read()), cookies)
    finally:
        connection.close()


def live_key(server: Server) -> KeyPair:
    signed_in = call(server, "POST", "/login", {"username": "alice", "password": PASSWORD})
    cookies = {"Cookie": f"registry_session={signed_in.cookies['registry_session'].value}", "Origin": server.url}
    made = call(server, "POST", KEYS, {"type": "ALL"}, **cookies).body
    return KeyPair(made["appid"], made["appsecret"])


def test_fifty_at_once_use_a_token_once(server: Server) -> None:
    key = live_key(server)
    token, barrier = sign_request(key), Barrier(50)

    def race(_: int) -> int:
        barrier.wait()
        return call(server, "GET", KEYS, Token=token).status

    with ThreadPoolExecutor(50) as pool:
        assert Counter(pool.map(race, range(50))) == {200: 1, 401: 49}
