"""The roles in a namespace or a package, page by page, as a viewer may see them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accounts.models import User
from namespaces import invitations, role_assignments
from namespaces.invitations import RoleKind
from namespaces.models import Role, RoleAssignment, RoleInvitation

PAGE_SIZE = 50


@dataclass(frozen=True)
class RoleList:
    """A page of those who have a role: the owners, then all others, in the order of joining."""

    assignments: Sequence[RoleAssignment]
    has_next: bool
    own: RoleAssignment | None  # of the viewer
    givable: tuple[Role, ...]  # roles that the viewer may give and take
    invitations: Sequence[RoleInvitation]  # the open ones, for those who may give a role


def list_roles(kind: RoleKind, subject: Any, viewer: User | None, givable: tuple[Role, ...], number: int) -> RoleList:
    """Return a page of the roles in a subject that `viewer` may read, with the roles that `viewer` may give there."""
    start = (number - 1) * PAGE_SIZE
    page = list(role_assignments.owners_first(kind.assignments, subject)[start : start + PAGE_SIZE + 1])
    return RoleList(
        page[:PAGE_SIZE],
        len(page) > PAGE_SIZE,
        kind.assignments.in_subject(subject).filter(user=viewer).first() if viewer else None,
        givable,
        list(invitations.open_in_subject(kind, subject)) if givable else (),
    )
