"""backup-repository's "Users and Authentication API"."""

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
from tests.support.responses import answer_of

API = "/api/stable/auth"
HTTP = Client(raise_request_exception=False)  # one for all tests: it loads the middleware once, and has no cookies
OTHER = "battery staple"
LIFE = timedelta(hours=24)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
FORM = "application/x-www-form-urlencoded"

LOG_IN_FIRST = "This needs you to log in first."
NOT_OURS = "The token is not one of this registry's."
REVOKED = "you don't have permission to access this resource"
INCORRECT = "incorrect Username or Password"
MISSING_CREDENTIALS = "missing Username or Password"
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


def open_session(name: str) -> str:
    """Log in, and return the token of the new session."""
    return str(log_in(name).json()["data"]["token"])


def id_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def refusal(code: int, message: str) -> tuple[int, dict[str, Any]]:
    """Return the status and the body of a refusal."""
    return code, {"status": False, "error": message, "message": message, "code": code, "data": {}}


def is_valid(token: str) -> bool:
    return bool(call("GET", "whoami", token).status_code == 200)


def list_sessions(token: str, query: str = "") -> list[dict[str, Any]]:
    sessions: list[dict[str, Any]] = call("GET", f"token{query}", token).json()["data"]["grantedAccesses"]
    return sessions


def parse_time(text: str) -> datetime:
    assert RFC3339.fullmatch(text)
    return datetime.fromisoformat(text)


# --- POST /api/stable/auth/login ---------------------------------------------------------------------------------


def test_login_answers_with_a_session(alice: User) -> None:
    response = log_in("alice")
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    data = response.json()["data"]
    assert response.json() == {"status": True, "data": data}
    assert set(data) == {"expire", "sessionId", "token"}
    assert data["sessionId"] == id_of(data["token"])


def test_session_expires_as_the_answer_says(alice: User) -> None:
    data = log_in("alice").json()["data"]
    claims = jwt.decode(data["token"], options={"verify_signature": False})
    assert parse_time(data["expire"]) == datetime.fromtimestamp(claims["exp"], UTC)
    assert abs(parse_time(data["expire"]) - timezone.now() - LIFE) < timedelta(minutes=1)


def test_token_has_the_claims_of_the_original(alice: User) -> None:
    token = open_session("alice")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert claims["login"] == "alice"
    assert claims["exp"] - claims["orig_iat"] == LIFE.total_seconds()


def test_form_logs_in_too(alice: User) -> None:
    response = send("login", b"username=alice&password=correct+horse", FORM)
    assert response.status_code == 200
    assert is_valid(response.json()["data"]["token"])


def test_json_is_read_whatever_its_announcement(alice: User) -> None:
    body = b'{"username": "alice", "password": "correct horse"}'
    content_types = ["application/json; charset=utf-8", "Application/JSON", ""]
    assert [send("login", body, content_type).status_code for content_type in content_types] == [200] * 3


def test_login_takes_each_form_of_the_name(alice: User) -> None:
    for name in ("alice", "ALICE", "ktra-secure-auth:alice"):
        assert call("GET", "whoami", open_session(name)).json()["data"]["grantedAccess"]["user"] == "alice"


def test_user_can_have_several_sessions(alice: User) -> None:
    first, second = open_session("alice"), open_session("alice")
    assert (is_valid(first), is_valid(second)) == (True, True)


def test_hundred_sessions_end_one_by_one(alice: User) -> None:
    sessions = [open_session("alice") for _ in range(100)]
    assert len(set(sessions)) == 100
    for token in sessions[::2]:
        assert call("DELETE", "logout", token).status_code == 200
    assert {row["id"] for row in list_sessions(sessions[1]) if row["deactivated"]} == {
        id_of(token) for token in sessions[::2]
    }


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def ban(user: User) -> None:
    bans.ban(user, actor=None)


def restrict_networks(user: User) -> None:
    # Test clients come from 127.0.0.1.
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24 2001:db8::/32")


