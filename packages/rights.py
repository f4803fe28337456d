"""Who may do what with a package: the one place that says so.

| | in the namespace | or in the package |
|---|---|---|
| read a PUBLIC one | anybody | anybody |
| read a PRIVATE one | OWNER, MANAGER | any role |
| create | OWNER, MANAGER, MEMBER | |
| publish, edit | OWNER, MANAGER, MEMBER, of what they may read | OWNER, MANAGER, MEMBER |
| remove | OWNER, MANAGER | OWNER |
| manage collaborators | OWNER, MANAGER | OWNER, MANAGER |
"""

from dataclasses import dataclass

from accounts.models import User
from namespaces import membership
from namespaces.models import Namespace, Role
from packages.models import Collaboration, Package, Type

MANAGERS = frozenset({Role.OWNER, Role.MANAGER})
PUBLISHERS = frozenset({Role.OWNER, Role.MANAGER, Role.MEMBER})


@dataclass(frozen=True)
class Rights:
    """What somebody may do with one package, by their roles in its namespace and in itself."""

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
        """May this person make a collaborator of this role, or change one? Nobody deals with roles above their own."""
        highest = max((own.rank for own in (self.in_namespace, self.in_package) if own in MANAGERS), default=None)
        return highest is not None and role.rank <= highest


def rights_of(package: Package, user: User | None) -> Rights:
    """Of somebody, or of somebody unknown."""
    if user is None:
        return Rights(package.type == Type.PUBLIC, None, None)
    role = Collaboration.objects.filter(package=package, user=user).values_list("role", flat=True).first()
    in_namespace = membership.role_of(package.namespace, user)
    return Rights(package.type == Type.PUBLIC, in_namespace, None if role is None else Role(role))


def may_create(namespace: Namespace, user: User) -> bool:
    """May this person create packages in the namespace?"""
    return membership.role_of(namespace, user) in PUBLISHERS
