"""backup-repository's "Users and Authentication API", as its clients call it."""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import bans, roles
from accounts.credentials import cargo_tokens, jwt_sessions
from accounts.models import Credential, User
from tests.support.cast import PASSWORD

API = "/api/stable/auth"
HTTP = Client(raise_request_exception=False)  # one for all: it loads the middleware once, and keeps no cookie
OTHER = "battery staple"
LIFE = timedelta(hours=24)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
FORM = "application/x-www-form-urlencoded"

LOG_IN_FIRST = "This needs you to log in first."
NOT_OURS = "The token is not one of this registry's."
REVOKED = "you don't have permission to access this resource"
INCORRECT = "incorrect Username or Password"
NOTHING_GIVEN = "missing Username or Password"
NOT_YOUR_SESSION = "you don't have permissions to revoke session of other user"
NOT_YOUR_TOKENS = "no permissions to act as other user"
NOT_YOUR_PROFILE = "no permissions to view that user account"
NO_SUCH_SESSION = "specified session identifier is not valid, cannot find GrantedAccess of specified id"


def send(path: str, body: bytes, content_type: str = "application/json", headers: dict[str, str] | None = None) -> Any:
    return HTTP.generic("POST", f"{API}/{path}", body, content_type=content_type, headers=headers)


def call(method: str, path: str, token: str = "", **extra: Any) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return HTTP.generic(method, f"{API}/{path}", headers=headers, **extra)


def log_in(name: str, password: str = PASSWORD, **extra: Any) -> Any:
    body = {"username": name, "password": password}
    return HTTP.post(f"{API}/login", body, content_type="application/json", **extra)


def opened(name: str) -> str:
    """The token of a new session."""
    return str(log_in(name).json()["data"]["token"])


def id_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def refusal(code: int, message: str) -> dict[str, Any]:
    return {"status": False, "error": message, "message": message, "code": code, "data": {}}


def is_good(token: str) -> bool:
    return bool(call("GET", "whoami", token).status_code == 200)


def listed(token: str, query: str = "") -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = call("GET", f"token{query}", token).json()["data"]["grantedAccesses"]
    return answer


def moment(text: str) -> datetime:
    assert RFC3339.fullmatch(text)
    return datetime.fromisoformat(text)


# --- POST /api/stable/auth/login ---------------------------------------------------------------------------------


def test_login_gives_exactly_a_session(alice: User) -> None:
    response = log_in("alice")
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    data = response.json()["data"]
    assert response.json() == {"status": True, "data": data}
    assert set(data) == {"expire", "sessionId", "token"}
    assert data["sessionId"] == id_of(data["token"])


def test_session_ends_when_login_says(alice: User) -> None:
    data = log_in("alice").json()["data"]
    claims = jwt.decode(data["token"], options={"verify_signature": False})
    assert moment(data["expire"]) == datetime.fromtimestamp(claims["exp"], UTC)
    assert abs(moment(data["expire"]) - timezone.now() - LIFE) < timedelta(minutes=1)


def test_token_has_the_claims_of_the_original(alice: User) -> None:
    token = opened("alice")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert claims["login"] == "alice"
    assert claims["exp"] - claims["orig_iat"] == LIFE.total_seconds()


def test_form_logs_in_too(alice: User) -> None:
    response = send("login", b"username=alice&password=correct+horse", FORM)
    assert response.status_code == 200
    assert is_good(response.json()["data"]["token"])


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON", ""])
def test_json_is_understood_however_it_is_announced(alice: User, content_type: str) -> None:
    assert send("login", b'{"username": "alice", "password": "correct horse"}', content_type).status_code == 200


@pytest.mark.parametrize("name", ["alice", "ALICE", "ktra-secure-auth:alice"])
def test_account_answers_to_its_name_in_each_form(alice: User, name: str) -> None:
    assert call("GET", "whoami", opened(name)).json()["data"]["grantedAccess"]["user"] == "alice"


def test_login_ends_no_session_before_it(alice: User) -> None:
    first, second = opened("alice"), opened("alice")
    assert (is_good(first), is_good(second)) == (True, True)