def test_refused_logins_look_alike(alice: User, bob: User, charlie: User, root: User) -> None:
    ban(bob)
    deactivate(charlie)
    restrict_networks(root)
    attempts = [("alice", OTHER), ("nobody", PASSWORD), ("bob", PASSWORD), ("charlie", PASSWORD), ("root", PASSWORD)]
    responses = [log_in(name, password) for name, password in attempts]
    assert len({response.content for response in responses}) == 1
    assert {response.status_code for response in responses} == {401}
    assert answer_of(responses[0]) == refusal(401, INCORRECT)
    assert {r["WWW-Authenticate"] for r in responses} == {"JWT realm=backup-repository"}


@override_settings(MAX_LOGIN_FAILURES=3)
def test_guesses_are_limited_in_the_dialect(alice: User) -> None:
    assert [log_in("alice", OTHER).status_code for _ in range(4)] == [401, 401, 401, 429]
    response = log_in("alice")
    assert int(response["Retry-After"]) > 0
    assert answer_of(response) == refusal(429, response.json()["message"])


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


def test_login_with_a_bad_body_lacks_credentials(alice: User) -> None:
    answers = {body: answer_of(send("login", body)) for body in BAD_JSON}
    assert answers == dict.fromkeys(BAD_JSON, refusal(401, MISSING_CREDENTIALS))


BAD_FORMS = [
    b"",
    b"username=alice",
    b"username=&password=correct+horse",
    b"username=ali%00ce&password=correct+horse",
    b"username=alice&password=correct%00horse",
    b"{}",
]


def test_login_with_a_bad_form_lacks_credentials(alice: User) -> None:
    answers = {body: answer_of(send("login", body, FORM)) for body in BAD_FORMS}
    assert answers == dict.fromkeys(BAD_FORMS, refusal(401, MISSING_CREDENTIALS))


def test_form_in_another_encoding_is_refused(alice: User) -> None:
    for body in (b"username=alice&password=%ff%fe", b"username=\xff&password=x"):
        assert answer_of(send("login", body, FORM)) in (refusal(401, INCORRECT), refusal(401, MISSING_CREDENTIALS))


def test_form_of_too_many_fields_is_refused(alice: User) -> None:
    response = send("login", b"a=1&" * 20_000 + b"username=alice&password=correct+horse", FORM)
    assert answer_of(response) == refusal(400, "The request cannot be understood.")


@pytest.mark.parametrize("content_type", ["application/json", FORM])
def test_login_of_a_megabyte_is_not_read(alice: User, content_type: str) -> None:
    response = send("login", b"x" * (1024 * 1024 + 1), content_type)
    assert answer_of(response) == refusal(413, "The body has 1048577 bytes; at most 1048576 are taken here.")


def test_other_content_types_are_refused(alice: User) -> None:
    body = b'{"username": "alice", "password": "correct horse"}'
    for content_type in ("text/plain", "multipart/form-data; boundary=x", "application/xml", "json"):
        answer = answer_of(send("login", body, content_type))
        assert answer == refusal(415, f'Unsupported media type "{content_type}" in request.')


def test_body_without_a_length_is_refused(alice: User) -> None:
    response = HTTP.generic("POST", f"{API}/login", b"{}", CONTENT_LENGTH="", headers={"Transfer-Encoding": "chunked"})
    message = "Send the body with a Content-Length; a chunked body is not taken here."
    assert answer_of(response) == refusal(411, message)


def test_stale_token_does_not_hinder_a_login(alice: User) -> None:
    headers = ["Bearer stale", "Bearer a b c", "entc_stale", "Basic YWxpY2U6eA=="]
    assert [log_in("alice", headers={"Authorization": header}).status_code for header in headers] == [200] * 4


# --- GET /api/stable/auth/whoami ---------------------------------------------------------------------------------


