"""torrust-index's API context `user`, as its clients call it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.test import Client, override_settings
from django.utils import timezone

from accounts import bans, roles
from accounts.credentials import cargo_tokens, jwt_sessions
from accounts.models import Ban, Credential, NameReservation, User
from registry_site.errors import Revoked
from tests.support.cast import PASSWORD

API = "/v1/user"
HTTP = Client(raise_request_exception=False)  # one for all: it loads the middleware once, and keeps no cookie
OTHER = "battery staple"
ADDRESS = "dora@example.org"
TWO_WEEKS = timedelta(days=14)

CLOSED = "This server is closed for registration. Contact admin if this is unexpected"
BAD_NAME = "Invalid username. Usernames must consist of 1-20 alphanumeric characters, dashes, or underscore"
NO_EMAIL = "Email is required"
BAD_EMAIL = "Please enter a valid email address"
DIFFERENT = "Passwords don't match"
SHORT = "Password too short"
LONG = "Password too long"
NAME_TAKEN = "Username not available"
EMAIL_TAKEN = "Email not available"
WRONG = "Invalid username/email or password"
INVALID = "Token invalid."
EXPIRED = "Token expired. Please sign in again."
GUEST = "Unauthorized actions for guest users. Try logging in to check if you have permission to perform the action"
FORBIDDEN = "Unauthorized action."


def send(path: str, body: bytes, content_type: str = "application/json", token: str = "", method: str = "POST") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return HTTP.generic(method, f"{API}/{path}", body, content_type=content_type, headers=headers)


def call(path: str, token: str = "", **body: Any) -> Any:
    return send(path, json.dumps(body).encode(), token=token)


def register(name: str = "dora", password: str = PASSWORD, **more: Any) -> Any:
    return call("register", **{"username": name, "password": password, "confirm_password": password, **more})


def log_in(login: str, password: str = PASSWORD) -> Any:
    return call("login", login=login, password=password)


def opened(name: str) -> str:
    """The token of a new session."""
    return str(log_in(name).json()["data"]["token"])


def ban(name: str, token: str = "") -> Any:
    return send(f"ban/{name}", b"", token=token, method="DELETE")


def change(name: str, token: str = "", current: str = PASSWORD, new: str = OTHER, again: str | None = None) -> Any:
    body = {"current_password": current, "password": new, "confirm_password": new if again is None else again}
    return call(f"{name}/change-password", token, **body)


def verified(token: str) -> Any:
    return send("token/verify", json.dumps({"token": token}).encode())


def is_good(token: str) -> bool:
    return bool(verified(token).status_code == 200)


def renewed(token: str) -> Any:
    return send("token/renew", json.dumps({"token": token}).encode())


def told(response: Any) -> tuple[int, Any]:
    return response.status_code, response.json()


def refusal(status: int, error: str) -> tuple[int, dict[str, str]]:
    return status, {"error": error}


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def close(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def shut_out(user: User) -> None:
    bans.ban(user, actor=None)


def keep_away(user: User) -> None:
    """Test clients come from 127.0.0.1."""
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24")


# --- POST /v1/user/register --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_registration_gives_exactly_the_id() -> None:
    response = register(email=ADDRESS)
    user = User.objects.get(username="dora")
    assert told(response) == (200, {"data": {"user_id": user.pk}})
    assert user.email == ADDRESS
    assert not Credential.objects.exists()


@pytest.mark.django_db
def test_registered_user_can_log_in() -> None:
    register()
    assert log_in("dora").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("more", [{}, {"email": None}, {"email": ""}, {"email": " \t "}])
@pytest.mark.parametrize("setting", ["optional", "none"])
def test_address_can_be_left_out(setting: str, more: dict[str, Any]) -> None:
    with override_settings(EMAIL_ON_SIGNUP=setting):
        assert register(**more).status_code == 200
    assert User.objects.get().email == ""


@pytest.mark.django_db
@pytest.mark.parametrize("more", [{}, {"email": None}, {"email": ""}, {"email": " \t "}])
@override_settings(EMAIL_ON_SIGNUP="required")
def test_address_is_required_where_the_registry_wants_one(more: dict[str, Any]) -> None:
    assert told(register(**more)) == refusal(400, NO_EMAIL)
    assert register(email=ADDRESS).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("email", [ADDRESS, "nonsense"])
@override_settings(EMAIL_ON_SIGNUP="none")
def test_address_is_not_kept_where_none_is_wanted(email: str) -> None:
    assert register(email=email).status_code == 200
    assert User.objects.get().email == ""


@pytest.mark.django_db
def test_further_keys_are_ignored() -> None:
    assert register(admin=True, administrator=True, is_superuser=True, is_staff=True, user_id=1).status_code == 200
    assert not User.objects.filter(is_superuser=True).exists()
    assert log_in("dora").json()["data"]["admin"] is False


@pytest.mark.django_db
@override_settings(SIGNUP_OPEN=False)
@pytest.mark.parametrize("name", ["dora", "no name"])
def test_closed_registry_takes_no_new_users(name: str) -> None:
    assert told(register(name)) == refusal(403, CLOSED)
    assert not User.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["d", "D", "7", "dora_the-1st", "x" * 20])
def test_name_of_up_to_twenty_characters_is_allowed(name: str) -> None:
    assert register(name).status_code == 200
    assert log_in(name).json()["data"]["username"] == name


BAD_NAMES = [
    "x" * 21,
    "x" * 5000,
    "",
    " ",
    "two words",
    "a@b",
    "a.b",
    "a/b",
    "a:b",
    "a$b",
    "d\u00f6ra",
    "dora\n",
    "-",
    "_x",
]


@pytest.mark.django_db
@pytest.mark.parametrize("name", BAD_NAMES, ids=[ascii(name[:24]) for name in BAD_NAMES])
def test_other_names_are_refused(name: str) -> None:
    assert told(register(name)) == refusal(400, BAD_NAME)
    assert not User.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["admin", "root", "Settings"])
def test_names_of_the_registry_itself_are_refused(name: str) -> None:
    assert told(register(name)) == refusal(400, BAD_NAME)


BAD_EMAILS = [
    "nonsense",
    "dora@",
    "@example.org",
    "dora@example",
    "dora@localhost",
    "dora@@example.org",
    "dora example@example.org",
    "dora@exa mple.org",
    "dora@example.org, bob@example.org",
    "Dora <dora@example.org>",
    "dora@example..org",
    "d" * 250 + "@example.org",
    "d" * 10_000 + "@example.org",
]


@pytest.mark.django_db
@pytest.mark.parametrize("email", BAD_EMAILS, ids=[email[:40] for email in BAD_EMAILS])
def test_bad_address_is_refused(email: str) -> None:
    assert told(register(email=email)) == refusal(400, BAD_EMAIL)
    assert not User.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("password", "error"),
    [("", SHORT), ("x" * 5, SHORT), ("x" * 65, LONG), ("x" * 5000, LONG)],
    ids=["none", "5", "65", "5000"],
)
def test_password_of_another_length_is_refused(password: str, error: str) -> None:
    assert told(register(password=password)) == refusal(400, error)
    assert not User.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("length", [6, 64])
def test_bounds_of_the_length_are_allowed(length: int) -> None:
    assert register(password="x" * length).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("again", [OTHER, "", PASSWORD + " ", PASSWORD.upper()])
def test_different_passwords_are_refused(again: str) -> None:
    assert told(register(confirm_password=again)) == refusal(400, DIFFERENT)
    assert not User.objects.exists()


@pytest.mark.parametrize("name", ["alice", "ALICE", "aLiCe"])
def test_taken_name_is_refused_in_any_case(alice: User, name: str) -> None:
    assert told(register(name, OTHER)) == refusal(400, NAME_TAKEN)
    assert log_in("alice").status_code == 200


@pytest.mark.django_db
def test_reserved_name_is_taken() -> None:
    NameReservation.objects.create(name="dora")
    assert told(register()) == refusal(400, NAME_TAKEN)


@pytest.mark.django_db
@pytest.mark.parametrize("email", [ADDRESS, "DORA@EXAMPLE.ORG", "Dora@Example.org", f" {ADDRESS} "])
def test_taken_address_is_refused_in_any_case(email: str) -> None:
    register(email=ADDRESS)
    assert told(register("emil", email=email)) == refusal(400, EMAIL_TAKEN)
    assert not User.objects.named("emil").exists()


@pytest.mark.django_db
def test_address_is_taken_in_each_spelling_of_its_domain() -> None:
    register(email="dora@b\u00fccher.example")
    assert told(register("emil", email="dora@xn--bcher-kva.example")) == refusal(400, EMAIL_TAKEN)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"username": "no name", "email": "nonsense", "confirm_password": OTHER}, BAD_NAME),
        ({"username": "alice", "email": "nonsense", "confirm_password": OTHER}, BAD_EMAIL),
        ({"username": "alice", "password": "x", "confirm_password": "y"}, DIFFERENT),
        ({"username": "alice", "password": "x", "confirm_password": "x"}, SHORT),
        ({"username": "alice", "email": "alice@example.org"}, NAME_TAKEN),
    ],
)
def test_first_of_several_errors_is_told(alice: User, body: dict[str, str], error: str) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    given = {"password": PASSWORD, "confirm_password": PASSWORD, **body}
    assert told(call("register", **given)) == refusal(400, error)


# --- POST /v1/user/login -----------------------------------------------------------------------------------------


def test_login_gives_exactly_a_token_a_name_and_a_rank(alice: User) -> None:
    response = log_in("alice")
    token = response.json()["data"]["token"]
    assert told(response) == (200, {"data": {"token": token, "username": "alice", "admin": False}})
    assert (response["Content-Type"], response["Cache-Control"]) == ("application/json", "no-store")
    assert is_good(token)


@pytest.mark.parametrize("login", ["alice", "ALICE", "alice@example.org", "Alice@EXAMPLE.org"])
def test_account_answers_to_its_name_and_its_address(alice: User, login: str) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    assert log_in(login).json()["data"]["username"] == "alice"


def test_token_has_the_claims_of_the_original(alice: User) -> None:
    token = opened("alice")
    claims = claims_of(token)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert claims["user"] == {"user_id": alice.pk, "username": "alice", "administrator": False}
    assert abs(claims["exp"] - (timezone.now() + TWO_WEEKS).timestamp()) < 60


def test_administrator_is_told_as_one(root: User) -> None:
    data = log_in("root").json()["data"]
    assert data["admin"] is True
    assert claims_of(data["token"])["user"] == {"user_id": root.pk, "username": "root", "administrator": True}


def test_system_admin_is_told_as_administrator(alice: User) -> None:
    system_admin = roles.parse_role("systemAdmin")
    roles.grant(alice, system_admin, actor=None)
    assert log_in("alice").json()["data"]["admin"] is True
    roles.revoke(alice, system_admin, actor=None)
    assert log_in("alice").json()["data"]["admin"] is False


def test_logins_stand_beside_one_another(alice: User) -> None:
    first, second = opened("alice"), opened("alice")
    assert first != second
    assert (is_good(first), is_good(second)) == (True, True)


def test_refused_logins_look_alike(alice: User, bob: User, charlie: User, root: User) -> None:
    shut_out(bob)
    close(charlie)
    keep_away(root)
    tries = [("alice", OTHER), ("nobody", PASSWORD), ("bob", PASSWORD), ("charlie", PASSWORD), ("root", PASSWORD)]
    tries += [("nobody@example.org", PASSWORD), ("alice", ""), ("x" * 4096, PASSWORD), ("alice", "x" * 4096)]
    responses = [log_in(login, password) for login, password in tries]
    assert [told(response) for response in responses] == [refusal(403, WRONG)] * len(tries)
    assert len({tuple(sorted(response.headers.items())) for response in responses}) == 1


@pytest.mark.parametrize(("login", "password"), [("", PASSWORD), ("x" * 5000, PASSWORD), ("alice", "x" * 5000)])
def test_text_of_any_length_is_only_wrong(alice: User, login: str, password: str) -> None:
    assert told(log_in(login, password)) == refusal(403, WRONG)


@override_settings(MAX_LOGIN_FAILURES=3)
def test_guessing_is_stopped_in_the_dialect(alice: User) -> None:
    assert [log_in("alice", OTHER).status_code for _ in range(4)] == [403, 403, 403, 429]
    response = log_in("alice")
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0
    assert set(response.json()) == {"error"}


# --- POST /v1/user/token/verify ----------------------------------------------------------------------------------


def test_good_token_is_verified_and_opens_nothing(alice: User) -> None:
    token = opened("alice")
    assert told(verified(token)) == (200, {"data": "Token is valid."})
    assert Credential.objects.count() == 1


def deep_token() -> str:
    return jwt.utils.base64url_encode(b"[" * 3000).decode() + ".e30.x"


BAD_TOKENS = ["", " ", "x", "..", "a.b.c", "t\u00f6ken", "x" * 4096, "x" * 5000, deep_token()]


@pytest.mark.django_db
@pytest.mark.parametrize("token", BAD_TOKENS, ids=[ascii(token[:12]) + str(len(token)) for token in BAD_TOKENS])
def test_malformed_token_is_invalid(token: str) -> None:
    assert told(verified(token)) == (401, {"error": INVALID, "data": INVALID})
    assert told(renewed(token)) == refusal(401, INVALID)


def unsigned(alice: User) -> str:
    return jwt.encode(claims_of(opened("alice")), "", "none")


def signed_by_another(alice: User) -> str:
    return jwt.encode(claims_of(opened("alice")), "k" * 64, "HS256")


def promoted(alice: User) -> str:
    """With the signature that it had before."""
    token = opened("alice")
    claims = claims_of(token)
    claims["user"]["administrator"] = True
    forged = jwt.encode(claims, "k" * 64, "HS256")
    return forged.rpartition(".")[0] + "." + token.rpartition(".")[2]


def of_no_session(alice: User) -> str:
    return str(jwt_sessions.TorrustToken())


def of_backups(alice: User) -> str:
    return jwt_sessions.create_backups_session(alice).token


def of_cargo(alice: User) -> str:
    return cargo_tokens.rotate_default(alice).text


FORGERIES = [unsigned, signed_by_another, promoted, of_no_session, of_backups, of_cargo]


@pytest.mark.parametrize("make", FORGERIES)
def test_token_that_was_not_given_out_here_is_invalid(alice: User, make: Callable[[User], str]) -> None:
    token = make(alice)
    assert told(verified(token)) == (401, {"error": INVALID, "data": INVALID})
    assert told(renewed(token)) == refusal(401, INVALID)
    assert told(ban("alice", token)) == refusal(401, INVALID)


def test_expired_token_is_told_as_such(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_sessions.TorrustToken, "lifetime", timedelta(seconds=-1))
    token = opened("alice")
    assert told(verified(token)) == (401, {"error": EXPIRED, "data": EXPIRED})
    assert told(renewed(token)) == refusal(401, EXPIRED)
    assert told(change("alice", token)) == refusal(401, EXPIRED)


@pytest.mark.parametrize("end", [shut_out, close, keep_away])
def test_token_of_a_closed_account_is_invalid(alice: User, end: Callable[[User], None]) -> None:
    token = opened("alice")
    end(alice)
    assert told(verified(token)) == (401, {"error": INVALID, "data": INVALID})
    assert told(renewed(token)) == refusal(401, INVALID)
    assert told(change("alice", token)) == refusal(401, INVALID)
    assert Credential.objects.count() == 1


# --- POST /v1/user/token/renew -----------------------------------------------------------------------------------


def of_lifetime(name: str, lifetime: timedelta, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patched:
        patched.setattr(jwt_sessions.TorrustToken, "lifetime", lifetime)
        return opened(name)


@pytest.mark.parametrize("left", [TWO_WEEKS, timedelta(days=7, minutes=1)])
def test_token_of_more_than_a_week_is_kept(alice: User, monkeypatch: pytest.MonkeyPatch, left: timedelta) -> None:
    token = of_lifetime("alice", left, monkeypatch)
    assert told(renewed(token)) == (200, {"data": {"token": token, "username": "alice", "admin": False}})
    assert Credential.objects.count() == 1


@pytest.mark.parametrize("left", [timedelta(minutes=1), timedelta(days=7) - timedelta(minutes=1)])
def test_token_of_less_than_a_week_is_followed_by_another(
    alice: User, monkeypatch: pytest.MonkeyPatch, left: timedelta
) -> None:
    old = of_lifetime("alice", left, monkeypatch)
    response = renewed(old)
    new = response.json()["data"]["token"]
    assert told(response) == (200, {"data": {"token": new, "username": "alice", "admin": False}})
    assert (new != old, is_good(new), is_good(old)) == (True, True, True)
    assert abs(claims_of(new)["exp"] - (timezone.now() + TWO_WEEKS).timestamp()) < 60


def test_renewal_tells_what_the_user_is_now(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    old = of_lifetime("alice", timedelta(days=6), monkeypatch)
    roles.grant(alice, roles.parse_role("systemAdmin"), actor=None)
    data = renewed(old).json()["data"]
    assert data["admin"] is True
    assert claims_of(data["token"])["user"]["administrator"] is True


def test_renewal_is_not_to_be_stored_on_its_way(alice: User) -> None:
    assert renewed(opened("alice"))["Cache-Control"] == "no-store"


# --- DELETE /v1/user/ban/{user} ----------------------------------------------------------------------------------


def test_administrator_bans(root: User, alice: User) -> None:
    token = opened("alice")
    assert told(ban("alice", opened("root"))) == (200, {"data": "Banned user: alice"})
    assert not is_good(token)
    assert told(log_in("alice")) == refusal(403, WRONG)


def test_ban_bites_at_every_door(root: User, alice: User) -> None:
    cargo, backups = cargo_tokens.rotate_default(alice).text, jwt_sessions.create_backups_session(alice).token
    ban("alice", opened("root"))
    statuses = [
        HTTP.get("/api/v1/crates/none/owners", headers={"Authorization": cargo}).status_code,
        HTTP.get("/api/stable/auth/whoami", headers={"Authorization": f"Bearer {backups}"}).status_code,
        HTTP.post("/login", {"username": "alice", "password": PASSWORD}, "application/json").status_code,
    ]
    assert statuses == [401, 403, 401]


def test_name_to_ban_is_found_in_any_case(root: User, alice: User) -> None:
    assert told(ban("ALICE", opened("root"))) == (200, {"data": "Banned user: alice"})


def test_banned_user_is_banned_again(root: User, alice: User) -> None:
    token = opened("root")
    assert [told(ban("alice", token)) for _ in range(2)] == [(200, {"data": "Banned user: alice"})] * 2
    assert Ban.objects.in_force().count() == 1


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_guest_cannot_ban(alice: User, name: str) -> None:
    response = ban(name)
    assert told(response) == refusal(401, GUEST)
    assert "WWW-Authenticate" in response
    assert not Ban.objects.exists()


@pytest.mark.parametrize("header", ["", "Bearer", "Basic YWxpY2U6eA==", "nonsense", "Bearer a b", "Bearer x"])
def test_header_without_a_token_of_ours_cannot_ban(alice: User, header: str) -> None:
    response = HTTP.delete(f"{API}/ban/alice", headers={"Authorization": header})
    assert response.status_code == 401
    assert set(response.json()) == {"error"}
    assert not Ban.objects.exists()


@pytest.mark.parametrize("name", ["alice", "bob", "nobody"])
def test_user_cannot_ban(alice: User, bob: User, name: str) -> None:
    assert told(ban(name, opened("alice"))) == refusal(403, FORBIDDEN)
    assert not Ban.objects.exists()


@pytest.mark.parametrize("name", ["nobody", "%ff", "x" * 5000, "'", "a$b"])
def test_unknown_user_cannot_be_banned(root: User, name: str) -> None:
    assert told(ban(name, opened("root"))) == refusal(404, "User not found")


def test_administrator_can_ban_themselves(root: User) -> None:
    token = opened("root")
    assert told(ban("root", token)) == (200, {"data": "Banned user: root"})
    assert told(ban("root", token)) == refusal(401, INVALID)


def test_system_admin_bans(alice: User, bob: User) -> None:
    roles.grant(alice, roles.parse_role("systemAdmin"), actor=None)
    assert told(ban("bob", opened("alice"))) == (200, {"data": "Banned user: bob"})


def test_system_admin_administers_as_an_administrator_does(alice: User, root: User) -> None:
    roles.grant(alice, roles.parse_role("systemAdmin"), actor=None)
    assert ban("root", opened("alice")).status_code == 200
    assert log_in("root").status_code == 403


def test_rank_is_that_of_the_moment_and_not_of_the_token(alice: User, bob: User) -> None:
    system_admin = roles.parse_role("systemAdmin")
    roles.grant(alice, system_admin, actor=None)
    token = opened("alice")
    roles.revoke(alice, system_admin, actor=None)
    assert claims_of(token)["user"]["administrator"] is True
    assert told(ban("bob", token)) == refusal(403, FORBIDDEN)


# --- POST /v1/user/{user}/change-password ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_password_is_changed(alice: User, name: str) -> None:
    response = change(name, opened("alice"))
    assert told(response) == (200, {"data": f"Password changed for user with ID: {alice.pk}"})
    assert [log_in("alice", password).status_code for password in (PASSWORD, OTHER)] == [403, 200]


def test_changed_password_ends_all_that_the_old_one_opened_but_the_own_session(alice: User) -> None:
    token, other = opened("alice"), opened("alice")
    backups, cargo, named = (
        jwt_sessions.create_backups_session(alice).token,
        cargo_tokens.rotate_default(alice).text,
        cargo_tokens.create(alice, "ci"),
    )
    browser = Client()
    browser.post("/login", {"username": "alice", "password": PASSWORD}, "application/json")
    assert change("alice", token).status_code == 200
    assert (is_good(token), is_good(other)) == (True, False)
    whoami = HTTP.get("/api/stable/auth/whoami", headers={"Authorization": f"Bearer {backups}"})
    assert whoami.status_code == 403
    assert browser.get("/settings/appids").status_code == 401
    assert cargo_tokens.authenticate(named).user == alice
    with pytest.raises(Revoked):
        cargo_tokens.authenticate(cargo)


def test_password_can_be_changed_twice_in_a_session(alice: User) -> None:
    token = opened("alice")
    assert change("alice", token).status_code == 200
    assert change("alice", token, current=OTHER, new=PASSWORD).status_code == 200


def test_password_that_was_hashed_in_an_older_way_can_be_changed(alice: User, settings: Any) -> None:
    token = opened("alice")
    settings.PASSWORD_HASHERS = ["accounts.passwords.hashers.Argon2idHasher", *settings.PASSWORD_HASHERS]
    assert told(change("alice", token)) == (200, {"data": f"Password changed for user with ID: {alice.pk}"})


def test_guest_changes_no_password(alice: User) -> None:
    response = change("alice")
    assert told(response) == refusal(401, GUEST)
    assert "WWW-Authenticate" in response


@pytest.mark.parametrize("make", FORGERIES)
def test_other_tokens_change_no_password(alice: User, make: Callable[[User], str]) -> None:
    assert told(change("alice", make(alice))) == refusal(401, INVALID)
    assert log_in("alice").status_code == 200


@pytest.mark.parametrize("name", ["bob", "nobody", "%ff", "x" * 5000])
def test_password_of_another_is_not_changed(alice: User, bob: User, name: str) -> None:
    assert told(change(name, opened("alice"))) == refusal(403, FORBIDDEN)
    assert [log_in(name).status_code for name in ("alice", "bob")] == [200, 200]


BAD_CHANGES = [
    ({"current": OTHER}, 403, "Invalid password"),
    ({"current": ""}, 403, "Invalid password"),
    ({"current": "x" * 5000}, 403, "Invalid password"),
    ({"current": OTHER, "new": "x", "again": "y"}, 403, "Invalid password"),
    ({"again": PASSWORD}, 400, DIFFERENT),
    ({"new": "x", "again": "y"}, 400, DIFFERENT),
    ({"new": ""}, 400, SHORT),
    ({"new": "x" * 5}, 400, SHORT),
    ({"new": "x" * 65}, 400, LONG),
    ({"new": "x" * 5000}, 400, LONG),
]


@pytest.mark.parametrize(("given", "status", "error"), BAD_CHANGES)
def test_bad_change_is_refused_and_ends_nothing(alice: User, given: dict[str, str], status: int, error: str) -> None:
    token, other = opened("alice"), opened("alice")
    assert told(change("alice", token, **given)) == refusal(status, error)
    assert (is_good(token), is_good(other), log_in("alice").status_code) == (True, True, 200)


@override_settings(MAX_LOGIN_FAILURES=3)
def test_stolen_session_cannot_guess_the_password(alice: User) -> None:
    token = opened("alice")
    assert [change("alice", token, current=f"guess {n}").status_code for n in range(4)] == [403, 403, 403, 429]
    assert change("alice", token).status_code == 429


# --- All of them -------------------------------------------------------------------------------------------------

GOOD_FIELDS = {
    "register": {"username": "dora", "password": PASSWORD, "confirm_password": PASSWORD},
    "login": {"login": "alice", "password": PASSWORD},
    "token/verify": {"token": "x"},
    "token/renew": {"token": "x"},
    "alice/change-password": {"current_password": PASSWORD, "password": OTHER, "confirm_password": OTHER},
}
POSTS = list(GOOD_FIELDS)


def try_out(path: str, body: Any, content_type: str = "application/json") -> tuple[int, str]:
    """Status and text of a refusal in the shape of the path; what needs a session has one."""
    token = opened("alice") if path == "alice/change-password" else ""
    response = send(path, body if isinstance(body, bytes) else json.dumps(body).encode(), content_type, token)
    return response.status_code, text_of(path, response)


def text_of(path: str, response: Any) -> str:
    body: dict[str, str] = response.json()
    assert set(body) == ({"error", "data"} if path == "token/verify" else {"error"})
    assert len(set(body.values())) == 1
    return body["error"]


@pytest.mark.parametrize("path", POSTS)
def test_missing_field_is_unprocessable(alice: User, path: str) -> None:
    for field in GOOD_FIELDS[path]:
        fields = {key: value for key, value in GOOD_FIELDS[path].items() if key != field}
        assert try_out(path, fields) == (422, f"{field}: This field is required.")


@pytest.mark.parametrize("path", POSTS)
def test_null_is_unprocessable(alice: User, path: str) -> None:
    for field in GOOD_FIELDS[path]:
        fields = {**GOOD_FIELDS[path], field: None}
        assert try_out(path, fields) == (422, f"{field}: This field may not be null.")


@pytest.mark.parametrize("value", [7, True, ["x"], {"a": 1}])
@pytest.mark.parametrize(
    ("path", "field"), [("register", "email"), *[(path, next(iter(GOOD_FIELDS[path]))) for path in POSTS]]
)
def test_field_of_another_type_is_unprocessable(alice: User, path: str, field: str, value: Any) -> None:
    assert try_out(path, {**GOOD_FIELDS[path], field: value}) == (422, f"{field}: Not a valid string.")


@pytest.mark.parametrize("path", POSTS)
def test_json_of_another_shape_is_unprocessable(alice: User, path: str) -> None:
    for body in (b"[]", b'"x"', b"null", b"7", b"true"):
        assert try_out(path, body)[0] == 422


BAD_JSON = [
    b"{",
    b"nonsense",
    b'{"token": "x"',
    b'{"token": "\xff"}',
    b'{"token": NaN}',
    b'{"token": "\\u0000"}',
    b'{"token": "\\ud800"}',
    b"[" * 100_000,
    b'{"a":' * 40 + b"1" + b"}" * 40,
]


@pytest.mark.parametrize("body", BAD_JSON, ids=[body[:24].decode("latin-1") for body in BAD_JSON])
def test_bad_json_is_refused(alice: User, body: bytes) -> None:
    assert [try_out(path, body)[0] for path in POSTS] == [400] * len(POSTS)


@pytest.mark.parametrize("path", POSTS)
def test_empty_body_is_refused(alice: User, path: str) -> None:
    assert try_out(path, b"")[0] in (400, 422)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_other_content_types_are_refused(alice: User, content_type: str) -> None:
    refused = (415, f'Unsupported media type "{content_type}" in request.')
    assert [try_out(path, GOOD_FIELDS[path], content_type) for path in POSTS] == [refused] * len(POSTS)


@pytest.mark.parametrize("path", POSTS)
def test_body_of_a_megabyte_is_not_read(alice: User, path: str) -> None:
    refused = (413, "The body has 1048577 bytes; at most 1048576 are taken here.")
    assert try_out(path, b"x" * (1024 * 1024 + 1)) == refused


@pytest.mark.parametrize("path", POSTS)
def test_other_methods_are_not_taken(alice: User, path: str) -> None:
    token = opened("alice")
    for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
        response = send(path, b"", token=token, method=method)
        assert response.status_code == 405
        assert text_of(path, response) == f'Method "{method}" not allowed.'


@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_ban_is_a_deletion(root: User, alice: User, method: str) -> None:
    response = send("ban/alice", b"", token=opened("root"), method=method)
    assert told(response) == refusal(405, f'Method "{method}" not allowed.')
    assert not Ban.objects.exists()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/nope", API, f"{API}/", f"{API}/nope", f"{API}/login/", f"{API}/ban/", f"{API}/token"]
)
def test_unknown_path_is_told_in_the_dialect(client: Client, method: str, path: str) -> None:
    assert told(client.generic(method, path)) == refusal(404, "There is nothing at this path.")


def test_nul_in_the_path_is_refused_in_the_dialect(root: User) -> None:
    assert told(ban("ali%00ce", opened("root"))) == refusal(400, "The request cannot be understood.")


@pytest.mark.parametrize("accept", ["text/html", "image/png", "nonsense"])
def test_answer_is_json_whatever_is_accepted(alice: User, accept: str) -> None:
    body = {"login": "alice", "password": PASSWORD}
    response = HTTP.post(f"{API}/login", body, "application/json", headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


def test_stale_token_does_not_hinder_a_login(alice: User) -> None:
    fields = json.dumps(GOOD_FIELDS["login"]).encode()
    assert send("login", fields, token="stale").status_code == 200
