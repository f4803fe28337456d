"""yapkg-backend's user endpoints."""

from typing import Any

import pytest
from django.test import Client, override_settings

from accounts import bans, profiles, roles
from accounts.credentials import app_keys, jwt_sessions
from accounts.models import Credential, Role, User
from accounts.principals import Principal
from registry_site.models import AuditEvent
from tests.support.app_keys import sign_empty_request
from tests.support.browser import ALL_METHODS, ANONYMOUS, BAD_BODIES, NO_PATH, OK, WRONG_TEXTS, Browser
from tests.support.cast import PASSWORD
from tests.support.headers import comparable_headers
from tests.support.responses import answer_of
from tests.support.sent_mails import sent_mails

OTHER = "battery staple"
EMAIL = "alice@example.org"
WRONG = {"error": "wrong_password", "message": "The user name or the password is wrong."}
NO_USER = {"error": "user_missing", "message": "There is no user of this name."}
NO_KEY = {"error": "missing", "message": "You have no app key of this id."}


@pytest.fixture
def browser(alice: User) -> Browser:
    """A browser in which alice is signed in, who has an e-mail address."""
    User.objects.filter(pk=alice.pk).update(email=EMAIL)
    return Browser(alice)


def user_json(user: User, **changes: Any) -> dict[str, Any]:
    """Return the user as the documents have it, under both spellings of the id."""
    row = User.objects.get(pk=user.pk)
    ids = {"user_id": str(row.pk), "userid": str(row.pk)}
    return {**ids, "username": row.username, "email": row.email, "avatar_uri": row.avatar_uri, **changes}


def signs_in(name: str, password: str = PASSWORD) -> bool:
    return bool(Browser().send("POST", "/login", username=name, password=password).status_code == 200)


# --- POST /register ----------------------------------------------------------------------------------------------


def register(**fields: Any) -> Any:
    return Browser().send("POST", "/register", **{"username": "dora", "password": PASSWORD, "email": EMAIL, **fields})


@pytest.mark.django_db
def test_registration_answers_with_the_user() -> None:
    response = register()
    assert response.status_code == 200
    assert response.json() == user_json(User.objects.get(username="dora"), email=EMAIL, avatar_uri="")


@pytest.mark.django_db
def test_registration_does_not_sign_in() -> None:
    response = register()
    assert not response.cookies
    assert signs_in("dora")


@pytest.mark.django_db
def test_registration_makes_nobody_an_administrator() -> None:
    register(is_staff=True, is_superuser=True, is_admin=True, role="systemAdmin", user_id="1", id=1)
    user = User.objects.get()
    assert (user.is_staff, user.is_superuser, user.role_grants.count()) == (False, False, 0)


@pytest.mark.django_db
def test_each_field_of_a_registration_is_text() -> None:
    reasons = [*WRONG_TEXTS, ("x" * 5000, "Ensure this field has no more than 4096 characters.")]
    answers = {
        (field, reason): answer_of(register(**{field: value}))
        for field in ("username", "password", "email")
        for value, reason in reasons
    }
    assert answers == {
        (field, reason): (400, {"error": "malformed", "message": f"{field}: {reason}"}) for field, reason in answers
    }
    assert not User.objects.exists()


@pytest.mark.django_db
def test_each_field_of_a_registration_is_required() -> None:
    fields = {"username": "dora", "password": PASSWORD, "email": EMAIL}
    for missing in fields:
        sent = {field: value for field, value in fields.items() if field != missing}
        answer = answer_of(Browser().send("POST", "/register", **sent))
        assert answer == (400, {"error": "malformed", "message": f"{missing}: This field is required."})


