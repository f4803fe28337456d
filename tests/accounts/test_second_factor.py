"""The second factor: apps, recovery codes, sign-in by pages and by APIs, and fresh proofs before changes."""

import html
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import bans
from accounts.credentials import cargo_tokens
from accounts.models import Authenticator, Credential, LoginFailure, RecoveryCode, User
from accounts.pages import default_token, identities
from accounts.second_factor import apps, codes, recovery_codes
from registry_site.errors import Conflict, TooManyRequests, WrongCode
from registry_site.models import AuditEvent
from tests.support.admin import new_user_form, run_action
from tests.support.authenticator_apps import PhoneApp, add_app, count_rows
from tests.support.cast import PASSWORD
from tests.support.log_ins import LOG_INS, post_json
from tests.support.page_forms import PAGE, FormBrowser, error_of, notices

OTHER = "battery staple"
CODE_PAGE = "/sign-in/code"


def signed_in(**headers: str) -> FormBrowser:
    """Return a browser in which alice has given the password, and no more."""
    browser = FormBrowser(**headers)
    assert browser.fill_in("/sign-in", username="alice", password=PASSWORD).status_code == 302
    return browser


def age_proofs() -> None:
    """Let the sign-ins of all sessions be an hour old."""
    Credential.objects.update(proven_at=timezone.now() - timedelta(hours=1))


def text_of(response: Any) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", response.content.decode())))


def codes_on(response: Any) -> list[str]:
    return re.findall(r"\b(?:[2-9a-z]{4}-){3}[2-9a-z]{4}\b", response.content.decode())


def is_signed_in(browser: Client) -> bool:
    return bool(browser.get("/account", headers=PAGE).status_code == 200)


@pytest.fixture
def phone(alice: User) -> PhoneApp:
    return add_app(alice)[0]


# --- Add and remove -------------------------------------------------------------------------------------------------


def test_app_is_added_by_its_first_code(alice: User) -> None:
    browser = signed_in()
    page = browser.get("/account/security/app", headers=PAGE).content.decode()
    key = re.search(r'id="key"[^>]*><code>([A-Z2-7 ]+)</code>', page)
    sealed = re.search(r'name="sealed" value="([^"]+)"', page)
    assert key
    assert sealed
    phone = PhoneApp(key[1].replace(" ", ""))
    fields = {"name": "Phone", "sealed": sealed[1]}
    wrong = browser.fill_in("/account/security/app", code=phone.wrong_code(), **fields)
    assert (wrong.status_code, sealed[1] in wrong.content.decode()) == (400, True)  # the same QR code once more
    assert "set the clock" in error_of(wrong, "code")
    right = browser.fill_in("/account/security/app", code=phone.code(), **fields)
    assert len(codes_on(right)) == recovery_codes.COUNT
    assert count_rows(alice) == (1, 10)
    assert browser.fill_in("/account/security/app", code=phone.code(1), **fields).status_code == 409  # a reload
    assert count_rows(alice) == (1, 10)


def test_qr_code_says_what_apps_expect(alice: User, settings: Any) -> None:
    settings.PUBLIC_URL = "https://crates.example.com:8443"
    url = apps.setup_url(alice, "ABC")
    assert url == ("otpauth://totp/crates.example.com%3A8443%3Aalice?secret=ABC&issuer=crates.example.com%3A8443")
    assert apps.qr_code(url).startswith('<svg viewBox="')
    assert " style=" not in apps.qr_code(url)


def test_nothing_secret_stands_in_clear_text(alice: User) -> None:
    app, made = add_app(alice)
    rows = str([*Authenticator.objects.values_list(), *RecoveryCode.objects.values_list()])
    assert [text for text in (app.secret, *made, *map(recovery_codes.bare, made)) if text in rows] == []


def test_form_of_another_user_adds_nothing(alice: User, bob: User) -> None:
    app = PhoneApp()
    response = signed_in().fill_in(
        "/account/security/app", name="Phone", code=app.code(), sealed=apps.seal(bob, app.secret)
    )
    assert (response.status_code, count_rows(alice)) == (400, (0, 0))


