"""Browser sessions: their begin and end, and their protection against pages of other sites."""

import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts import bans
from accounts.credentials import base_session, jwt_sessions
from accounts.models import Credential, User
from accounts.oidc import flow
from registry_site.models import AuditEvent
from tests.support.admin import run_action
from tests.support.cast import PASSWORD
from tests.support.responses import answer_of
from tests.support.settings import read_settings

OWN_ORIGIN = "http://testserver"
OTHER_ORIGIN = "http://elsewhere.example"
COOKIE = "registry_session"
KEYS = "/settings/appids"
PROFILE = "/settings/profile"
OTHER = "battery staple"
OTHER_SITE = {"error": "other_site", "message": "This must not be asked for by the page of another site."}
SESSIONS = Credential.objects.of_kind(Credential.Kind.BROWSER_SESSION)
CREDENTIALS = "/admin/accounts/credential/"


class CsrfBrowser(Client):
    """A browser that keeps its cookies and is checked for CSRF. It sends no headers of our own pages by itself."""

    def __init__(self, **headers: str) -> None:
        super().__init__(enforce_csrf_checks=True, raise_request_exception=False, headers=headers)

    def sign_in(self, user: User, password: str = PASSWORD, **headers: str) -> Any:
        body = {"username": user.username, "password": password}
        return self.post("/login", body, content_type="application/json", headers=headers)

    def sign_in_to_admin(self, user: User) -> Any:
        page = self.get("/admin/login/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.content.decode())
        assert token is not None
        form = {"username": user.username, "password": PASSWORD, "csrfmiddlewaretoken": token[1]}
        return self.post("/admin/login/?next=/admin/", form)

    def change(self, **headers: str) -> Any:
        return self.patch(
            PROFILE, {"avatar_uri": "http://example.org/"}, content_type="application/json", headers=headers
        )

    @property
    def key(self) -> str:
        return self.cookies[COOKIE].value

    @property
    def is_signed_in(self) -> bool:
        status = self.get(KEYS).status_code
        assert status in (200, 401)
        return status == 200


def with_cookie(key: str) -> CsrfBrowser:
    browser = CsrfBrowser()
    browser.cookies[COOKIE] = key
    return browser


@pytest.fixture
def browser(alice: User) -> CsrfBrowser:
    """A browser in which alice is signed in."""
    browser = CsrfBrowser()
    assert browser.sign_in(alice).status_code == 200
    return browser


@pytest.fixture
def as_root(root: User) -> CsrfBrowser:
    browser = CsrfBrowser(Origin=OWN_ORIGIN)
    assert browser.sign_in_to_admin(root).status_code == 302
    return browser


# --- The cookie --------------------------------------------------------------------------------------------------


def test_cookie_is_hidden_from_scripts_and_sites(browser: CsrfBrowser) -> None:
    cookie = browser.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert cookie["domain"] == ""


def test_cookie_lives_as_long_as_the_session(browser: CsrfBrowser) -> None:
    assert browser.cookies[COOKIE]["max-age"] == 24 * 3600


@pytest.mark.parametrize(("url", "secure"), [("https://registry.example.org", True), ("http://127.0.0.1:8000", False)])
def test_cookies_are_secure_with_tls(tmp_path: Path, url: str, secure: bool) -> None:
    values = read_settings(tmp_path, PUBLIC_URL=url)
    assert (values["SESSION_COOKIE_SECURE"], values["CSRF_COOKIE_SECURE"]) == (secure, secure)


def test_preset_key_is_replaced_at_login(alice: User) -> None:
    browser = with_cookie("preset-by-somebody-else-1234567890")
    browser.sign_in(alice)
    assert browser.key != "preset-by-somebody-else-1234567890"
    assert browser.is_signed_in


def test_key_of_an_anonymous_session_is_replaced(alice: User) -> None:
    planted = SessionStore()
    planted["planted"] = True
    planted.save()
    browser = with_cookie(str(planted.session_key))
    browser.sign_in(alice)
    assert browser.key != planted.session_key
    assert (browser.is_signed_in, with_cookie(str(planted.session_key)).is_signed_in) == (True, False)


def test_login_resets_the_expiry_of_the_session(root: User) -> None:
    short = SessionStore()
    short.set_expiry(60)
    short.save()
    browser = with_cookie(str(short.session_key))
    browser.sign_in_to_admin(root)
    assert browser.cookies[COOKIE]["max-age"] == 24 * 3600


def test_log_in_works_beside_single_sign_on(alice: User, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [*settings.AUTHENTICATION_BACKENDS, "accounts.oidc.flow.Backend"]
    browser = CsrfBrowser()
    assert browser.sign_in(alice).status_code == 200
    assert browser.is_signed_in


def test_second_login_replaces_the_session(browser: CsrfBrowser, alice: User) -> None:
    former = browser.key
    browser.sign_in(alice)
    assert browser.key != former
    assert (browser.is_signed_in, with_cookie(former).is_signed_in) == (True, False)
    assert SESSIONS.unrevoked().count() == 1


def test_oldest_of_too_many_sessions_end(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_session, "MAX_SESSIONS", 2)
    browsers = [CsrfBrowser() for _ in range(3)]
    for browser in browsers:
        assert browser.sign_in(alice).status_code == 200
    assert [browser.get(KEYS).status_code for browser in browsers] == [401, 200, 200]
    assert SESSIONS.count() == 2
    assert AuditEvent.objects.filter(action="user.log_in", detail__ended_sessions=1).count() == 1


@pytest.mark.django_db
def test_sign_ins_delete_those_that_nobody_finished() -> None:
    """A session begins with each anonymous visit of /me where a provider signs in."""
    for minutes in (-1, *range(1, 13)):
        expiry = timezone.now() - timedelta(minutes=minutes)
        Session.objects.create(session_key=f"key{minutes}", session_data="", expire_date=expiry)
    flow.delete_abandoned_sign_ins()
    flow.delete_abandoned_sign_ins()
    assert [session.session_key for session in Session.objects.all()] == ["key-1"]


def test_login_as_another_replaces_the_session(browser: CsrfBrowser, alice: User, bob: User) -> None:
    former = browser.key
    browser.sign_in(bob)
    assert browser.key != former
    assert (browser.is_signed_in, with_cookie(former).is_signed_in) == (True, False)
    assert [row.user for row in SESSIONS.unrevoked()] == [bob]


def test_login_to_admin_as_another_replaces_the_session(browser: CsrfBrowser, root: User) -> None:
    former = browser.key
    browser.sign_in_to_admin(root)
    assert with_cookie(former).is_signed_in is False
    assert [row.user for row in SESSIONS.unrevoked()] == [root]


def test_login_does_not_revive_a_revoked_session(browser: CsrfBrowser, root: User) -> None:
    browser.sign_in_to_admin(root)
    stolen = browser.key
    SESSIONS.update(revoked_at=timezone.now())
    browser.sign_in_to_admin(root)
    assert (browser.is_signed_in, with_cookie(stolen).is_signed_in) == (True, False)


def test_refused_login_ends_nothing(browser: CsrfBrowser, alice: User) -> None:
    assert browser.sign_in(alice, OTHER).status_code == 401
    assert browser.is_signed_in


@pytest.mark.django_db
def test_invented_cookie_is_anonymous() -> None:
    keys = ["", "x", "é", "x" * 5000, "'", "../../etc/passwd"]
    assert [key for key in keys if with_cookie(key).is_signed_in] == []


def test_session_without_its_row_is_anonymous(browser: CsrfBrowser) -> None:
    SESSIONS.delete()
    assert not browser.is_signed_in


def test_session_and_user_take_two_queries(browser: CsrfBrowser, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(3):  # the third is for the keys
        assert browser.get(KEYS).status_code == 200


# --- Changes need a proof of their page ---------------------------------------------------------------------------


@pytest.fixture
def form_browser(root: User) -> CsrfBrowser:
    """A browser that has signed in by a form; it sends no headers of our own pages by itself."""
    browser = CsrfBrowser()
    assert browser.sign_in_to_admin(root).status_code == 302
    return browser


def test_change_without_a_proof_is_refused(form_browser: CsrfBrowser) -> None:
    for method, path in (("PATCH", PROFILE), ("POST", KEYS), ("DELETE", f"{KEYS}/app_none")):
        status, body = answer_of(form_browser.generic(method, path, b'{"type": "ALL"}', "application/json"))
        assert (status, set(body), body["error"]) == (403, {"error", "message"}, "permission_denied")
        assert body["message"] == (
            "CSRF Failed: CSRF token missing. The header Origin is missing: send `Origin: http://testserver`, "
            "or X-CSRFToken with the value of the cookie csrftoken."
        )
    assert not Credential.objects.of_kind(Credential.Kind.APP_KEY).exists()


def test_program_changes_with_its_cookie(browser: CsrfBrowser) -> None:
    assert browser.change().status_code == 200
    key = answer_of(browser.post(KEYS, {"type": "ALL"}, content_type="application/json"))[1]
    assert browser.delete(f"{KEYS}/{key['appid']}").status_code == 200


def test_log_in_by_a_form_makes_no_program(root: User) -> None:
    browser = CsrfBrowser()
    assert browser.sign_in(root).status_code == 200
    form, token = {"username": "root", "password": PASSWORD}, {"X-CSRFToken": browser.cookies["csrftoken"].value}
    assert browser.post("/admin/login/?next=/admin/", form, headers=token).status_code == 302
    assert browser.change().status_code == 403


@pytest.mark.parametrize("headers", [{"Origin": OWN_ORIGIN}, {"Sec-Fetch-Site": "same-origin"}])
def test_change_from_own_page_is_allowed(browser: CsrfBrowser, headers: dict[str, str]) -> None:
    assert browser.change(**headers).status_code == 200


def test_public_url_is_own_behind_a_proxy(browser: CsrfBrowser, settings: Any) -> None:
    settings.PUBLIC_URL = "https://registry.example.org"
    assert browser.change(Origin="https://registry.example.org").status_code == 200


def test_page_without_tls_is_foreign_behind_tls(browser: CsrfBrowser, settings: Any) -> None:
    settings.PUBLIC_URL = "https://testserver"
    assert browser.change(Origin="http://testserver").status_code == 403


def test_change_with_the_csrf_token_is_allowed(browser: CsrfBrowser) -> None:
    assert browser.change(**{"X-CSRFToken": browser.cookies["csrftoken"].value}).status_code == 200


NO_PROOFS = [
    {"Origin": OTHER_ORIGIN},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://testserver"},
    {"Origin": "http://testserver:8000"},
    {"Origin": "http://testserver.elsewhere.example"},
    {"Origin": "http://elsewhere.example/http://testserver"},
    {"Origin": f"{OTHER_ORIGIN}, {OWN_ORIGIN}"},
    {"Referer": f"{OWN_ORIGIN}/"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "Same-Origin"},
    {"Sec-Fetch-Site": ""},
    {"Origin": OTHER_ORIGIN, "Sec-Fetch-Site": "same-origin"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {"Origin": "", "Sec-Fetch-Site": "same-origin"},
    {"X-Forwarded-Host": "elsewhere.example", "Origin": OTHER_ORIGIN},
]


def test_other_headers_prove_nothing(browser: CsrfBrowser) -> None:
    assert [headers for headers in NO_PROOFS if browser.change(**headers).status_code != 403] == []
    assert User.objects.get().avatar_uri == ""


def test_invented_tokens_prove_nothing(form_browser: CsrfBrowser) -> None:
    cases = [{"X-Requested-With": "XMLHttpRequest"}, {"X-CSRFToken": "x" * 32}, {"X-CSRFToken": ""}]
    assert [headers for headers in cases if form_browser.change(**headers).status_code != 403] == []


def test_foreign_page_is_refused_with_the_csrf_token(browser: CsrfBrowser) -> None:
    for origin in (OTHER_ORIGIN, "null"):
        response = browser.change(Origin=origin, **{"X-CSRFToken": browser.cookies["csrftoken"].value})
        assert (response.status_code, response.json()["error"]) == (403, "permission_denied")


def test_host_of_an_attacker_is_foreign(browser: CsrfBrowser) -> None:
    response = browser.change(Host="elsewhere.example", Origin=OTHER_ORIGIN)
    assert response.status_code == 400
    assert User.objects.get().avatar_uri == ""


def test_reading_needs_no_proof(browser: CsrfBrowser) -> None:
    assert browser.get(KEYS, headers={"Origin": OTHER_ORIGIN}).status_code == 200


def test_other_sites_cannot_read_the_answer(browser: CsrfBrowser) -> None:
    response = browser.get(KEYS, headers={"Origin": OTHER_ORIGIN})
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


# --- Pages of other sites -------------------------------------------------------------------------------------------

FOREIGN = [
    {"Origin": OTHER_ORIGIN},
    {"Origin": "null"},
    {"Origin": "https://testserver"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": OTHER_ORIGIN, "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "none"},
]
OWN = [
    {},
    {"Origin": OWN_ORIGIN},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": OWN_ORIGIN, "Sec-Fetch-Site": "same-origin"},
]


def test_other_sites_cannot_sign_in(alice: User) -> None:
    for headers in FOREIGN:
        response = CsrfBrowser().sign_in(alice, **headers)
        assert answer_of(response) == (403, OTHER_SITE), headers
        assert not response.cookies
    assert not SESSIONS.exists()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_sites_cannot_sign_out(browser: CsrfBrowser, method: str) -> None:
    answers = [answer_of(browser.generic(method, "/logout", headers=headers)) for headers in FOREIGN]
    assert answers == [(403, OTHER_SITE)] * len(FOREIGN)
    assert browser.is_signed_in


@pytest.mark.parametrize("headers", OWN)
def test_own_pages_and_programs_sign_in_and_out(alice: User, headers: dict[str, str]) -> None:
    browser = CsrfBrowser()
    assert browser.sign_in(alice, **headers).status_code == 200
    assert browser.get("/logout", headers=headers).status_code == 200
    assert not browser.is_signed_in


def test_forms_cannot_sign_in(alice: User) -> None:
    bodies = {
        "application/x-www-form-urlencoded": b"username=alice&password=correct+horse",
        "text/plain": b'{"username": "alice", "password": "correct horse"}',
        "multipart/form-data; boundary=x": b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
    }
    for content_type, body in bodies.items():
        response = CsrfBrowser().generic("POST", "/login", body, content_type)
        message = f'Unsupported media type "{content_type}" in request.'
        assert answer_of(response) == (415, {"error": "unsupported_media_type", "message": message})
        assert not response.cookies


# --- The row -----------------------------------------------------------------------------------------------------


def test_session_is_a_row(browser: CsrfBrowser, alice: User) -> None:
    row = SESSIONS.get()
    assert (row.user, row.ip_address, row.is_live) == (alice, "127.0.0.1", True)
    assert row.expires_at is not None
    assert timedelta(hours=23) < row.expires_at - timezone.now() <= timedelta(hours=24)


def test_key_of_the_cookie_is_not_stored(browser: CsrfBrowser) -> None:
    assert browser.key not in repr([*Credential.objects.values(), *AuditEvent.objects.values()])


@pytest.fixture
def as_bob_in_admin(bob: User) -> Client:
    """The admin site at another machine, where bob is signed in as staff."""
    User.objects.filter(pk=bob.pk).update(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(bob)
    return client


def test_revoked_session_is_signed_out(browser: CsrfBrowser, alice: User, as_bob_in_admin: Client) -> None:
    run_action(as_bob_in_admin, CREDENTIALS, "revoke", SESSIONS.get(user=alice))
    assert not browser.is_signed_in


def test_revoked_session_leaves_the_admin_site(as_root: CsrfBrowser, root: User, as_bob_in_admin: Client) -> None:
    assert as_root.get("/admin/").status_code == 200
    run_action(as_bob_in_admin, CREDENTIALS, "revoke", SESSIONS.get(user=root))
    assert as_root.get("/admin/").status_code == 302
    assert not as_root.is_signed_in


def test_admin_login_opens_a_session_for_the_api(as_root: CsrfBrowser, root: User) -> None:
    assert (SESSIONS.get().user, as_root.is_signed_in) == (root, True)


@pytest.mark.parametrize("path", ["/logout", "/admin/logout/"])
def test_logout_revokes_the_row(as_root: CsrfBrowser, path: str) -> None:
    key = as_root.key
    token = {"X-CSRFToken": as_root.cookies["csrftoken"].value}
    assert as_root.post(path, headers=token).status_code == 200
    assert SESSIONS.get().is_revoked
    assert with_cookie(key).get("/admin/").status_code == 302


def test_expired_row_ends_the_session(as_root: CsrfBrowser) -> None:
    SESSIONS.update(expires_at=timezone.now())
    assert (as_root.is_signed_in, as_root.get("/admin/").status_code) == (False, 302)


def test_lifetime_is_a_setting(alice: User, settings: Any) -> None:
    settings.SESSION_HOURS = 2
    CsrfBrowser().sign_in(alice)
    expires_at = SESSIONS.get().expires_at
    assert expires_at is not None
    assert timedelta(hours=1) < expires_at - timezone.now() <= timedelta(hours=2)


def test_using_a_session_writes_nothing(browser: CsrfBrowser) -> None:
    before = list(Credential.objects.values()), list(User.objects.values()), AuditEvent.objects.count()
    browser.get(KEYS)
    assert (list(Credential.objects.values()), list(User.objects.values()), AuditEvent.objects.count()) == before


# --- What ends sessions ------------------------------------------------------------------------------------------


def ban(user: User) -> None:
    bans.ban(user, actor=None)


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def restrict_networks(user: User) -> None:
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24")


@pytest.mark.parametrize("close", [ban, deactivate, restrict_networks])
def test_closed_account_is_signed_out_at_once(as_root: CsrfBrowser, root: User, close: Callable[[User], None]) -> None:
    assert as_root.is_signed_in
    close(root)
    assert (as_root.is_signed_in, as_root.get("/admin/").status_code) == (False, 302)


def test_changed_password_ends_sessions_by_itself(browser: CsrfBrowser) -> None:
    User.objects.update(password=make_password(OTHER))  # as no verb does: the row stays good
    assert (browser.is_signed_in, SESSIONS.unrevoked().count()) == (False, 1)
    assert not Session.objects.filter(session_key=browser.key).exists()


def test_session_of_a_disabled_backend_is_anonymous(browser: CsrfBrowser, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = ["accounts.oidc.flow.Backend"]
    assert not browser.is_signed_in


def test_session_never_speaks_for_another_user(browser: CsrfBrowser, alice: User, bob: User) -> None:
    User.objects.update(password=alice.password)
    SESSIONS.update(user=bob)
    assert not browser.is_signed_in


def test_session_outlives_a_new_secret_key(browser: CsrfBrowser, settings: Any) -> None:
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another" * 10
    former = browser.key
    assert (browser.is_signed_in, browser.key != former) == (True, True)
    settings.SECRET_KEY_FALLBACKS = []
    assert browser.is_signed_in  # the former key may go now
    settings.SECRET_KEY = "a third" * 10
    assert not browser.is_signed_in


def are_valid(backups: str, torrust: str) -> tuple[bool, bool]:
    whoami = Client().get("/api/stable/auth/whoami", headers={"Authorization": f"Bearer {backups}"})
    verified = Client().post("/v1/user/token/verify", {"token": torrust}, content_type="application/json")
    assert (whoami.status_code, verified.status_code) in [(200, 200), (403, 401)]
    return whoami.status_code == 200, verified.status_code == 200


@pytest.fixture
def tokens(root: User) -> tuple[str, str]:
    """Sessions of root in the two dialects with JSON web tokens."""
    return jwt_sessions.create_backups_session(root).token, jwt_sessions.create_torrust_session(root).token


@pytest.mark.parametrize("path", ["/admin/password_change/", "/admin/accounts/user/{pk}/password/"])
def test_own_password_change_keeps_only_that_session(
    as_root: CsrfBrowser, root: User, tokens: tuple[str, str], path: str
) -> None:
    elsewhere = CsrfBrowser()
    elsewhere.sign_in(root)
    form = {"old_password": PASSWORD, "new_password1": OTHER, "new_password2": OTHER}
    form |= {"password1": OTHER, "password2": OTHER, "usable_password": "true"}
    form |= {"csrfmiddlewaretoken": as_root.cookies["csrftoken"].value}
    assert as_root.post(path.format(pk=root.pk), form).status_code == 302
    assert (as_root.is_signed_in, elsewhere.is_signed_in, *are_valid(*tokens)) == (True, False, False, False)


def test_new_password_by_staff_ends_all_sessions(as_root: CsrfBrowser, browser: CsrfBrowser, alice: User) -> None:
    form = {"password1": OTHER, "password2": OTHER, "usable_password": "true"}
    form |= {"csrfmiddlewaretoken": as_root.cookies["csrftoken"].value}
    assert as_root.post(f"/admin/accounts/user/{alice.pk}/password/", form).status_code == 302
    assert (as_root.is_signed_in, browser.is_signed_in) == (True, False)


def test_command_for_a_new_password_ends_all_sessions(
    as_root: CsrfBrowser, root: User, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (as_root.is_signed_in, *are_valid(*tokens)) == (True, True, True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: OTHER)
    call_command("changepassword", "root", stdout=StringIO())
    assert (as_root.is_signed_in, *are_valid(*tokens)) == (False, False, False)


def test_new_password_ends_sessions_of_every_dialect(browser: CsrfBrowser, alice: User) -> None:
    backups = jwt_sessions.create_backups_session(alice).token
    torrust = jwt_sessions.create_torrust_session(alice).token
    body = {"old_password": PASSWORD, "new_password": OTHER}
    Client().post("/ktra/api/v1/change_password/alice", body, content_type="application/json")
    assert (browser.is_signed_in, *are_valid(backups, torrust)) == (False, False, False)
