"""`/account` and beneath: one's own pages."""

from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import closing, roles
from accounts.credentials import app_keys, cargo_tokens, jwt_sessions
from accounts.models import Credential, Identity, Role, User
from accounts.oidc import identities
from accounts.passwords import login
from accounts.principals import Principal
from crates import ownership, publishing
from namespaces import membership
from registry_site import audit
from registry_site.errors import AccountClosed
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import PASSWORD
from tests.support.page_forms import PAGE, FormBrowser, error_of, notices
from tests.support.sent_mails import sent_mails

NEW = "battery staple"
ISSUER = "https://id.example.org"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def browser(alice: User) -> FormBrowser:
    """A browser in which alice has signed in by the form."""
    return signed_in("alice")


def signed_in(name: str, **headers: str) -> FormBrowser:
    browser = FormBrowser(**headers)
    assert browser.fill_in("/sign-in", username=name, password=PASSWORD).status_code == 302
    return browser


def page_of(browser: Client, path: str) -> str:
    response = browser.get(path, headers=PAGE)
    assert response.status_code == 200
    return str(response.content.decode())


# --- The frame ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_visitor_signs_in_and_comes_back() -> None:
    response = Client().get("/account?a=1&b=2", headers=PAGE)
    assert (response.status_code, response["Location"]) == (302, "/sign-in?next=%2Faccount%3Fa%3D1%26b%3D2")


@pytest.mark.django_db
def test_program_is_refused_without_a_session() -> None:
    response = Client().get("/account")
    assert (response.status_code, response.json()["error"]) == (401, "unauthenticated")


def test_pages_need_few_queries(browser: FormBrowser, django_assert_max_num_queries: Any) -> None:
    for path in ("", "/name", "/email", "/avatar", "/password", "/close", "/sessions", "/identities", "/events"):
        with django_assert_max_num_queries(10):
            page_of(browser, f"/account{path}")


def test_pages_are_kept_by_no_cache(browser: FormBrowser) -> None:
    for path in ("", "/sessions", "/events"):
        assert "no-store" in browser.get(f"/account{path}", headers=PAGE)["Cache-Control"]


# --- The profile ----------------------------------------------------------------------------------------------------


def test_name_changes_with_its_namespace(browser: FormBrowser, alice: User) -> None:
    assert 'value="alice"' in page_of(browser, "/account/name")
    response = browser.fill_in("/account/name", username="alicia")
    assert (response.status_code, response["Location"]) == (302, "/account")
    assert "Your user name is changed." in page_of(browser, "/account")
    assert login.authenticate("alicia", PASSWORD) == alice


def test_refused_name_is_marked_and_stays(browser: FormBrowser, bob: User) -> None:
    response = browser.fill_in("/account/name", username="Bob")
    assert error_of(response, "username") == "The name 'Bob' is taken by a namespace or a user."
    assert 'value="Bob"' in response.content.decode()


def test_address_changes_at_once_without_verification(browser: FormBrowser, alice: User) -> None:
    assert browser.fill_in("/account/email", email="alice@Example.org")["Location"] == "/account"
    assert "alice@example.org" in page_of(browser, "/account")