def test_whoami_shows_the_user_and_the_session(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    token = open_session("alice")
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


def test_whoami_shows_the_times_of_the_session(alice: User) -> None:
    before = timezone.now()
    login = log_in("alice").json()["data"]
    access = call("GET", "whoami", login["token"]).json()["data"]["grantedAccess"]
    assert before <= parse_time(access["CreatedAt"]) <= timezone.now()
    assert access["UpdatedAt"] == access["CreatedAt"]
    assert access["expiresAt"] == login["expire"]


def test_missing_address_is_shown_empty(alice: User) -> None:
    assert call("GET", "whoami", open_session("alice")).json()["data"]["email"] == ""


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7"])
def test_session_has_the_address_of_its_client(alice: User, address: str) -> None:
    token = log_in("alice", REMOTE_ADDR=address).json()["data"]["token"]
    assert call("GET", "whoami", token).json()["data"]["grantedAccess"]["requesterIP"] == address


@pytest.mark.parametrize("name", ["userManager", "usersManager"])
def test_both_spellings_of_the_manager_are_one_role(alice: User, bob: User, name: str) -> None:
    token = open_session("alice")
    roles.grant(alice, roles.parse_role(name), actor=None)
    assert call("GET", "whoami", token).json()["data"]["permissions"] == ["usersManager"]
    assert call("GET", "user/bob", token).status_code == 200


def test_roles_are_listed_in_order_of_grant(alice: User) -> None:
    token = open_session("alice")
    names = ["uploadsAnytime", "collectionManager", "backupUploader", "systemAdmin", "backupDownloader"]
    for name in names:
        roles.grant(alice, roles.parse_role(name), actor=None)
    assert call("GET", "whoami", token).json()["data"]["permissions"] == names


def test_administrator_is_a_system_admin(root: User) -> None:
    token = open_session("root")
    assert call("GET", "whoami", token).json()["data"]["permissions"] == ["systemAdmin"]
    roles.grant(root, roles.parse_role("systemAdmin"), actor=None)
    assert call("GET", "whoami", token).json()["data"]["permissions"] == ["systemAdmin"]


# --- Valid tokens ------------------------------------------------------------------------------------------------

NEEDS_A_SESSION = [
    ("GET", "whoami"),
    ("GET", "user/alice"),
    ("GET", "token"),
    ("GET", "refresh_token"),
    ("DELETE", "logout"),
    ("GET", "logout"),
    ("POST", "logout"),
]


def test_anonymous_request_is_refused(alice: User) -> None:
    responses = [call(method, path) for method, path in NEEDS_A_SESSION]
    assert [answer_of(response) for response in responses] == [refusal(401, LOG_IN_FIRST)] * len(responses)
    assert {response["WWW-Authenticate"] for response in responses} == {"JWT realm=backup-repository"}


def test_token_outside_the_header_is_ignored(alice: User) -> None:
    token = open_session("alice")
    client = Client(raise_request_exception=False)
    client.cookies["jwt"] = token
    answers = [answer_of(client.generic(method, f"{API}/{path}?token={token}")) for method, path in NEEDS_A_SESSION]
    assert answers == [refusal(401, LOG_IN_FIRST)] * len(answers)
    assert is_valid(token)


def test_other_headers_have_no_token(alice: User) -> None:
    for header in ("", "Bearer", "Bearer ", "Basic YWxpY2U6eA==", "Token x", "Bearer a b"):
        response = HTTP.get(f"{API}/whoami", headers={"Authorization": header})
        assert answer_of(response) == refusal(401, response.json()["message"]), header


def test_token_without_bearer_is_refused(alice: User) -> None:
    assert HTTP.get(f"{API}/whoami", headers={"Authorization": open_session("alice")}).status_code == 401


def claims_of(user: User) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(open_session(user.username), options={"verify_signature": False})
    return claims


def base64_of(text: bytes) -> str:
    return jwt.utils.base64url_encode(text).decode()


def test_malformed_token_is_not_ours(alice: User) -> None:
    tokens = [
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
        base64_of(b"[" * 5000) + ".e30.x",
    ]
    answers = {token: answer_of(call("GET", "whoami", token)) for token in tokens}
    assert answers == dict.fromkeys(tokens, refusal(401, NOT_OURS))


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_signed_by_another_is_not_ours(alice: User, algorithm: str) -> None:
    token = jwt.encode(claims_of(alice), "k" * 64, algorithm)
    assert answer_of(call("GET", "whoami", token)) == refusal(401, NOT_OURS)


def test_unsigned_token_is_not_ours(alice: User) -> None:
    assert answer_of(call("GET", "whoami", jwt.encode(claims_of(alice), "", "none"))) == refusal(401, NOT_OURS)


@pytest.mark.parametrize("part", [0, 1, 2])
def test_changed_token_is_not_ours(alice: User, part: int) -> None:
    parts = open_session("alice").split(".")
    parts[part] = ("x" if parts[part][0] != "x" else "y") + parts[part][1:]
    assert call("GET", "whoami", ".".join(parts)).status_code == 401


def test_session_id_is_no_token(alice: User) -> None:
    assert answer_of(call("GET", "whoami", id_of(open_session("alice")))) == refusal(401, NOT_OURS)


def test_tokens_of_other_dialects_are_not_ours(alice: User) -> None:
    torrust, cargo = jwt_sessions.create_torrust_session(alice).token, cargo_tokens.rotate_default(alice).text
    assert [answer_of(call("GET", "whoami", token)) for token in (torrust, cargo)] == [refusal(401, NOT_OURS)] * 2


def test_expired_token_has_its_own_message(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_sessions.BackupsToken, "lifetime", timedelta(seconds=-1))
    response = call("GET", "whoami", open_session("alice"))
    assert answer_of(response) == refusal(401, "The token is expired; log in again.")
    assert response["WWW-Authenticate"] == "JWT realm=backup-repository"


def test_signed_token_without_a_session_is_forbidden(alice: User) -> None:
    token = jwt_sessions.BackupsToken()
    token["login"] = "alice"
    assert answer_of(call("GET", "whoami", str(token))) == refusal(403, REVOKED)


@pytest.mark.parametrize("end", [ban, deactivate, restrict_networks])
def test_closed_account_is_forbidden_at_once(alice: User, end: Callable[[User], None]) -> None:
    token = open_session("alice")
    end(alice)
    answers = [answer_of(call(method, path, token)) for method, path in NEEDS_A_SESSION]
    assert answers == [refusal(403, REVOKED)] * len(answers)


def test_session_is_valid_again_after_the_ban(alice: User) -> None:
    token = open_session("alice")
    ban(alice)
    assert not is_valid(token)
    bans.unban(alice, actor=None)
    assert is_valid(token)


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"])
def test_session_is_valid_from_allowed_networks(alice: User, address: str) -> None:
    token = open_session("alice")
    restrict_networks(alice)
    assert call("GET", "whoami", token, REMOTE_ADDR=address).status_code == 200
    assert log_in("alice", REMOTE_ADDR=address).status_code == 200


def test_new_password_ends_all_sessions(alice: User) -> None:
    token = open_session("alice")
    body = {"old_password": PASSWORD, "new_password": OTHER}
    HTTP.post("/ktra/api/v1/change_password/alice", body, content_type="application/json")
    assert answer_of(call("GET", "whoami", token)) == refusal(403, REVOKED)


# --- GET /api/stable/auth/user/{userName} ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_own_account_is_shown(alice: User, name: str) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    roles.grant(alice, roles.parse_role("collectionManager"), actor=None)
    response = call("GET", f"user/{name}", open_session("alice"))
    assert response.status_code == 200
    assert response.json() == {
        "status": True,
        "data": {"email": "alice@example.org", "permissions": ["collectionManager"]},
    }


@pytest.mark.parametrize("role", ["usersManager", "systemAdmin"])
def test_manager_sees_the_accounts_of_others(alice: User, bob: User, role: str) -> None:
    roles.grant(alice, roles.parse_role(role), actor=None)
    response = call("GET", "user/bob", open_session("alice"))
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"email": "", "permissions": []}}