def test_hundred_logins_are_hundred_sessions_each_ended_alone(alice: User) -> None:
    sessions = [opened("alice") for _ in range(100)]
    assert len(set(sessions)) == 100
    for token in sessions[::2]:
        assert call("DELETE", "logout", token).status_code == 200
    assert {row["id"] for row in listed(sessions[1]) if row["deactivated"]} == {id_of(token) for token in sessions[::2]}


def close(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def ban(user: User) -> None:
    bans.ban(user, actor=None)


def keep_away(user: User) -> None:
    """Test clients come from 127.0.0.1."""
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24 2001:db8::/32")


def test_refused_logins_look_alike(alice: User, bob: User, charlie: User, root: User) -> None:
    ban(bob)
    close(charlie)
    keep_away(root)
    tries = [("alice", OTHER), ("nobody", PASSWORD), ("bob", PASSWORD), ("charlie", PASSWORD), ("root", PASSWORD)]
    responses = [log_in(name, password) for name, password in tries]
    assert {(r.status_code, r.content) for r in responses} == {(401, responses[0].content)}
    assert responses[0].json() == refusal(401, INCORRECT)
    assert {r["WWW-Authenticate"] for r in responses} == {"JWT realm=backup-repository"}


@override_settings(MAX_LOGIN_FAILURES=3)
def test_guessing_is_stopped_in_the_dialect(alice: User) -> None:
    assert [log_in("alice", OTHER).status_code for _ in range(4)] == [401, 401, 401, 429]
    response = log_in("alice")
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0
    assert response.json() == refusal(429, response.json()["message"])


BAD_JSON = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'"alice"',
    b'{"username": "alice"}',
    b'{"password": "correct horse"}',
    b'{"username": "", "password": "correct horse"}',
    b'{"username": "alice", "password": ""}',
    b'{"username": null, "password": "correct horse"}',
    b'{"username": 7, "password": "correct horse"}',
    b'{"username": "alice", "password": ["correct horse"]}',
    b'{"username": {"$ne": 1}, "password": {"$ne": 1}}',
    b'{"Username": "alice", "Password": "correct horse"}',
    b'{"username": "alice", "password": "correct horse"',
    b'{"username": "ali\\u0000ce", "password": "correct horse"}',
    b'{"username": "alice", "password": "\\ud800"}',
    b'{"username": "alice", "password": "\xff"}',
    b'{"username": "alice", "password": NaN}',
    b"[" * 100_000,
    b'{"a":' * 40 + b"1" + b"}" * 40,
]


@pytest.mark.parametrize("body", BAD_JSON, ids=[body[:40].decode("latin-1") for body in BAD_JSON])
def test_login_with_a_bad_body_is_as_if_nothing_was_given(alice: User, body: bytes) -> None:
    response = send("login", body)
    assert response.status_code == 401
    assert response.json() == refusal(401, NOTHING_GIVEN)


BAD_FORMS = [
    b"",
    b"username=alice",
    b"username=&password=correct+horse",
    b"username=ali%00ce&password=correct+horse",
    b"username=alice&password=correct%00horse",
    b"{}",
]


@pytest.mark.parametrize("body", BAD_FORMS)
def test_login_with_a_bad_form_is_as_if_nothing_was_given(alice: User, body: bytes) -> None:
    response = send("login", body, FORM)
    assert response.status_code == 401
    assert response.json() == refusal(401, NOTHING_GIVEN)


@pytest.mark.parametrize("body", [b"username=alice&password=%ff%fe", b"username=\xff&password=x"])
def test_odd_form_is_refused_in_the_dialect(alice: User, body: bytes) -> None:
    response = send("login", body, FORM)
    assert response.status_code == 401
    assert response.json() in (refusal(401, INCORRECT), refusal(401, NOTHING_GIVEN))


def test_form_of_too_many_fields_is_refused_in_the_dialect(alice: User) -> None:
    response = send("login", b"a=1&" * 20_000 + b"username=alice&password=correct+horse", FORM)
    assert response.status_code == 400
    assert response.json() == refusal(400, "The request cannot be understood.")


