"""Everyday tasks of staff with accounts: each test is one, done from the front page of the admin site."""

import re
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts import bans, closing, roles
from accounts.credentials import cargo_tokens
from accounts.models import Ban, Credential, LoginFailure, Role, User
from accounts.oidc import identities
from accounts.passwords import login_throttle
from tests.support.authenticator_apps import add_app
from tests.support.sent_mails import sent_mails
from tests.support.staff_browser import Staff

pytestmark = [pytest.mark.django_db, pytest.mark.database_independent]


@pytest.fixture
def alice(alice: User) -> User:
    """An account with a verified address."""
    alice.email, alice.email_verified_at = "office@example.com", timezone.now()
    alice.save(update_fields=["email", "email_verified_at"])
    return alice


def page_of(user: User, rank: str) -> Staff:
    """Search a user as a member of staff, and open the page."""
    return Staff.of_rank(rank).search(user.username).follow(user.username, under="Users")


def page_url(user: User) -> str:
    return f"/admin/accounts/user/{user.pk}/"


def banned() -> list[str]:
    return [ban.user.username for ban in Ban.objects.in_force().select_related("user").order_by("user__username")]


def live_tokens(user: User) -> list[str]:
    return [token.name for token in cargo_tokens.unrevoked_tokens(user)]


# --- Finding ---------------------------------------------------------------------------------------------------------


def test_find_a_user_by_part_of_the_name(alice: User) -> None:
    assert Staff.of_rank("auditor").follow("Users").search_list("lic").follow("alice").title == "alice"


def test_find_a_user_by_email(alice: User) -> None:
    assert Staff.of_rank("auditor").search("office@example").follow("alice", under="Users").title == "alice"


def test_find_a_user_by_identity(alice: User, settings: Any) -> None:
    settings.OIDC_ISSUER = "https://id.example.com"
    identities.link_identity(alice, settings.OIDC_ISSUER, "f81d4fae", actor=None)
    page = Staff.of_rank("auditor").search("f81d4fae").follow("alice")
    assert "f81d4fae at https://id.example.com" in page.row("identity")


def test_see_why_a_user_cannot_sign_in(alice: User, root: User) -> None:
    bans.ban(alice, actor=root, reason="spam")
    page = page_of(alice, "support")
    assert page.fact("Banned").startswith("until it is lifted, since ")
    assert page.fact("Banned").endswith(" by root: spam")


def test_see_what_a_user_did(alice: User) -> None:
    cargo_tokens.create(alice, "laptop", actor=alice)
    assert "alice The token laptop was made." in page_of(alice, "auditor").follow("History").row("laptop")


def test_see_who_administers(alice: User, root: User) -> None:
    roles.grant(alice, Role.SYSTEM_ADMIN, actor=root)
    page = Staff.of_rank("auditor").follow("Users").follow("everything", under="By administers")
    assert page.list_column("Username") == ["alice", "root"]


# --- Bans ------------------------------------------------------------------------------------------------------------


def test_ban_a_user_until_a_date(alice: User) -> None:
    staff = page_of(alice, "support").follow("Ban").submit("Ban", reason="spam", until_0="2099-01-31")
    ban = Ban.objects.get(user=alice)
    assert (ban.reason, f"{ban.until:%Y-%m-%d %H:%M}") == ("spam", "2099-01-31 23:59")
    assert "The account alice was banned. Reason: spam" in staff.history()


def test_ban_many_users_at_once(alice: User, bob: User, charlie: User) -> None:
    staff = Staff.of_rank("support").follow("Users").choose("Ban", "alice", "bob").submit("Ban", reason="spam")
    assert (banned(), staff.text.count(" was banned. Reason: spam")) == (["alice", "bob"], 2)
    assert "The account alice was banned. Reason: spam Run" in staff.history()


def test_undo_a_ban_of_many(alice: User, bob: User) -> None:
    staff = Staff.of_rank("support").follow("Users").choose("Ban", "alice", "bob").submit("Ban", reason="spam")
    staff.follow("Undo").submit("Undo a ban or its end", reason="by mistake")
    assert banned() == []
    assert "The ban of alice was lifted. Reason: by mistake" in staff.history()


def test_lift_a_ban(alice: User, root: User) -> None:
    bans.ban(alice, actor=root)
    staff = page_of(alice, "support").follow("Lift the ban").submit("Lift the ban")
    assert banned() == []
    assert "The ban of alice was lifted." in staff.history()


def test_see_former_bans_of_a_user(alice: User, root: User) -> None:
    bans.ban(alice, actor=root, reason="spam")
    bans.unban(alice, actor=root)
    page = page_of(alice, "auditor")
    assert "over" in page.row("spam", under="Bans")
    assert "spam" in page.follow("All bans").row("alice")


# --- Ways in ---------------------------------------------------------------------------------------------------------


def test_unlock_an_account(alice: User, settings: Any) -> None:
    failure = {"at": timezone.now(), "name": "alice", "ip_address": "192.0.2.7", "network": "192.0.2.7/32"}
    LoginFailure.objects.bulk_create(LoginFailure(**failure) for _ in range(settings.MAX_LOGIN_FAILURES))
    staff = Staff.of_rank("support").follow("1 account locked after failed log-ins").follow("alice")
    staff.follow("Unlock after failed log-ins").submit("Unlock after failed log-ins")
    assert not login_throttle.locked_users().exists()
    assert "support alice may sign in again after too many failures." in staff.history()