@pytest.mark.django_db
def test_bad_registration_is_refused_with_its_code() -> None:
    cases = [
        ("username", "a/b", "name_invalid"),
        ("username", "gitlab.com:bob", "name_invalid"),
        ("username", "x" * 256, "name_invalid"),
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
    ]
    offenders = []
    for field, value, code in cases:
        status, body = answer_of(register(**{field: value}))
        if status != 400 or set(body) != {"error", "message"} or body["error"] != code:
            offenders.append((field, value, status, body))
    assert offenders == []
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
    assert sent_mails()[0].to == [EMAIL]


# --- POST /login -------------------------------------------------------------------------------------------------


def test_login_shows_the_user_and_sets_a_cookie(alice: User) -> None:
    response = Browser().send("POST", "/login", username="alice", password=PASSWORD)
    assert response.status_code == 200
    assert response.json() == user_json(alice)
    assert "registry_session" in response.cookies
    assert response["Cache-Control"] == "no-store, private"


def test_login_takes_each_form_of_the_name(browser: Browser) -> None:
    logins = ["ALICE", EMAIL, "Alice@Example.org", "ktra-secure-auth:alice"]
    assert [login for login in logins if not signs_in(login)] == []


def test_refused_logins_look_alike(alice: User, bob: User, charlie: User) -> None:
    bans.ban(bob, actor=None)
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    logins = [("alice", OTHER), ("nobody", PASSWORD), ("bob", PASSWORD), ("charlie", PASSWORD), ("alice", "x" * 4096)]
    responses = [Browser().send("POST", "/login", username=name, password=password) for name, password in logins]
    assert {(r.status_code, r.content) for r in responses} == {(401, responses[0].content)}
    assert responses[0].json() == WRONG
    assert len({comparable_headers(r) for r in responses}) == 1
    assert not any(response.cookies for response in responses)


@pytest.mark.django_db
def test_odd_name_is_an_unknown_name() -> None:
    names = ["%", "' OR 1=1 --", "a" * 4096, "é", "\u200balice", "a\nb", "@", "a@b"]
    answers = {name: answer_of(Browser().send("POST", "/login", username=name, password=PASSWORD)) for name in names}
    assert answers == dict.fromkeys(names, (401, WRONG))


@pytest.mark.django_db
def test_login_needs_both_fields() -> None:
    for present, missing in (("username", "password"), ("password", "username")):
        answer = answer_of(Browser().send("POST", "/login", **{present: "alice"}))
        assert answer == (400, {"error": "malformed", "message": f"{missing}: This field is required."})


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
def test_logout_without_a_session_succeeds(method: str) -> None:
    response = Browser().generic(method, "/logout")
    assert (response.status_code, response.json()) == (200, OK)
    assert not response.cookies.get("registry_session", "")


def test_logout_leaves_other_sessions_alone(browser: Browser, alice: User) -> None:
    Browser(alice).get("/logout")
    assert browser.get("/settings/appids").status_code == 200


# --- GET /users/{username} ---------------------------------------------------------------------------------------


def test_anonymous_sees_no_address(browser: Browser, alice: User) -> None:
    response = Client().get("/users/alice")
    assert response.status_code == 200
    assert response.json() == user_json(alice, email=None)


def test_stranger_sees_no_address(browser: Browser, alice: User, bob: User) -> None:
    response = Browser(bob).get("/users/alice")
    assert (response.status_code, response.json()) == (200, user_json(alice, email=None))


def test_staff_see_addresses(browser: Browser, alice: User, bob: User, charlie: User) -> None:
    roles.grant(bob, Role.USERS_MANAGER, actor=None)
    User.objects.filter(pk=charlie.pk).update(is_staff=True)
    for user in (bob, charlie):
        assert Browser(user).get("/users/alice").json() == user_json(alice, email=EMAIL)


def test_setting_shows_addresses_after_sign_in(browser: Browser, alice: User, bob: User, settings: Any) -> None:
    settings.SHOW_EMAILS = True
    assert Browser(bob).get("/users/alice").json() == user_json(alice, email=EMAIL)
    assert Client().get("/users/alice").json() == user_json(alice, email=None)


