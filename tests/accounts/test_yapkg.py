"""yapkg-backend's user endpoints, as its clients call them."""

from typing import Any

import pytest
from django.core import mail
from django.test import Client, override_settings

from accounts import bans, profiles
from accounts.credentials import app_keys, jwt_sessions
from accounts.models import Credential, User
from accounts.principals import Principal
from registry_site.models import AuditEvent
from tests.support.app_keys import sign_empty_request
from tests.support.browser import ALL_METHODS, ANONYMOUS, BAD_BODIES, NO_PATH, OK, Browser
from tests.support.cast import PASSWORD

OTHER = "battery staple"
EMAIL = "alice@example.org"
WRONG = {"error": "wrong_password", "message": "The user name or the password is wrong."}
NO_USER = {"error": "user_missing", "message": "There is no user of this name."}
NO_KEY = {"error": "missing", "message": "You have no app key of this id."}


@pytest.fixture
def browser(alice: User) -> Browser:
    """Alice has signed in with it."""
    User.objects.filter(pk=alice.pk).update(email=EMAIL)
    return Browser(alice)


def shown(user: User, **changes: Any) -> dict[str, Any]:
    """The user as the documents have it, under both spellings of the id."""
    row = User.objects.get(pk=user.pk)
    ids = {"user_id": str(row.pk), "userid": str(row.pk)}
    return {**ids, "username": row.username, "email": row.email, "avatar_uri": row.avatar_uri, **changes}


def signs_in(name: str, password: str = PASSWORD) -> bool:
    return bool(Browser().send("POST", "/login", username=name, password=password).status_code == 200)


# --- POST /register ----------------------------------------------------------------------------------------------


def register(**fields: Any) -> Any:
    return Browser().send("POST", "/register", **{"username": "dora", "password": PASSWORD, "email": EMAIL, **fields})


@pytest.mark.django_db
def test_registered_user_is_shown() -> None:
    response = register()
    assert response.status_code == 200
    assert response.json() == shown(User.objects.get(username="dora"), email=EMAIL, avatar_uri="")


@pytest.mark.django_db
def test_registered_user_can_log_in_and_is_not_signed_in_yet() -> None:
    response = register()
    assert not response.cookies
    assert signs_in("dora")


@pytest.mark.django_db
def test_registration_makes_nobody_an_administrator() -> None:
    register(is_staff=True, is_superuser=True, is_admin=True, role="systemAdmin", user_id="1", id=1)
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, user.role_grants.count()) == (False, False, 0)


@pytest.mark.django_db
@pytest.mark.parametrize("missing", ["username", "password", "email"])
@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "This field may not be null."),
        ("", "This field may not be blank."),
        (7, "Not a valid string."),
        (True, "Not a valid string."),
        (["x"], "Not a valid string."),
        ({"x": "y"}, "Not a valid string."),
        ("x" * 5000, "Ensure this field has no more than 4096 characters."),
    ],
    ids=["null", "blank", "number", "true", "list", "object", "long"],
)
def test_each_field_of_a_registration_is_a_text(missing: str, value: Any, reason: str) -> None:
    response = register(**{missing: value})
    assert response.status_code == 400
    assert response.json() == {"error": "malformed", "message": f"{missing}: {reason}"}
    assert not User.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("missing", ["username", "password", "email"])
def test_each_field_of_a_registration_is_needed(missing: str) -> None:
    given = {"username": "dora", "password": PASSWORD, "email": EMAIL}
    del given[missing]
    response = Browser().send("POST", "/register", **given)
    assert response.status_code == 400
    assert response.json() == {"error": "malformed", "message": f"{missing}: This field is required."}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("username", "a/b", "name_invalid"),
        ("username", "gitlab.com:bob", "name_invalid"),
        ("username", "x" * 64, "name_invalid"),
        ("username", " dora", "name_invalid"),
        ("username", "dоra", "name_invalid"),  # noqa: RUF001 - a Cyrillic letter
        ("username", "admin", "name_invalid"),
        ("username", "Settings", "name_invalid"),
        ("password", "short", "password_too_short"),
        ("password", "x" * 65, "password_too_long"),
        ("password", " " * 8, "password_content"),
        ("email", "nobody", "email_invalid"),
        ("email", "a@b.example\r\nBcc: x@y.example", "email_invalid"),
        ("email", "x" * 300 + "@example.org", "email_invalid"),
        ("email", "<script>@example.org", "email_invalid"),
    ],
)
def test_bad_registration_is_refused_with_its_code(field: str, value: str, code: str) -> None:
    response = register(**{field: value})
    assert response.status_code == 400
    assert set(response.json()) == {"error", "message"}
    assert response.json()["error"] == code
    assert not User.objects.exists()


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_taken_name_is_a_bad_request(alice: User, name: str) -> None:
    response = register(username=name)
    assert response.status_code == 400
    message = f"the user identified 'ktra-secure-auth:{name}' already exists"
    assert response.json() == {"error": "name_taken", "message": message}


