"""Pages to sign in, sign up and sign out, as a browser without JavaScript uses them."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.http import urlencode

from accounts import bans
from accounts.models import Credential, User
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.page_forms import PAGE, FormBrowser, error_of, notices
from tests.support.sent_mails import sent_mails

OTHER = "battery staple"
SIGN_UP = {"username": "dora", "email": "dora@example.org", "password": PASSWORD, "confirmation": PASSWORD}


@pytest.fixture
def visitor(db: None) -> FormBrowser:
    return FormBrowser()


def sign_in(browser: FormBrowser, name: str = "alice", password: str = PASSWORD, path: str = "/sign-in") -> Any:
    return browser.fill_in(path, username=name, password=password)


# --- Sign-in --------------------------------------------------------------------------------------------------------


def test_sign_in_leads_to_the_token(visitor: FormBrowser, alice: User) -> None:
    response = sign_in(visitor)
    assert (response.status_code, response["Location"]) == (302, "/me")
    assert visitor.get("/account", headers=PAGE).status_code == 200


def test_sign_in_takes_the_address(visitor: FormBrowser, alice: User) -> None:
    User.objects.update(email="alice@example.org")
    assert sign_in(visitor, "Alice@example.org").status_code == 302


def test_sign_in_goes_on_to_own_pages_only(visitor: FormBrowser, alice: User) -> None:
    paths = {
        "/account/sessions?a=b": "/account/sessions?a=b",
        "//evil.example": "/me",
        "https://evil.example/": "/me",
        "/\\evil.example": "/me",
        "///evil.example": "/me",
        "javascript:alert(1)": "/me",
        "account": "/me",
        "/replace_token": "/me",
        "/replace_token/?a=b": "/me",
        "/logout": "/me",
        "/%6Cogout": "/me",
        "/account/../replace_token": "/me",
        "/account/%2e%2e/replace_token": "/me",
        "/\tevil.example": "/%09evil.example",
    }
    offenders = []
    for target, expected in paths.items():
        browser = FormBrowser()
        location = sign_in(browser, path=f"/sign-in?{urlencode({'next': target})}")["Location"]
        if location != expected:
            offenders.append((target, location))
    assert offenders == []


def test_wrong_password_keeps_the_name(visitor: FormBrowser, alice: User) -> None:
    response = sign_in(visitor, password=OTHER)
    page = response.content.decode()
    assert response.status_code == 401
    assert notices(page) == ["The user name or the password is wrong."]
    assert ('value="alice"' in page, OTHER in page) == (True, False)


def test_empty_fields_are_marked(visitor: FormBrowser) -> None:
    response = visitor.fill_in("/sign-in", username="", password="")
    assert response.status_code == 400
    assert [error_of(response, name) for name in ("username", "password")] == ["This field is required."] * 2


def test_throttle_says_how_long_to_wait(visitor: FormBrowser, alice: User, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 1
    sign_in(visitor, password=OTHER)
    response = sign_in(visitor)
    assert response.status_code == 429
    [sentence] = notices(response.content.decode())
    assert re.fullmatch(r"Too many failed log-ins; wait \d+ seconds before the next\.", sentence)
    assert 800 < int(response["Retry-After"]) <= 900


def test_closed_accounts_get_a_plain_sentence(visitor: FormBrowser, alice: User, bob: User, charlie: User) -> None:
    User.objects.filter(pk=alice.pk).update(is_active=False)
    bans.ban(bob, actor=None, reason="Spam")
    User.objects.filter(pk=charlie.pk).update(allowed_networks="192.0.2.0/24")
    sentences = {name: notices(sign_in(visitor, name).content.decode()) for name in ("alice", "bob", "charlie")}
    assert sentences == {
        "alice": ["This account is closed. The operator of this registry can open it again."],
        "bob": ["This account is banned: Spam. Ask the operator of this registry."],
        "charlie": ["This account must not be used from your address. Ask the operator of this registry."],
    }


def test_end_of_a_ban_is_stated(visitor: FormBrowser, alice: User) -> None:
    until = timezone.now() + timedelta(days=1)
    bans.ban(alice, actor=None, until=until)
    [sentence] = notices(sign_in(visitor).content.decode())
    assert sentence == f"This account is banned until {until:%Y-%m-%d %H:%M} UTC. Ask the operator of this registry."


def test_stranger_learns_nothing_of_a_ban(visitor: FormBrowser, alice: User) -> None:
    bans.ban(alice, actor=None)
    assert notices(sign_in(visitor, password=OTHER).content.decode()) == ["The user name or the password is wrong."]


def test_apis_answer_bans_as_wrong_passwords(visitor: FormBrowser, alice: User) -> None:
    bans.ban(alice, actor=None, reason="Spam")
    response = Client().post("/login", {"username": "alice", "password": PASSWORD}, content_type="application/json")
    assert response.json() == {"error": "wrong_password", "message": "The user name or the password is wrong."}


def test_unverified_account_gets_another_link(visitor: FormBrowser, alice: User, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = True
    User.objects.update(email="alice@example.org")
    response = sign_in(visitor)
    assert (response.status_code, len(sent_mails())) == (403, 1)
    assert "Verify your e-mail address first" in notices(response.content.decode())[0]
    assert "Sign in again in ten minutes" in response.content.decode()


def test_signed_in_visitor_goes_on(visitor: FormBrowser, alice: User) -> None:
    sign_in(visitor)
    assert visitor.get("/sign-in?next=/account", headers=PAGE)["Location"] == "/account"


def test_form_of_another_site_is_refused(visitor: FormBrowser, alice: User) -> None:
    response = visitor.post("/sign-in", {"username": "alice", "password": PASSWORD}, headers=PAGE)
    assert response.status_code == 403
    assert not Credential.objects.exists()


def test_browsers_at_apis_go_to_the_pages(visitor: FormBrowser) -> None:
    locations = [visitor.get(path, headers=PAGE)["Location"] for path in ("/login", "/register")]
    assert locations == ["/sign-in", "/sign-up"]
    assert [visitor.get(path).status_code for path in ("/login", "/register")] == [405, 405]


# --- Sign-up --------------------------------------------------------------------------------------------------------


def test_sign_up_signs_in(visitor: FormBrowser) -> None:
    response = visitor.fill_in("/sign-up?next=/account", **SIGN_UP)
    assert (response.status_code, response["Location"]) == (302, "/account")
    assert visitor.get("/account", headers=PAGE).status_code == 200
    actions = AuditEvent.objects.order_by("pk").values_list("action", "ip_address")
    assert list(actions) == [("user.register", "127.0.0.1"), ("user.log_in", "127.0.0.1")]


def test_sign_up_with_verification_sends_a_link(visitor: FormBrowser, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = True
    response = visitor.fill_in("/sign-up?next=/account", **SIGN_UP)
    assert response["Location"] == "/sign-in?next=%2Faccount"
    page = visitor.get(response["Location"], headers=PAGE).content.decode()
    assert "Now follow the link that was sent to dora@example.org, and sign in." in page
    assert (len(sent_mails()), Credential.objects.count()) == (1, 0)


def test_refusals_stand_at_their_fields(visitor: FormBrowser, alice: User, settings: Any) -> None:
    settings.EMAIL_ON_SIGNUP = "required"
    User.objects.update(email="alice@example.org")
    cases = {
        ("username", "Alice"): "This user name is taken; choose another.",
        ("username", "a1ice"): "The name 'a1ice' looks too much like one that is taken; choose another.",
        ("username", "admin"): "The user name 'admin' is reserved; choose another.",
        ("username", "a b"): "The user name 'a b' is not allowed: use 1 to 255 of A-Z, a-z, 0-9, -, _ and ., "
        "with at least one letter or digit, and dots only between two others.",
        ("email", ""): "This field is required.",
        ("email", "nobody"): "The e-mail address is not valid: 'nobody'.",
        ("email", "ALICE@example.org"): "The address ALICE@example.org belongs to an account already.",
        ("password", "short"): "Use 6 to 64 characters; the password has 5.",
        ("password", "dora"): "Use 6 to 64 characters; the password has 4.",
        ("password", " " * 8): "The password is blank or has control characters.",
        ("confirmation", OTHER): "The two passwords differ.",
    }
    offenders = []
    for (field, value), sentence in cases.items():
        changes = {"password": value, "confirmation": value} if field == "password" else {field: value}
        response = visitor.fill_in("/sign-up", **{**SIGN_UP, **changes})
        if error_of(response, field) != sentence:
            offenders.append((field, value, error_of(response, field), response.status_code))
    assert offenders == []


def test_password_like_the_name_is_marked(visitor: FormBrowser) -> None:
    response = visitor.fill_in("/sign-up", username="dorothea", email="", password="Dorothea", confirmation="Dorothea")
    assert error_of(response, "password") == "The password is the user name."


def test_all_bad_fields_are_marked_at_once(visitor: FormBrowser) -> None:
    response = visitor.fill_in("/sign-up", username="new", email="nobody", password="short", confirmation="short")
    marked = [field for field in ("username", "email", "password", "confirmation") if error_of(response, field)]
    assert marked == ["username", "email", "password"]


def test_refused_sign_up_keeps_all_but_passwords(visitor: FormBrowser, alice: User) -> None:
    page = visitor.fill_in("/sign-up", **{**SIGN_UP, "username": "alice"}).content.decode()
    assert ('value="alice"' in page, 'value="dora@example.org"' in page, PASSWORD in page) == (True, True, False)


def test_limit_of_sign_ups_says_how_long(visitor: FormBrowser, settings: Any) -> None:
    settings.SIGNUPS_PER_HOUR = 1
    visitor.fill_in("/sign-up", **SIGN_UP)
    response = FormBrowser().fill_in("/sign-up", **{**SIGN_UP, "username": "emil", "email": ""})
    assert (response.status_code, int(response["Retry-After"]) > 3500) == (429, True)
    assert "Too many accounts were created from your address; wait 3" in notices(response.content.decode())[0]


def test_address_is_left_out_where_none_is_stored(visitor: FormBrowser, settings: Any) -> None:
    settings.EMAIL_ON_SIGNUP = "none"
    assert 'name="email"' not in visitor.get("/sign-up", headers=PAGE).content.decode()
    fields = {name: value for name, value in SIGN_UP.items() if name != "email"}
    assert visitor.fill_in("/sign-up", **fields).status_code == 302


def test_closed_sign_up_says_so(visitor: FormBrowser, settings: Any) -> None:
    settings.SIGNUP_OPEN = False
    page = visitor.get("/sign-up", headers=PAGE).content.decode()
    assert "This registry does not take new accounts over the web." in page
    assert 'name="password"' not in page
    assert visitor.post("/sign-up", SIGN_UP).status_code == 403  # no token: there is no form
    assert not User.objects.exists()


# --- Verification ---------------------------------------------------------------------------------------------------


@pytest.fixture
def link(visitor: FormBrowser, settings: Any) -> str:
    settings.EMAIL_VERIFICATION = True
    visitor.fill_in("/sign-up", **SIGN_UP)
    match = re.search(r"http://testserver(/v1/user/email/verify/\S+)", str(sent_mails()[-1].body))
    assert match
    return match[1]


def test_scanner_verifies_nothing(visitor: FormBrowser, link: str) -> None:
    response = visitor.get(link, headers=PAGE)
    assert (response.status_code, response["Cache-Control"]) == (
        200,
        "max-age=0, no-cache, no-store, must-revalidate, private",
    )
    assert "Yes, verify the address" in response.content.decode()
    assert not User.objects.get().has_verified_email


def test_button_verifies_the_address(visitor: FormBrowser, link: str) -> None:
    response = visitor.fill_in(link)
    assert (response["Location"], User.objects.get().has_verified_email) == ("/sign-in", True)
    page = visitor.get("/sign-in", headers=PAGE).content.decode()
    assert "The address dora@example.org is verified." in page
    assert "This address is verified" in visitor.get(link, headers=PAGE).content.decode()


def test_form_elsewhere_verifies_nothing(visitor: FormBrowser, link: str) -> None:
    assert visitor.post(link, headers=PAGE).status_code == 403
    assert not User.objects.get().has_verified_email


def test_ended_link_says_so_on_a_page(visitor: FormBrowser, link: str) -> None:
    for path in (f"{link}x", "/v1/user/email/verify/none"):
        response = visitor.get(path, headers=PAGE)
        assert (response.status_code, response["Content-Type"]) == (400, "text/html; charset=utf-8")
        assert "This link has ended, or is not whole. Sign in, or ask for another one." in response.content.decode()


# --- Sign-out -------------------------------------------------------------------------------------------------------


def test_sign_out_needs_the_button(visitor: FormBrowser, alice: User) -> None:
    sign_in(visitor)
    assert "You are signed in as" in visitor.get("/sign-out", headers=PAGE).content.decode()
    assert Credential.objects.unrevoked().count() == 1
    assert visitor.fill_in("/sign-out")["Location"] == "/"
    assert Credential.objects.unrevoked().count() == 0
    assert "You are not signed in." in visitor.get("/sign-out", headers=PAGE).content.decode()


# --- Where the provider alone signs in -------------------------------------------------------------------------------


def test_provider_alone_leaves_passwords_out(visitor: FormBrowser, settings: Any) -> None:
    settings.PASSWORD_LOGIN, settings.OIDC_LOGIN, settings.OIDC_ISSUER = False, True, "https://id.example.org"
    for path in ("/sign-in", "/sign-up"):
        page = visitor.get(path, headers=PAGE).content.decode()
        assert "Sign in at https://id.example.org" in page
        assert "<input" not in page.partition("<main")[2]
