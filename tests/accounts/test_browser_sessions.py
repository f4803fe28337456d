"""Signing in with a cookie: how a session begins and ends, and that no page of another site can use it."""

import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from accounts import bans
from accounts.credentials import jwt_sessions
from accounts.models import Credential, User
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.settings import read_settings as started

HERE = "http://testserver"
ELSEWHERE = "http://elsewhere.example"
COOKIE = "registry_session"
KEYS = "/settings/appids"
PROFILE = "/settings/profile"
OTHER = "battery staple"
OTHER_SITE = {"error": "other_site", "message": "This must not be asked for by the page of another site."}
SESSIONS = Credential.objects.filter(kind=Credential.Kind.BROWSER_SESSION)


class Browser(Client):
    """Keeps its cookies, and is held to the rules for them."""

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
    def is_in(self) -> bool:
        status = self.get(KEYS).status_code
        assert status in (200, 401)
        return status == 200


def with_cookie(key: str) -> Browser:
    browser = Browser()
    browser.cookies[COOKIE] = key
    return browser


@pytest.fixture
def browser(alice: User) -> Browser:
    """Alice has signed in with it."""
    browser = Browser()
    assert browser.sign_in(alice).status_code == 200
    return browser


@pytest.fixture
def as_root(root: User) -> Browser:
    browser = Browser(Origin=HERE)
    assert browser.sign_in_to_admin(root).status_code == 302
    return browser


# --- The cookie --------------------------------------------------------------------------------------------------