def test_send_a_link_for_a_new_password(alice: User) -> None:
    staff = page_of(alice, "support").follow("Send a link for a new password")
    staff.submit("Send a link for a new password")
    assert [mail.to for mail in sent_mails()] == [["office@example.com"]]
    assert "support A link to change" in staff.history()


def test_remove_a_lost_second_factor(alice: User) -> None:
    add_app(alice)
    staff = page_of(alice, "support").follow("Remove the second factor").submit("Remove the second factor")
    assert not alice.authenticators.exists()
    assert "support The second factor of" in staff.history()


def test_end_all_tokens_and_sessions(alice: User) -> None:
    cargo_tokens.create(alice, "laptop")
    Client().force_login(alice)
    staff = page_of(alice, "security").follow("End all tokens, keys and sessions")
    staff.submit("End all tokens, keys and sessions", reason="the laptop was stolen")
    assert not Credential.objects.live().filter(user=alice).exists()
    assert "Reason: the laptop was stolen" in staff.history()


def test_revoke_one_token(alice: User) -> None:
    for name in ("laptop", "ci"):
        cargo_tokens.create(alice, name)
    staff = page_of(alice, "security").follow("laptop").follow("Revoke").submit("Revoke")
    assert live_tokens(alice) == ["ci"]
    assert "security The cargo token laptop" in staff.history()


def test_make_a_token_for_a_build_server(alice: User) -> None:
    staff = page_of(alice, "security").follow("Make a token")
    staff.submit("Make a token", name="nightly", patterns="harbour-*", expires_at_0="2099-01-31", scopes=["read"])
    token = Credential.objects.get(user=alice, name="nightly")
    assert (token.scopes, token.crate_patterns) == (["read"], ["harbour-*"])
    assert f"{token.expires_at:%Y-%m-%d %H:%M}" == "2099-01-31 23:59"
    assert cargo_tokens.authenticate(staff.row("alice").split()[-1]).user == alice
    assert "security The token nightly was made." in staff.follow("What this run did").history()


def test_revoke_a_leaked_token(alice: User) -> None:
    text = cargo_tokens.create(alice, "laptop")
    staff = Staff.of_rank("security").follow("Whose token is this?").submit("Look it up", text=f"token = {text}")
    assert staff.fact("User") == "alice"
    staff.follow("Revoke").submit("Revoke", reason="found in a repository")
    assert live_tokens(alice) == []
    assert "Reason: found in a repository" in staff.history()


# --- Accounts --------------------------------------------------------------------------------------------------------


def test_change_an_email_address(alice: User, root: User) -> None:
    staff = Staff(root).search("alice").follow("alice", under="Users").follow("Change")
    staff.submit("Save", email="alice@example.com")
    assert staff.fact("E-mail address") == "alice@example.com, verified"
    assert "root The e-mail address was changed from office@example.com" in staff.history()


def test_close_an_account(alice: User, root: User) -> None:
    token = cargo_tokens.create(alice, "ci")
    staff = Staff(root).search("alice").follow("alice", under="Users").follow("Close the account")
    staff.submit("Close the account", reason="She left.")
    assert Client().get("/me", headers={"Authorization": token}).status_code == 401
    assert "root The account alice was closed. Reason: She left." in staff.history()
    assert re.fullmatch("since .* UTC by root: She left.", Staff(root).open(page_url(alice)).fact("Closed"))


def test_reopen_an_account(alice: User, root: User) -> None:
    token = cargo_tokens.create(alice, "ci")
    staff = Staff(root).follow("Users").choose("Close the account", "alice").submit("Close the account", reason="Gone.")
    staff.follow("Undo").submit("Reopen the account", reason="by mistake")
    assert cargo_tokens.authenticate(token).user == alice
    assert "root The account alice was opened again. Reason: by mistake" in staff.history()


def test_see_that_an_account_closed_again(alice: User, root: User) -> None:
    closing.close_as_staff(alice, actor=root, reason="spam")
    closing.reopen(alice, actor=root)
    User.objects.filter(pk=alice.pk).update(is_active=False)  # as its provider does, without an event of its own
    assert page_of(alice, "auditor").fact("Closed").startswith("The account is not active: ")


def test_give_somebody_a_rank(alice: User, root: User) -> None:
    staff = Staff(root).search("alice").follow("alice", under="Users").follow("Set the rank")
    staff.submit("Set the rank", rank="support", reason="She helps.")
    sentence = "The rank of alice among staff was changed from none to support. Reason: She helps."
    assert sentence in staff.history()
    assert Staff(root).open(page_url(alice)).fact("Rights") == "Staff: support"


def test_create_an_account(root: User) -> None:
    password = "a harbour at night"
    staff = Staff(root).follow("Users").follow("Add user")
    staff.submit("Save", username="dora", email="dora@example.com", password1=password, password2=password)
    assert staff.title == "dora"
    assert "root The account dora was opened." in staff.history()