def test_administrator_sees_the_accounts_of_others(root: User, bob: User) -> None:
    assert call("GET", "user/bob", open_session("root")).status_code == 200


def test_other_roles_see_no_other_account(alice: User, bob: User) -> None:
    token = open_session("alice")
    for role in ("collectionManager", "backupDownloader", "backupUploader", "uploadsAnytime"):
        roles.grant(alice, roles.parse_role(role), actor=None)
        assert call("GET", "user/bob", token).status_code == 403, role


def test_stranger_cannot_tell_which_users_exist(alice: User, bob: User) -> None:
    token = open_session("alice")
    names = ["bob", "nobody", "alice$key", "a" * 5000, "%ff", "é", "'"]
    answers = {name: answer_of(call("GET", f"user/{name}", token)) for name in names}
    assert answers == dict.fromkeys(names, refusal(403, NOT_YOUR_PROFILE))


def test_unknown_user_is_not_found_by_a_manager(root: User) -> None:
    answer = answer_of(call("GET", "user/nobody", open_session("root")))
    assert answer == refusal(404, "There is no user of this name.")


def test_revoked_role_ends_access_at_once(alice: User, bob: User) -> None:
    manager = roles.parse_role("userManager")
    roles.grant(alice, manager, actor=None)
    token = open_session("alice")
    assert call("GET", "user/bob", token).status_code == 200
    roles.revoke(alice, manager, actor=None)
    assert call("GET", "user/bob", token).status_code == 403