@pytest.mark.parametrize("content_type", ["application/json", FORM])
def test_login_of_a_megabyte_is_not_read(alice: User, content_type: str) -> None:
    response = send("login", b"x" * (1024 * 1024 + 1), content_type)
    assert response.status_code == 413
    assert response.json() == refusal(413, "The body has 1048577 bytes; at most 1048576 are taken here.")


@pytest.mark.parametrize("content_type", ["text/plain", "multipart/form-data; boundary=x", "application/xml", "json"])
def test_other_content_types_are_refused(alice: User, content_type: str) -> None:
    response = send("login", b'{"username": "alice", "password": "correct horse"}', content_type)
    assert response.status_code == 415
    assert response.json() == refusal(415, f'Unsupported media type "{content_type}" in request.')


def test_body_without_a_length_is_refused(alice: User) -> None:
    response = HTTP.generic("POST", f"{API}/login", headers={"Transfer-Encoding": "chunked"})
    assert response.status_code == 411
    assert response.json() == refusal(411, "Send the body with a Content-Length; a chunked body is not taken here.")


@pytest.mark.parametrize("stale", ["Bearer stale", "Bearer a b c", "entc_stale", "Basic YWxpY2U6eA=="])
def test_stale_token_does_not_hinder_a_login(alice: User, stale: str) -> None:
    assert log_in("alice", headers={"Authorization": stale}).status_code == 200


# --- GET /api/stable/auth/whoami ---------------------------------------------------------------------------------


def test_whoami_shows_user_and_session_with_exactly_these_keys(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    token = opened("alice")
    response = call("GET", "whoami", token)
    access = response.json()["data"]["grantedAccess"]
    times = {key: access[key] for key in ("CreatedAt", "UpdatedAt", "expiresAt")}
    assert response.status_code == 200
    assert response.json() == {
        "status": True,
        "data": {
            "email": "alice@example.org",
            "permissions": [],
            "sessionId": id_of(token),
            "grantedAccess": {
                **times,
                "DeletedAt": None,
                "id": id_of(token),
                "deactivated": False,
                "description": "Login",
                "requesterIP": "127.0.0.1",
                "user": "alice",
            },
        },
    }


def test_times_of_a_session_are_those_of_its_login(alice: User) -> None:
    before = timezone.now()
    login = log_in("alice").json()["data"]
    access = call("GET", "whoami", login["token"]).json()["data"]["grantedAccess"]
    assert before <= moment(access["CreatedAt"]) <= timezone.now()
    assert access["UpdatedAt"] == access["CreatedAt"]
    assert access["expiresAt"] == login["expire"]


def test_whoami_of_an_account_without_address_has_an_empty_one(alice: User) -> None:
    assert call("GET", "whoami", opened("alice")).json()["data"]["email"] == ""


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_session_knows_who_asked_for_it(alice: User, address: str) -> None:
    token = log_in("alice", REMOTE_ADDR=address).json()["data"]["token"]
    assert call("GET", "whoami", token).json()["data"]["grantedAccess"]["requesterIP"] == address


@pytest.mark.parametrize("name", ["userManager", "usersManager"])
def test_both_spellings_of_the_manager_are_one_role(alice: User, bob: User, name: str) -> None:
    token = opened("alice")
    roles.grant(alice, roles.parse_role(name), actor=None)
    assert call("GET", "whoami", token).json()["data"]["permissions"] == ["usersManager"]
    assert call("GET", "user/bob", token).status_code == 200


def test_roles_are_told_in_the_order_in_which_they_were_given(alice: User) -> None:
    token = opened("alice")
    given = ["uploadsAnytime", "collectionManager", "backupUploader", "systemAdmin", "backupDownloader"]
    for name in given:
        roles.grant(alice, roles.parse_role(name), actor=None)
    assert call("GET", "whoami", token).json()["data"]["permissions"] == given


def test_administrator_is_a_system_admin(root: User) -> None:
    token = opened("root")
    assert call("GET", "whoami", token).json()["data"]["permissions"] == ["systemAdmin"]
    roles.grant(root, roles.parse_role("systemAdmin"), actor=None)
    assert call("GET", "whoami", token).json()["data"]["permissions"] == ["systemAdmin"]


# --- Who is let in -----------------------------------------------------------------------------------------------

NEEDS_A_SESSION = [
    ("GET", "whoami"),
    ("GET", "user/alice"),
    ("GET", "token"),
    ("GET", "refresh_token"),
    ("DELETE", "logout"),
    ("GET", "logout"),
    ("POST", "logout"),
]


@pytest.mark.parametrize(("method", "path"), NEEDS_A_SESSION)
def test_nobody_is_asked_to_log_in(alice: User, method: str, path: str) -> None:
    response = call(method, path)
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "JWT realm=backup-repository"
    assert response.json() == refusal(401, LOG_IN_FIRST)


def test_token_counts_in_the_header_only(alice: User) -> None:
    token = opened("alice")
    client = Client(raise_request_exception=False)
    client.cookies["jwt"] = token
    answers = [client.generic(method, f"{API}/{path}?token={token}") for method, path in NEEDS_A_SESSION]
    assert [(r.status_code, r.json()) for r in answers] == [(401, refusal(401, LOG_IN_FIRST))] * len(answers)
    assert is_good(token)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YWxpY2U6eA==", "Token x", "Bearer a b"])
def test_other_headers_hold_no_token(alice: User, header: str) -> None:
    response = HTTP.get(f"{API}/whoami", headers={"Authorization": header})
    assert response.status_code == 401
    assert response.json() == refusal(401, response.json()["message"])


def test_bare_token_is_none(alice: User) -> None:
    assert HTTP.get(f"{API}/whoami", headers={"Authorization": opened("alice")}).status_code == 401


def claims_of(user: User) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(opened(user.username), options={"verify_signature": False})
    return claims


def base64_of(text: bytes) -> str:
    return jwt.utils.base64url_encode(text).decode()


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "..",
        "a.b.c",
        "a.b.c.d",
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9..",
        "\xe9\xff.\xe9.\xff",
        "=" * 4000,
        base64_of(b"[]") + ".e30.x",
        base64_of(b'{"alg": ["HS256"]}') + ".e30.x",
        base64_of(b'{"alg": "HS256", "kid": 7}') + ".e30.x",
        base64_of(b'{"alg": "HS256", "n": ' + b"9" * 5000 + b"}") + ".e30.x",
    ],
)
def test_malformed_token_is_not_ours(alice: User, token: str) -> None:
    response = call("GET", "whoami", token)
    assert response.status_code == 401
    assert response.json() == refusal(401, NOT_OURS)


