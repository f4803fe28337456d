"""Invitations to namespaces: who may invite whom, and what becomes of an invitation until it is answered."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import bans, profiles, registration
from accounts.models import User
from accounts.principals import Principal
from accounts.profiles import ProfileChanges
from namespaces import invitations, membership
from namespaces.invitations import NAMESPACE
from namespaces.models import MemberInvitation, Membership, Namespace, Role
from namespaces.role_assignments import NewRole
from packages.own_roles import KINDS
from registry_site.errors import RegistryError, TooManyRequests
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.refusals import code_of
from tests.support.roles import members_of


@pytest.fixture
def acme(alice: User) -> Namespace:
    """A namespace of alice, its only member."""
    return membership.create_namespace(Principal(alice), "acme")


def add_member(namespace: Namespace, user: User, role: Role) -> None:
    Membership.objects.create(namespace=namespace, user=user, role=role)


def invite(inviter: User, username: str = "bob", role: Role = Role.MEMBER) -> MemberInvitation:
    invitation = invitations.invite(NAMESPACE, Principal(inviter), ["acme"], username, role)
    assert isinstance(invitation, MemberInvitation)
    return invitation


def accept(user: User, invitation: MemberInvitation, role: str = "") -> str:
    """Accept an invitation; return the code of the refusal, or nothing."""
    return code_of(lambda: invitations.accept(NAMESPACE, Principal(user), invitation.pk, role or invitation.role))


# --- Rank ------------------------------------------------------------------------------------------------------------

ALL = set(Role)
# Roles that somebody may invite to, by the own role in the namespace.
GIVABLE: dict[str, set[Role]] = {
    "owner": ALL,
    "manager": {Role.MEMBER, Role.READ_ONLY},
    "member": set(),
    "read_only": set(),
    "root": ALL,
}


def test_rank_decides_who_invites_to_what_role(acme: Namespace, bob: User, root: User) -> None:
    for name in ("owner", "manager", "member", "read_only"):
        add_member(acme, registration.register(name, PASSWORD), Role(name.upper()))
    outcomes = {
        name: {role for role in Role if not code_of(lambda: invite(User.objects.get_named(name), role=role))}  # noqa: B023
        for name in GIVABLE
    }
    assert outcomes == GIVABLE


def test_strangers_invite_nobody(acme: Namespace, bob: User, charlie: User) -> None:
    assert code_of(lambda: invite(charlie)) == "denied"


def test_personal_namespace_takes_no_members(alice: User, bob: User) -> None:
    act = lambda: invitations.invite(NAMESPACE, Principal(alice), ["alice"], "bob", Role.MEMBER)  # noqa: E731
    assert code_of(act) == "namespace_missing"


# --- Invite ----------------------------------------------------------------------------------------------------------


def test_invitation_gives_no_role_until_accepted(acme: Namespace, alice: User, bob: User) -> None:
    invitation = invite(alice, "BOB", Role.MANAGER)
    assert members_of(acme) == {"alice": "OWNER"}
    assert accept(bob, invitation) == ""
    assert members_of(acme) == {"alice": "OWNER", "bob": "MANAGER"}
    assert Membership.objects.get(user=bob, namespace=acme).added_by == alice
    assert accept(bob, invitation) == "no_invitation"


def test_second_invitation_renews_the_first(acme: Namespace, alice: User, bob: User, charlie: User) -> None:
    add_member(acme, charlie, Role.OWNER)
    first = invite(alice, role=Role.MANAGER)
    MemberInvitation.objects.update(ends_at=timezone.now())
    second = invite(charlie, role=Role.READ_ONLY)
    assert (second.pk, second.role, second.inviter) == (first.pk, "READ_ONLY", charlie)
    assert second.ends_at > timezone.now() + timedelta(days=29)


def test_renewed_role_is_read_before_it_counts(acme: Namespace, alice: User, bob: User) -> None:
    invitation = invite(alice, role=Role.MANAGER)
    invite(alice, role=Role.READ_ONLY)
    assert accept(bob, invitation, "MANAGER") == "role_changed"
    assert accept(bob, invitation, "READ_ONLY") == ""


def test_database_keeps_one_invitation_per_account(acme: Namespace, alice: User, bob: User) -> None:
    invitation = invite(alice)
    invitation.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        invitation.save(force_insert=True)


def test_unknown_closed_and_present_accounts_are_refused(acme: Namespace, alice: User, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(is_active=False)
    codes = {name: code_of(lambda: invite(alice, name)) for name in ("nobody", "bob", "alice", "acme", "")}  # noqa: B023
    assert codes == {
        **dict.fromkeys(("nobody", "bob", "acme", ""), "user_missing"),
        "alice": "already_member",
    }


def test_declined_invitation_comes_not_again_soon(acme: Namespace, alice: User, bob: User) -> None:
    invitations.decline(NAMESPACE, Principal(bob), invite(alice).pk)
    with pytest.raises(RegistryError, match="bob has declined an invitation to acme; invite again after 20"):
        invite(alice)
    MemberInvitation.objects.update(declined_at=timezone.now() - timedelta(days=31))
    assert accept(bob, invite(alice)) == ""


def test_subject_has_limited_open_invitations(
    acme: Namespace, alice: User, bob: User, charlie: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "MAX_OPEN", 1)
    invite(alice)
    assert code_of(lambda: invite(alice, "charlie")) == "too_many_invitations"
    invite(alice, role=Role.READ_ONLY)  # the same again


def test_inviter_waits_after_many_invitations(acme: Namespace, alice: User, bob: User, settings: Any) -> None:
    settings.INVITATIONS_PER_DAY = 2
    invite(alice)
    invite(alice)
    with pytest.raises(TooManyRequests, match="alice has sent 2 invitations within a day") as refusal:
        invite(alice)
    assert 86_000 < refusal.value.retry_after <= 86_401
    AuditEvent.objects.update(at=timezone.now() - timedelta(days=1))
    invite(alice)
    settings.INVITATIONS_PER_DAY = 0
    for _ in range(3):
        invite(alice)


# --- Answer ----------------------------------------------------------------------------------------------------------


def lose_rank(acme: Namespace) -> None:
    Membership.objects.filter(namespace=acme, user__username="charlie").update(role=Role.MEMBER)


def leave(acme: Namespace) -> None:
    membership.remove_member(Principal(User.objects.get_named("charlie")), "acme", "charlie")


def ban(acme: Namespace) -> None:
    bans.ban(User.objects.get_named("charlie"), actor=None)


def add_by_api(acme: Namespace) -> None:
    membership.add_members(Principal(User.objects.get_named("alice")), "acme", [NewRole("bob", Role.READ_ONLY)])


def remove_namespace(acme: Namespace) -> None:
    membership.remove_namespace(Principal(User.objects.get_named("alice")), "acme")


def withdraw_it(acme: Namespace) -> None:
    alice = Principal(User.objects.get_named("alice"))
    invitations.withdraw(NAMESPACE, alice, ["acme"], MemberInvitation.objects.get().pk)


def end(acme: Namespace) -> None:
    MemberInvitation.objects.update(ends_at=timezone.now())


def decline(acme: Namespace) -> None:
    invitations.decline(NAMESPACE, Principal(User.objects.get_named("bob")), MemberInvitation.objects.get().pk)


def rename_all(acme: Namespace) -> None:
    for name in ("bob", "charlie"):
        user = User.objects.get_named(name)
        profiles.update_profile(Principal(user), None, ProfileChanges(username=f"new-{name}"))


# What happens between an invitation by charlie, a manager, and its acceptance → the code, whether the row is left.
MEANWHILE = (
    (lose_rank, "void", False),
    (leave, "void", False),
    (ban, "void", False),
    (add_by_api, "already_member", False),
    (remove_namespace, "no_invitation", True),  # a restored namespace has it again
    (withdraw_it, "no_invitation", False),
    (end, "no_invitation", True),
    (decline, "no_invitation", True),
    (rename_all, "", False),
)


def test_acceptance_checks_what_happened_meanwhile(acme: Namespace, bob: User, charlie: User) -> None:
    add_member(acme, charlie, Role.MANAGER)
    outcomes = []
    for happen, _, _ in MEANWHILE:
        with transaction.atomic():
            invitation = invite(charlie)
            happen(acme)
            code = accept(User.objects.get(pk=bob.pk), invitation)
            outcomes.append((happen, code, MemberInvitation.objects.exists()))
            transaction.set_rollback(True)
    assert outcomes == list(MEANWHILE)


def test_void_invitation_says_why(acme: Namespace, bob: User, charlie: User) -> None:
    add_member(acme, charlie, Role.MANAGER)
    invitation = invite(charlie)
    lose_rank(acme)
    with pytest.raises(RegistryError, match="charlie may no longer give this role in acme: the invitation is void"):
        invitations.accept(NAMESPACE, Principal(bob), invitation.pk, "MEMBER")


def test_only_the_invited_answer(acme: Namespace, alice: User, bob: User, charlie: User) -> None:
    invitation = invite(alice)
    for other in (alice, charlie):
        assert accept(other, invitation) == "no_invitation"
        assert code_of(lambda: invitations.decline(NAMESPACE, Principal(other), invitation.pk)) == "no_invitation"  # noqa: B023


def test_banned_account_cannot_accept(acme: Namespace, alice: User, bob: User) -> None:
    invitation = invite(alice)
    bans.ban(bob, actor=None)
    assert accept(bob, invitation) == "unauthenticated"


def test_who_may_take_the_role_withdraws(acme: Namespace, alice: User, bob: User, charlie: User) -> None:
    add_member(acme, charlie, Role.MANAGER)
    invitation = invite(alice, role=Role.MANAGER)
    act = lambda: invitations.withdraw(NAMESPACE, Principal(charlie), ["acme"], invitation.pk)  # noqa: E731
    assert code_of(act) == "role_denied"
    invite(alice, role=Role.MEMBER)
    assert [code_of(act), code_of(act)] == ["", "no_invitation"]


def test_removed_member_comes_not_back_by_old_invitation(acme: Namespace, alice: User, bob: User) -> None:
    invitation = invite(alice)
    add_by_api(acme)
    membership.remove_member(Principal(alice), "acme", "bob")
    assert accept(bob, invitation) == "no_invitation"


# --- Lists, events and the end ---------------------------------------------------------------------------------------


def test_own_list_has_what_can_be_accepted(acme: Namespace, alice: User, bob: User) -> None:
    invite(alice)
    assert [str(row) for row in invitations.list_own(NAMESPACE, bob)] == ["bob to acme"]
    assert invitations.list_own(NAMESPACE, alice) == []
    for happen in (add_by_api, remove_namespace, end, decline):
        with transaction.atomic():
            happen(acme)
            assert invitations.list_own(NAMESPACE, bob) == [], happen
            transaction.set_rollback(True)


def test_each_step_leaves_an_event(acme: Namespace, alice: User, bob: User) -> None:
    steps: list[Callable[[], object]] = [
        lambda: invite(alice),
        lambda: withdraw_it(acme),
        lambda: invite(alice),
        lambda: accept(bob, MemberInvitation.objects.get()),
        lambda: membership.remove_member(Principal(alice), "acme", "bob"),
        lambda: invite(alice),
        lambda: decline(acme),
    ]
    for step in steps:
        step()
    detail = {"member": "bob", "role": "MEMBER"}
    events = AuditEvent.objects.filter(target="acme", detail=detail).order_by("pk")
    assert [(event.actor_name, event.action) for event in events] == [
        ("alice", "namespace.invite"),
        ("alice", "namespace.withdraw"),
        ("alice", "namespace.invite"),
        ("bob", "namespace.accept"),
        ("alice", "namespace.invite"),
        ("bob", "namespace.decline"),
    ]


def test_purge_deletes_ended_and_old_declined_ones(acme: Namespace, alice: User, capsys: Any) -> None:
    now = timezone.now()
    ages = {"open": {}, "ended": {"ends_at": now}, "declined": {"declined_at": now}, "free": {"declined_at": now}}
    for name, fields in ages.items():
        registration.register(name, PASSWORD)
        invite(alice, name)
        MemberInvitation.objects.filter(user__username=name).update(**fields)
    MemberInvitation.objects.filter(user__username="free").update(declined_at=now - timedelta(days=31))
    call_command("purge")
    assert "2 invitations to namespaces deleted." in capsys.readouterr().out
    assert {row.user.username for row in MemberInvitation.objects.all()} == {"open", "declined"}


def remove_and_purge(acme: Namespace) -> None:
    remove_namespace(acme)
    call_command("purge")


def delete_account(acme: Namespace) -> None:
    User.objects.get_named("bob").delete()


def test_invitations_go_with_namespace_and_account(acme: Namespace, alice: User, bob: User, settings: Any) -> None:
    settings.TRASH_DAYS = 0
    for end_it in (remove_and_purge, delete_account):
        with transaction.atomic():
            invite(alice)
            end_it(acme)
            assert not MemberInvitation.objects.exists()
            transaction.set_rollback(True)


def test_kinds_describe_every_role() -> None:
    assert [name for name, kind in KINDS.items() if set(kind.abilities) != set(Role)] == []