# --- DELETE /api/stable/auth/logout[?sessionId=] -----------------------------------------------------------------


@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
def test_logout_ends_only_the_own_session(alice: User, method: str) -> None:
    token, other = open_session("alice"), open_session("alice")
    response = call(method, "logout", token)
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"message": "JWT was revoked", "sessionId": id_of(token)}}
    assert (is_valid(token), is_valid(other)) == (False, True)


def test_token_is_forbidden_after_logout(alice: User) -> None:
    token = open_session("alice")
    call("DELETE", "logout", token)
    answers = [answer_of(call(method, path, token)) for method, path in NEEDS_A_SESSION]
    assert answers == [refusal(403, REVOKED)] * len(answers)


@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
def test_logout_ends_another_of_the_own_sessions(alice: User, method: str) -> None:
    token, other = open_session("alice"), open_session("alice")
    response = call(method, f"logout?sessionId={id_of(other)}", token)
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"message": "JWT was revoked", "sessionId": id_of(other)}}
    assert (is_valid(token), is_valid(other)) == (True, False)


def test_logout_takes_the_id_of_the_own_session(alice: User) -> None:
    token = open_session("alice")
    assert call("DELETE", f"logout?sessionId={id_of(token)}", token).status_code == 200
    assert not is_valid(token)


def test_ended_session_can_be_ended_again(alice: User) -> None:
    token, other = open_session("alice"), open_session("alice")
    first = call("DELETE", f"logout?sessionId={id_of(other)}", token)
    ended_at = list_sessions(token)[0]["UpdatedAt"]
    second = call("DELETE", f"logout?sessionId={id_of(other)}", token)
    assert (second.status_code, second.json()) == (200, first.json())
    assert list_sessions(token)[0]["UpdatedAt"] == ended_at


@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
def test_stranger_cannot_end_sessions_of_others(alice: User, bob: User, method: str) -> None:
    token, other = open_session("alice"), open_session("bob")
    assert answer_of(call(method, f"logout?sessionId={id_of(other)}", token)) == refusal(403, NOT_YOUR_SESSION)
    assert (is_valid(token), is_valid(other)) == (True, True)


def test_unknown_session_is_refused_like_one_of_others(alice: User) -> None:
    token = open_session("alice")
    ids = ["", "x", "0" * 64, "%27", "a" * 5000, "%ff"]
    answers = [answer_of(call("DELETE", f"logout?sessionId={session_id}", token)) for session_id in ids]
    assert answers == [refusal(403, NOT_YOUR_SESSION)] * len(ids)
    assert is_valid(token)


def test_users_manager_ends_no_sessions_of_others(alice: User, bob: User) -> None:
    roles.grant(alice, roles.parse_role("usersManager"), actor=None)
    assert call("DELETE", f"logout?sessionId={id_of(open_session('bob'))}", open_session("alice")).status_code == 403


def test_administrator_ends_sessions_of_others(alice: User, root: User) -> None:
    token, other = open_session("root"), open_session("alice")
    response = call("DELETE", f"logout?sessionId={id_of(other)}", token)
    assert response.status_code == 200
    assert response.json() == {"status": True, "data": {"message": "JWT was revoked", "sessionId": id_of(other)}}
    assert (is_valid(token), is_valid(other)) == (True, False)


def test_unknown_session_is_not_found_by_an_administrator(root: User) -> None:
    token = open_session("root")
    ids = ["", "x", "0" * 64, "a" * 5000]
    answers = [answer_of(call("DELETE", f"logout?sessionId={session_id}", token)) for session_id in ids]
    assert answers == [refusal(404, NO_SUCH_SESSION)] * len(ids)
    assert is_valid(token)