def test_user_without_an_address_has_an_empty_one(browser: Browser, bob: User) -> None:
    assert Browser(bob).get("/users/bob").json() == user_json(bob, email="")


def test_answer_with_an_address_is_not_shared(browser: Browser) -> None:
    pair = browser.new_key().json()
    signed = Client().get("/users/alice", headers={"Token": sign_empty_request(pair)})
    assert signed.json()["email"] == EMAIL
    varies = {name.strip().lower() for name in signed.get("Vary", "").split(",")}
    assert "private" in signed.get("Cache-Control", "") or {"token", "x-auth-token", "cookie"} <= varies


def test_user_is_looked_up_in_any_case(alice: User) -> None:
    for name in ("ALICE", "%61lice"):
        assert Client().get(f"/users/{name}").json() == user_json(alice, email=None)


def test_unknown_user_is_not_found(alice: User) -> None:
    names = ["nobody", "%ff", "alice%0a", "%ed%a0%80", "%25", "'", "é", ".", "a" * 5000, "a@b"]
    answers = {name: answer_of(Client().get(f"/users/{name}")) for name in names}
    assert answers == dict.fromkeys(names, (404, NO_USER))


def test_name_with_a_nul_is_refused(alice: User) -> None:
    response = Client(raise_request_exception=False).get("/users/ali%00ce")
    assert response.status_code == 400
    assert set(response.json()) == {"error", "message"}


# --- PATCH /settings/profile -------------------------------------------------------------------------------------


def test_changed_profile_is_the_answer(browser: Browser, alice: User) -> None:
    new = {"username": "alicia", "email": "alicia@example.org", "avatar_uri": "https://example.org/a.png"}
    response = browser.change(user_id=str(alice.pk), password=OTHER, **new)
    assert response.status_code == 200
    assert response.json() == user_json(alice, **new)
    assert signs_in("alicia", OTHER)


def test_empty_change_changes_nothing(browser: Browser, alice: User) -> None:
    before = User.objects.values().get(pk=alice.pk)
    response = browser.change()
    assert (response.status_code, response.json()) == (200, user_json(alice))
    assert User.objects.values().get(pk=alice.pk) == before


def test_own_values_are_no_conflict(browser: Browser, alice: User) -> None:
    response = browser.change(username="alice", email=EMAIL, avatar_uri="", user_id=alice.pk)
    assert (response.status_code, response.json()) == (200, user_json(alice))


def test_anonymous_has_no_profile(db: None) -> None:
    response = Browser().change(username="alicia")
    assert (response.status_code, response.json()) == (401, ANONYMOUS)


def test_own_id_is_text_or_a_number(browser: Browser, alice: User) -> None:
    assert [browser.change(user_id=kind(alice.pk)).status_code for kind in (str, int)] == [200, 200]


def test_profile_of_another_cannot_be_changed(browser: Browser, bob: User) -> None:
    response = browser.change(user_id=str(bob.pk), username="robert", avatar_uri="https://example.org/b.png")
    assert response.status_code == 403
    assert response.json() == {"error": "denied", "message": "You can change your own account only."}
    assert (user_json(bob)["username"], user_json(bob)["avatar_uri"]) == ("bob", "")


def test_id_of_nobody_is_refused(browser: Browser) -> None:
    assert [browser.change(user_id=user_id).status_code for user_id in ("-1", "0", 0, "99999999")] == [403] * 4


def test_id_must_be_a_number(browser: Browser) -> None:
    offenders = []
    for user_id in (None, "", "alice", True, [1], {"a": 1}, 1.5, 10**30, "9" * 5000, "0x1"):
        status, body = answer_of(browser.change(user_id=user_id, username="alicia"))
        if status != 400 or body["error"] != "malformed" or not body["message"].startswith("user_id: "):
            offenders.append((user_id, status, body))
    assert offenders == []