@pytest.mark.parametrize("email", [EMAIL, "Alice@Example.ORG"])
def test_taken_address_is_a_bad_request(browser: Browser, email: str) -> None:
    response = register(email=email)
    assert response.status_code == 400
    assert response.json()["error"] == "email_taken"
    assert User.objects.count() == 1


@override_settings(SIGNUP_OPEN=False)
@pytest.mark.parametrize("name", ["alice", "dora"])
def test_closed_registry_takes_no_registrations(alice: User, name: str) -> None:
    response = register(username=name)
    assert response.status_code == 403
    message = "This registry does not take new accounts over the web; ask its operator for one."
    assert response.json() == {"error": "signup_closed", "message": message}


@override_settings(EMAIL_VERIFICATION=True)
@pytest.mark.django_db
def test_address_is_verified_before_the_first_login() -> None:
    assert register().status_code == 200
    response = Browser().send("POST", "/login", username="dora", password=PASSWORD)
    assert (response.status_code, response.json()["error"]) == (403, "unverified")
    assert not response.cookies
    assert mail.outbox[0].to == [EMAIL]


# --- POST /login -------------------------------------------------------------------------------------------------


def test_login_shows_the_user_and_sets_a_cookie(alice: User) -> None:
    response = Browser().send("POST", "/login", username="alice", password=PASSWORD)
    assert response.status_code == 200
    assert response.json() == shown(alice)
    assert "registry_session" in response.cookies
    assert response["Cache-Control"] == "no-store, private"


@pytest.mark.parametrize("login", ["ALICE", EMAIL, "Alice@Example.org", "ktra-secure-auth:alice"])
def test_account_answers_to_each_of_its_names(browser: Browser, login: str) -> None:
    assert signs_in(login)


def test_refused_logins_look_alike(alice: User, bob: User, charlie: User) -> None:
    bans.ban(bob, actor=None)
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    tries = [("alice", OTHER), ("nobody", PASSWORD), ("bob", PASSWORD), ("charlie", PASSWORD), ("alice", "x" * 4096)]
    responses = [Browser().send("POST", "/login", username=name, password=password) for name, password in tries]
    assert {(r.status_code, r.content) for r in responses} == {(401, responses[0].content)}
    assert responses[0].json() == WRONG
    assert len({tuple(sorted(r.headers.items())) for r in responses}) == 1
    assert not any(response.cookies for response in responses)


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["%", "' OR 1=1 --", "a" * 4096, "é", "\u200balice", "a\nb", "@", "a@b"])
def test_odd_name_is_an_unknown_name(name: str) -> None:
    response = Browser().send("POST", "/login", username=name, password=PASSWORD)
    assert (response.status_code, response.json()) == (401, WRONG)


@pytest.mark.django_db
@pytest.mark.parametrize("missing", ["username", "password"])
def test_login_needs_both_fields(missing: str) -> None:
    given = {"username": "alice", "password": PASSWORD}
    del given[missing]
    response = Browser().send("POST", "/login", **given)
    assert response.status_code == 400
    assert response.json() == {"error": "malformed", "message": f"{missing}: This field is required."}


