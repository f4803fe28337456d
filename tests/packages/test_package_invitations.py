"""Invitations to packages: their own rows of the rules that `tests/namespaces/test_invitations.py` shows."""

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from accounts import registration
from accounts.models import User
from accounts.principals import Principal
from namespaces import invitations, membership
from namespaces.models import Membership, Namespace, Role
from packages import collaboration, release_input, releasing
from packages.invitations import PACKAGE
from packages.models import Collaboration, CollaboratorInvitation, Package
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.refusals import code_of
from tests.support.roles import collaborators_of


@pytest.fixture
def acme(alice: User) -> Namespace:
    return membership.create_namespace(Principal(alice), "acme")


@pytest.fixture
def secret(acme: Namespace, alice: User) -> Package:
    """A private package of alice."""
    content = release_input.ReleaseInput(version="1.0.0", type="PRIVATE")
    return releasing.create_package(Principal(alice), "acme", "secret", "java", content).package


def invite(inviter: User, username: str = "bob", role: Role = Role.MEMBER) -> CollaboratorInvitation:
    invitation = invitations.invite(PACKAGE, Principal(inviter), ["acme", "secret"], username, role)
    assert isinstance(invitation, CollaboratorInvitation)
    return invitation


def accept(user: User, invitation: CollaboratorInvitation) -> str:
    """Accept an invitation; return the code of the refusal, or nothing."""
    return code_of(lambda: invitations.accept(PACKAGE, Principal(user), invitation.pk, invitation.role))


UP_TO_MANAGER = set(Role) - {Role.OWNER}
# Roles that somebody may invite to, by the own role in the namespace, or in the package.
GIVABLE: dict[str, set[Role]] = {
    "n-owner": set(Role),
    "n-manager": UP_TO_MANAGER,
    "n-member": set(),
    "n-read_only": set(),
    "p-owner": set(Role),
    "p-manager": UP_TO_MANAGER,
    "p-member": set(),
    "p-read_only": set(),
    "charlie": set(),
    "root": set(Role),
}


def test_rank_decides_who_invites_to_what_role(
    acme: Namespace, secret: Package, bob: User, charlie: User, root: User
) -> None:
    for name in GIVABLE:
        if name[1] == "-":
            user, role = registration.register(name, PASSWORD), Role(name[2:].upper())
            if name.startswith("n"):
                Membership.objects.create(namespace=acme, user=user, role=role)
            else:
                Collaboration.objects.create(package=secret, user=user, role=role)
    outcomes = {
        name: {role for role in Role if not code_of(lambda: invite(User.objects.get_named(name), role=role))}  # noqa: B023
        for name in GIVABLE
    }
    assert outcomes == GIVABLE


def test_private_package_opens_on_acceptance(secret: Package, alice: User, bob: User) -> None:
    invitation = invite(alice, role=Role.READ_ONLY)
    assert not Package.objects.visible_to(bob).filter(pk=secret.pk).exists()
    assert [str(row) for row in invitations.list_own(PACKAGE, bob)] == ["bob to acme/secret"]
    assert accept(bob, invitation) == ""
    assert Package.objects.visible_to(bob).filter(pk=secret.pk).exists()
    assert collaborators_of(secret) == {"alice": "OWNER", "bob": "READ_ONLY"}
    events = AuditEvent.objects.filter(target="acme/secret", detail={"collaborator": "bob", "role": "READ_ONLY"})
    assert list(events.order_by("pk").values_list("action", flat=True)) == ["package.invite", "package.accept"]


def add_to_package(package: Package) -> None:
    Collaboration.objects.create(package=package, user=User.objects.get_named("bob"), role=Role.READ_ONLY)


def take_role_of_inviter(package: Package) -> None:
    Collaboration.objects.filter(package=package, user__username="charlie").update(role=Role.MEMBER)


def remove_package(package: Package) -> None:
    releasing.remove_package(Principal(User.objects.get_named("alice")), "acme", "secret")


def remove_namespace(package: Package) -> None:
    membership.remove_namespace(Principal(User.objects.get_named("alice")), "acme")


def transfer(package: Package) -> None:
    alice = User.objects.get_named("alice")
    releasing.transfer_package(package, Namespace.objects.get(user=alice), actor=alice)


def remove_member(package: Package) -> None:
    alice, bob = Principal(User.objects.get_named("alice")), User.objects.get_named("bob")
    Membership.objects.create(namespace=package.namespace, user=bob, role=Role.MEMBER)
    membership.remove_member(alice, "acme", "bob")


def remove_collaborator(package: Package) -> None:
    add_to_package(package)
    collaboration.remove_collaborator(Principal(User.objects.get_named("alice")), "acme", "secret", "bob")


MEANWHILE = (
    (add_to_package, "already_collaborator"),
    (take_role_of_inviter, "void"),
    (remove_package, "no_invitation"),
    (remove_namespace, "no_invitation"),
    (transfer, ""),  # the inviter still manages the package
    (remove_member, "no_invitation"),
    (remove_collaborator, "no_invitation"),
)


def test_acceptance_checks_what_happened_meanwhile(secret: Package, bob: User, charlie: User) -> None:
    Collaboration.objects.create(package=secret, user=charlie, role=Role.MANAGER)
    outcomes = []
    for happen, _ in MEANWHILE:
        with transaction.atomic():
            invitation = invite(charlie)
            happen(Package.objects.get(pk=secret.pk))
            outcomes.append((happen, accept(bob, invitation)))
            transaction.set_rollback(True)
    assert outcomes == list(MEANWHILE)


def test_invitation_of_namespace_manager_ends_with_transfer(
    acme: Namespace, secret: Package, bob: User, charlie: User
) -> None:
    Membership.objects.create(namespace=acme, user=charlie, role=Role.MANAGER)
    invitation = invite(charlie)
    transfer(secret)
    assert accept(bob, invitation) == "void"


def test_purge_deletes_ended_ones(secret: Package, alice: User, bob: User) -> None:
    invite(alice)
    CollaboratorInvitation.objects.update(ends_at=timezone.now())
    call_command("purge")
    assert not CollaboratorInvitation.objects.exists()
