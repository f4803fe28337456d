"""What a user has roles in: shared namespaces, and packages."""

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.models import User
from namespaces import invitations
from namespaces.invitations import NAMESPACE, RoleKind
from namespaces.models import Membership, RoleInvitation
from packages.invitations import PACKAGE
from packages.models import Collaboration

PAGE_SIZE = 100

KINDS: dict[str, RoleKind] = {kind.subject_field: kind for kind in (NAMESPACE, PACKAGE)}


@dataclass(frozen=True)
class OwnRoles:
    """A page of both lists, each in the order of names."""

    memberships: Sequence[Membership]
    collaborations: Sequence[Collaboration]
    has_next: bool


def list_roles(user: User, number: int) -> OwnRoles:
    """Return a page of the roles of `user`, but not the one in the personal namespace."""
    members = Membership.objects.filter(user=user).filter(NAMESPACE.present, namespace__user=None)
    memberships = members.select_related("namespace").order_by("namespace__name", "pk")
    packages = Collaboration.objects.filter(user=user).filter(PACKAGE.present)
    collaborations = (
        packages.select_related(*PACKAGE.related)
        .defer(*PACKAGE.deferred)
        .order_by("package__namespace__name", "package__canonical_name", "pk")
    )
    page = slice((number - 1) * PAGE_SIZE, number * PAGE_SIZE + 1)
    own_members, own_collaborators = list(memberships[page]), list(collaborations[page])
    has_next = max(len(own_members), len(own_collaborators)) > PAGE_SIZE
    return OwnRoles(own_members[:PAGE_SIZE], own_collaborators[:PAGE_SIZE], has_next)


def list_invitations(user: User) -> list[RoleInvitation]:
    """Return the open invitations of `user` to namespaces and packages, the latest first."""
    rows = [row for kind in KINDS.values() for row in invitations.list_own(kind, user)]
    return sorted(rows, key=lambda row: row.invited_at, reverse=True)