# --- GET and POST /logout ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_logout_ends_the_session(browser: Browser, method: str) -> None:
    cookie = browser.cookies["registry_session"].value
    response = browser.generic(method, "/logout")
    assert (response.status_code, response.json()) == (200, OK)
    browser.cookies["registry_session"] = cookie
    assert browser.get("/settings/appids").status_code == 401


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_logout_of_nobody_is_done_already(method: str) -> None:
    response = Browser().generic(method, "/logout")
    assert (response.status_code, response.json()) == (200, OK)
    assert not response.cookies.get("registry_session", "")


def test_logout_leaves_other_sessions_alone(browser: Browser, alice: User) -> None:
    Browser(alice).get("/logout")
    assert browser.get("/settings/appids").status_code == 200


# --- GET /users/{username} ---------------------------------------------------------------------------------------


def test_address_is_not_for_everybody(browser: Browser, alice: User) -> None:
    response = Client().get("/users/alice")
    assert response.status_code == 200
    assert response.json() == shown(alice, email=None)


def test_address_is_for_who_is_signed_in(browser: Browser, alice: User, bob: User) -> None:
    response = Browser(bob).get("/users/alice")
    assert (response.status_code, response.json()) == (200, shown(alice, email=EMAIL))


def test_user_without_an_address_has_an_empty_one(browser: Browser, bob: User) -> None:
    assert browser.get("/users/bob").json() == shown(bob, email="")


def test_answer_with_an_address_is_not_for_shared_caches(browser: Browser) -> None:
    pair = browser.new_key().json()
    signed = Client().get("/users/alice", headers={"Token": sign_empty_request(pair)})
    assert signed.json()["email"] == EMAIL
    varies = {name.strip().lower() for name in signed.get("Vary", "").split(",")}
    assert "private" in signed.get("Cache-Control", "") or {"token", "x-auth-token", "cookie"} <= varies


@pytest.mark.parametrize("name", ["ALICE", "%61lice"])
def test_user_is_found_in_any_case(alice: User, name: str) -> None:
    assert Client().get(f"/users/{name}").json() == shown(alice, email=None)


@pytest.mark.parametrize("name", ["nobody", "%ff", "alice%0a", "%ed%a0%80", "%25", "'", "é", ".", "a" * 5000, "a@b"])
def test_unknown_user_is_missing(alice: User, name: str) -> None:
    response = Client().get(f"/users/{name}")
    assert (response.status_code, response.json()) == (404, NO_USER)


def test_name_with_a_nul_is_refused(alice: User) -> None:
    response = Client(raise_request_exception=False).get("/users/ali%00ce")
    assert response.status_code == 400
    assert set(response.json()) == {"error", "message"}


# --- PATCH /settings/profile -------------------------------------------------------------------------------------


def test_profile_is_changed_and_shown(browser: Browser, alice: User) -> None:
    new = {"username": "alicia", "email": "alicia@example.org", "avatar_uri": "https://example.org/a.png"}
    response = browser.change(user_id=str(alice.pk), password=OTHER, **new)
    assert response.status_code == 200
    assert response.json() == shown(alice, **new)
    assert signs_in("alicia", OTHER)


def test_change_of_nothing_changes_nothing(browser: Browser, alice: User) -> None:
    before = User.objects.values().get(pk=alice.pk)
    response = browser.change()
    assert (response.status_code, response.json()) == (200, shown(alice))
    assert User.objects.values().get(pk=alice.pk) == before


def test_what_is_so_already_is_no_conflict(browser: Browser, alice: User) -> None:
    response = browser.change(username="alice", email=EMAIL, avatar_uri="", user_id=alice.pk)
    assert (response.status_code, response.json()) == (200, shown(alice))


def test_anonymous_has_no_profile(db: None) -> None:
    response = Browser().change(username="alicia")
    assert (response.status_code, response.json()) == (401, ANONYMOUS)


def test_own_id_may_be_a_text_or_a_number(browser: Browser, alice: User) -> None:
    assert [browser.change(user_id=kind(alice.pk)).status_code for kind in (str, int)] == [200, 200]


def test_profile_of_another_stays_as_it_is(browser: Browser, bob: User) -> None:
    response = browser.change(user_id=str(bob.pk), username="robert", avatar_uri="https://example.org/b.png")
    assert response.status_code == 403
    assert response.json() == {"error": "denied", "message": "You can change your own account only."}
    assert (shown(bob)["username"], shown(bob)["avatar_uri"]) == ("bob", "")