def test_token_of_deep_json_is_not_ours(alice: User) -> None:
    response = call("GET", "whoami", base64_of(b"[" * 5000) + ".e30.x")
    assert response.status_code == 401
    assert response.json() == refusal(401, NOT_OURS)


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_signed_by_another_is_not_ours(alice: User, algorithm: str) -> None:
    response = call("GET", "whoami", jwt.encode(claims_of(alice), "k" * 64, algorithm))
    assert response.status_code == 401
    assert response.json() == refusal(401, NOT_OURS)


def test_unsigned_token_is_not_ours(alice: User) -> None:
    response = call("GET", "whoami", jwt.encode(claims_of(alice), "", "none"))
    assert response.status_code == 401
    assert response.json() == refusal(401, NOT_OURS)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_changed_token_is_not_ours(alice: User, part: int) -> None:
    parts = opened("alice").split(".")
    parts[part] = ("x" if parts[part][0] != "x" else "y") + parts[part][1:]
    assert call("GET", "whoami", ".".join(parts)).status_code == 401


def test_session_id_is_no_token(alice: User) -> None:
    response = call("GET", "whoami", id_of(opened("alice")))
    assert response.status_code == 401
    assert response.json() == refusal(401, NOT_OURS)


def test_tokens_of_other_dialects_are_not_ours(alice: User) -> None:
    torrust, cargo = jwt_sessions.create_torrust_session(alice).token, cargo_tokens.rotate_default(alice).text
    responses = [call("GET", "whoami", token) for token in (torrust, cargo)]
    assert [(r.status_code, r.json()) for r in responses] == [(401, refusal(401, NOT_OURS))] * 2