def test_scripts_and_other_sites_do_not_have_the_cookie(browser: Browser) -> None:
    cookie = browser.cookies[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/")
    assert cookie["domain"] == ""


def test_cookie_ends_with_the_session(browser: Browser) -> None:
    assert browser.cookies[COOKIE]["max-age"] == 24 * 3600


@pytest.mark.parametrize(("url", "secure"), [("https://registry.example.org", True), ("http://127.0.0.1:8000", False)])
def test_cookies_travel_encrypted_where_the_registry_does(tmp_path: Path, url: str, secure: bool) -> None:
    read = started(tmp_path, PUBLIC_URL=url)
    assert (read["SESSION_COOKIE_SECURE"], read["CSRF_COOKIE_SECURE"]) == (secure, secure)


def test_preset_key_is_replaced_at_login(alice: User) -> None:
    browser = with_cookie("preset-by-somebody-else-1234567890")
    browser.sign_in(alice)
    assert browser.key != "preset-by-somebody-else-1234567890"
    assert browser.is_in


def test_key_of_an_anonymous_session_is_replaced_at_login(alice: User) -> None:
    planted = SessionStore()
    planted["planted"] = True
    planted.save()
    browser = with_cookie(str(planted.session_key))
    browser.sign_in(alice)
    assert browser.key != planted.session_key
    assert (browser.is_in, with_cookie(str(planted.session_key)).is_in) == (True, False)


def test_login_again_replaces_the_session(browser: Browser, alice: User) -> None:
    former = browser.key
    browser.sign_in(alice)
    assert browser.key != former
    assert (browser.is_in, with_cookie(former).is_in) == (True, False)
    assert SESSIONS.filter(revoked_at=None).count() == 1


def test_login_as_another_replaces_the_session(browser: Browser, alice: User, bob: User) -> None:
    former = browser.key
    browser.sign_in(bob)
    assert browser.key != former
    assert (browser.is_in, with_cookie(former).is_in) == (True, False)
    assert [row.user for row in SESSIONS.filter(revoked_at=None)] == [bob]


def test_login_to_admin_as_another_replaces_the_session(browser: Browser, root: User) -> None:
    former = browser.key
    browser.sign_in_to_admin(root)
    assert with_cookie(former).is_in is False
    assert [row.user for row in SESSIONS.filter(revoked_at=None)] == [root]


def test_cookie_of_a_revoked_session_stays_dead_when_its_owner_logs_in_again(browser: Browser, root: User) -> None:
    browser.sign_in_to_admin(root)
    stolen = browser.key
    SESSIONS.update(revoked_at=timezone.now())
    browser.sign_in_to_admin(root)
    assert (browser.is_in, with_cookie(stolen).is_in) == (True, False)


def test_refused_login_ends_nothing(browser: Browser, alice: User) -> None:
    assert browser.sign_in(alice, OTHER).status_code == 401
    assert browser.is_in


@pytest.mark.parametrize("key", ["", "x", "é", "x" * 5000, "'", "../../etc/passwd"])
@pytest.mark.django_db
def test_made_up_cookie_is_nobody(key: str) -> None:
    assert not with_cookie(key).is_in


def test_session_without_its_row_is_nobody(browser: Browser) -> None:
    SESSIONS.delete()
    assert not browser.is_in


# --- Writes with a cookie need a proof ---------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [("PATCH", PROFILE), ("POST", KEYS), ("DELETE", f"{KEYS}/app_none")])
def test_write_without_a_proof_is_refused(browser: Browser, method: str, path: str) -> None:
    response = browser.generic(method, path, b'{"type": "ALL"}', "application/json")
    assert response.status_code == 403
    assert set(response.json()) == {"error", "message"}
    assert response.json()["error"] == "permission_denied"
    assert not Credential.objects.filter(kind=Credential.Kind.APP_KEY).exists()


@pytest.mark.parametrize("headers", [{"Origin": HERE}, {"Sec-Fetch-Site": "same-origin"}])
def test_write_from_our_own_page_is_allowed(browser: Browser, headers: dict[str, str]) -> None:
    assert browser.change(**headers).status_code == 200


def test_public_address_is_ours_behind_a_proxy(browser: Browser, settings: Any) -> None:
    settings.PUBLIC_URL = "https://registry.example.org"
    assert browser.change(Origin="https://registry.example.org").status_code == 200


def test_page_without_tls_is_not_ours_where_the_public_address_has_it(browser: Browser, settings: Any) -> None:
    settings.PUBLIC_URL = "https://testserver"
    assert browser.change(Origin="http://testserver").status_code == 403


def test_write_with_the_token_of_the_login_is_allowed(browser: Browser) -> None:
    assert browser.change(**{"X-CSRFToken": browser.cookies["csrftoken"].value}).status_code == 200


NO_PROOFS = [
    {"Origin": ELSEWHERE},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "https://testserver"},
    {"Origin": "http://testserver:8000"},
    {"Origin": "http://testserver.elsewhere.example"},
    {"Origin": "http://elsewhere.example/http://testserver"},
    {"Origin": f"{ELSEWHERE}, {HERE}"},
    {"Referer": f"{HERE}/"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "none"},
    {"Sec-Fetch-Site": "Same-Origin"},
    {"X-Requested-With": "XMLHttpRequest"},
    {"X-CSRFToken": "x" * 32},
    {"X-CSRFToken": ""},
    {"X-Forwarded-Host": "elsewhere.example", "Origin": ELSEWHERE},
]


@pytest.mark.parametrize("headers", NO_PROOFS)
def test_what_proves_nothing_is_refused(browser: Browser, headers: dict[str, str]) -> None:
    assert browser.change(**headers).status_code == 403
    assert User.objects.get().avatar_uri == ""


@pytest.mark.parametrize("origin", [ELSEWHERE, "null"])
def test_foreign_page_is_refused_even_with_the_token(browser: Browser, origin: str) -> None:
    response = browser.change(Origin=origin, **{"X-CSRFToken": browser.cookies["csrftoken"].value})
    assert (response.status_code, response.json()["error"]) == (403, "permission_denied")


def test_host_of_an_attacker_is_not_ours(browser: Browser) -> None:
    response = browser.change(Host="elsewhere.example", Origin=ELSEWHERE)
    assert response.status_code == 400
    assert User.objects.get().avatar_uri == ""


def test_reading_needs_no_proof(browser: Browser) -> None:
    assert browser.get(KEYS, headers={"Origin": ELSEWHERE}).status_code == 200


def test_other_sites_cannot_read_the_answer(browser: Browser) -> None:
    response = browser.get(KEYS, headers={"Origin": ELSEWHERE})
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


