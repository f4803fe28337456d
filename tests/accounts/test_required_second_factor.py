"""`REGISTRY_REQUIRE_SECOND_FACTOR`: what an account gets that has to have a second factor, and has none."""

from typing import Any

import pytest
from django.test import Client

from accounts import roles
from accounts.credentials import cargo_tokens
from accounts.models import Credential, Role, User
from tests.support.authenticator_apps import PhoneApp, add_app
from tests.support.cast import PASSWORD
from tests.support.log_ins import LOG_INS, post_json
from tests.support.page_forms import PAGE, FormBrowser

PAGES = ("/", "/account", "/account/tokens", "/account/tokens/new", "/admin/", "/search", "/me", "/nothing")


def signed_in(name: str) -> FormBrowser:
    browser = FormBrowser()
    assert browser.fill_in("/sign-in", username=name, password=PASSWORD).status_code == 302
    return browser


def locations(browser: Client) -> dict[str, str]:
    return {path: browser.get(path, headers=PAGE).get("Location", "") for path in PAGES}


@pytest.fixture
def staff(settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = "staff"


@pytest.fixture
def everybody(settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = "all"


def test_staff_get_the_security_page_alone(staff: None, root: User, alice: User) -> None:
    roles.grant(alice, Role.SYSTEM_ADMIN, actor=None)
    for name in ("root", "alice"):
        browser = signed_in(name)
        assert locations(browser) == dict.fromkeys(PAGES, "/account/security")
        page = browser.get("/account/security", headers=PAGE)
        assert "This registry requires a second factor of you" in page.content.decode()
        assert browser.get("/account/security/app", headers=PAGE).status_code == 200
        assert browser.fill_in("/sign-out").status_code == 302


def test_others_are_not_bound(staff: None, alice: User) -> None:
    browser = signed_in("alice")
    assert "/account/security" not in locations(browser).values()
    assert post_json("/v1/user/login", {"login": "alice", "password": PASSWORD}).status_code == 200


def test_added_app_opens_the_way(staff: None, root: User) -> None:
    browser = signed_in("root")
    form = browser.get("/account/security/app", headers=PAGE).context["form"]
    app = PhoneApp(form.secret)
    added = browser.fill_in("/account/security/app", name="Phone", code=app.code(), sealed=form.initial["sealed"])
    assert added.status_code == 200
    assert browser.get("/admin/", headers=PAGE).status_code == 200


def test_log_ins_by_password_are_refused(everybody: None, alice: User) -> None:
    answers = {path: post_json(path, body) for path, body in LOG_INS.items()}
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(LOG_INS, 403)
    assert [path for path, answer in answers.items() if "/account/security" not in answer.content.decode()] == []
    assert not Credential.objects.filter(user=alice).exists()


def test_sign_up_of_ktra_gives_no_token(everybody: None, db: None) -> None:
    answer = post_json("/ktra/api/v1/new_user/dora", {"password": PASSWORD})
    assert (answer.status_code, "/sign-up" in answer.content.decode()) == (403, True)
    assert not User.objects.exists()


def test_session_of_a_program_is_refused(everybody: None, alice: User) -> None:
    browser = Client()
    browser.force_login(alice)
    answer = browser.get("/settings/appids")
    assert (answer.status_code, answer.json()["error"]) == (403, "second_factor_required")


def test_tokens_and_provider_accounts_go_on(everybody: None, alice: User, bob: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    assert Client(headers={"Authorization": token}).get("/api/v1/me").status_code == 200
    bob.set_unusable_password()
    bob.save()
    browser = Client()
    browser.force_login(bob)
    assert browser.get("/account", headers=PAGE).status_code == 200


def test_removal_of_the_last_factor_binds_again(everybody: None, alice: User) -> None:
    add_app(alice)
    browser = Client()
    browser.force_login(alice)
    assert browser.get("/account", headers=PAGE).status_code == 200
    alice.authenticators.all().delete()
    assert browser.get("/account", headers=PAGE)["Location"] == "/account/security"