def test_credentials_of_other_kinds_are_no_sessions_here(root: User, alice: User) -> None:
    torrust, cargo = jwt_sessions.create_torrust_session(alice).token, cargo_tokens.rotate_default(alice).text
    responses = [call("DELETE", f"logout?sessionId={id_of(token)}", open_session("root")) for token in (torrust, cargo)]
    assert [r.status_code for r in responses] == [404, 404]
    assert Credential.objects.filter(user=alice, revoked_at=None).count() == 2


@pytest.mark.parametrize("name", ["alice", "root"])
def test_nul_in_a_query_is_refused(alice: User, root: User, name: str) -> None:
    token = open_session(name)
    for method, path in (
        ("DELETE", "logout?sessionId=%00"),
        ("GET", "token?userName=%00"),
        ("GET", "token?userName=ali%00ce"),
    ):
        assert answer_of(call(method, path, token)) == refusal(400, "The request cannot be understood.")


# --- GET /api/stable/auth/token[?userName=] ----------------------------------------------------------------------


def test_sessions_are_listed_newest_first(alice: User, bob: User) -> None:
    sessions = [open_session("alice") for _ in range(3)]
    open_session("bob")
    response = call("GET", "token", sessions[0])
    assert response.status_code == 200
    assert set(response.json()) == {"status", "data"}
    assert set(response.json()["data"]) == {"grantedAccesses"}
    assert [row["id"] for row in list_sessions(sessions[0])] == [id_of(token) for token in reversed(sessions)]


def test_listed_session_equals_that_of_whoami(alice: User) -> None:
    token = open_session("alice")
    assert list_sessions(token) == [call("GET", "whoami", token).json()["data"]["grantedAccess"]]


def test_ended_session_is_listed_as_such(alice: User) -> None:
    token, other = open_session("alice"), open_session("alice")
    before = list_sessions(token)[0]
    call("DELETE", "logout", other)
    after = list_sessions(token)[0]
    assert after == {**before, "deactivated": True, "UpdatedAt": after["UpdatedAt"]}
    assert parse_time(after["UpdatedAt"]) > parse_time(before["UpdatedAt"])