@pytest.mark.parametrize("user_id", ["-1", "0", 0, "99999999"])
def test_id_of_nobody_is_not_ones_own(browser: Browser, user_id: Any) -> None:
    assert browser.change(user_id=user_id).status_code == 403


@pytest.mark.parametrize("user_id", [None, "", "alice", True, [1], {"a": 1}, 1.5, 10**30, "9" * 5000, "0x1"])
def test_id_is_a_number(browser: Browser, user_id: Any) -> None:
    response = browser.change(user_id=user_id, username="alicia")
    assert response.status_code == 400
    assert response.json()["error"] == "malformed"
    assert response.json()["message"].startswith("user_id: ")


@pytest.mark.parametrize("field", ["username", "password", "email", "avatar_uri"])
@pytest.mark.parametrize("value", [None, 7, ["x"], "x" * 5000])
def test_each_field_of_a_profile_is_a_text(browser: Browser, field: str, value: Any) -> None:
    response = browser.change(**{field: value})
    assert response.status_code == 400
    assert response.json()["error"] == "malformed"
    assert response.json()["message"].startswith(f"{field}: ")


@pytest.mark.parametrize("field", ["username", "password", "email"])
def test_what_one_signs_in_with_is_not_emptied(browser: Browser, field: str) -> None:
    response = browser.change(**{field: ""})
    assert response.status_code == 400
    assert response.json() == {"error": "malformed", "message": f"{field}: This field may not be blank."}


BAD_CHANGES = [
    ("username", "bob", "name_taken"),
    ("username", "BOB", "name_taken"),
    ("username", "Admin", "name_invalid"),
    ("username", "settings", "name_invalid"),
    ("username", "a/b", "name_invalid"),
    ("username", "a.b", "name_invalid"),
    ("username", "alicе", "name_invalid"),  # noqa: RUF001 - a Cyrillic letter
    ("email", "bob@example.org", "email_taken"),
    ("email", "Bob@Example.org", "email_taken"),
    ("email", "nobody", "email_invalid"),
    ("email", "a@b.example\nBcc: x@y.example", "email_invalid"),
    ("password", "short", "password_too_short"),
    ("password", "x" * 65, "password_too_long"),
    ("password", "x\ty\nz\r", "password_content"),
    ("avatar_uri", "javascript:alert(1)", "invalid"),
    ("avatar_uri", "file:///etc/passwd", "invalid"),
    ("avatar_uri", "data:text/html,<script>", "invalid"),
    ("avatar_uri", "ftp://example.org/a.png", "invalid"),
    ("avatar_uri", "//example.org/a.png", "invalid"),
    ("avatar_uri", "https://", "invalid"),
    ("avatar_uri", "https://example.org/\r\nX: y", "invalid"),
    ("avatar_uri", " https://example.org/a.png", "invalid"),
]


@pytest.mark.parametrize(("field", "value", "code"), BAD_CHANGES)
def test_one_bad_field_changes_nothing(
    browser: Browser, alice: User, bob: User, field: str, value: str, code: str
) -> None:
    profiles.update_profile(Principal(bob), None, profiles.ProfileChanges(email="bob@example.org"))
    before = User.objects.values().get(pk=alice.pk)
    good = {"username": "alicia", "password": OTHER, "email": "a@example.org", "avatar_uri": "http://example.org/"}
    response = browser.change(**{**good, field: value})
    assert (response.status_code, response.json()["error"]) == (400, code)
    assert set(response.json()) == {"error", "message"}
    assert User.objects.values().get(pk=alice.pk) == before
    assert not AuditEvent.objects.filter(action__in=["user.rename", "user.change_password"]).exists()


@pytest.mark.parametrize(
    "uri", ["http://example.org/a.png", "HTTPS://example.org/", "https://192.0.2.7:8443/a?b=c#d", ""]
)
def test_picture_is_on_the_web(browser: Browser, uri: str) -> None:
    assert browser.change(avatar_uri=uri).json()["avatar_uri"] == uri