def test_expired_token_is_told_as_such(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_sessions.BackupsToken, "lifetime", timedelta(seconds=-1))
    response = call("GET", "whoami", opened("alice"))
    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "JWT realm=backup-repository"
    assert response.json() == refusal(401, "The token is expired; log in again.")


def test_signed_token_without_a_session_is_forbidden(alice: User) -> None:
    token = jwt_sessions.BackupsToken()
    token["login"] = "alice"
    response = call("GET", "whoami", str(token))
    assert response.status_code == 403
    assert response.json() == refusal(403, REVOKED)


@pytest.mark.parametrize("end", [ban, close, keep_away])
def test_closed_account_is_forbidden_on_the_next_request(alice: User, end: Callable[[User], None]) -> None:
    token = opened("alice")
    end(alice)
    answers = [call(method, path, token) for method, path in NEEDS_A_SESSION]
    assert [(r.status_code, r.json()) for r in answers] == [(403, refusal(403, REVOKED))] * len(answers)


def test_session_is_good_again_after_the_ban(alice: User) -> None:
    token = opened("alice")
    ban(alice)
    assert not is_good(token)
    bans.unban(alice, actor=None)
    assert is_good(token)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"])
def test_session_is_good_from_the_allowed_networks(alice: User, address: str) -> None:
    token = opened("alice")
    keep_away(alice)
    assert call("GET", "whoami", token, REMOTE_ADDR=address).status_code == 200
    assert log_in("alice", REMOTE_ADDR=address).status_code == 200


def test_new_password_ends_all_sessions(alice: User) -> None:
    token = opened("alice")
    body = {"old_password": PASSWORD, "new_password": OTHER}
    HTTP.post("/ktra/api/v1/change_password/alice", body, content_type="application/json")
    response = call("GET", "whoami", token)
    assert response.status_code == 403
    assert response.json() == refusal(403, REVOKED)


# --- GET /api/stable/auth/user/{userName} ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_own_account_is_shown(alice: User, name: str) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    roles.grant(alice, roles.parse_role("collectionManager"), actor=None)
    response = call("GET", f"user/{name}", opened("alice"))
    assert response.status_code == 200
    assert response.json() == {
        "status": True,
        "data": {"email": "alice@example.org", "permissions": ["collectionManager"]},
    }


@pytest.mark.parametrize("role", ["usersManager", "systemAdmin"])
def test_manager_sees_the_accounts_of_others(alice: User, bob: User, role: str) -> None:
    roles.grant(alice, roles.parse_role(role), actor=None)
    response = call("GET", "user/bob", opened("alice"))
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"email": "", "permissions": []}}


def test_administrator_sees_the_accounts_of_others(root: User, bob: User) -> None:
    assert call("GET", "user/bob", opened("root")).status_code == 200


@pytest.mark.parametrize("role", ["collectionManager", "backupDownloader", "backupUploader", "uploadsAnytime"])
def test_other_roles_open_no_other_account(alice: User, bob: User, role: str) -> None:
    roles.grant(alice, roles.parse_role(role), actor=None)
    assert call("GET", "user/bob", opened("alice")).status_code == 403


@pytest.mark.parametrize("name", ["bob", "nobody", "alice$key", "a" * 5000, "%ff", "é", "'"])
def test_stranger_cannot_tell_who_is_there(alice: User, bob: User, name: str) -> None:
    response = call("GET", f"user/{name}", opened("alice"))
    assert response.status_code == 403
    assert response.json() == refusal(403, NOT_YOUR_PROFILE)


def test_manager_is_told_who_is_not_there(root: User) -> None:
    response = call("GET", "user/nobody", opened("root"))
    assert response.status_code == 404
    assert response.json() == refusal(404, "There is no user of this name.")


def test_role_that_is_taken_away_bites_on_the_next_request(alice: User, bob: User) -> None:
    manager = roles.parse_role("userManager")
    roles.grant(alice, manager, actor=None)
    token = opened("alice")
    assert call("GET", "user/bob", token).status_code == 200
    roles.revoke(alice, manager, actor=None)
    assert call("GET", "user/bob", token).status_code == 403