def test_each_field_of_a_profile_is_text(browser: Browser) -> None:
    offenders = []
    for field in ("username", "password", "email", "avatar_uri"):
        for value in (None, 7, ["x"], "x" * 5000):
            status, body = answer_of(browser.change(**{field: value}))
            if status != 400 or body["error"] != "malformed" or not body["message"].startswith(f"{field}: "):
                offenders.append((field, value, status, body))
    assert offenders == []


def test_name_password_and_email_cannot_be_emptied(browser: Browser) -> None:
    for field in ("username", "password", "email"):
        answer = answer_of(browser.change(**{field: ""}))
        assert answer == (400, {"error": "malformed", "message": f"{field}: This field may not be blank."})


BAD_CHANGES = [
    ("username", "bob", "name_taken"),
    ("username", "BOB", "name_taken"),
    ("username", "B0b", "name_too_similar"),
    ("username", "Admin", "name_invalid"),
    ("username", "settings", "name_invalid"),
    ("username", "a/b", "name_invalid"),
    ("username", "a..b", "name_invalid"),
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


def test_one_bad_field_changes_nothing(browser: Browser, alice: User, bob: User) -> None:
    profiles.update_profile(Principal(bob), None, profiles.ProfileChanges(email="bob@example.org"))
    before = User.objects.values().get(pk=alice.pk)
    valid = {"username": "alicia", "password": OTHER, "email": "a@example.org", "avatar_uri": "http://example.org/"}
    offenders = []
    for field, value, code in BAD_CHANGES:
        status, body = answer_of(browser.change(**{**valid, field: value}))
        is_unchanged = User.objects.values().get(pk=alice.pk) == before
        if status != 400 or set(body) != {"error", "message"} or body["error"] != code or not is_unchanged:
            offenders.append((field, value, status, body))
    assert offenders == []
    assert not AuditEvent.objects.filter(action__in=["user.rename", "user.change_password"]).exists()


def test_avatar_is_a_web_address_or_empty(browser: Browser) -> None:
    for uri in ("http://example.org/a.png", "HTTPS://example.org/", "https://192.0.2.7:8443/a?b=c#d", ""):
        assert browser.change(avatar_uri=uri).json()["avatar_uri"] == uri


def test_password_must_differ_from_the_new_name(browser: Browser, alice: User) -> None:
    response = browser.change(username="alicia", password="alicia")
    assert (response.status_code, response.json()["error"]) == (400, "password_is_name")


@override_settings(EMAIL_VERIFICATION=True)
def test_new_address_counts_when_it_is_verified(browser: Browser) -> None:
    User.objects.update(email_verified_at="2026-01-01T00:00:00Z")
    response = browser.change(email="alicia@example.org")
    assert (response.status_code, response.json()["email"]) == (200, EMAIL)
    assert sent_mails()[0].to == ["alicia@example.org"]


@override_settings(EMAIL_VERIFICATION=True)
def test_refused_change_sends_no_mail(browser: Browser, bob: User) -> None:
    assert browser.change(username="bob", email="alicia@example.org").status_code == 400
    assert not sent_mails()


# --- Another name ------------------------------------------------------------------------------------------------


def test_renamed_user_has_only_the_new_name(browser: Browser) -> None:
    browser.change(username="alicia")
    assert (signs_in("alicia"), signs_in("alice")) == (True, False)
    assert Client().get("/users/alice").status_code == 404


def test_name_may_change_its_case(browser: Browser) -> None:
    assert browser.change(username="Alice").json()["username"] == "Alice"
    assert signs_in("alice")


@pytest.mark.parametrize("name", ["alice", "ALICE"])
def test_former_name_stays_reserved(browser: Browser, bob: User, name: str) -> None:
    browser.change(username="alicia")
    response = Browser(bob).change(username=name)
    assert response.status_code == 400
    assert response.json() == {
        "error": "name_taken",
        "message": f"The name {name!r} is taken by a namespace or a user.",
    }
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


@pytest.mark.parametrize("key_type", ["READ_ONLY", "PUBLISH", "ALL"])
def test_new_pair_is_listed(browser: Browser, key_type: str) -> None:
    response = browser.new_key(key_type)
    assert response.status_code == 200
    assert set(response.json()) == {"appid", "appsecret", "type"}
    assert response.json()["type"] == key_type
    assert browser.get("/settings/appids").json() == [response.json()]


def test_pairs_are_listed_newest_first(browser: Browser) -> None:
    pairs = [browser.new_key().json() for _ in range(3)]
    assert browser.get("/settings/appids").json() == pairs[::-1]
    assert len({pair[key] for pair in pairs for key in ("appid", "appsecret")}) == 6


def test_pairs_are_not_cached(browser: Browser) -> None:
    assert browser.new_key()["Cache-Control"] == "no-store, private"
    assert browser.get("/settings/appids")["Cache-Control"] == "no-store, private"


def test_list_has_only_own_pairs(browser: Browser, bob: User) -> None:
    Browser(bob).new_key()
    assert browser.get("/settings/appids").json() == []


def test_secret_is_nowhere_in_the_database(browser: Browser) -> None:
    secret = browser.new_key().json()["appsecret"]
    rows = [*Credential.objects.values(), *AuditEvent.objects.values()]
    assert secret not in repr(rows)


def test_unknown_type_is_refused(browser: Browser) -> None:
    offenders = []
    for key_type in ("", "read_only", "ADMIN", "READ_ONLY ", "x" * 41, None, 1, True, ["ALL"], {"a": 1}):
        status, body = answer_of(browser.new_key(key_type))
        if status != 400 or set(body) != {"error", "message"}:
            offenders.append((key_type, status, body))
    assert offenders == []
    assert not Credential.objects.of_kind(Credential.Kind.APP_KEY).exists()


def test_type_is_required(browser: Browser) -> None:
    response = browser.send("POST", "/settings/appids")
    assert response.status_code == 400
    assert response.json() == {"error": "malformed", "message": "type: This field is required."}


def test_refusal_of_a_type_lists_the_types(browser: Browser) -> None:
    message = "There is no type 'ADMIN'; there are: READ_ONLY, PUBLISH, ALL."
    assert browser.new_key("ADMIN").json() == {"error": "invalid", "message": message}


def test_user_has_at_most_fifty_pairs(browser: Browser, alice: User, bob: User) -> None:
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
    assert answer_of(browser.delete(path)) == (404, NO_KEY)


def test_unknown_pair_is_not_found(browser: Browser) -> None:
    appids = ["app_none", "default", "Login", "%25", "%ff", "é", "a" * 5000, "1"]
    answers = {appid: answer_of(browser.delete(f"/settings/appids/{appid}")) for appid in appids}
    assert answers == dict.fromkeys(appids, (404, NO_KEY))


def test_pair_of_another_cannot_be_deleted(browser: Browser, bob: User) -> None:
    theirs = Browser(bob).new_key("ALL").json()
    response = browser.delete(f"/settings/appids/{theirs['appid']}")
    assert (response.status_code, response.json()) == (404, NO_KEY)
    assert Client().get("/settings/appids", headers={"Token": sign_empty_request(theirs)}).json() == [theirs]


@pytest.mark.django_db
def test_anonymous_has_no_pairs() -> None:
    requests = [("GET", "/settings/appids"), ("POST", "/settings/appids"), ("DELETE", "/settings/appids/app_none")]
    assert [answer_of(Browser().generic(*request)) for request in requests] == [(401, ANONYMOUS)] * 3


# --- All of them -------------------------------------------------------------------------------------------------

BODIES = [("POST", "/register"), ("POST", "/login"), ("PATCH", "/settings/profile"), ("POST", "/settings/appids")]


@pytest.mark.parametrize(("method", "path"), BODIES[1:3])
def test_bad_body_is_refused_with_its_reason(browser: Browser, method: str, path: str) -> None:
    offenders = []
    for content, message in BAD_BODIES:
        status, body = answer_of(browser.generic(method, path, content, "application/json"))
        if status != 400 or set(body) != {"error", "message"} or body["message"] != message:
            offenders.append((content[:40], status, body))
    assert offenders == []


def test_huge_body_is_not_read(browser: Browser) -> None:
    content = b'{"type": "' + b"x" * 1024 * 1024 + b'"}'
    message = "The body has 1048588 bytes; at most 1048576 are taken here."
    for method, path in BODIES:
        answer = answer_of(browser.generic(method, path, content, "application/json"))
        assert answer == (413, {"error": "too_large", "message": message}), path


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_other_content_types_are_refused(browser: Browser, content_type: str) -> None:
    message = f'Unsupported media type "{content_type}" in request.'
    for method, path in BODIES:
        answer = answer_of(browser.generic(method, path, b'{"type": "ALL"}', content_type))
        assert answer == (415, {"error": "unsupported_media_type", "message": message}), path


def test_body_without_a_length_is_refused(browser: Browser) -> None:
    message = "Send the body with a Content-Length; a chunked body is not taken here."
    for method, path in BODIES:
        answer = answer_of(
            browser.generic(method, path, b"{}", CONTENT_LENGTH="", headers={"Transfer-Encoding": "chunked"})
        )
        assert answer == (411, {"error": "length_required", "message": message}), path


METHODS = {
    "/register": {"POST"},
    "/login": {"POST"},
    "/logout": {"GET", "POST"},
    "/users/alice": {"GET", "HEAD"},
    "/settings/profile": {"PATCH"},
    "/settings/appids": {"GET", "HEAD", "POST"},
    "/settings/appids/app_none": {"DELETE"},
}


def test_other_methods_are_refused(browser: Browser) -> None:
    offenders = []
    for path, allowed in METHODS.items():
        for method in ALL_METHODS - allowed:
            response = browser.generic(method, path, b"{}", "application/json")
            refusal = {"error": "method_not_allowed", "message": f'Method "{method}" not allowed.'}
            listed = {word.strip() for word in response["Allow"].split(",")} - {"OPTIONS"}
            if answer_of(response) != (405, refusal) or listed != allowed:
                offenders.append((path, method, response.status_code, listed))
    assert offenders == []


def test_unknown_path_is_refused_in_the_dialect(browser: Browser) -> None:
    paths = ["/users/", "/users/alice/", "/settings/", "/settings/appids/", "/register/", "/login/x"]
    assert {path: answer_of(browser.get(path)) for path in paths} == dict.fromkeys(paths, (404, NO_PATH))


def test_paths_of_the_newer_document_do_not_exist(browser: Browser) -> None:
    for path in ("/applications/clients", "/applications/clients/app_none"):
        assert browser.get(path, headers={"Accept": "application/json"}).status_code == 404


def test_me_answers_with_a_hint_for_cargo(browser: Browser) -> None:
    assert browser.get("/me", headers={"Accept": "application/json"})["Content-Type"] == "text/plain; charset=utf-8"
    assert browser.send("PATCH", "/me", username="alicia").status_code == 405


def test_answer_is_json_whatever_is_accepted(alice: User) -> None:
    for accept in ("application/json", "text/html", "image/png", "nonsense"):
        response = Client().get("/users/alice", headers={"Accept": accept})
        assert (response.status_code, response["Content-Type"]) == (200, "application/json")


def test_method_cannot_be_overridden(browser: Browser) -> None:
    pair = browser.new_key().json()
    for header in ("X-HTTP-Method-Override", "X-Method-Override"):
        browser.post(f"/settings/appids/{pair['appid']}?_method=DELETE", headers={header: "DELETE"})
    assert browser.get("/settings/appids").json() == [pair]
