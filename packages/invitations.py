"""Invitations to packages: the rules of `namespaces.invitations` with the rights in packages."""

from collections.abc import Sequence
from typing import Any

from django.db.models import Q
from django.dispatch import receiver

from accounts.models import User
from namespaces import invitations, membership
from namespaces.invitations import RoleKind
from namespaces.models import Membership, Role
from namespaces.signals import role_removed
from packages import collaboration, lookup, rights
from packages.models import SEARCH_COLUMNS_OF_PACKAGE, Collaboration, CollaboratorInvitation, Package
from registry_site.signals import purge_requested


def lock(package: Package) -> Package:
    """Lock the package's namespace and the package, in the order of all locks; raises `NotFound`.

    A member who is removed from the namespace loses all roles in its packages: that waits for the commit, or precedes.
    """
    membership.lock_for_update(package.namespace)
    return lookup.lock_for_update(package)


def givable_roles(package: Package, user: User | None) -> Sequence[Role]:
    """Return the roles that `user` may give and take in the package."""
    return rights.rights_of(package, user).givable_roles


# A package that moves to another namespace keeps its invitations, like its collaborators: they name the package, and
# whether the inviter may still give the role is checked when one is accepted.
PACKAGE = RoleKind(
    assignments=Collaboration,
    invitations=CollaboratorInvitation,
    abilities={
        Role.OWNER: "publishes and removes the package, and manages all collaborators",
        Role.MANAGER: "publishes the package, and manages the collaborators up to managers",
        Role.MEMBER: "reads and publishes the package",
        Role.READ_ONLY: "reads the package, also if it is private",
    },
    present=Q(package__removed_at=None, package__namespace__removed_at=None),
    related=("package__namespace",),
    deferred=SEARCH_COLUMNS_OF_PACKAGE,
    lock_named=collaboration.lock_for_principal,
    lock=lock,
    givable_roles=givable_roles,
    change_role=collaboration.change_role,
    remove=collaboration.remove_collaborator,
)


@receiver(role_removed, sender=Collaboration)
def delete_of_former_collaborator(sender: type[Collaboration], assignment: Collaboration, **kwargs: Any) -> None:
    invitations.delete_of(PACKAGE, assignment)


@receiver(role_removed, sender=Membership)
def delete_of_former_member(sender: type[Membership], assignment: Membership, **kwargs: Any) -> None:
    """Delete the open invitations of a former member to packages of the namespace, as the roles there end, too."""
    own = CollaboratorInvitation.objects.filter(user=assignment.user, package__namespace=assignment.namespace)
    own.filter(declined_at=None).delete()


@receiver(purge_requested)
def purge_collaborator_invitations(**kwargs: Any) -> str:
    """Delete ended invitations to packages."""
    return invitations.purge(PACKAGE)