def test_last_removal_ends_the_recovery_codes(alice: User, phone: PhoneApp) -> None:
    browser = signed_in()
    browser.fill_in(CODE_PAGE, code=phone.code())
    add_app(alice, "Tablet")
    for left, (device, expected) in enumerate((("Phone", (1, 10)), ("Tablet", (0, 0)))):
        key = Authenticator.objects.get(user=alice, name=device).pk
        assert browser.fill_in("/account/security", button=f"remove={key}").status_code == 302, left
        assert count_rows(alice) == expected
    assert is_signed_in(signed_in())  # the password alone


def test_device_of_another_user_is_not_removed(alice: User, bob: User) -> None:
    add_app(bob)
    key = Authenticator.objects.get(user=bob).pk
    assert signed_in().fill_in("/account/security", button=f"remove={key}").status_code == 404
    assert count_rows(bob) == (1, 10)


def test_too_many_apps_are_refused(alice: User) -> None:
    for number in range(5):
        add_app(alice, f"Phone {number}")
    with pytest.raises(Conflict, match="You have 5"):
        add_app(alice, "Phone 6")


def test_new_recovery_codes_end_the_former_ones(alice: User) -> None:
    app, former = add_app(alice)
    browser = signed_in()
    browser.fill_in(CODE_PAGE, code=app.code())
    newest = recovery_codes.newest_key(alice)
    made = codes_on(browser.fill_in("/account/security/recovery-codes", newest=newest))
    assert len(made) == 10
    with pytest.raises(WrongCode):
        codes.use(alice, former[0])
    codes.use(alice, made[0])
    again = browser.fill_in("/account/security/recovery-codes", newest=newest)  # a reload
    assert (again.status_code, count_rows(alice)) == (409, (1, 9))


def test_changes_leave_events(alice: User) -> None:
    app, made = add_app(alice)
    codes.use(alice, made[0])
    actions = AuditEvent.objects.filter(action__startswith="second_factor.").order_by("pk")
    expected = ["second_factor.add", "second_factor.make_codes", "second_factor.use_code"]
    assert list(actions.values_list("action", flat=True)) == expected
    assert app.secret not in str(list(actions.values_list("detail", flat=True)))


# --- Sign-in --------------------------------------------------------------------------------------------------------


def test_code_follows_the_password(alice: User, phone: PhoneApp) -> None:
    browser = FormBrowser()
    first = browser.fill_in("/sign-in?next=/account/events", username="alice", password=PASSWORD)
    assert first["Location"] == "/sign-in/code?next=%2Faccount%2Fevents"
    assert not is_signed_in(browser)
    pending_key = browser.session.session_key
    second = browser.fill_in(first["Location"], code=f"{phone.code()[:3]} {phone.code()[3:]}")
    assert (second.status_code, second["Location"]) == (302, "/account/events")
    assert is_signed_in(browser)
    assert browser.session.session_key != pending_key
    assert "pending_sign_in" not in browser.session


def test_password_alone_opens_no_session(alice: User, phone: PhoneApp) -> None:
    signed_in()
    assert not Credential.objects.filter(kind=Credential.Kind.BROWSER_SESSION).exists()
    assert not AuditEvent.objects.filter(action="user.log_in").exists()


def test_code_page_needs_a_pending_sign_in(alice: User, phone: PhoneApp) -> None:
    browser = FormBrowser()
    browser.get("/sign-in", headers=PAGE)  # the CSRF cookie
    for response in (
        browser.get(f"{CODE_PAGE}?next=/account/events", headers=PAGE),
        Client().post(f"{CODE_PAGE}?next=/account/events", {"code": phone.code()}, headers=PAGE),
    ):
        assert (response.status_code, response["Location"]) == (302, "/sign-in?next=%2Faccount%2Fevents")


def test_next_leads_to_own_pages_only(alice: User, phone: PhoneApp) -> None:
    browser = signed_in()
    response = browser.fill_in(f"{CODE_PAGE}?next=//evil.example/", code=phone.code())
    assert response["Location"] == "/me"


def test_code_counts_once(alice: User, phone: PhoneApp) -> None:
    code = phone.code()
    assert signed_in().fill_in(CODE_PAGE, code=code).status_code == 302
    again = signed_in().fill_in(CODE_PAGE, code=code)
    assert (again.status_code, notices(again.content.decode())) == (
        401,
        ["This code is wrong, or it was used before."],
    )
    assert signed_in().fill_in(CODE_PAGE, code=phone.code(1)).status_code == 302