# --- DELETE /api/stable/auth/logout[?sessionId=] -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
def test_logout_ends_the_own_session_alone(alice: User, method: str) -> None:
    token, other = opened("alice"), opened("alice")
    response = call(method, "logout", token)
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"message": "JWT was revoked", "sessionId": id_of(token)}}
    assert (is_good(token), is_good(other)) == (False, True)


def test_token_is_forbidden_after_logout(alice: User) -> None:
    token = opened("alice")
    call("DELETE", "logout", token)
    responses = [call(method, path, token) for method, path in NEEDS_A_SESSION]
    assert [(r.status_code, r.json()) for r in responses] == [(403, refusal(403, REVOKED))] * len(responses)


@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
def test_logout_ends_another_of_the_own_sessions(alice: User, method: str) -> None:
    token, other = opened("alice"), opened("alice")
    response = call(method, f"logout?sessionId={id_of(other)}", token)
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"message": "JWT was revoked", "sessionId": id_of(other)}}
    assert (is_good(token), is_good(other)) == (True, False)


def test_own_session_can_be_named(alice: User) -> None:
    token = opened("alice")
    assert call("DELETE", f"logout?sessionId={id_of(token)}", token).status_code == 200
    assert not is_good(token)


def test_ended_session_can_be_ended_again(alice: User) -> None:
    token, other = opened("alice"), opened("alice")
    first = call("DELETE", f"logout?sessionId={id_of(other)}", token)
    ended_at = listed(token)[0]["UpdatedAt"]
    second = call("DELETE", f"logout?sessionId={id_of(other)}", token)
    assert (second.status_code, second.json()) == (200, first.json())
    assert listed(token)[0]["UpdatedAt"] == ended_at


@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
def test_stranger_cannot_end_sessions_of_others(alice: User, bob: User, method: str) -> None:
    token, other = opened("alice"), opened("bob")
    response = call(method, f"logout?sessionId={id_of(other)}", token)
    assert response.status_code == 403
    assert response.json() == refusal(403, NOT_YOUR_SESSION)
    assert (is_good(token), is_good(other)) == (True, True)


@pytest.mark.parametrize("session", ["", "x", "0" * 64, "%27", "a" * 5000, "%ff"])
def test_unknown_session_is_as_one_of_others(alice: User, session: str) -> None:
    token = opened("alice")
    response = call("DELETE", f"logout?sessionId={session}", token)
    assert response.status_code == 403
    assert response.json() == refusal(403, NOT_YOUR_SESSION)
    assert is_good(token)


def test_users_manager_ends_no_sessions_of_others(alice: User, bob: User) -> None:
    roles.grant(alice, roles.parse_role("usersManager"), actor=None)
    assert call("DELETE", f"logout?sessionId={id_of(opened('bob'))}", opened("alice")).status_code == 403


def test_administrator_ends_sessions_of_others(alice: User, root: User) -> None:
    token, other = opened("root"), opened("alice")
    response = call("DELETE", f"logout?sessionId={id_of(other)}", token)
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"message": "JWT was revoked", "sessionId": id_of(other)}}
    assert (is_good(token), is_good(other)) == (True, False)


@pytest.mark.parametrize("session", ["", "x", "0" * 64, "a" * 5000])
def test_administrator_is_told_of_an_unknown_session(root: User, session: str) -> None:
    token = opened("root")
    response = call("DELETE", f"logout?sessionId={session}", token)
    assert response.status_code == 404
    assert response.json() == refusal(404, NO_SUCH_SESSION)
    assert is_good(token)


def test_credentials_of_other_kinds_are_no_sessions_here(root: User, alice: User) -> None:
    torrust, cargo = jwt_sessions.create_torrust_session(alice).token, cargo_tokens.rotate_default(alice).text
    responses = [call("DELETE", f"logout?sessionId={id_of(token)}", opened("root")) for token in (torrust, cargo)]
    assert [r.status_code for r in responses] == [404, 404]
    assert Credential.objects.filter(user=alice, revoked_at=None).count() == 2