# --- Logging in and out is not for the pages of other sites ------------------------------------------------------

FOREIGN = [
    {"Origin": ELSEWHERE},
    {"Origin": "null"},
    {"Origin": "https://testserver"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": ELSEWHERE, "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "none"},
]
OWN = [
    {},
    {"Origin": HERE},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": HERE, "Sec-Fetch-Site": "same-origin"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_other_sites_sign_nobody_in(alice: User, headers: dict[str, str]) -> None:
    response = Browser().sign_in(alice, **headers)
    assert (response.status_code, response.json()) == (403, OTHER_SITE)
    assert not response.cookies
    assert not SESSIONS.exists()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", FOREIGN)
def test_other_sites_sign_nobody_out(browser: Browser, method: str, headers: dict[str, str]) -> None:
    response = browser.generic(method, "/logout", headers=headers)
    assert (response.status_code, response.json()) == (403, OTHER_SITE)
    assert browser.is_in


@pytest.mark.parametrize("headers", OWN)
def test_own_pages_and_programs_sign_in_and_out(alice: User, headers: dict[str, str]) -> None:
    browser = Browser()
    assert browser.sign_in(alice, **headers).status_code == 200
    assert browser.get("/logout", headers=headers).status_code == 200
    assert not browser.is_in


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"username=alice&password=correct+horse"),
        ("text/plain", b'{"username": "alice", "password": "correct horse"}'),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'),
    ],
)
def test_what_a_form_can_send_signs_nobody_in(alice: User, content_type: str, body: bytes) -> None:
    response = Browser().generic("POST", "/login", body, content_type)
    message = f'Unsupported media type "{content_type}" in request.'
    assert (response.status_code, response.json()) == (415, {"error": "unsupported_media_type", "message": message})
    assert not response.cookies


# --- The row -----------------------------------------------------------------------------------------------------


def test_session_is_a_row(browser: Browser, alice: User) -> None:
    row = SESSIONS.get()
    assert (row.user, row.ip_address, row.is_live) == (alice, "127.0.0.1", True)
    assert row.expires_at is not None
    assert timedelta(hours=23) < row.expires_at - timezone.now() <= timedelta(hours=24)


def test_key_of_the_cookie_is_not_in_the_row(browser: Browser) -> None:
    assert browser.key not in repr([*Credential.objects.values(), *AuditEvent.objects.values()])


def revoke(client: Client, row: Credential) -> Any:
    return client.post(
        "/admin/accounts/credential/", {"action": "revoke", "_selected_action": [row.pk]}, headers={"Origin": HERE}
    )


