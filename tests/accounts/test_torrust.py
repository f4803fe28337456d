"""torrust-index's API context `user`."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from django.test import Client, override_settings
from django.utils import timezone

from accounts import bans, registration, roles
from accounts.credentials import cargo_tokens, jwt_sessions
from accounts.models import Ban, Credential, NameReservation, User
from registry_site.errors import Revoked
from tests.support.cast import PASSWORD
from tests.support.headers import comparable_headers
from tests.support.responses import answer_of

API = "/v1/user"
HTTP = Client(raise_request_exception=False)  # one for all tests: it loads the middleware once, and has no cookies
OTHER = "battery staple"
ADDRESS = "dora@example.org"
TWO_WEEKS = timedelta(days=14)

CLOSED = "This server is closed for registration. Contact admin if this is unexpected"
BAD_NAME = (
    "The user name {!r} is not allowed: use 1 to 255 of A-Z, a-z, 0-9, -, _ and ., "
    "with at least one letter or digit, and dots only between two others."
)
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


def open_session(name: str) -> str:
    """Log in, and return the token of the new session."""
    return str(log_in(name).json()["data"]["token"])


def ban(name: str, token: str = "") -> Any:
    return send(f"ban/{name}", b"", token=token, method="DELETE")


def change(
    name: str, token: str = "", current: str = PASSWORD, new: str = OTHER, confirmation: str | None = None
) -> Any:
    body = {
        "current_password": current,
        "password": new,
        "confirm_password": new if confirmation is None else confirmation,
    }
    return call(f"{name}/change-password", token, **body)


def verify(token: str) -> Any:
    return send("token/verify", json.dumps({"token": token}).encode())


def is_valid(token: str) -> bool:
    return bool(verify(token).status_code == 200)


def renew(token: str) -> Any:
    return send("token/renew", json.dumps({"token": token}).encode())


def refusal(status: int, error: str) -> tuple[int, dict[str, str]]:
    return status, {"error": error}


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def ban_user(user: User) -> None:
    bans.ban(user, actor=None)


def restrict_networks(user: User) -> None:
    # Test clients come from 127.0.0.1.
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24")


# --- POST /v1/user/register --------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_registration_answers_with_the_id_alone() -> None:
    response = register(email=ADDRESS)
    user = User.objects.get(username="dora")
    assert answer_of(response) == (200, {"data": {"user_id": user.pk}})
    assert user.email == ADDRESS
    assert not Credential.objects.exists()


WITHOUT_ADDRESS: list[dict[str, Any]] = [{}, {"email": None}, {"email": ""}, {"email": " \t "}]


@pytest.mark.django_db
def test_registered_user_can_log_in() -> None:
    register()
    assert log_in("dora").status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("setting", ["optional", "none"])
def test_address_can_be_omitted(setting: str) -> None:
    with override_settings(EMAIL_ON_SIGNUP=setting):
        statuses = [register(f"dora-{number}", **fields).status_code for number, fields in enumerate(WITHOUT_ADDRESS)]
    assert statuses == [200] * 4
    assert {user.email for user in User.objects.all()} == {""}


@pytest.mark.django_db
@override_settings(EMAIL_ON_SIGNUP="required")
def test_address_is_required_by_the_setting() -> None:
    answers = [answer_of(register(**fields)) for fields in WITHOUT_ADDRESS]
    assert answers == [refusal(400, NO_EMAIL)] * 4
    assert register(email=ADDRESS).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize("email", [ADDRESS, "nonsense"])
@override_settings(EMAIL_ON_SIGNUP="none")
def test_address_is_discarded_by_the_setting(email: str) -> None:
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
    assert answer_of(register(name)) == refusal(403, CLOSED)
    assert not User.objects.exists()


@pytest.mark.django_db
def test_name_of_up_to_twenty_characters_is_allowed() -> None:
    for name in ("d", "7", "dora_the-1st", "x" * 20, "Y" * 20):
        assert register(name).status_code == 200, name
        assert log_in(name).json()["data"]["username"] == name


BAD_NAMES = [
    "x" * 256,
    "x" * 5000,
    "",
    " ",
    "two words",
    "a@b",
    "a..b",
    ".a",
    "a.",
    "a/b",
    "a:b",
    "a$b",
    "d\u00f6ra",
    "dora\n",
    "-",
]


@pytest.mark.django_db
def test_other_names_are_refused() -> None:
    answers = {name: answer_of(register(name)) for name in BAD_NAMES}
    assert answers == {name: refusal(400, BAD_NAME.format(name[:80])) for name in BAD_NAMES}
    assert not User.objects.exists()


@pytest.mark.django_db
def test_reserved_names_are_refused() -> None:
    for name in ("admin", "root", "Settings"):
        assert answer_of(register(name)) == refusal(400, f"The user name {name!r} is reserved; choose another.")


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
def test_bad_address_is_refused() -> None:
    answers = {email: answer_of(register(email=email)) for email in BAD_EMAILS}
    assert answers == dict.fromkeys(BAD_EMAILS, refusal(400, BAD_EMAIL))
    assert not User.objects.exists()


@pytest.mark.django_db
def test_password_of_another_length_is_refused() -> None:
    cases = [("", SHORT), ("x" * 5, SHORT), ("x" * 65, LONG), ("x" * 5000, LONG)]
    answers = [answer_of(register(password=password)) for password, _ in cases]
    assert answers == [refusal(400, error) for _, error in cases]
    assert not User.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("length", [6, 64])
def test_password_of_each_extreme_length_is_allowed(length: int) -> None:
    assert register(password="x" * length).status_code == 200


@pytest.mark.django_db
def test_different_passwords_are_refused() -> None:
    for confirmation in (OTHER, "", PASSWORD + " ", PASSWORD.upper()):
        assert answer_of(register(confirm_password=confirmation)) == refusal(400, DIFFERENT), confirmation
    assert not User.objects.exists()


def test_taken_name_is_refused_in_any_case(alice: User) -> None:
    for name in ("alice", "ALICE", "aLiCe"):
        assert answer_of(register(name, OTHER)) == refusal(400, NAME_TAKEN)
    assert log_in("alice").status_code == 200


@pytest.mark.django_db
def test_reserved_name_is_taken() -> None:
    NameReservation.objects.create(name="dora")
    assert answer_of(register()) == refusal(400, NAME_TAKEN)


@pytest.mark.django_db
def test_taken_address_is_refused_in_any_case() -> None:
    register(email=ADDRESS)
    for email in (ADDRESS, "DORA@EXAMPLE.ORG", "Dora@Example.org", f" {ADDRESS} "):
        assert answer_of(register("emil", email=email)) == refusal(400, EMAIL_TAKEN), email
    assert not User.objects.named("emil").exists()


@pytest.mark.django_db
def test_address_is_taken_in_each_spelling() -> None:
    register(email="dora@b\u00fccher.example")
    assert answer_of(register("emil", email="dora@xn--bcher-kva.example")) == refusal(400, EMAIL_TAKEN)


def test_first_of_several_errors_is_the_answer(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    cases = [
        ({"username": "no name", "email": "nonsense", "confirm_password": OTHER}, BAD_NAME.format("no name")),
        ({"username": "alice", "email": "nonsense", "confirm_password": OTHER}, BAD_EMAIL),
        ({"username": "alice", "password": "x", "confirm_password": "y"}, DIFFERENT),
        ({"username": "alice", "password": "x", "confirm_password": "x"}, SHORT),
        ({"username": "alice", "email": "alice@example.org"}, NAME_TAKEN),
    ]
    passwords = {"password": PASSWORD, "confirm_password": PASSWORD}
    answers = [answer_of(call("register", **{**passwords, **fields})) for fields, _ in cases]
    assert answers == [refusal(400, error) for _, error in cases]


# --- POST /v1/user/login -----------------------------------------------------------------------------------------


def test_login_answers_with_token_name_and_rank(alice: User) -> None:
    response = log_in("alice")
    token = response.json()["data"]["token"]
    assert answer_of(response) == (200, {"data": {"token": token, "username": "alice", "admin": False}})
    assert (response["Content-Type"], response["Cache-Control"]) == ("application/json", "no-store")
    assert is_valid(token)


def test_login_takes_the_name_or_the_address(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    for login in ("alice", "ALICE", "alice@example.org", "Alice@EXAMPLE.org"):
        assert log_in(login).json()["data"]["username"] == "alice", login


def test_token_has_the_claims_of_the_original(alice: User) -> None:
    token = open_session("alice")
    claims = claims_of(token)
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    assert claims["user"] == {"user_id": alice.pk, "username": "alice", "administrator": False}
    assert abs(claims["exp"] - (timezone.now() + TWO_WEEKS).timestamp()) < 60


def test_administrator_is_stated_in_token_and_answer(root: User) -> None:
    data = log_in("root").json()["data"]
    assert data["admin"] is True
    assert claims_of(data["token"])["user"] == {"user_id": root.pk, "username": "root", "administrator": True}


def test_system_admin_is_stated_as_administrator(alice: User) -> None:
    system_admin = roles.parse_role("systemAdmin")
    roles.grant(alice, system_admin, actor=None)
    assert log_in("alice").json()["data"]["admin"] is True
    roles.revoke(alice, system_admin, actor=None)
    assert log_in("alice").json()["data"]["admin"] is False


def test_user_can_have_several_sessions(alice: User) -> None:
    first, second = open_session("alice"), open_session("alice")
    assert first != second
    assert (is_valid(first), is_valid(second)) == (True, True)


def test_refused_logins_look_alike(alice: User, bob: User, charlie: User, root: User) -> None:
    ban_user(bob)
    deactivate(charlie)
    restrict_networks(root)
    attempts = [("alice", OTHER), ("nobody", PASSWORD), ("bob", PASSWORD), ("charlie", PASSWORD), ("root", PASSWORD)]
    attempts += [("nobody@example.org", PASSWORD), ("alice", ""), ("x" * 4096, PASSWORD), ("alice", "x" * 4096)]
    responses = [log_in(login, password) for login, password in attempts]
    assert [answer_of(response) for response in responses] == [refusal(403, WRONG)] * len(attempts)
    assert len({comparable_headers(response) for response in responses}) == 1


def test_text_of_any_length_is_only_wrong(alice: User) -> None:
    for login, password in (("", PASSWORD), ("x" * 5000, PASSWORD), ("alice", "x" * 5000)):
        assert answer_of(log_in(login, password)) == refusal(403, WRONG)


@override_settings(MAX_LOGIN_FAILURES=3)
def test_guesses_are_limited_in_the_dialect(alice: User) -> None:
    assert [log_in("alice", OTHER).status_code for _ in range(4)] == [403, 403, 403, 429]
    response = log_in("alice")
    assert response.status_code == 429
    assert int(response["Retry-After"]) > 0
    assert set(response.json()) == {"error"}


# --- POST /v1/user/token/verify ----------------------------------------------------------------------------------


def test_verification_opens_no_session(alice: User) -> None:
    token = open_session("alice")
    assert answer_of(verify(token)) == (200, {"data": "Token is valid."})
    assert Credential.objects.count() == 1


def deep_token() -> str:
    return jwt.utils.base64url_encode(b"[" * 3000).decode() + ".e30.x"


BAD_TOKENS = ["", " ", "x", "..", "a.b.c", "t\u00f6ken", "x" * 4096, "x" * 5000, deep_token()]


@pytest.mark.django_db
def test_malformed_token_is_invalid() -> None:
    offenders = []
    for token in BAD_TOKENS:
        answers = [answer_of(verify(token)), answer_of(renew(token))]
        if answers != [(401, {"error": INVALID, "data": INVALID}), refusal(401, INVALID)]:
            offenders.append((token[:12], answers))
    assert offenders == []


def unsigned(alice: User) -> str:
    return jwt.encode(claims_of(open_session("alice")), "", "none")


def signed_by_another(alice: User) -> str:
    return jwt.encode(claims_of(open_session("alice")), "k" * 64, "HS256")


def with_changed_claims(alice: User) -> str:
    """A token with more rights, under the signature of the original."""
    token = open_session("alice")
    claims = claims_of(token)
    claims["user"]["administrator"] = True
    forged = jwt.encode(claims, "k" * 64, "HS256")
    return forged.rpartition(".")[0] + "." + token.rpartition(".")[2]


def without_a_row(alice: User) -> str:
    return str(jwt_sessions.TorrustToken())


def of_backups(alice: User) -> str:
    return jwt_sessions.create_backups_session(alice).token


def of_cargo(alice: User) -> str:
    return cargo_tokens.rotate_default(alice).text


INVALID_TOKENS = [unsigned, signed_by_another, with_changed_claims, without_a_row, of_backups, of_cargo]


@pytest.mark.parametrize("make", INVALID_TOKENS)
def test_token_without_a_session_is_invalid(alice: User, make: Callable[[User], str]) -> None:
    token = make(alice)
    assert answer_of(verify(token)) == (401, {"error": INVALID, "data": INVALID})
    assert answer_of(renew(token)) == refusal(401, INVALID)
    assert answer_of(ban("alice", token)) == refusal(401, INVALID)


def test_expired_token_has_its_own_sentence(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwt_sessions.TorrustToken, "lifetime", timedelta(seconds=-1))
    token = open_session("alice")
    assert answer_of(verify(token)) == (401, {"error": EXPIRED, "data": EXPIRED})
    assert answer_of(renew(token)) == refusal(401, EXPIRED)
    assert answer_of(change("alice", token)) == refusal(401, EXPIRED)


@pytest.mark.parametrize("end", [ban_user, deactivate, restrict_networks])
def test_token_of_a_closed_account_is_invalid(alice: User, end: Callable[[User], None]) -> None:
    token = open_session("alice")
    end(alice)
    assert answer_of(verify(token)) == (401, {"error": INVALID, "data": INVALID})
    assert answer_of(renew(token)) == refusal(401, INVALID)
    assert answer_of(change("alice", token)) == refusal(401, INVALID)
    assert Credential.objects.count() == 1


# --- POST /v1/user/token/renew -----------------------------------------------------------------------------------


def open_short_session(name: str, lifetime: timedelta, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patched:
        patched.setattr(jwt_sessions.TorrustToken, "lifetime", lifetime)
        return open_session(name)


@pytest.mark.parametrize("lifetime", [TWO_WEEKS, timedelta(days=7, minutes=1)])
def test_renewal_keeps_a_token_of_over_a_week(
    alice: User, monkeypatch: pytest.MonkeyPatch, lifetime: timedelta
) -> None:
    token = open_short_session("alice", lifetime, monkeypatch)
    assert answer_of(renew(token)) == (200, {"data": {"token": token, "username": "alice", "admin": False}})
    assert Credential.objects.count() == 1


@pytest.mark.parametrize("lifetime", [timedelta(minutes=1), timedelta(days=7) - timedelta(minutes=1)])
def test_renewal_replaces_a_token_of_under_a_week(
    alice: User, monkeypatch: pytest.MonkeyPatch, lifetime: timedelta
) -> None:
    old = open_short_session("alice", lifetime, monkeypatch)
    response = renew(old)
    new = response.json()["data"]["token"]
    assert answer_of(response) == (200, {"data": {"token": new, "username": "alice", "admin": False}})
    assert (new != old, is_valid(new), is_valid(old)) == (True, True, True)
    assert abs(claims_of(new)["exp"] - (timezone.now() + TWO_WEEKS).timestamp()) < 60


def test_renewal_states_the_rank_of_today(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    old = open_short_session("alice", timedelta(days=6), monkeypatch)
    roles.grant(alice, roles.parse_role("systemAdmin"), actor=None)
    data = renew(old).json()["data"]
    assert data["admin"] is True
    assert claims_of(data["token"])["user"]["administrator"] is True


def test_renewal_is_not_cached(alice: User) -> None:
    assert renew(open_session("alice"))["Cache-Control"] == "no-store"


# --- DELETE /v1/user/ban/{user} ----------------------------------------------------------------------------------


def test_administrator_bans_a_user(root: User, alice: User) -> None:
    token = open_session("alice")
    assert answer_of(ban("alice", open_session("root"))) == (200, {"data": "Banned user: alice"})
    assert not is_valid(token)
    assert answer_of(log_in("alice")) == refusal(403, WRONG)


def test_ban_is_enforced_in_every_dialect(root: User, alice: User) -> None:
    cargo, backups = cargo_tokens.rotate_default(alice).text, jwt_sessions.create_backups_session(alice).token
    ban("alice", open_session("root"))
    statuses = [
        HTTP.get("/api/v1/crates/none/owners", headers={"Authorization": cargo}).status_code,
        HTTP.get("/api/stable/auth/whoami", headers={"Authorization": f"Bearer {backups}"}).status_code,
        HTTP.post("/login", {"username": "alice", "password": PASSWORD}, "application/json").status_code,
    ]
    assert statuses == [401, 403, 401]


def test_ban_takes_the_name_in_any_case(root: User, alice: User) -> None:
    assert answer_of(ban("ALICE", open_session("root"))) == (200, {"data": "Banned user: alice"})


def test_second_ban_replaces_the_first(root: User, alice: User) -> None:
    token = open_session("root")
    assert [answer_of(ban("alice", token)) for _ in range(2)] == [(200, {"data": "Banned user: alice"})] * 2
    assert Ban.objects.in_force().count() == 1


def test_guest_cannot_ban(alice: User) -> None:
    for name in ("alice", "nobody"):
        response = ban(name)
        assert answer_of(response) == refusal(401, GUEST)
        assert "WWW-Authenticate" in response
    assert not Ban.objects.exists()


def test_header_without_a_valid_token_cannot_ban(alice: User) -> None:
    for header in ("", "Bearer", "Basic YWxpY2U6eA==", "nonsense", "Bearer a b", "Bearer x"):
        status, body = answer_of(HTTP.delete(f"{API}/ban/alice", headers={"Authorization": header}))
        assert (status, set(body)) == (401, {"error"}), header
    assert not Ban.objects.exists()


def test_user_cannot_ban(alice: User, bob: User) -> None:
    token = open_session("alice")
    assert [answer_of(ban(name, token)) for name in ("alice", "bob", "nobody")] == [refusal(403, FORBIDDEN)] * 3
    assert not Ban.objects.exists()


def test_unknown_user_cannot_be_banned(root: User) -> None:
    token = open_session("root")
    names = ["nobody", "%ff", "x" * 5000, "'", "a$b"]
    answers = {name: answer_of(ban(name, token)) for name in names}
    assert answers == dict.fromkeys(names, refusal(404, "User not found"))


def test_administrator_can_ban_themselves(root: User) -> None:
    registration.register("other", PASSWORD, admin=True)
    token = open_session("root")
    assert answer_of(ban("root", token)) == (200, {"data": "Banned user: root"})
    assert answer_of(ban("root", token)) == refusal(401, INVALID)


def test_only_administrator_cannot_ban_themselves(root: User) -> None:
    token = open_session("root")
    reason = "root is the only administrator: make another account an administrator first."
    assert answer_of(ban("root", token)) == refusal(400, reason)
    assert is_valid(token)


def test_system_admin_bans(alice: User, bob: User) -> None:
    roles.grant(alice, roles.parse_role("systemAdmin"), actor=None)
    assert answer_of(ban("bob", open_session("alice"))) == (200, {"data": "Banned user: bob"})


def test_system_admin_can_ban_administrators(alice: User, root: User) -> None:
    roles.grant(alice, roles.parse_role("systemAdmin"), actor=None)
    assert ban("root", open_session("alice")).status_code == 200
    assert log_in("root").status_code == 403


def test_rank_comes_from_the_database(alice: User, bob: User) -> None:
    system_admin = roles.parse_role("systemAdmin")
    roles.grant(alice, system_admin, actor=None)
    token = open_session("alice")
    roles.revoke(alice, system_admin, actor=None)
    assert claims_of(token)["user"]["administrator"] is True
    assert answer_of(ban("bob", token)) == refusal(403, FORBIDDEN)


# --- POST /v1/user/{user}/change-password ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_password_is_changed(alice: User, name: str) -> None:
    response = change(name, open_session("alice"))
    assert answer_of(response) == (200, {"data": f"Password changed for user with ID: {alice.pk}"})
    assert [log_in("alice", password).status_code for password in (PASSWORD, OTHER)] == [403, 200]


def test_changed_password_ends_all_other_sessions(alice: User) -> None:
    token, other = open_session("alice"), open_session("alice")
    backups, cargo, named = (
        jwt_sessions.create_backups_session(alice).token,
        cargo_tokens.rotate_default(alice).text,
        cargo_tokens.create(alice, "ci"),
    )
    browser = Client()
    browser.post("/login", {"username": "alice", "password": PASSWORD}, "application/json")
    assert change("alice", token).status_code == 200
    assert (is_valid(token), is_valid(other)) == (True, False)
    whoami = HTTP.get("/api/stable/auth/whoami", headers={"Authorization": f"Bearer {backups}"})
    assert whoami.status_code == 403
    assert browser.get("/settings/appids").status_code == 401
    assert cargo_tokens.authenticate(named).user == alice
    with pytest.raises(Revoked):
        cargo_tokens.authenticate(cargo)


def test_password_can_be_changed_twice_in_a_session(alice: User) -> None:
    token = open_session("alice")
    assert change("alice", token).status_code == 200
    assert change("alice", token, current=OTHER, new=PASSWORD).status_code == 200


def test_password_with_an_older_hash_can_be_changed(alice: User, settings: Any) -> None:
    token = open_session("alice")
    settings.PASSWORD_HASHERS = ["accounts.passwords.hashers.Argon2idHasher", *settings.PASSWORD_HASHERS]
    assert answer_of(change("alice", token)) == (200, {"data": f"Password changed for user with ID: {alice.pk}"})


def test_guest_changes_no_password(alice: User) -> None:
    response = change("alice")
    assert answer_of(response) == refusal(401, GUEST)
    assert "WWW-Authenticate" in response


@pytest.mark.parametrize("make", INVALID_TOKENS)
def test_invalid_tokens_change_no_password(alice: User, make: Callable[[User], str]) -> None:
    assert answer_of(change("alice", make(alice))) == refusal(401, INVALID)
    assert log_in("alice").status_code == 200


def test_user_cannot_change_the_password_of_another(alice: User, bob: User) -> None:
    token = open_session("alice")
    names = ["bob", "nobody", "%ff", "x" * 5000]
    assert [answer_of(change(name, token)) for name in names] == [refusal(403, FORBIDDEN)] * 4
    assert [log_in(name).status_code for name in ("alice", "bob")] == [200, 200]


BAD_CHANGES = [
    ({"current": OTHER}, 403, "Invalid password"),
    ({"current": ""}, 403, "Invalid password"),
    ({"current": "x" * 5000}, 403, "Invalid password"),
    ({"current": OTHER, "new": "x", "confirmation": "y"}, 403, "Invalid password"),
    ({"confirmation": PASSWORD}, 400, DIFFERENT),
    ({"new": "x", "confirmation": "y"}, 400, DIFFERENT),
    ({"new": ""}, 400, SHORT),
    ({"new": "x" * 5}, 400, SHORT),
    ({"new": "x" * 65}, 400, LONG),
    ({"new": "x" * 5000}, 400, LONG),
]


def test_bad_change_is_refused_and_ends_nothing(alice: User) -> None:
    token, other = open_session("alice"), open_session("alice")
    answers = [answer_of(change("alice", token, **fields)) for fields, _, _ in BAD_CHANGES]
    assert answers == [refusal(status, error) for _, status, error in BAD_CHANGES]
    assert (is_valid(token), is_valid(other), log_in("alice").status_code) == (True, True, 200)


@override_settings(MAX_LOGIN_FAILURES=3)
def test_stolen_session_cannot_guess_the_password(alice: User) -> None:
    token = open_session("alice")
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


def send_fields(path: str, body: Any, content_type: str = "application/json") -> tuple[int, str]:
    """Return the status and the sentence of a refusal; a request that needs a session has one."""
    token = open_session("alice") if path == "alice/change-password" else ""
    response = send(path, body if isinstance(body, bytes) else json.dumps(body).encode(), content_type, token)
    return response.status_code, text_of(path, response)


def text_of(path: str, response: Any) -> str:
    body: dict[str, str] = response.json()
    assert set(body) == ({"error", "data"} if path == "token/verify" else {"error"})
    assert len(set(body.values())) == 1
    return body["error"]


def test_missing_field_is_unprocessable(alice: User) -> None:
    offenders = []
    for path, good_fields in GOOD_FIELDS.items():
        for field in good_fields:
            fields = {key: value for key, value in good_fields.items() if key != field}
            if send_fields(path, fields) != (422, f"{field}: This field is required."):
                offenders.append((path, field))
    assert offenders == []


def test_null_is_unprocessable(alice: User) -> None:
    offenders = []
    for path, good_fields in GOOD_FIELDS.items():
        for field in good_fields:
            if send_fields(path, {**good_fields, field: None}) != (422, f"{field}: This field may not be null."):
                offenders.append((path, field))
    assert offenders == []


def test_field_of_another_type_is_unprocessable(alice: User) -> None:
    offenders = []
    for path, field in [("register", "email"), *((path, next(iter(GOOD_FIELDS[path]))) for path in POSTS)]:
        for value in (7, True, ["x"], {"a": 1}):
            answer = send_fields(path, {**GOOD_FIELDS[path], field: value})
            if answer != (422, f"{field}: Not a valid string."):
                offenders.append((path, field, value, answer))
    assert offenders == []


def test_json_of_another_shape_is_unprocessable(alice: User) -> None:
    bodies = [b"[]", b'"x"', b"null", b"7", b"true"]
    assert [(path, body) for path in POSTS for body in bodies if send_fields(path, body)[0] != 422] == []


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


def test_bad_json_is_refused(alice: User) -> None:
    assert [(path, body[:24]) for path in POSTS for body in BAD_JSON if send_fields(path, body)[0] != 400] == []


def test_empty_body_is_refused(alice: User) -> None:
    assert [path for path in POSTS if send_fields(path, b"")[0] not in (400, 422)] == []


def test_other_content_types_are_refused(alice: User) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        refused = (415, f'Unsupported media type "{content_type}" in request.')
        assert [send_fields(path, GOOD_FIELDS[path], content_type) for path in POSTS] == [refused] * len(POSTS)


def test_body_of_a_megabyte_is_not_read(alice: User) -> None:
    refused = (413, "The body has 1048577 bytes; at most 1048576 are taken here.")
    assert [send_fields(path, b"x" * (1024 * 1024 + 1)) for path in POSTS] == [refused] * len(POSTS)


def test_other_methods_are_refused(alice: User) -> None:
    token = open_session("alice")
    offenders = []
    for path in POSTS:
        for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
            response = send(path, b"", token=token, method=method)
            if (response.status_code, text_of(path, response)) != (405, f'Method "{method}" not allowed.'):
                offenders.append((path, method))
    assert offenders == []


def test_other_methods_do_not_ban(root: User, alice: User) -> None:
    token = open_session("root")
    for method in ("GET", "POST", "PUT"):
        response = send("ban/alice", b"", token=token, method=method)
        assert answer_of(response) == refusal(405, f'Method "{method}" not allowed.')
    assert not Ban.objects.exists()


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_unknown_path_is_refused_in_the_dialect(client: Client, method: str) -> None:
    nested = ["/", "/nope", "/login/", "/ban/", "/token"]
    paths = ["/v1", "/v1/", "/v1/nope", API, *(API + path for path in nested)]
    answers = {path: answer_of(client.generic(method, path)) for path in paths}
    assert answers == dict.fromkeys(paths, refusal(404, "There is nothing at this path."))


def test_nul_in_the_path_is_refused(root: User) -> None:
    assert answer_of(ban("ali%00ce", open_session("root"))) == refusal(400, "The request cannot be understood.")


def test_answer_is_json_whatever_is_accepted(alice: User) -> None:
    body = {"login": "alice", "password": PASSWORD}
    for accept in ("text/html", "image/png", "nonsense"):
        response = HTTP.post(f"{API}/login", body, "application/json", headers={"Accept": accept})
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")


def test_stale_token_does_not_hinder_a_login(alice: User) -> None:
    fields = json.dumps(GOOD_FIELDS["login"]).encode()
    assert send("login", fields, token="stale").status_code == 200