@pytest.mark.parametrize("path", ["logout?sessionId=%00", "token?userName=%00", "token?userName=ali%00ce"])
@pytest.mark.parametrize("name", ["alice", "root"])
def test_nul_in_a_query_is_refused_in_the_dialect(alice: User, root: User, name: str, path: str) -> None:
    response = call("DELETE" if path.startswith("logout") else "GET", path, opened(name))
    assert response.status_code in (200, 400, 403, 404)
    assert set(response.json()) in ({"status", "data"}, {"status", "error", "message", "code", "data"})


# --- GET /api/stable/auth/token[?userName=] ----------------------------------------------------------------------


def test_sessions_are_listed_newest_first(alice: User, bob: User) -> None:
    sessions = [opened("alice") for _ in range(3)]
    opened("bob")
    response = call("GET", "token", sessions[0])
    assert response.status_code == 200
    assert set(response.json()) == {"status", "data"}
    assert set(response.json()["data"]) == {"grantedAccesses"}
    assert [row["id"] for row in listed(sessions[0])] == [id_of(token) for token in reversed(sessions)]


def test_listed_session_is_as_whoami_shows_it(alice: User) -> None:
    token = opened("alice")
    assert listed(token) == [call("GET", "whoami", token).json()["data"]["grantedAccess"]]


def test_ended_session_is_listed_as_such(alice: User) -> None:
    token, other = opened("alice"), opened("alice")
    before = listed(token)[0]
    call("DELETE", "logout", other)
    after = listed(token)[0]
    assert after == {**before, "deactivated": True, "UpdatedAt": after["UpdatedAt"]}
    assert moment(after["UpdatedAt"]) > moment(before["UpdatedAt"])


def test_expired_session_is_listed_too(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(jwt_sessions.BackupsToken, "lifetime", timedelta(hours=-1))
        expired = opened("alice")
    rows = listed(opened("alice"))
    assert [row["id"] == id_of(expired) for row in rows] == [False, True]
    assert moment(rows[1]["expiresAt"]) < timezone.now()
    assert rows[1]["deactivated"] is False


def test_hundred_newest_sessions_are_listed(alice: User) -> None:
    sessions = [jwt_sessions.create_backups_session(alice).token for _ in range(102)]
    assert [row["id"] for row in listed(sessions[0])] == [id_of(token) for token in reversed(sessions[2:])]


def test_credentials_of_other_kinds_are_not_listed(alice: User) -> None:
    jwt_sessions.create_torrust_session(alice)
    cargo_tokens.rotate_default(alice)
    assert len(listed(opened("alice"))) == 1


@pytest.mark.parametrize("query", ["?userName=bob", "?userName=alice", "?userName=", "?userName=nobody"])
def test_stranger_cannot_act_as_any_user(alice: User, bob: User, query: str) -> None:
    response = call("GET", f"token{query}", opened("alice"))
    assert response.status_code == 403
    assert response.json() == refusal(403, NOT_YOUR_TOKENS)


def test_users_manager_lists_no_sessions_of_others(alice: User, bob: User) -> None:
    roles.grant(alice, roles.parse_role("usersManager"), actor=None)
    assert call("GET", "token?userName=bob", opened("alice")).status_code == 403


@pytest.mark.parametrize("name", ["bob", "BOB"])
def test_administrator_lists_the_sessions_of_others(root: User, bob: User, name: str) -> None:
    session = opened("bob")
    assert [(row["id"], row["user"]) for row in listed(opened("root"), f"?userName={name}")] == [
        (id_of(session), "bob")
    ]


@pytest.mark.parametrize("name", ["nobody", "", "bob", "%ff", "a" * 5000])
def test_administrator_sees_no_sessions_where_there_are_none(root: User, bob: User, name: str) -> None:
    response = call("GET", f"token?userName={name}", opened("root"))
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"grantedAccesses": []}}


# --- GET /api/stable/auth/refresh_token --------------------------------------------------------------------------


def test_refresh_gives_another_session_without_an_envelope(alice: User) -> None:
    token = opened("alice")
    response = call("GET", "refresh_token", token)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert set(response.json()) == {"code", "expire", "token"}
    assert response.json()["code"] == 200
    assert abs(moment(response.json()["expire"]) - timezone.now() - LIFE) < timedelta(minutes=1)
    assert (is_good(token), is_good(response.json()["token"])) == (False, True)


