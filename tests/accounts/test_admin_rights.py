"""Rights in the admin site: nobody acts on more rights than their own, and the last administrator stays."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission
from django.db import connection, transaction
from django.test import Client

from accounts import bans, closing, registration, roles
from accounts.credentials import cargo_tokens
from accounts.models import Ban, Credential, LoginFailure, Role, User
from accounts.passwords import login, login_throttle
from registry_site import audit
from registry_site.errors import Conflict, PermissionDenied, TooManyRequests, Unavailable, WrongPassword
from registry_site.models import AuditEvent
from tests.support.admin import EMPTY_INLINES, hire, run_action, sign_in_to_admin
from tests.support.cast import PASSWORD

ROWS = ("credential", "loginfailure", "ban")
USERS, GROUPS = "/admin/accounts/user/", "/admin/auth/group/"
NEW_PASSWORD = {"password1": "battery staple", "password2": "battery staple", "usable_password": "true"}
ONLY = " is the only administrator: make another account an administrator first."


@pytest.fixture
def helper(db: None) -> User:
    return hire(
        "helper",
        "view_user",
        "change_user",
        "ban_user",
        "add_ban",
        "view_ban",
        "change_group",
        "add_group",
        "view_group",
    )


@pytest.fixture
def curator(db: None) -> User:
    """Staff with a right that the helper lacks, by a group."""
    user = hire("curator")
    group = Group.objects.create(name="curators")
    group.permissions.set(Permission.objects.filter(codename="change_crate"))
    user.groups.add(group)
    return user


def test_staff_close_no_account_with_more_rights(helper: User, curator: User) -> None:
    for change in (closing.close_as_staff, closing.reopen):
        with pytest.raises(PermissionDenied):
            change(curator, actor=helper)


def test_staff_close_no_account_of_their_own(as_root: Client, root: User) -> None:
    assert "/account/close" in run_action(as_root, USERS, "close", root, reason="I leave.")
    assert User.objects.get(pk=root.pk).is_active


def test_account_form_closes_and_reopens(as_root: Client, alice: User) -> None:
    for ticked in ((), ("is_active",)):
        stand(as_root, alice, *ticked)
    events = AuditEvent.objects.filter(object_type="accounts.user", object_id=alice.pk).order_by("pk")
    assert list(events.values_list("action", flat=True))[-2:] == ["user.close", "user.reopen"]


# --- Staff with more rights ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_active", [True, False])
def test_more_rights_protect_an_account(helper: User, curator: User, is_active: bool) -> None:
    User.objects.filter(pk=curator.pk).update(is_active=is_active)
    client, url = sign_in_to_admin(helper), f"{USERS}{curator.pk}"
    assert client.post(f"{url}/password/", NEW_PASSWORD).status_code == 403
    assert client.post(f"{url}/change/", {"email": "", "is_active": "on", **EMPTY_INLINES}).status_code == 403
    page = run_action(client, USERS, "ban", curator, reason="spam")
    assert ("curator has rights or roles that you lack" in page, Ban.objects.exists()) == (True, False)
    assert User.objects.get(pk=curator.pk).check_password(PASSWORD)


def test_verbs_refuse_more_rights_themselves(helper: User, curator: User) -> None:
    cargo_tokens.create(curator, "ci")
    verbs: list[Callable[[], object]] = [
        lambda: bans.ban(curator, actor=helper),
        lambda: bans.unban(curator, actor=helper),
        lambda: login_throttle.unlock("curator", actor=helper),
    ]
    for verb in verbs:
        with pytest.raises(PermissionDenied, match="curator has rights or roles that you lack"):
            verb()
    assert (Ban.objects.count(), Credential.objects.unrevoked().filter(name="ci").count()) == (0, 1)


def test_roles_are_rights_too(helper: User, alice: User) -> None:
    roles.grant(alice, Role.USERS_MANAGER, actor=None)
    client, url = sign_in_to_admin(helper), f"{USERS}{alice.pk}/password/"
    assert client.post(url, NEW_PASSWORD).status_code == 403
    # Staff who grant roles could grant themselves this one.
    helper.user_permissions.add(Permission.objects.get(codename="add_rolegrant"))
    assert client.post(url, NEW_PASSWORD).status_code == 302


def test_actions_pass_over_accounts_with_more_rights(curator: User, alice: User, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 3
    helper = hire("helper", "view_user", *(f"{verb}_{row}" for verb in ("view", "change") for row in ROWS))
    for user in (alice, curator):
        cargo_tokens.create(user, "ci")
        bans.ban(user, actor=None)
        fail(user.username, 1)
    client = sign_in_to_admin(helper)
    for row, action in (("credential", "revoke"), ("loginfailure", "unlock"), ("ban", "lift")):
        rows: Any = apps.get_model("accounts", row).objects
        page = run_action(client, f"/admin/accounts/{row}/", action, *rows.exclude(pk__in=helper.credentials.all()))
        assert "curator has rights or roles that you lack" in page, row
    assert Credential.objects.unrevoked().get(name="ci").user == curator
    assert LoginFailure.objects.get(unlocked=False).name == "curator"
    assert Ban.objects.in_force().get().user == curator


def test_new_password_and_event_are_one_change(as_root: Client, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{USERS}{alice.pk}/password/"
    assert as_root.post(url, NEW_PASSWORD).status_code == 302
    event = AuditEvent.objects.get(target="alice", action__startswith="user.change")
    assert (event.action, event.actor_name) == ("user.change_password", "root")

    def fail_to_record(*args: Any, **kwargs: Any) -> None:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(audit, "record", fail_to_record)
    assert as_root.post(url, {**NEW_PASSWORD, "password1": PASSWORD, "password2": PASSWORD}).status_code == 503
    assert User.objects.get(pk=alice.pk).check_password("battery staple")


def test_password_form_overwrites_nothing_else(as_root: Client, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def close_meanwhile(password: str | None) -> str:
        User.objects.filter(pk=alice.pk).update(is_active=False)
        return make_password(password)

    monkeypatch.setattr("accounts.passwords.change.make_password", close_meanwhile)
    as_root.post(f"{USERS}{alice.pk}/password/", NEW_PASSWORD)
    alice.refresh_from_db()
    assert (alice.is_active, alice.check_password("battery staple")) == (False, True)


def test_staff_help_users_without_more_rights(helper: User, alice: User) -> None:
    client = sign_in_to_admin(helper)
    for user in (alice, hire("trainee", "view_user")):
        assert client.post(f"{USERS}{user.pk}/password/", NEW_PASSWORD).status_code == 302
        assert User.objects.get(pk=user.pk).check_password("battery staple")


# --- Groups --------------------------------------------------------------------------------------------------------


def test_staff_cannot_hand_out_permissions_by_groups(helper: User) -> None:
    group = Group.objects.create(name="helpers")
    helper.groups.add(group)
    client = sign_in_to_admin(helper)
    everything = {"name": "helpers", "permissions": [str(permission.pk) for permission in Permission.objects.all()]}
    assert client.get(f"{GROUPS}{group.pk}/change/").status_code == 200
    for path in (f"{group.pk}/change/", "add/", f"{group.pk}/delete/"):
        assert client.post(f"{GROUPS}{path}", {**everything, "post": "yes"}).status_code == 403, path
    assert not group.permissions.exists()


def test_changes_of_groups_are_recorded(as_root: Client) -> None:
    see, ban = (str(Permission.objects.get(codename=name).pk) for name in ("view_user", "add_ban"))
    as_root.post(f"{GROUPS}add/", {"name": "helpers", "permissions": [see]})
    group = Group.objects.get(name="helpers")
    as_root.post(f"{GROUPS}{group.pk}/change/", {"name": "helpers", "permissions": [see]})
    as_root.post(f"{GROUPS}{group.pk}/change/", {"name": "helpers", "permissions": [ban]})
    as_root.post(f"{GROUPS}{group.pk}/delete/", {"post": "yes"})
    events = AuditEvent.objects.filter(action__startswith="group.").order_by("pk")
    assert list(events.values_list("action", "actor_name", "target", "detail")) == [
        ("group.create", "root", "helpers", {"added": ["view_user"], "removed": []}),
        ("group.change", "root", "helpers", {"added": ["add_ban"], "removed": ["view_user"]}),
        ("group.delete", "root", "helpers", {"removed": ["add_ban"]}),
    ]
    assert not Group.objects.filter(name="helpers").exists()


# --- The last administrator ----------------------------------------------------------------------------------------


def stand(client: Client, user: User, *ticked: str) -> str:
    """Save the form of an administrator with these boxes ticked; return the page after it."""
    data = {"email": "", **dict.fromkeys(ticked, "on"), **EMPTY_INLINES}
    return client.post(f"{USERS}{user.pk}/change/", data, follow=True).content.decode()


BOXES = ("is_active", "is_staff", "is_superuser")


def disable_password(client: Client, user: User) -> str:
    form = {"usable_password": "false", "unset-password": "1"}
    return client.post(f"{USERS}{user.pk}/password/", form, follow=True).content.decode()


@pytest.mark.parametrize("box", BOXES)
def test_last_administrator_stays(as_root: Client, root: User, box: str) -> None:
    registration.register("retired", PASSWORD, admin=True)
    User.objects.filter(username="retired").update(is_active=False)
    assert ONLY in stand(as_root, root, *(name for name in BOXES if name != box))
    assert {getattr(User.objects.get(pk=root.pk), name) for name in BOXES} == {True}


def test_last_administrator_is_not_closed(root: User) -> None:
    closer = hire("closer", "change_user")
    roles.grant(closer, Role.SYSTEM_ADMIN, actor=None)
    User.objects.filter(pk=closer.pk).update(is_active=False)
    with pytest.raises(Conflict):
        closing.close_as_staff(root, actor=closer)
    assert User.objects.get(pk=root.pk).is_active


def test_administrator_resigns_when_others_remain(as_root: Client, root: User) -> None:
    registration.register("other", PASSWORD, admin=True)
    stand(as_root, root, "is_active", "is_staff")
    assert not User.objects.get(pk=root.pk).is_superuser


def test_administrator_by_role_is_no_successor_there(as_root: Client, root: User, alice: User) -> None:
    roles.grant(alice, Role.SYSTEM_ADMIN, actor=None)
    assert ONLY in stand(as_root, root, "is_active", "is_staff")


def test_last_administrator_keeps_a_password(as_root: Client, root: User) -> None:
    assert ONLY in disable_password(as_root, root)
    other = registration.register("other", PASSWORD, admin=True)
    assert ONLY not in disable_password(as_root, other)
    assert AuditEvent.objects.get(target="other", action="user.change_password").detail == {"disabled": True}
    # The other one cannot sign in now, and is no successor.
    assert ONLY in disable_password(as_root, root)
    assert ONLY in stand(as_root, root, "is_active", "is_staff")
    assert User.objects.get(pk=root.pk).has_usable_password()


def test_staff_do_not_lock_themselves_out_by_networks(as_root: Client, root: User) -> None:
    form = dict.fromkeys(BOXES, "on") | EMPTY_INLINES
    for networks, is_stored in (("192.0.2.0/24", False), ("192.0.2.0/24 127.0.0.0/8", True)):
        page = as_root.post(f"{USERS}{root.pk}/change/", {**form, "allowed_networks": networks}, follow=True)
        assert ("leave out your own address" in page.content.decode()) == (not is_stored)
        assert (User.objects.get(pk=root.pk).allowed_networks == networks) == is_stored


@pytest.mark.only_postgresql  # SQLite has one writer at a time
@pytest.mark.django_db(transaction=True)
def test_two_administrators_by_role_cannot_both_resign() -> None:
    first, second = (registration.register(name, PASSWORD) for name in ("first", "second"))
    for user in (first, second):
        roles.grant(user, Role.SYSTEM_ADMIN, actor=None)

    def resign_later() -> bool:
        try:
            roles.revoke(second, Role.SYSTEM_ADMIN, actor=second)
        except Conflict:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            roles.revoke(first, Role.SYSTEM_ADMIN, actor=first)
            has_resigned = pool.submit(resign_later)
            time.sleep(0.5)  # the second one waits for the lock meanwhile
        assert not has_resigned.result()


def test_last_administrator_is_not_banned(root: User) -> None:
    with pytest.raises(Conflict, match="root is the only administrator"):
        bans.ban(root, actor=root)
    assert not Ban.objects.exists()
    assert bans.ban(root, actor=None)  # the operator can lift it again


def test_last_role_of_an_administrator_stays(alice: User, bob: User) -> None:
    roles.grant(alice, Role.SYSTEM_ADMIN, actor=None)
    with pytest.raises(Conflict, match="alice is the only administrator"):
        roles.revoke(alice, Role.SYSTEM_ADMIN, actor=alice)
    roles.grant(bob, Role.SYSTEM_ADMIN, actor=alice)
    roles.revoke(alice, Role.SYSTEM_ADMIN, actor=alice)
    assert not roles.is_administrator(alice)


# --- Locked accounts -----------------------------------------------------------------------------------------------


def fail(name: str, times: int) -> None:
    for _ in range(times):
        with pytest.raises(WrongPassword):
            login.authenticate(name, "wrong horse")


@pytest.mark.parametrize("path", [USERS, "/admin/accounts/loginfailure/"])
def test_locked_account_is_unlocked(as_root: Client, alice: User, bob: User, settings: Any, path: str) -> None:
    settings.MAX_LOGIN_FAILURES = 3
    for name in ("alice", "bob"):
        fail(name, 3)
    with pytest.raises(TooManyRequests):
        login.authenticate("alice", PASSWORD)
    row = alice if path == USERS else LoginFailure.objects.filter(name="alice").first()
    assert "1 unlocked." in run_action(as_root, path, "unlock", row)
    assert login.authenticate("alice", PASSWORD) == alice
    with pytest.raises(TooManyRequests):
        login.authenticate("bob", PASSWORD)
    event = AuditEvent.objects.get(action="user.unlock")
    assert (event.actor_name, event.target, event.detail) == ("root", "alice", {"failures": 3})
    assert LoginFailure.objects.filter(name="alice", unlocked=True).count() == 3


def test_unlocking_needs_the_change_permission(root: User, alice: User, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 3
    fail("alice", 3)
    onlooker = hire("onlooker", "view_user", "view_loginfailure")
    for path, row in ((USERS, alice), ("/admin/accounts/loginfailure/", LoginFailure.objects.all()[0])):
        run_action(sign_in_to_admin(onlooker), path, "unlock", row)
    assert not LoginFailure.objects.filter(unlocked=True).exists()
