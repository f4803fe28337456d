"""The admin site of accounts, as staff use it."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from accounts import bans, emails, registration
from accounts.credentials import cargo_tokens
from accounts.models import Ban, Credential, LoginFailure, RoleGrant, User
from registry_site import settings as product
from registry_site.encoding import token_digest
from registry_site.errors import PermissionDenied
from registry_site.models import AuditEvent
from tests.support.admin import EMPTY_INLINES, FormFields, new_user_form, run_action, sign_in_to_admin
from tests.support.browser import Browser
from tests.support.cast import PASSWORD, CargoClient
from tests.support.sent_mails import sent_mails
from tests.support.user_import import argon2id

ACTION = "/admin/accounts/user/"


@pytest.fixture
def helper(db: None) -> User:
    """Staff with the rights to see and change users, and to add bans."""
    user = registration.register("helper", PASSWORD)
    user.is_staff = True
    user.save()
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_user", "change_user", "ban_user", "add_ban", "view_ban"])
    )
    return user


@pytest.mark.parametrize("model", ["accounts/user", "accounts/credential", "accounts/ban", "registry_site/auditevent"])
def test_lists_open_and_search(as_root: Client, alice: User, model: str) -> None:
    assert as_root.get(f"/admin/{model}/?q=alice").status_code == 200


@pytest.mark.parametrize("model", ["accounts/user", "accounts/credential", "accounts/ban", "registry_site/auditevent"])
def test_lists_need_a_constant_number_of_queries(
    as_root: Client, alice: User, model: str, django_assert_max_num_queries: Any
) -> None:
    def fill(name: str) -> None:
        user = registration.register(name, PASSWORD)
        cargo_tokens.rotate_default(user)
        bans.ban(user, actor=alice)

    fill("first")
    with django_assert_max_num_queries(50) as captured:
        as_root.get(f"/admin/{model}/")
    query_count = len(captured)
    for number in range(10):
        fill(f"user{number}")
    with django_assert_max_num_queries(query_count):
        as_root.get(f"/admin/{model}/")


def test_anonymous_is_redirected_to_the_login(client: Client, db: None) -> None:
    assert client.get("/admin/accounts/user/")["Location"].startswith("/admin/login/")


def test_user_without_staff_rights_cannot_enter(alice: User) -> None:
    assert sign_in_to_admin(alice).get("/admin/").status_code == 302


def test_cargo_token_opens_no_admin_site(root: User) -> None:
    assert CargoClient(root).get("/admin/").status_code == 302


def test_ban_ends_a_session_of_staff(as_root: Client, root: User) -> None:
    bans.ban(root, actor=None)
    assert as_root.get("/admin/").status_code == 302


def test_users_are_banned_and_unbanned(as_root: Client, alice: User, bob: User) -> None:
    assert "2 banned" in run_action(as_root, ACTION, "ban", alice, bob, reason="spam")
    assert "2 unbanned" in run_action(as_root, ACTION, "unban", alice, bob)
    assert [event.actor_name for event in AuditEvent.objects.filter(action="user.ban")] == ["root", "root"]


def test_nobody_bans_themselves(as_root: Client, root: User) -> None:
    page = run_action(as_root, ACTION, "ban", root, reason="spam")
    assert ("Your own account is left out" in page, Ban.objects.exists()) == (True, False)


def test_tokens_of_users_are_revoked(as_root: Client, alice: User) -> None:
    client = CargoClient(alice)
    assert "1 signed out" in run_action(as_root, ACTION, "revoke_tokens", alice)
    assert client.get("/api/v1/crates/x/owners").status_code == 401


def test_single_token_is_revoked_once(as_root: Client, alice: User) -> None:
    cargo_tokens.create(alice, "ci")
    credential = Credential.objects.get(name="ci")
    assert "1 revoked." in run_action(as_root, "/admin/accounts/credential/", "revoke", credential)
    assert "0 revoked, 1 unchanged." in run_action(as_root, "/admin/accounts/credential/", "revoke", credential)


def test_token_and_digest_are_not_shown(as_root: Client, alice: User) -> None:
    text = cargo_tokens.create(alice, "ci")
    pages = [f"/admin/accounts/credential/{path}" for path in ("", f"{Credential.objects.get(name='ci').pk}/change/")]
    text_of_pages = "".join(as_root.get(page).content.decode() for page in pages)
    assert text not in text_of_pages
    assert token_digest(text) not in text_of_pages


@pytest.mark.parametrize("model", ["accounts/user", "accounts/credential", "accounts/ban", "registry_site/auditevent"])
def test_nothing_is_deleted(as_root: Client, alice: User, model: str) -> None:
    cargo_tokens.create(alice, "ci")
    bans.ban(alice, actor=None)
    rows: dict[str, Any] = {"user": User, "credential": Credential, "ban": Ban, "auditevent": AuditEvent}
    row = rows[model.partition("/")[2]].objects.first()
    assert as_root.post(f"/admin/{model}/{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "delete_selected" not in as_root.get(f"/admin/{model}/").content.decode()


def test_new_user_may_need_an_identity(as_root: Client, settings: Any) -> None:
    settings.PASSWORD_LOGIN, settings.OIDC_LOGIN, settings.OIDC_ISSUER = False, True, "https://id.example.com"
    page = as_root.post("/admin/accounts/user/add/", new_user_form(), follow=True)
    assert "cannot sign in yet: passwords are good nowhere (REGISTRY_LOGIN=oidc)" in page.content.decode()


def test_account_is_opened_with_its_name_reserved(as_root: Client) -> None:
    as_root.post("/admin/accounts/user/add/", new_user_form())
    assert User.objects.get(username="dora").reservation.name == "dora"
    assert sign_in_to_admin(User.objects.get(username="dora"))


def test_wrong_names_are_refused_in_the_form(as_root: Client) -> None:
    for name in ("root", "ROOT", "a/b", "x:y", ""):
        page = as_root.post("/admin/accounts/user/add/", new_user_form(username=name))
        assert "errorlist" in page.content.decode(), name
    assert User.objects.count() == 1


def change(client: Client, user: User, **fields: Any) -> Any:
    return client.post(f"/admin/accounts/user/{user.pk}/change/", {"email": "", **EMPTY_INLINES, **fields})


def test_deactivated_account_is_refused(as_root: Client, alice: User) -> None:
    client = CargoClient(alice)
    change(as_root, alice)  # a box that is not ticked is not sent
    assert client.get("/api/v1/crates/x/owners").status_code == 401


def test_role_is_granted_and_recorded(as_root: Client, alice: User) -> None:
    change(as_root, alice, is_active="on", **{"role_grants-TOTAL_FORMS": "1", "role_grants-0-role": "systemAdmin"})
    assert RoleGrant.objects.get().role == "systemAdmin"
    assert AuditEvent.objects.get(action="role.grant").actor_name == "root"


def test_staff_cannot_make_themselves_administrators(helper: User) -> None:
    change(sign_in_to_admin(helper), helper, is_active="on", is_staff="on", is_superuser="on")
    assert not User.objects.get(username="helper").is_superuser


def test_staff_cannot_change_administrators(helper: User, root: User) -> None:
    client = sign_in_to_admin(helper)
    assert change(client, root).status_code == 403
    assert client.post(f"/admin/accounts/user/{root.pk}/password/", {}).status_code == 403
    assert "root administers this registry" in run_action(client, ACTION, "ban", root, reason="spam")
    assert not Ban.objects.exists()


def test_disabled_password_ends_the_sessions(as_root: Client, alice: User) -> None:
    browser = Browser(alice)
    as_root.post(f"/admin/accounts/user/{alice.pk}/password/", {"usable_password": "false", "unset-password": "1"})
    assert not User.objects.get(pk=alice.pk).has_usable_password()
    assert not alice.credentials.filter(revoked_at=None).exists()
    assert browser.get("/settings/appids").status_code == 401


def test_own_password_form_needs_the_old_password(as_root: Client, root: User) -> None:
    form = {"old_password": "wrong password", "new_password1": "battery staple", "new_password2": "battery staple"}
    page = as_root.post("/admin/password_change/", form)
    assert (page.status_code, "The user name or the password is wrong." in page.content.decode()) == (200, True)
    assert User.objects.get(pk=root.pk).check_password(PASSWORD)
    assert LoginFailure.objects.get().name == "root"


def test_own_password_form_changes_an_imported_hash(as_root: Client, root: User, settings: Any) -> None:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    User.objects.filter(pk=root.pk).update(password="argon2" + argon2id())
    client = sign_in_to_admin(root)
    form = {"old_password": PASSWORD, "new_password1": "battery staple", "new_password2": "battery staple"}
    assert client.post("/admin/password_change/", form).status_code == 302
    assert User.objects.get(pk=root.pk).check_password("battery staple")


def test_form_saves_changed_fields_only(as_root: Client, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def change_password_meanwhile(email: str) -> str:
        User.objects.filter(pk=alice.pk).update(password="changed meanwhile")
        return email

    monkeypatch.setattr(emails, "normalize", change_password_meanwhile)
    change(as_root, alice, is_active="on", email="alice@example.org")
    alice.refresh_from_db()
    assert (alice.email, alice.password) == ("alice@example.org", "changed meanwhile")


def test_address_set_by_staff_is_verified(as_root: Client, alice: User) -> None:
    change(as_root, alice, is_active="on", email="alice@example.org")
    assert User.objects.get(pk=alice.pk).email_verified_at is not None
    change(as_root, alice, is_active="on", email="")
    assert User.objects.get(pk=alice.pk).email_verified_at is None


def test_staff_cannot_ban_themselves_by_form(as_root: Client, root: User) -> None:
    page = as_root.post("/admin/accounts/ban/add/", ban_form(root))
    assert "You cannot ban yourself here." in page.content.decode()
    assert not Ban.objects.exists()


def ban_form(user: User, last_day: str = "", last_time: str = "") -> dict[str, Any]:
    return {"user": user.username, "reason": "spam", "until_0": last_day, "until_1": last_time}


def test_last_day_of_a_ban_counts_whole(as_root: Client, alice: User) -> None:
    cases = {
        ("", ""): "None",
        ("2999-01-01", ""): "2999-01-01 23:59:59+00:00",
        ("2999-01-01", "14:30"): "2999-01-01 14:30:00+00:00",
    }
    for (day, moment), end in cases.items():
        as_root.post("/admin/accounts/ban/add/", ban_form(alice, day, moment))
        ban = Ban.objects.in_force().get()
        assert (ban.reason, str(ban.created_by), str(ban.until)) == ("spam", "root", end)
    run_action(as_root, ACTION, "ban", alice, reason="spam", until_0="2999-01-02")
    assert str(Ban.objects.in_force().get().until) == "2999-01-02 23:59:59+00:00"


def test_refused_ban_keeps_its_form(as_root: Client, alice: User) -> None:
    cases = {
        ("2001-01-01", ""): "This end has passed already.",
        ("", "14:30"): "Give the day of this time, too.",
        ("tomorrow", ""): "Enter a valid date.",
    }
    for (day, moment), message in cases.items():
        for page in (
            as_root.post("/admin/accounts/ban/add/", ban_form(alice, day, moment)).content.decode(),
            run_action(as_root, ACTION, "ban", alice, reason="spam", until_0=day, until_1=moment),
        ):
            form = FormFields(page).values
            assert (message in page, form["reason"], form["until_0"], form["until_1"]) == (True, "spam", day, moment)
    page = as_root.post("/admin/accounts/ban/add/", {**ban_form(alice), "user": "nobody"}).content.decode()
    assert ("There is no account nobody." in page, FormFields(page).values["user"]) == (True, "nobody")
    assert not Ban.objects.exists()


def test_staff_cannot_ban_administrators_by_form(helper: User, root: User) -> None:
    sign_in_to_admin(helper).post("/admin/accounts/ban/add/", ban_form(root))
    assert not Ban.objects.exists()


def test_ban_is_lifted(as_root: Client, alice: User) -> None:
    bans.ban(alice, actor=None)
    assert "1 lifted" in run_action(as_root, "/admin/accounts/ban/", "lift", Ban.objects.get())
    assert not Ban.objects.in_force().exists()


def test_reason_of_a_ban_is_escaped(as_root: Client, alice: User) -> None:
    bans.ban(alice, actor=None, reason="<script>alert(1)</script>")
    assert "<script>alert" not in as_root.get("/admin/accounts/ban/").content.decode()


# --- Ways in -------------------------------------------------------------------------------------------------------


def test_staff_send_a_link_for_a_password(as_root: Client, alice: User) -> None:
    assert "has no verified e-mail address" in run_action(as_root, ACTION, "send_reset_link", alice)
    User.objects.filter(pk=alice.pk).update(email="alice@example.org", email_verified_at=timezone.now())
    assert "1 sent a link." in run_action(as_root, ACTION, "send_reset_link", alice)
    (mail,) = sent_mails()
    assert ("/password-reset/" in mail.body, mail.to) == (True, ["alice@example.org"])
    assert AuditEvent.objects.get(action="user.ask_for_password").actor_name == "root"
    bans.ban(alice, actor=None)
    assert "is banned or closed" in run_action(as_root, ACTION, "send_reset_link", alice)


def test_staff_make_a_token_shown_once(as_root: Client, alice: User) -> None:
    fields = {"name": "ci", "scopes": "publish-update", "patterns": "demo-*", "expires_at_0": "2999-01-01"}
    page = run_action(as_root, ACTION, "make_token", alice, **fields)
    (text,) = re.findall("<code>(entc_[A-Za-z0-9]+)</code>", page)
    credential = Credential.objects.get(name="ci")
    assert (credential.user, credential.digest) == (alice, token_digest(text))
    assert (credential.scopes, credential.crate_patterns) == (["publish-update"], ["demo-*"])
    assert str(credential.expires_at) == "2999-01-01 23:59:59+00:00"
    event = AuditEvent.objects.get(action="token.issue", detail__token="ci")
    assert (event.actor_name, event.target) == ("root", "alice")
    run = as_root.get(f"/admin/registry_site/staffrun/{event.run}/").content.decode()
    assert ("The token ci was made." in run, text in run) == (True, False)


def test_refused_token_keeps_its_form(as_root: Client, alice: User) -> None:
    cargo_tokens.create(alice, "taken")
    cases = {
        "already; revoke it first": {"name": "taken", "patterns": ""},
        "is no crate pattern": {"name": "ci", "patterns": "a b!"},
        "other than &#x27;default&#x27;": {"name": "default", "patterns": ""},
    }
    for message, fields in cases.items():
        page = run_action(as_root, ACTION, "make_token", alice, scopes="read", **fields)
        form = FormFields(page).values
        assert (message in page, form["name"], form.get("patterns", "")) == (True, *fields.values())
    assert not Credential.objects.filter(name="ci").exists()


def test_staff_make_no_token_above_their_rank(root: User) -> None:
    helper = registration.register("helper", PASSWORD)
    User.objects.filter(pk=helper.pk).update(is_staff=True)
    helper.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "add_credential"]))
    page = run_action(sign_in_to_admin(helper), ACTION, "make_token", root, name="ci", scopes="read")
    assert "root administers this registry" in page
    with pytest.raises(PermissionDenied):
        cargo_tokens.create(root, "ci", actor=User.objects.get(username="helper"))
    assert not Credential.objects.filter(name="ci").exists()