def test_address_changes_after_both_links(browser: FormBrowser, alice: User, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = True
    User.objects.update(email="old@example.org", email_verified_at=timezone.now())
    browser.fill_in("/account/email", email="new@example.org")
    for number, address in enumerate(("new@example.org", "old@example.org"), start=1):
        assert User.objects.get().email == "old@example.org"
        assert [message.to for message in sent_mails()][number - 1 :] == [[address]]
        [link] = [line for line in str(sent_mails()[-1].body).splitlines() if "/verify/" in line]
        assert browser.fill_in(link.removeprefix("http://testserver"))["Location"] == "/account"
    assert User.objects.get().email == "new@example.org"
    assert "The address new@example.org is verified." in page_of(browser, "/account")


def test_refused_address_is_marked(browser: FormBrowser, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(email="bob@example.org")
    response = browser.fill_in("/account/email", email="bob@example.org")
    assert error_of(response, "email") == "The address bob@example.org belongs to an account already."


def test_picture_changes_and_goes(browser: FormBrowser) -> None:
    bad = browser.fill_in("/account/avatar", avatar_uri="javascript:alert(1)")
    assert error_of(bad, "avatar_uri") == "avatar_uri: Enter a valid URL."
    browser.fill_in("/account/avatar", avatar_uri="https://example.org/a.png")
    assert 'href="https://example.org/a.png"' in page_of(browser, "/account")
    browser.fill_in("/account/avatar", avatar_uri="")
    assert User.objects.get().avatar_uri == ""


def test_password_changes_and_other_sessions_end(browser: FormBrowser, alice: User) -> None:
    other = signed_in("alice")
    response = browser.fill_in("/account/password", current_password=PASSWORD, password=NEW, confirmation=NEW)
    assert response["Location"] == "/account"
    assert page_of(browser, "/account")
    assert other.get("/account", headers=PAGE).status_code == 302
    assert login.authenticate("alice", NEW) == alice


def test_refused_passwords_are_marked(browser: FormBrowser) -> None:
    fields = {"current_password": PASSWORD, "password": NEW, "confirmation": NEW}
    cases = {
        ("current_password", "wrong"): "This is not your password.",
        ("password", "short"): "Use 6 to 64 characters; the password has 5.",
        ("confirmation", "other"): "The two passwords differ.",
    }
    offenders = []
    for (field, value), sentence in cases.items():
        changes = {field: value, **({"confirmation": value} if field == "password" else {})}
        response = browser.fill_in("/account/password", **{**fields, **changes})
        if error_of(response, field) != sentence or PASSWORD in response.content.decode():
            offenders.append((field, error_of(response, field)))
    assert offenders == []


def test_guesses_of_the_old_password_are_limited(browser: FormBrowser, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 1
    fields = {"password": NEW, "confirmation": NEW}
    statuses = [browser.fill_in("/account/password", current_password="x", **fields).status_code for _ in range(2)]
    assert statuses == [401, 429]


def test_account_without_a_password_says_so(browser: FormBrowser, alice: User) -> None:
    User.objects.update(password="!")
    browser.force_login(User.objects.get())
    assert "Your account has no password" in page_of(browser, "/account/password")


# --- Sessions -------------------------------------------------------------------------------------------------------


def test_sessions_of_all_kinds_are_listed(alice: User, bob: User) -> None:
    signed_in("bob")
    browser = signed_in("alice", **{"User-Agent": FIREFOX})
    jwt_sessions.create_torrust_session(alice)
    cargo_tokens.rotate_default(alice)
    page = page_of(browser, "/account/sessions")
    assert page.count("<tr>") == 3  # the head, and two sessions
    assert "Firefox on Linux" in page
    assert [kind in page for kind in ("browser session", "torrust session", "this one")] == [True] * 3


def test_one_session_ends(browser: FormBrowser, alice: User) -> None:
    other = signed_in("alice")
    key = Credential.objects.order_by("pk").last()
    assert key
    assert browser.fill_in("/account/sessions", button=f"end={key.pk}")["Location"] == "/account/sessions"
    assert (other.get("/account", headers=PAGE).status_code, len(page_of(browser, "/account")) > 0) == (302, True)


def test_sessions_of_others_do_not_end(browser: FormBrowser, bob: User) -> None:
    signed_in("bob")
    key = Credential.objects.get(user=bob).pk
    for value in (key, 0, "x", 2**70):
        response = browser.fill_in("/account/sessions", button=f"end={value}")
        assert response.status_code in (400, 404), value
    assert Credential.objects.unrevoked().filter(user=bob).exists()


def test_all_other_sessions_end_at_once(browser: FormBrowser, alice: User) -> None:
    others = [signed_in("alice"), signed_in("alice")]
    jwt_sessions.create_torrust_session(alice)
    token = cargo_tokens.rotate_default(alice).text
    browser.fill_in("/account/sessions", button="others=1")
    assert [other.get("/account", headers=PAGE).status_code for other in others] == [302, 302]
    assert page_of(browser, "/account")
    assert cargo_tokens.authenticate(token or "")
    event = AuditEvent.objects.filter(action="credential.revoke_others").latest("pk")
    assert event.detail == {"count": 3}


# --- Identities -----------------------------------------------------------------------------------------------------


@pytest.fixture
def sign_on(settings: Any) -> None:
    settings.OIDC_LOGIN, settings.OIDC_ISSUER = True, ISSUER
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, "accounts.oidc.flow.Backend"]


def test_identity_is_listed_and_unlinked(sign_on: None, browser: FormBrowser, alice: User) -> None:
    identity = identities.link_identity(alice, ISSUER, "alice-1", actor=None)
    assert "<code>alice-1</code>" in page_of(browser, "/account/identities")
    browser.fill_in("/account/identities", button=f"unlink={identity.pk}")
    assert not Identity.objects.exists()
    assert AuditEvent.objects.filter(action="identity.unlink", actor=alice).exists()


def test_last_way_in_stays(sign_on: None, browser: FormBrowser, alice: User, settings: Any) -> None:
    identity = identities.link_identity(alice, ISSUER, "alice-1", actor=None)
    settings.PASSWORD_LOGIN = False
    response = browser.fill_in("/account/identities", button=f"unlink={identity.pk}")
    assert (response.status_code, Identity.objects.count()) == (409, 1)
    assert "This is the last way to sign in to your account." in response.content.decode()
    identities.link_identity(alice, "https://former.example.org", "alice", actor=None)
    assert browser.fill_in("/account/identities", button=f"unlink={identity.pk}").status_code == 409
    identities.link_identity(alice, ISSUER, "alice-2", actor=None)
    assert browser.fill_in("/account/identities", button=f"unlink={identity.pk}").status_code == 302


def test_identity_of_another_stays(sign_on: None, browser: FormBrowser, bob: User) -> None:
    identity = identities.link_identity(bob, ISSUER, "bob-1", actor=None)
    assert browser.fill_in("/account/identities", button=f"unlink={identity.pk}").status_code == 404
    assert Identity.objects.count() == 1


# --- Events ---------------------------------------------------------------------------------------------------------


def test_events_are_plain_words(browser: FormBrowser, alice: User, root: User) -> None:
    app_keys.issue(Principal(alice), "ALL")
    roles.grant(alice, Role.BACKUP_UPLOADER, actor=root)
    page = page_of(browser, "/account/events")
    assert "was made." in page
    assert "Sign-in (browser session)." in page
    assert 'alice got the role backupUploader. <span class="muted small">by root</span>' in page


def test_events_of_others_are_left_out(browser: FormBrowser, bob: User) -> None:
    app_keys.issue(Principal(bob), "ALL")
    assert "The app key" not in page_of(browser, "/account/events")


def test_events_are_paged_without_gaps(browser: FormBrowser, alice: User, root: User) -> None:
    AuditEvent.objects.all().delete()
    numbers = range(120)
    for number in numbers:
        actor = root if number % 3 == 0 else alice
        audit.record(actor, audit.Action.TOKEN_ISSUE, alice, token=f"number-{number:03}")
    shown, path = [], "/account/events"
    while path:
        page = page_of(browser, path)
        shown += [number for number in reversed(numbers) if f"number-{number:03} " in page]
        following = page.partition('rel="next" href="')[2].partition('"')[0]
        path = following
    assert shown == list(reversed(numbers))


def test_bad_page_of_events_is_the_first(browser: FormBrowser) -> None:
    for text in ("x", "-1", "9" * 30, ""):
        assert "Sign-in" in page_of(browser, f"/account/events?before={text}")


# --- The end --------------------------------------------------------------------------------------------------------


def publish(user: User, name: str) -> None:
    body = packing.body(name)
    publishing.publish(Principal(user), BytesIO(body), len(body))


def test_closed_account_ends_everywhere(browser: FormBrowser, alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    response = browser.fill_in("/account/close", password=PASSWORD)
    assert response["Location"] == "/"
    assert "Your account is closed." in page_of(browser, "/")
    assert not Credential.objects.unrevoked().exists()
    assert Client().get("/me", headers={"Authorization": token or ""}).status_code == 401
    with pytest.raises(AccountClosed):
        login.authenticate("alice", PASSWORD)
    assert AuditEvent.objects.get(action="user.close").actor == alice


def test_wrong_password_closes_nothing(browser: FormBrowser) -> None:
    response = browser.fill_in("/account/close", password=NEW)
    assert error_of(response, "password") == "This is not your password."
    assert User.objects.get().is_active


def test_sole_ownerships_are_listed_first(browser: FormBrowser, alice: User, bob: User, charlie: User) -> None:
    for name in ("alone", "shared", "abandoned"):
        publish(alice, name)
    ownership.add(Principal(alice), "shared", ["bob"])
    ownership.add(Principal(alice), "abandoned", ["charlie"])
    membership.create_namespace(Principal(alice), "acme")
    User.objects.filter(pk=charlie.pk).update(is_active=False)
    assert closing.list_sole_ownerships(alice) == ["crate abandoned", "crate alone", "namespace acme"]
    page = page_of(browser, "/account/close")
    assert [f"<li>{name}</li>" in page for name in ("crate alone", "crate shared")] == [True, False]


def test_staff_open_a_closed_account(browser: FormBrowser, alice: User) -> None:
    browser.fill_in("/account/close", password=PASSWORD)
    User.objects.update(is_active=True)
    assert login.authenticate("alice", PASSWORD) == alice


def test_only_administrator_cannot_close(root: User) -> None:
    browser = signed_in("root")
    response = browser.fill_in("/account/close", password=PASSWORD)
    assert (response.status_code, User.objects.get().is_active) == (409, True)
    assert "make another account an administrator first" in notices(response.content.decode())[0]


def test_account_without_password_needs_recent_sign_in(sign_on: None, alice: User) -> None:
    User.objects.update(password="!")
    browser = FormBrowser()
    browser.force_login(User.objects.get(), backend="accounts.oidc.flow.Backend")
    Credential.objects.update(proven_at=timezone.now() - timedelta(minutes=16))
    response = browser.fill_in("/account/close")
    assert "/account/confirm" in notices(response.content.decode())[0]
    assert (response.status_code, User.objects.get().is_active) == (403, True)
    Credential.objects.update(proven_at=timezone.now() - timedelta(minutes=14))
    assert browser.fill_in("/account/close")["Location"] == "/"


def test_pages_without_passwords_speak_of_none(browser: FormBrowser, settings: Any) -> None:
    settings.PASSWORD_LOGIN, settings.OIDC_LOGIN, settings.OIDC_ISSUER = False, True, "https://id.example.com"
    for path in ("/account", "/account/name", "/account/email", "/account/security", "/account/close"):
        assert "assword" not in page_of(browser, path).partition("<main")[2], path