def test_refreshed_session_is_a_row_beside_the_old_one(alice: User) -> None:
    token = opened("alice")
    fresh = call("GET", "refresh_token", token).json()
    rows = [(row["id"], row["deactivated"], row["description"]) for row in listed(fresh["token"])]
    assert rows == [(id_of(fresh["token"]), False, "Refresh"), (id_of(token), True, "Login")]
    assert listed(fresh["token"])[0]["expiresAt"] == fresh["expire"]


def test_refresh_leaves_other_sessions_alone(alice: User) -> None:
    token, other = opened("alice"), opened("alice")
    call("GET", "refresh_token", token)
    assert is_good(other)


def test_session_is_refreshed_once(alice: User) -> None:
    token = opened("alice")
    assert [call("GET", "refresh_token", token).status_code for _ in range(2)] == [200, 403]


def test_expired_session_is_not_refreshed(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_sessions.BackupsToken, "lifetime", timedelta(seconds=-1))
    response = call("GET", "refresh_token", opened("alice"))
    assert response.status_code == 401
    assert response.json() == refusal(401, "The token is expired; log in again.")


# --- All of them -------------------------------------------------------------------------------------------------

METHODS = {
    "login": ["POST"],
    "whoami": ["GET"],
    "user/alice": ["GET"],
    "token": ["GET"],
    "refresh_token": ["GET"],
    "logout": ["GET", "POST", "DELETE"],
}


@pytest.mark.parametrize(("path", "allowed"), METHODS.items())
def test_other_methods_are_not_taken(alice: User, path: str, allowed: list[str]) -> None:
    token = opened("alice")
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}.difference(allowed):
        response = call(method, path, token)
        assert response.status_code == 405
        assert set(allowed) <= set(response["Allow"].split(", "))
        assert response.json() == refusal(405, f'Method "{method}" not allowed.')


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "path",
    [
        "/api/stable",
        "/api/stable/",
        f"{API}",
        f"{API}/",
        f"{API}/nope",
        f"{API}/login/",
        f"{API}/user/",
        "/api/stable/x",
    ],
)
def test_unknown_path_is_told_in_the_dialect(client: Client, method: str, path: str) -> None:
    response = client.generic(method, path)
    assert response.status_code == 404
    assert response.json() == refusal(404, "There is nothing at this path.")


def test_nul_in_the_path_is_refused_in_the_dialect(root: User) -> None:
    response = call("GET", "user/ali%00ce", opened("root"))
    assert response.status_code == 400
    assert response.json() == refusal(400, "The request cannot be understood.")


@pytest.mark.parametrize("accept", ["application/json", "text/html", "image/png", "nonsense"])
def test_answer_is_json_whatever_is_accepted(alice: User, accept: str) -> None:
    response = log_in("alice", headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("sessions", [1, 60])
def test_whoami_takes_as_many_queries_with_any_number_of_sessions(
    alice: User, sessions: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    given = [jwt_sessions.create_backups_session(alice).token for _ in range(sessions)]
    with django_assert_num_queries(2):
        assert is_good(given[0])


@pytest.mark.parametrize("sessions", [1, 60])
def test_list_takes_as_many_queries_with_any_number_of_sessions(
    alice: User, sessions: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    given = [jwt_sessions.create_backups_session(alice).token for _ in range(sessions)]
    with django_assert_num_queries(2):
        assert len(listed(given[0])) == sessions


@pytest.mark.parametrize("sessions", [1, 60])
def test_list_of_another_takes_as_many_queries_with_any_number_of_sessions(
    alice: User, root: User, sessions: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token = opened("root")
    for _ in range(sessions):
        jwt_sessions.create_backups_session(alice)
    with django_assert_num_queries(3):
        assert len(listed(token, "?userName=alice")) == sessions


def test_reading_writes_nothing(alice: User) -> None:
    token = opened("alice")
    before = list(Credential.objects.values()), list(User.objects.values())
    for path in ("whoami", "token", "user/alice"):
        assert call("GET", path, token).status_code == 200
    assert (list(Credential.objects.values()), list(User.objects.values())) == before