@pytest.fixture
def colleague(db: None, bob: User) -> Client:
    """Staff at another machine."""
    User.objects.filter(pk=bob.pk).update(is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(bob)
    return client


def test_revoked_session_is_over(browser: Browser, alice: User, colleague: Client) -> None:
    assert revoke(colleague, SESSIONS.get(user=alice)).status_code == 302
    assert not browser.is_in


def test_revoked_session_is_over_in_the_admin_site(as_root: Browser, root: User, colleague: Client) -> None:
    assert as_root.get("/admin/").status_code == 200
    revoke(colleague, SESSIONS.get(user=root))
    assert as_root.get("/admin/").status_code == 302
    assert not as_root.is_in


def test_session_of_the_admin_site_is_good_at_both_doors(as_root: Browser, root: User) -> None:
    assert (SESSIONS.get().user, as_root.is_in) == (root, True)


@pytest.mark.parametrize("path", ["/logout", "/admin/logout/"])
def test_logout_ends_the_row(as_root: Browser, path: str) -> None:
    key = as_root.key
    token = {"X-CSRFToken": as_root.cookies["csrftoken"].value}
    assert as_root.post(path, headers=token).status_code == 200
    assert SESSIONS.get().is_revoked
    assert with_cookie(key).get("/admin/").status_code == 302


def test_expired_row_ends_the_session(as_root: Browser) -> None:
    SESSIONS.update(expires_at=timezone.now())
    assert (as_root.is_in, as_root.get("/admin/").status_code) == (False, 302)


def test_lifetime_is_a_setting(alice: User, settings: Any) -> None:
    settings.SESSION_HOURS = 2
    Browser().sign_in(alice)
    expires_at = SESSIONS.get().expires_at
    assert expires_at is not None
    assert timedelta(hours=1) < expires_at - timezone.now() <= timedelta(hours=2)


def test_using_a_session_writes_nothing(browser: Browser) -> None:
    before = list(Credential.objects.values()), list(User.objects.values()), AuditEvent.objects.count()
    browser.get(KEYS)
    assert (list(Credential.objects.values()), list(User.objects.values()), AuditEvent.objects.count()) == before


# --- What ends sessions ------------------------------------------------------------------------------------------


def ban(user: User) -> None:
    bans.ban(user, actor=None)


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def confine(user: User) -> None:
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24")


@pytest.mark.parametrize("close", [ban, deactivate, confine])
def test_closed_account_is_out_with_the_next_request(
    as_root: Browser, root: User, close: Callable[[User], None]
) -> None:
    assert as_root.is_in
    close(root)
    assert (as_root.is_in, as_root.get("/admin/").status_code) == (False, 302)


def are_good(backups: str, torrust: str) -> tuple[bool, bool]:
    whoami = Client().get("/api/stable/auth/whoami", headers={"Authorization": f"Bearer {backups}"})
    verified = Client().post("/v1/user/token/verify", {"token": torrust}, content_type="application/json")
    assert (whoami.status_code, verified.status_code) in [(200, 200), (403, 401)]
    return whoami.status_code == 200, verified.status_code == 200


@pytest.fixture
def tokens(root: User) -> tuple[str, str]:
    """Sessions of root's at the two doors that give JSON web tokens."""
    return jwt_sessions.create_backups_session(root).token, jwt_sessions.create_torrust_session(root).token


@pytest.mark.parametrize("path", ["/admin/password_change/", "/admin/accounts/user/{pk}/password/"])
def test_own_new_password_in_the_admin_site_keeps_that_session_alone(
    as_root: Browser, root: User, tokens: tuple[str, str], path: str
) -> None:
    elsewhere = Browser()
    elsewhere.sign_in(root)
    form = {"old_password": PASSWORD, "new_password1": OTHER, "new_password2": OTHER}
    form |= {"password1": OTHER, "password2": OTHER, "usable_password": "true"}
    form |= {"csrfmiddlewaretoken": as_root.cookies["csrftoken"].value}
    assert as_root.post(path.format(pk=root.pk), form).status_code == 302
    assert (as_root.is_in, elsewhere.is_in, *are_good(*tokens)) == (True, False, False, False)


def test_new_password_by_staff_ends_all_sessions_of_the_user(as_root: Browser, browser: Browser, alice: User) -> None:
    form = {"password1": OTHER, "password2": OTHER, "usable_password": "true"}
    form |= {"csrfmiddlewaretoken": as_root.cookies["csrftoken"].value}
    assert as_root.post(f"/admin/accounts/user/{alice.pk}/password/", form).status_code == 302
    assert (as_root.is_in, browser.is_in) == (True, False)


def test_command_for_a_new_password_ends_all_sessions(
    as_root: Browser, root: User, tokens: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (as_root.is_in, *are_good(*tokens)) == (True, True, True)
    monkeypatch.setattr("getpass.getpass", lambda prompt: OTHER)
    call_command("changepassword", "root", stdout=StringIO())
    assert (as_root.is_in, *are_good(*tokens)) == (False, False, False)


def test_new_password_at_one_door_ends_sessions_at_all(browser: Browser, alice: User) -> None:
    given = jwt_sessions.create_backups_session(alice).token, jwt_sessions.create_torrust_session(alice).token
    body = {"old_password": PASSWORD, "new_password": OTHER}
    Client().post("/ktra/api/v1/change_password/alice", body, content_type="application/json")
    assert (browser.is_in, *are_good(*given)) == (False, False, False)
