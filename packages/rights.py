"""Rights in packages. This matrix is the one rule; `PackageQuerySet.visible_to` applies its first rows to many rows.

| | role in the namespace | or role in the package |
|---|---|---|
| read a PUBLIC one | anybody | anybody |
| read a PRIVATE one | OWNER, MANAGER | any role |
| create | OWNER, MANAGER, MEMBER | |
| publish, edit | OWNER, MANAGER, MEMBER, if they may read it | OWNER, MANAGER, MEMBER |
| remove | OWNER, MANAGER | OWNER |
| manage collaborators | OWNER, MANAGER | OWNER, MANAGER |
"""

from collections.abc import Sequence
from dataclasses import dataclass

from accounts.models import User
from namespaces import membership
from namespaces.models import Namespace, Role
from packages.models import Collaboration, Package, Type
from registry_site.errors import PermissionDenied

MANAGERS = frozenset({Role.OWNER, Role.MANAGER})
PUBLISHERS = frozenset({Role.OWNER, Role.MANAGER, Role.MEMBER})


@dataclass(frozen=True)
class Rights:
    """The rights of one user in one package, by the user's roles in the namespace and in the package."""

    is_public: bool
    in_namespace: Role | None
    in_package: Role | None

    @property
    def may_read(self) -> bool:
        return self.is_public or self.in_namespace in MANAGERS or self.in_package is not None

    @property
    def may_publish(self) -> bool:
        return self.may_read and (self.in_namespace in PUBLISHERS or self.in_package in PUBLISHERS)

    @property
    def may_remove(self) -> bool:
        return self.in_namespace in MANAGERS or self.in_package is Role.OWNER

    @property
    def may_manage(self) -> bool:
        return self.in_namespace in MANAGERS or self.in_package in MANAGERS

    def may_give(self, role: Role) -> bool:
        """Return whether the user may add, change or remove a collaborator of this role: none above the user's own."""
        highest = max((own.rank for own in (self.in_namespace, self.in_package) if own in MANAGERS), default=None)
        return highest is not None and role.rank <= highest

    @property
    def givable_roles(self) -> tuple[Role, ...]:
        """The roles that the user may give and take."""
        return tuple(role for role in Role if self.may_give(role))


def rights_of(package: Package, user: User | None) -> Rights:
    """Return the rights of a user, or of an anonymous visitor."""
    is_public = package.type == Type.PUBLIC
    if user is None:
        return Rights(is_public, None, None)
    role = Collaboration.objects.filter(package=package, user=user).values_list("role", flat=True).first()
    in_namespace = membership.role_of(package.namespace, user)
    return Rights(is_public, in_namespace, None if role is None else Role(role))


def may_create(namespace: Namespace, user: User) -> bool:
    """Return whether `user` may create packages in the namespace."""
    return membership.role_of(namespace, user) in PUBLISHERS


def require_rank(package: Package, user: User, roles: Sequence[Role]) -> None:
    """Raise `PermissionDenied` unless `user` may give and take all these roles in the package."""
    rights = rights_of(package, user)
    if not rights.may_manage or not all(rights.may_give(role) for role in roles):
        raise PermissionDenied("You may not do this to somebody in this role, or give it.")