def test_former_code_is_void_after_a_later_one(alice: User, phone: PhoneApp) -> None:
    codes.use(alice, phone.code())
    with pytest.raises(WrongCode):
        codes.use(alice, phone.code(-1))


def test_recovery_code_signs_in_once(alice: User) -> None:
    _, made = add_app(alice)
    typed = made[0].upper().replace("-", " ")
    assert signed_in().fill_in(CODE_PAGE, recovery_code=typed).status_code == 302
    assert signed_in().fill_in(CODE_PAGE, recovery_code=typed).status_code == 401
    assert count_rows(alice) == (1, 9)


def test_void_pending_sign_ins_end(alice: User, phone: PhoneApp) -> None:
    def expire(browser: FormBrowser) -> None:
        session = browser.session
        session["pending_sign_in"] = {**session["pending_sign_in"], "begun_at": 0}
        session.save()

    causes: dict[str, Callable[[FormBrowser], object]] = {
        "five minutes": expire,
        "ban": lambda browser: bans.ban(alice, actor=None),
        "closed": lambda browser: User.objects.update(is_active=False),
        "password": lambda browser: User.objects.update(password="another"),
    }
    offenders = []
    for name, cause in causes.items():
        browser = signed_in()
        browser.get(CODE_PAGE, headers=PAGE)
        before = User.objects.values("is_active", "password").get(pk=alice.pk)
        cause(browser)
        response = browser.post(
            CODE_PAGE, {"code": phone.code(), "csrfmiddlewaretoken": browser.cookies["csrftoken"].value}, headers=PAGE
        )
        if response["Location"] != "/sign-in?next=%2Fme" or is_signed_in(browser):
            offenders.append(name)
        User.objects.filter(pk=alice.pk).update(**before)
        alice.bans.all().delete()
    assert offenders == []


def test_admin_site_asks_for_the_code(root: User) -> None:
    app, _ = add_app(root)
    browser = FormBrowser()
    first = browser.fill_in("/admin/login/?next=/admin/crates/", username="root", password=PASSWORD)
    assert first["Location"] == "/sign-in/code?next=%2Fadmin%2Fcrates%2F"
    assert browser.get("/admin/", headers=PAGE).status_code == 302
    assert browser.fill_in(first["Location"], code=app.code())["Location"] == "/admin/crates/"
    assert browser.get("/admin/", headers=PAGE).status_code == 200


def test_sign_in_page_signs_out_whoever_was_there(alice: User, bob: User, phone: PhoneApp) -> None:
    browser = FormBrowser()
    browser.fill_in("/sign-in", username="bob", password=PASSWORD)
    browser.post(
        "/sign-in",
        {"username": "alice", "password": PASSWORD, "csrfmiddlewaretoken": browser.cookies["csrftoken"].value},
        headers=PAGE,
    )
    assert not is_signed_in(browser)
    assert not Credential.objects.unrevoked().filter(user=bob, kind=Credential.Kind.BROWSER_SESSION).exists()


# --- Guesses --------------------------------------------------------------------------------------------------------