def test_password_is_not_the_new_name(browser: Browser, alice: User) -> None:
    response = browser.change(username="alicia", password="alicia")
    assert (response.status_code, response.json()["error"]) == (400, "password_is_name")


@override_settings(EMAIL_VERIFICATION=True)
def test_new_address_counts_when_it_is_verified(browser: Browser) -> None:
    User.objects.update(email_verified_at="2026-01-01T00:00:00Z")
    response = browser.change(email="alicia@example.org")
    assert (response.status_code, response.json()["email"]) == (200, EMAIL)
    assert mail.outbox[0].to == ["alicia@example.org"]


@override_settings(EMAIL_VERIFICATION=True)
def test_refused_change_sends_no_mail(browser: Browser, bob: User) -> None:
    assert browser.change(username="bob", email="alicia@example.org").status_code == 400
    assert not mail.outbox


# --- Another name ------------------------------------------------------------------------------------------------


def test_renamed_user_is_known_by_the_new_name_alone(browser: Browser) -> None:
    browser.change(username="alicia")
    assert (signs_in("alicia"), signs_in("alice")) == (True, False)
    assert Client().get("/users/alice").status_code == 404


def test_name_may_change_its_case(browser: Browser) -> None:
    assert browser.change(username="Alice").json()["username"] == "Alice"
    assert signs_in("alice")


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_former_name_is_nobody_elses(browser: Browser, bob: User, name: str) -> None:
    browser.change(username="alicia")
    response = Browser(bob).change(username=name)
    assert response.status_code == 400
    assert response.json() == {"error": "name_taken", "message": f"The name {name!r} is taken."}
    assert register(username=name).json()["error"] == "name_taken"


def test_former_name_can_be_taken_back(browser: Browser, bob: User) -> None:
    for name in ("alicia", "ally", "alice", "ALICIA"):
        assert browser.change(username=name).json()["username"] == name
    assert [Browser(bob).change(username=name).status_code for name in ("alice", "ally", "alicia")] == [400] * 3


def test_renaming_keeps_keys_and_sessions(browser: Browser, alice: User) -> None:
    pair = browser.new_key("ALL").json()
    other = Browser(alice)
    browser.change(username="alicia")
    assert other.get("/users/alicia").json()["email"] == EMAIL
    assert Client().get("/settings/appids", headers={"Token": sign_empty_request(pair)}).json() == [pair]


# --- Another password --------------------------------------------------------------------------------------------


def test_changed_password_keeps_this_session(browser: Browser) -> None:
    browser.change(password=OTHER)
    assert browser.get("/settings/appids").status_code == 200
    assert browser.change(username="alicia").status_code == 200


def test_changed_password_ends_other_sessions(browser: Browser, alice: User) -> None:
    other, backups, torrust = (
        Browser(alice),
        jwt_sessions.create_backups_session(alice).token,
        jwt_sessions.create_torrust_session(alice).token,
    )
    browser.change(password=OTHER)
    whoami = Client().get("/api/stable/auth/whoami", headers={"Authorization": f"Bearer {backups}"})
    verified = Browser().send("POST", "/v1/user/token/verify", token=torrust)
    assert other.get("/settings/appids").status_code == 401
    assert (whoami.status_code, verified.status_code) == (403, 401)


def test_changed_password_ends_no_session_of_others(browser: Browser, bob: User) -> None:
    other = Browser(bob)
    browser.change(password=OTHER)
    assert other.get("/settings/appids").status_code == 200


def test_only_the_new_password_logs_in(browser: Browser) -> None:
    browser.change(password=OTHER)
    assert (signs_in("alice"), signs_in("alice", OTHER)) == (False, True)


# --- /settings/appids --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["READ_ONLY", "PUBLISH", "ALL"])
def test_new_pair_is_shown_and_shown_again(browser: Browser, kind: str) -> None:
    response = browser.new_key(kind)
    assert response.status_code == 200
    assert set(response.json()) == {"appid", "appsecret", "type"}
    assert response.json()["type"] == kind
    assert browser.get("/settings/appids").json() == [response.json()]


def test_pairs_are_listed_newest_first(browser: Browser) -> None:
    pairs = [browser.new_key().json() for _ in range(3)]
    assert browser.get("/settings/appids").json() == pairs[::-1]
    assert len({pair[key] for pair in pairs for key in ("appid", "appsecret")}) == 6


