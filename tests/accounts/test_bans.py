"""Bans: they take effect at once in every dialect, and end."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import bans, roles
from accounts.credentials import app_keys, cargo_tokens, jwt_sessions
from accounts.models import Ban, Credential, Role, User
from accounts.passwords import login
from accounts.principals import NOT_GOOD, Principal
from accounts.scopes import Scope
from registry_site.errors import Invalid, PermissionDenied, Unauthenticated, WrongPassword
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD, CargoClient

OWNERS = "/api/v1/crates/none/owners"


def end_bans() -> None:
    """Move the end of every temporary ban into the past."""
    Ban.objects.exclude(until=None).update(until=timezone.now() - timedelta(microseconds=1))


def tomorrow() -> Any:
    return timezone.now() + timedelta(days=1)


# --- Their effect ------------------------------------------------------------------------------------------------


def test_token_of_a_banned_user_is_refused(as_alice: CargoClient, alice: User) -> None:
    assert as_alice.get(OWNERS).status_code == 404
    bans.ban(alice, actor=None)
    response = as_alice.get(OWNERS)
    assert (response.status_code, response.json()) == (401, {"errors": [{"detail": NOT_GOOD}]})


def test_named_token_of_a_banned_user_is_refused(alice: User) -> None:
    token = cargo_tokens.create(alice, "ci")
    bans.ban(alice, actor=None)
    with pytest.raises(Unauthenticated):
        cargo_tokens.authenticate(token)


def test_banned_user_cannot_log_in(alice: User) -> None:
    bans.ban(alice, actor=None)
    with pytest.raises(WrongPassword, match="The user name or the password is wrong"):
        login.authenticate("alice", PASSWORD)


def test_banned_staff_leaves_the_admin_site_at_once(root: User) -> None:
    browser = Client()
    assert browser.login(username="root", password=PASSWORD)
    assert browser.get("/admin/").status_code == 200
    bans.ban(root, actor=None)
    assert browser.get("/admin/").status_code == 302


def test_banned_staff_cannot_log_in_to_admin(root: User) -> None:
    bans.ban(root, actor=None)
    response = Client().post("/admin/login/", {"username": "root", "password": PASSWORD})
    assert response.status_code == 200
    assert "Please enter the correct" in response.content.decode()


ISSUES: list[Callable[[User], object]] = [
    cargo_tokens.rotate_default,
    lambda user: cargo_tokens.create(user, "ci"),
    jwt_sessions.create_backups_session,
    jwt_sessions.create_torrust_session,
    lambda user: app_keys.issue(Principal(user), "ALL"),
]


@pytest.mark.parametrize("issue", ISSUES)
def test_banned_user_is_issued_no_credential(alice: User, issue: Callable[[User], object]) -> None:
    bans.ban(alice, actor=None)
    with pytest.raises(Unauthenticated, match="The account is closed"):
        issue(alice)
    assert not Credential.objects.exists()


def test_ban_leaves_other_users_alone(alice: User, as_bob: CargoClient) -> None:
    bans.ban(alice, actor=None)
    assert as_bob.get(OWNERS).status_code == 404


# --- The end of a ban --------------------------------------------------------------------------------------------


def test_lifted_ban_opens_the_doors_again(as_alice: CargoClient, alice: User) -> None:
    bans.ban(alice, actor=None)
    assert bans.unban(alice, actor=None)
    assert as_alice.get(OWNERS).status_code == 404
    assert login.authenticate("alice", PASSWORD) == alice


def test_ban_is_in_force_until_its_end(as_alice: CargoClient, alice: User) -> None:
    bans.ban(alice, actor=None, until=tomorrow())
    assert as_alice.get(OWNERS).status_code == 401
    end_bans()
    assert as_alice.get(OWNERS).status_code == 404


def test_permanent_ban_outlasts_a_temporary_one(alice: User) -> None:
    bans.ban(alice, actor=None, until=tomorrow())
    bans.ban(alice, actor=None)
    end_bans()
    with pytest.raises(WrongPassword):
        login.authenticate("alice", PASSWORD)


def test_unban_of_the_unbanned_changes_nothing(alice: User) -> None:
    assert not bans.unban(alice, actor=None)
    assert not AuditEvent.objects.filter(action="user.unban").exists()


def test_unban_after_the_end_changes_nothing(alice: User) -> None:
    bans.ban(alice, actor=None, until=tomorrow())
    end_bans()
    assert not bans.unban(alice, actor=None)
    assert Ban.objects.get().lifted_at is None


# --- Refusals --------------------------------------------------------------------------------------------------


def test_ban_cannot_end_before_it_begins(alice: User) -> None:
    for seconds in (0, -1, -86400):
        with pytest.raises(Invalid, match="The end of the ban has passed already"):
            bans.ban(alice, actor=None, until=timezone.now() + timedelta(seconds=seconds))
    assert not Ban.objects.exists()


def test_reason_has_at_most_500_characters(alice: User) -> None:
    with pytest.raises(Invalid, match="at most 500 characters"):
        bans.ban(alice, actor=None, reason="x" * 501)
    assert bans.ban(alice, actor=None, reason="x" * 500).reason == "x" * 500


def test_refused_ban_leaves_the_one_in_force(alice: User) -> None:
    bans.ban(alice, actor=None, reason="spam")
    with pytest.raises(Invalid):
        bans.ban(alice, actor=None, until=timezone.now())
    assert [(ban.reason, ban.is_in_force) for ban in Ban.objects.all()] == [("spam", True)]


# --- The history -------------------------------------------------------------------------------------------------


def test_new_ban_replaces_the_one_in_force(alice: User, root: User) -> None:
    bans.ban(alice, actor=root, reason="first")
    bans.ban(alice, actor=None, reason="second", until=tomorrow())
    history = [(ban.reason, ban.is_in_force, ban.created_by) for ban in Ban.objects.order_by("pk")]
    assert history == [("first", False, root), ("second", True, None)]


def test_ban_twice_is_lifted_by_one_unban(alice: User) -> None:
    bans.ban(alice, actor=None)
    bans.ban(alice, actor=None)
    bans.unban(alice, actor=None)
    assert login.authenticate("alice", PASSWORD) == alice


def test_row_and_query_agree_on_bans_in_force(alice: User, bob: User, charlie: User, root: User) -> None:
    bans.ban(alice, actor=None)
    bans.ban(bob, actor=None, until=tomorrow())
    end_bans()
    bans.ban(charlie, actor=None, until=tomorrow())
    bans.ban(root, actor=None)
    bans.unban(root, actor=None)
    assert {ban.user for ban in Ban.objects.all() if ban.is_in_force} == {alice, charlie}
    assert {ban.user for ban in Ban.objects.in_force()} == {alice, charlie}


def test_bans_are_annotated_for_each_user(alice: User, bob: User) -> None:
    bans.ban(alice, actor=None)
    is_banned = {user.username: user.is_banned for user in User.objects.annotate_is_banned()}
    assert is_banned == {"alice": True, "bob": False}


def test_ban_is_recorded(alice: User, root: User) -> None:
    end = tomorrow()
    ban = bans.ban(alice, actor=root, reason="spam", until=end)
    event = AuditEvent.objects.get(action="user.ban")
    assert (event.actor, event.actor_name, event.target) == (root, "root", "alice")
    assert event.detail == {"reason": "spam", "until": end.isoformat(), "ban": ban.pk}


def test_ban_by_the_operator_is_recorded(alice: User) -> None:
    detail = {"reason": "", "until": None, "ban": bans.ban(alice, actor=None).pk}
    event = AuditEvent.objects.get(action="user.ban")
    assert (event.actor, event.actor_name, event.detail) == (None, "operator", detail)


def test_unban_is_recorded(alice: User, root: User) -> None:
    ban = bans.ban(alice, actor=None)
    bans.unban(alice, actor=root)
    event = AuditEvent.objects.get(action="user.unban")
    assert (event.actor_name, event.target, event.detail) == ("root", "alice", {"lifted": [ban.pk]})


def test_operator_can_lift_a_ban_of_staff(root: User) -> None:
    bans.ban(root, actor=None)
    assert bans.unban(root, actor=None)
    Principal(root).require(Scope.READ)
    assert login.authenticate("root", PASSWORD) == root


# --- Races and limits --------------------------------------------------------------------------------------------


def test_ban_may_not_end_at_this_moment(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    with pytest.raises(Invalid, match="The end of the ban has passed already"):
        bans.ban(alice, actor=None, until=now)


def test_role_revoked_before_the_lock_bans_nobody(alice: User, bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    roles.grant(alice, Role.SYSTEM_ADMIN, actor=None)

    def revoke_role(principal: Principal, *users: User) -> None:
        roles.revoke(alice, Role.SYSTEM_ADMIN, actor=None)

    monkeypatch.setattr(Principal, "revalidate_and_lock", revoke_role)
    with pytest.raises(PermissionDenied, match="Only who administers may ban"):
        bans.ban_named(Principal(alice), "bob")
    assert not Ban.objects.exists()