def test_expired_session_is_listed_too(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(jwt_sessions.BackupsToken, "lifetime", timedelta(hours=-1))
        expired = open_session("alice")
    rows = list_sessions(open_session("alice"))
    assert [row["id"] == id_of(expired) for row in rows] == [False, True]
    assert parse_time(rows[1]["expiresAt"]) < timezone.now()
    assert rows[1]["deactivated"] is False


def test_hundred_newest_sessions_are_listed(alice: User) -> None:
    sessions = [jwt_sessions.create_backups_session(alice).token for _ in range(102)]
    assert [row["id"] for row in list_sessions(sessions[0])] == [id_of(token) for token in reversed(sessions[2:])]


def test_credentials_of_other_kinds_are_not_listed(alice: User) -> None:
    jwt_sessions.create_torrust_session(alice)
    cargo_tokens.rotate_default(alice)
    assert len(list_sessions(open_session("alice"))) == 1


def test_stranger_cannot_list_sessions_by_name(alice: User, bob: User) -> None:
    token = open_session("alice")
    for name in ("bob", "alice", "", "nobody"):
        assert answer_of(call("GET", f"token?userName={name}", token)) == refusal(403, NOT_YOUR_TOKENS)


def test_users_manager_lists_no_sessions_of_others(alice: User, bob: User) -> None:
    roles.grant(alice, roles.parse_role("usersManager"), actor=None)
    assert call("GET", "token?userName=bob", open_session("alice")).status_code == 403


def test_administrator_lists_the_sessions_of_others(root: User, bob: User) -> None:
    session, token = open_session("bob"), open_session("root")
    for name in ("bob", "BOB"):
        rows = list_sessions(token, f"?userName={name}")
        assert [(row["id"], row["user"]) for row in rows] == [(id_of(session), "bob")]


def test_list_is_empty_without_sessions(root: User, bob: User) -> None:
    token = open_session("root")
    for name in ("nobody", "", "bob", "%ff", "a" * 5000):
        answer = answer_of(call("GET", f"token?userName={name}", token))
        assert answer == (200, {"status": True, "data": {"grantedAccesses": []}})


# --- GET /api/stable/auth/refresh_token --------------------------------------------------------------------------


def test_refresh_answers_without_the_envelope(alice: User) -> None:
    token = open_session("alice")
    response = call("GET", "refresh_token", token)
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert set(response.json()) == {"code", "expire", "token"}
    assert response.json()["code"] == 200
    assert abs(parse_time(response.json()["expire"]) - timezone.now() - LIFE) < timedelta(minutes=1)
    assert (is_valid(token), is_valid(response.json()["token"])) == (False, True)


def test_refresh_adds_a_session_and_ends_the_old(alice: User) -> None:
    token = open_session("alice")
    fresh = call("GET", "refresh_token", token).json()
    rows = [(row["id"], row["deactivated"], row["description"]) for row in list_sessions(fresh["token"])]
    assert rows == [(id_of(fresh["token"]), False, "Refresh"), (id_of(token), True, "Login")]
    assert list_sessions(fresh["token"])[0]["expiresAt"] == fresh["expire"]


def test_refresh_leaves_other_sessions_alone(alice: User) -> None:
    token, other = open_session("alice"), open_session("alice")
    call("GET", "refresh_token", token)
    assert is_valid(other)


def test_session_is_refreshed_once(alice: User) -> None:
    token = open_session("alice")
    assert [call("GET", "refresh_token", token).status_code for _ in range(2)] == [200, 403]


def test_expired_session_is_not_refreshed(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_sessions.BackupsToken, "lifetime", timedelta(seconds=-1))
    answer = answer_of(call("GET", "refresh_token", open_session("alice")))
    assert answer == refusal(401, "The token is expired; log in again.")


# --- All of them -------------------------------------------------------------------------------------------------

METHODS = {
    "login": ["POST"],
    "whoami": ["GET"],
    "user/alice": ["GET"],
    "token": ["GET"],
    "refresh_token": ["GET"],
    "logout": ["GET", "POST", "DELETE"],
}


def test_other_methods_are_refused(alice: User) -> None:
    token = open_session("alice")
    offenders = []
    for path, allowed in METHODS.items():
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}.difference(allowed):
            response = call(method, path, token)
            is_complete = set(allowed) <= set(response["Allow"].split(", "))
            if answer_of(response) != refusal(405, f'Method "{method}" not allowed.') or not is_complete:
                offenders.append((path, method, response.status_code))
    assert offenders == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_path_is_refused_in_the_dialect(client: Client, method: str) -> None:
    nested = ["", "/", "/nope", "/login/", "/user/"]
    paths = ["/api/stable", "/api/stable/", "/api/stable/x", *(API + path for path in nested)]
    answers = {path: answer_of(client.generic(method, path)) for path in paths}
    assert answers == dict.fromkeys(paths, refusal(404, "There is nothing at this path."))


def test_nul_in_the_path_is_refused(root: User) -> None:
    answer = answer_of(call("GET", "user/ali%00ce", open_session("root")))
    assert answer == refusal(400, "The request cannot be understood.")


def test_answer_is_json_whatever_is_accepted(alice: User) -> None:
    for accept in ("application/json", "text/html", "image/png", "nonsense"):
        response = log_in("alice", headers={"Accept": accept})
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("sessions", [1, 60])
def test_whoami_takes_two_queries(
    alice: User, sessions: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    tokens = [jwt_sessions.create_backups_session(alice).token for _ in range(sessions)]
    with django_assert_num_queries(2):
        assert is_valid(tokens[0])


@pytest.mark.parametrize("sessions", [1, 60])
def test_list_takes_two_queries(alice: User, sessions: int, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    tokens = [jwt_sessions.create_backups_session(alice).token for _ in range(sessions)]
    with django_assert_num_queries(2):
        assert len(list_sessions(tokens[0])) == sessions


@pytest.mark.parametrize("sessions", [1, 60])
def test_list_by_name_takes_two_queries(
    alice: User, root: User, sessions: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token = open_session("root")
    for _ in range(sessions):
        jwt_sessions.create_backups_session(alice)
    with django_assert_num_queries(2):
        assert len(list_sessions(token, "?userName=alice")) == sessions


def test_reading_writes_nothing(alice: User) -> None:
    token = open_session("alice")
    before = list(Credential.objects.values()), list(User.objects.values())
    for path in ("whoami", "token", "user/alice"):
        assert call("GET", path, token).status_code == 200
    assert (list(Credential.objects.values()), list(User.objects.values())) == before