def test_pairs_are_not_to_be_stored_on_their_way(browser: Browser) -> None:
    assert browser.new_key()["Cache-Control"] == "no-store, private"
    assert browser.get("/settings/appids")["Cache-Control"] == "no-store, private"


def test_list_holds_ones_own_pairs_alone(browser: Browser, bob: User) -> None:
    Browser(bob).new_key()
    assert browser.get("/settings/appids").json() == []


def test_secret_is_nowhere_in_the_database(browser: Browser) -> None:
    secret = browser.new_key().json()["appsecret"]
    rows = [*Credential.objects.values(), *AuditEvent.objects.values()]
    assert secret not in repr(rows)


@pytest.mark.parametrize("kind", ["", "read_only", "ADMIN", "READ_ONLY ", "x" * 41, None, 1, True, ["ALL"], {"a": 1}])
def test_unknown_type_is_refused(browser: Browser, kind: Any) -> None:
    response = browser.new_key(kind)
    assert response.status_code == 400
    assert set(response.json()) == {"error", "message"}
    assert not Credential.objects.filter(kind=Credential.Kind.APP_KEY).exists()


def test_type_is_needed(browser: Browser) -> None:
    response = browser.send("POST", "/settings/appids")
    assert response.status_code == 400
    assert response.json() == {"error": "malformed", "message": "type: This field is required."}


def test_types_are_named_to_who_asks_for_another(browser: Browser) -> None:
    message = "There is no type 'ADMIN'; there are: READ_ONLY, PUBLISH, ALL."
    assert browser.new_key("ADMIN").json() == {"error": "invalid", "message": message}


def test_fifty_pairs_are_enough(browser: Browser, alice: User, bob: User) -> None:
    pairs = [app_keys.issue(Principal(alice), "ALL") for _ in range(50)]
    response = browser.new_key()
    assert response.status_code == 400
    message = "You have 50 app keys already; delete one first."
    assert response.json() == {"error": "too_many_keys", "message": message}
    assert Browser(bob).new_key().status_code == 200
    browser.delete(f"/settings/appids/{pairs[0].appid}")
    assert browser.new_key().status_code == 200


def test_deleted_pair_is_gone_at_once(browser: Browser) -> None:
    pair = browser.new_key("ALL").json()
    response = browser.delete(f"/settings/appids/{pair['appid']}")
    assert (response.status_code, response.json()) == (200, OK)
    assert browser.get("/settings/appids").json() == []
    assert Client().get("/settings/appids", headers={"Token": sign_empty_request(pair)}).status_code == 401


def test_pair_is_deleted_once(browser: Browser) -> None:
    path = f"/settings/appids/{browser.new_key().json()['appid']}"
    assert browser.delete(path).status_code == 200
    again = browser.delete(path)
    assert (again.status_code, again.json()) == (404, NO_KEY)


@pytest.mark.parametrize("appid", ["app_none", "default", "Login", "%25", "%ff", "é", "a" * 5000, "1"])
def test_unknown_pair_is_missing(browser: Browser, appid: str) -> None:
    response = browser.delete(f"/settings/appids/{appid}")
    assert (response.status_code, response.json()) == (404, NO_KEY)


def test_pair_of_another_is_missing_and_still_good(browser: Browser, bob: User) -> None:
    theirs = Browser(bob).new_key("ALL").json()
    response = browser.delete(f"/settings/appids/{theirs['appid']}")
    assert (response.status_code, response.json()) == (404, NO_KEY)
    assert Client().get("/settings/appids", headers={"Token": sign_empty_request(theirs)}).json() == [theirs]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/settings/appids"), ("POST", "/settings/appids"), ("DELETE", "/settings/appids/app_none")],
)
def test_anonymous_has_no_pairs(method: str, path: str) -> None:
    response = Browser().generic(method, path)
    assert (response.status_code, response.json()) == (401, ANONYMOUS)


# --- All of them -------------------------------------------------------------------------------------------------

BODIES = [("POST", "/register"), ("POST", "/login"), ("PATCH", "/settings/profile"), ("POST", "/settings/appids")]