def test_wrong_codes_are_limited_from_all_networks(alice: User, phone: PhoneApp, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 3
    statuses = [
        signed_in(X_Forwarded_For=f"192.0.2.{number}").fill_in(CODE_PAGE, code=phone.wrong_code()).status_code
        for number in range(3)
    ]
    assert statuses == [401, 401, 401]
    with pytest.raises(TooManyRequests):
        codes.use(alice, phone.code())
    assert list(LoginFailure.objects.values_list("of_code", flat=True)) == [True] * 3


def test_wrong_codes_of_others_stop_no_owner(alice: User, phone: PhoneApp, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 2
    Credential.objects.create(user=alice, kind="browser_session", digest="1", ip_address="127.0.0.1")
    failure = {"name": "alice", "of_code": True, "ip_address": "192.0.2.1", "network": "192.0.2.1"}
    LoginFailure.objects.bulk_create([LoginFailure(**failure), LoginFailure(**failure)])
    assert signed_in().fill_in(CODE_PAGE, code=phone.code()).status_code == 302


def test_right_password_forgives_no_wrong_codes(alice: User, phone: PhoneApp, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 3
    statuses = []
    for _ in range(3):
        browser = signed_in()
        statuses.append(browser.fill_in(CODE_PAGE, code=phone.wrong_code()).status_code)
    assert statuses == [401, 401, 401]
    response = FormBrowser().fill_in("/sign-in", username="alice", password=PASSWORD)
    assert response.status_code == 429


def test_right_code_forgives_wrong_ones(alice: User, phone: PhoneApp, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 2
    for steps in (0, 1):
        with pytest.raises(WrongCode):
            codes.use(alice, phone.wrong_code())
        codes.use(alice, phone.code(steps))


def test_right_code_gives_others_no_new_guesses(alice: User, phone: PhoneApp) -> None:
    LoginFailure.objects.create(name="alice", of_code=True, ip_address="192.0.2.1", network="192.0.2.1")
    codes.use(alice, phone.code())
    assert LoginFailure.objects.get().forgiven is False


def test_hostile_codes_are_wrong(alice: User, phone: PhoneApp, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 100
    for code in ("", " ", "٠١٢٣٤٥", "12345", "1" * 5000, "½½½½½½", "\ud800", "-00001", "0x1234", "1e5000"):
        with pytest.raises(WrongCode):
            codes.use(alice, code)


# --- APIs -----------------------------------------------------------------------------------------------------------


SENTENCE = (
    "This account has a second factor. Send a code of it in the header X-OTP, or use a token that you make at "
    "http://testserver/account/tokens."
)


def test_log_ins_by_password_alone_are_refused(alice: User, settings: Any) -> None:
    settings.PUBLIC_URL = "http://testserver"
    app, _ = add_app(alice)
    shapes = {
        "/ktra/api/v1/login/alice": {"errors": [{"detail": SENTENCE}]},
        "/ktra/api/v1/change_password/alice": {"errors": [{"detail": SENTENCE}]},
        "/api/stable/auth/login": {"status": False, "error": SENTENCE, "message": SENTENCE, "code": 403, "data": {}},
        "/v1/user/login": {"error": SENTENCE},
        "/login": {"error": "second_factor_required", "message": SENTENCE},
    }
    offenders = []
    for path, body in LOG_INS.items():
        refused = post_json(path, body)
        wrong_password = post_json(path, {**body, **dict.fromkeys(set(body) & {"password", "old_password"}, "wrong")})
        wrong_code = post_json(path, body, app.wrong_code())
        outcome = (
            (refused.status_code, refused.json()),
            SENTENCE in wrong_password.content.decode(),
            wrong_code.status_code,
        )
        if outcome != ((403, shapes[path]), False, 401):
            offenders.append((path, outcome))
    assert offenders == []
    assert LoginFailure.objects.filter(of_code=True).count() == len(LOG_INS)
    assert not Credential.objects.filter(user=alice).exists()


def test_log_ins_with_a_code_succeed(alice: User) -> None:
    _, made = add_app(alice)
    statuses = {
        path: post_json(path, body, code).status_code
        for (path, body), code in zip(sorted(LOG_INS.items(), key=lambda row: "change" in row[0]), made, strict=False)
    }
    assert statuses == dict.fromkeys(LOG_INS, 200)


def test_tokens_act_without_the_second_factor(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    add_app(alice)
    answer = Client(headers={"Authorization": token}).put(
        "/api/v1/me/tokens", json.dumps({"api_token": {"name": "ci"}}), content_type="application/json"
    )
    assert answer.status_code == 200


# --- Fresh proofs ---------------------------------------------------------------------------------------------------

GUARDED = {
    "/account/tokens/new": {"name": "ci", "scopes": "read", "reach": "all", "lifetime": "90", "newest": "0"},
    "/account/name": {"username": "renamed"},
    "/account/email": {"email": "new@example.org"},
    "/account/password": {"current_password": PASSWORD, "password": OTHER, "confirmation": OTHER},
    "/account/close": {"password": PASSWORD},
    "/account/security/app": {},
    "/account/security/recovery-codes": {"newest": "0"},
}


@pytest.fixture
def browser(alice: User, phone: PhoneApp) -> FormBrowser:
    """A browser in which alice has signed in with both factors, an hour ago."""
    browser = signed_in()
    assert browser.fill_in(CODE_PAGE, code=phone.code()).status_code == 302
    Authenticator.objects.update(last_step=0)  # as half a minute later
    age_proofs()
    return browser


def test_forms_lead_to_the_confirmation_when_opened(browser: FormBrowser) -> None:
    locations = {path: browser.get(path, headers=PAGE).get("Location") for path in GUARDED}
    assert locations == {path: f"/account/confirm?next={path.replace('/', '%2F')}" for path in GUARDED}


def test_changes_are_refused_without_a_fresh_proof(browser: FormBrowser, alice: User, phone: PhoneApp) -> None:
    browser.get("/account", headers=PAGE)
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    sealed = {"name": "Tablet", "code": phone.code(), "sealed": apps.seal(alice, phone.secret)}
    before = [User.objects.values().get(), Credential.objects.count(), count_rows(alice)]
    offenders = {}
    posts = {
        **GUARDED,
        "/account/security/app": sealed,
        "/account/app-keys": {"type": "ALL", "newest": "0"},
        "/account/security": {"remove": str(Authenticator.objects.get().pk)},
        "/account/identities": {"unlink": "1"},
    }
    for path, fields in posts.items():
        response = browser.post(path, {**token, **fields}, headers=PAGE)
        if response.status_code != 403 or 'href="/account/confirm"' not in response.content.decode():
            offenders[path] = response.status_code
    assert offenders == {}
    assert [User.objects.values().get(), Credential.objects.count(), count_rows(alice)] == before


def test_typed_values_stay_when_a_proof_is_due(browser: FormBrowser) -> None:
    browser.get("/account", headers=PAGE)
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    fields = {**GUARDED["/account/tokens/new"], "name": "my laptop", "reach": "some", "patterns": "serde*"}
    page = browser.post("/account/tokens/new", {**token, **fields}, headers=PAGE).content.decode()
    assert ('value="my laptop"' in page, "serde*" in page) == (True, True)


def test_apis_ask_browsers_for_a_fresh_proof(browser: FormBrowser) -> None:
    requests: dict[str, Callable[..., Any]] = {
        "/settings/appids": partial(browser.post, data={"type": "ALL"}),
        "/settings/profile": partial(browser.patch, data={"email": "new@example.org"}),
    }
    statuses = []
    for _ in ("stale", "fresh"):
        answers = [
            (path, send(path, content_type="application/json", headers={"Origin": "http://testserver"}))
            for path, send in requests.items()
        ]
        statuses.append(
            {path: (answer.status_code, "/account/confirm" in answer.content.decode()) for path, answer in answers}
        )
        Credential.objects.update(proven_at=timezone.now())
    assert statuses == [dict.fromkeys(requests, (403, True)), dict.fromkeys(requests, (200, False))]


def test_confirmation_counts_for_this_session(browser: FormBrowser, phone: PhoneApp) -> None:
    path = "/account/confirm?next=/account/tokens/new"
    assert browser.fill_in(path, code=phone.wrong_code()).status_code == 401
    response = browser.fill_in(path, code=phone.code(1))
    assert (response.status_code, response["Location"]) == (302, "/account/tokens/new")
    assert browser.get("/account/tokens/new", headers=PAGE).status_code == 200
    assert Credential.objects.filter(proven_at__gt=timezone.now() - timedelta(minutes=1)).count() == 1


def test_password_confirms_only_without_a_second_factor(alice: User) -> None:
    browser = signed_in()
    age_proofs()
    assert browser.get("/account/tokens/new", headers=PAGE).status_code == 200  # no second factor: never asked
    assert browser.get("/account/security/app", headers=PAGE).status_code == 302
    assert browser.fill_in("/account/confirm", password=OTHER).status_code == 401
    assert browser.fill_in("/account/confirm", password=PASSWORD)["Location"] == "/account/security"
    assert browser.get("/account/security/app", headers=PAGE).status_code == 200


def test_passwords_need_proof_in_admin(root: User, alice: User) -> None:
    add_app(root)
    browser = Client()
    browser.force_login(root)
    age_proofs()
    new = {"old_password": PASSWORD, "new_password1": OTHER, "new_password2": OTHER}
    set_by_staff = {"password1": OTHER, "password2": OTHER, "usable_password": "true"}
    keys = (root.pk, f"0{root.pk}", alice.pk)
    posts = {f"/admin/accounts/user/{key}/password/": set_by_staff for key in keys}
    for path, fields in {"/admin/password_change/": new, **posts}.items():
        assert browser.post(path, fields)["Location"].startswith("/account/confirm?next=%2Fadmin%2F"), path
    assert all(user.check_password(PASSWORD) for user in User.objects.all())


def test_changes_of_accounts_need_proof_in_admin(root: User, alice: User) -> None:
    add_app(root)
    add_app(alice)
    browser = Client()
    browser.force_login(root)
    age_proofs()
    group = Group.objects.create(name="helpers")
    action = {"action": "remove_second_factor", "_selected_action": [alice.pk]}
    posts = {
        "/admin/accounts/user/add/": new_user_form(),
        "/admin/accounts/user/": action,
        "/admin/auth/group/add/": {"name": "heads"},
        f"/admin/auth/group/{group.pk}/delete/": {"post": "yes"},
        "/admin/auth/group/": {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"},
    }
    for path, fields in posts.items():
        page = browser.post(path, fields, follow=True)
        # Forms say where; an action leads there at once.
        assert "/account/confirm" in page.request["PATH_INFO"] + page.content.decode(), path
    assert (User.objects.count(), count_rows(alice)) == (2, (1, 10))
    assert not Group.objects.filter(name="heads").exists()
    assert Group.objects.filter(name="helpers").exists()


def test_action_leaves_the_own_factor(root: User, alice: User) -> None:
    add_app(root)
    add_app(alice)
    browser = Client()
    browser.force_login(root)
    run_action(browser, "/admin/accounts/user/", "remove_second_factor", root, alice)
    assert (count_rows(root), count_rows(alice)) == ((1, 10), (0, 0))


def test_pages_of_sign_on_need_a_fresh_proof(alice: User, phone: PhoneApp, rf: RequestFactory, settings: Any) -> None:
    settings.OIDC_LOGIN = True
    hour_ago = timezone.now() - timedelta(hours=1)
    alice.session = Credential.objects.create(user=alice, kind="browser_session", digest="1", proven_at=hour_ago)
    pages = (identities.link_identity, "/openid/link"), (default_token.replace_token, "/replace_token")
    for view, path in pages:
        request = rf.post(path)
        request.user, request._dont_enforce_csrf_checks = alice, True  # type: ignore[attr-defined]
        assert view(request)["Location"].startswith("/account/confirm?next="), path
    request = rf.get("/me")
    request.user = alice
    assert default_token.me(request)["Location"] == "/account/tokens"
    assert not Credential.objects.filter(kind="cargo_token").exists()


def test_default_token_is_shown_after_a_fresh_proof(browser: FormBrowser, alice: User, settings: Any) -> None:
    settings.OIDC_LOGIN = True
    token = cargo_tokens.rotate_default(alice).text
    shown = []
    for _ in ("stale", "fresh"):
        page = browser.get("/account/tokens", headers=PAGE).content.decode()
        shown.append((token in page, 'href="/account/confirm?next=/account/tokens"' in page))
        Credential.objects.update(proven_at=timezone.now())
    assert shown == [(False, True), (True, False)]


def test_first_factor_ages_other_sessions(alice: User) -> None:
    stolen = signed_in()
    add_app(alice)
    assert stolen.get("/account/tokens/new", headers=PAGE).status_code == 302


# --- What it costs --------------------------------------------------------------------------------------------------


def queries_of(deed: Callable[[], Any]) -> list[str]:
    with CaptureQueriesContext(connection) as captured:
        deed()
    return [query["sql"] for query in captured]


def test_pages_ask_few_queries(alice: User, phone: PhoneApp) -> None:
    browser = signed_in()
    browser.fill_in(CODE_PAGE, code=phone.code())
    pages = ("/account/security", "/account/security/app", "/account/security/recovery-codes", "/account/confirm")
    counts = {page: len(queries_of(partial(browser.get, page, headers=PAGE))) for page in pages}
    assert [page for page, count in counts.items() if count > 10] == []
    pending = signed_in()
    assert len(queries_of(lambda: pending.get(CODE_PAGE, headers=PAGE))) <= 10


def test_accounts_without_a_second_factor_pay_one_query(alice: User) -> None:
    browser = signed_in()
    ordinary = queries_of(lambda: browser.get("/account", headers=PAGE))
    assert [sql for sql in ordinary if "authenticator" in sql or "recoverycode" in sql] == []
    sign_in = queries_of(signed_in)
    assert len([sql for sql in sign_in if "authenticator" in sql or "recoverycode" in sql]) == 1