@pytest.mark.parametrize(("method", "path"), BODIES[1:3])
@pytest.mark.parametrize(("body", "message"), BAD_BODIES, ids=[body[:16].decode("latin-1") for body, _ in BAD_BODIES])
def test_bad_body_is_refused_with_its_reason(
    browser: Browser, method: str, path: str, body: bytes, message: str
) -> None:
    response = browser.generic(method, path, body, "application/json")
    assert response.status_code == 400
    assert set(response.json()) == {"error", "message"}
    assert response.json()["message"] == message


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_huge_body_is_not_read(browser: Browser, method: str, path: str) -> None:
    response = browser.generic(method, path, b'{"type": "' + b"x" * 1024 * 1024 + b'"}', "application/json")
    message = "The body has 1048588 bytes; at most 1048576 are taken here."
    assert (response.status_code, response.json()) == (413, {"error": "too_large", "message": message})


@pytest.mark.parametrize(("method", "path"), BODIES)
@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_other_content_types_are_refused(browser: Browser, method: str, path: str, content_type: str) -> None:
    response = browser.generic(method, path, b'{"type": "ALL"}', content_type)
    message = f'Unsupported media type "{content_type}" in request.'
    assert (response.status_code, response.json()) == (415, {"error": "unsupported_media_type", "message": message})


@pytest.mark.parametrize(("method", "path"), BODIES)
def test_body_without_a_length_is_refused(browser: Browser, method: str, path: str) -> None:
    response = browser.generic(method, path, headers={"Transfer-Encoding": "chunked"})
    message = "Send the body with a Content-Length; a chunked body is not taken here."
    assert (response.status_code, response.json()) == (411, {"error": "length_required", "message": message})


METHODS = {
    "/register": {"POST"},
    "/login": {"POST"},
    "/logout": {"GET", "POST"},
    "/users/alice": {"GET", "HEAD"},
    "/settings/profile": {"PATCH"},
    "/settings/appids": {"GET", "HEAD", "POST"},
    "/settings/appids/app_none": {"DELETE"},
}


@pytest.mark.parametrize("path", METHODS)
def test_other_methods_are_refused(browser: Browser, path: str) -> None:
    for method in ALL_METHODS - METHODS[path]:
        response = browser.generic(method, path, b"{}", "application/json")
        message = f'Method "{method}" not allowed.'
        assert (response.status_code, response.json()) == (405, {"error": "method_not_allowed", "message": message})
        assert {word.strip() for word in response["Allow"].split(",")} - {"OPTIONS"} == METHODS[path]


@pytest.mark.parametrize(
    "path", ["/users/", "/users/alice/", "/settings/", "/settings/appids/", "/register/", "/login/x"]
)
def test_unknown_path_is_told_as_yapkg_tells_it(browser: Browser, path: str) -> None:
    response = browser.get(path)
    assert (response.status_code, response.json()) == (404, NO_PATH)


@pytest.mark.parametrize("path", ["/applications/clients", "/applications/clients/app_none"])
def test_paths_of_the_newer_document_are_not_there(browser: Browser, path: str) -> None:
    assert browser.get(path, headers={"Accept": "application/json"}).status_code == 404


def test_me_stays_a_hint_for_cargo(browser: Browser) -> None:
    assert browser.get("/me", headers={"Accept": "application/json"})["Content-Type"] == "text/plain; charset=utf-8"
    assert browser.send("PATCH", "/me", username="alicia").status_code == 405


@pytest.mark.parametrize("accept", ["application/json", "text/html", "image/png", "nonsense"])
def test_answer_is_json_whatever_is_accepted(alice: User, accept: str) -> None:
    response = Client().get("/users/alice", headers={"Accept": accept})
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")


@pytest.mark.parametrize("headers", [{"X-HTTP-Method-Override": "DELETE"}, {"X-Method-Override": "DELETE"}])
def test_method_cannot_be_overridden(browser: Browser, headers: dict[str, str]) -> None:
    pair = browser.new_key().json()
    browser.post(f"/settings/appids/{pair['appid']}?_method=DELETE", headers=headers)
    assert browser.get("/settings/appids").json() == [pair]
