"""Collaborators of packages: add, change and remove them."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.dispatch import receiver

from accounts.models import User
from accounts.principals import Principal, lock_accounts
from accounts.scopes import Scope
from accounts.signals import account_ending, co_members_wanted
from namespaces import role_assignments
from namespaces.models import Membership, Namespace, Role
from namespaces.role_assignments import NewRole
from namespaces.signals import namespace_renaming, role_removed
from packages import lookup, rights
from packages.models import Collaboration, Package, Release
from registry_site.compiled_queries import compiled
from registry_site.errors import Conflict
from registry_site.models import AuditEvent


def list_collaborators(principal: Principal, namespace_name: str, name: str) -> list[Collaboration]:
    """Return collaborators in the order of joining; raises `NotFound` for a package that the principal may not read."""
    package = lookup.get_package(principal.user, namespace_name, name)
    return list(Collaboration.in_subject(package))


@receiver(co_members_wanted)
def co_publishers(sender: type[User], viewer: User, users: Sequence[User], **kwargs: Any) -> set[int]:
    """Return the members of a namespace of the viewer's who have published there, by their primary keys."""
    return set(co_publishers_among(viewer.pk, [user.pk for user in users]))


@compiled
def co_publishers_among(viewer: int, users: Sequence[int]) -> QuerySet[Membership, int]:
    namespaces = Namespace.objects.present().filter(memberships__user=viewer)
    published = Release.objects.filter(package__namespace=OuterRef("namespace"), publisher=OuterRef("user"))
    members = Membership.objects.filter(Exists(published), user__in=users, namespace__in=namespaces)
    return members.order_by().values_list("user", flat=True)


def add_collaborators(
    principal: Principal, namespace_name: str, name: str, new_roles: Sequence[NewRole]
) -> list[Collaboration]:
    """Make accounts collaborators, all or none; return all collaborators.

    Raises `NotFound`, `PermissionDenied` if the principal may not give such a role, `Invalid` for an unknown or closed
    account, and `Conflict` for an account that is a collaborator already.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        package = lock_for_principal(principal, namespace_name, name)
        rights.require_rank(package, principal.user, [new_role.role for new_role in new_roles])
        role_assignments.add(Collaboration, package, new_roles, actor=principal.user)
        return list(Collaboration.in_subject(package))


def change_role(principal: Principal, namespace_name: str, name: str, username: str, role: Role) -> Collaboration:
    """Give a collaborator another role.

    Raises `NotFound`, `PermissionDenied`, and `Conflict` if no owner would be left.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        package = lock_for_principal(principal, namespace_name, name)
        collaboration = role_assignments.get(Collaboration, package, username)
        rights.require_rank(package, principal.user, [Role(collaboration.role), role])
        role_assignments.change_role(collaboration, role, actor=principal.user)
    return collaboration


def remove_collaborator(principal: Principal, namespace_name: str, name: str, username: str) -> None:
    """Remove a collaborator. Every collaborator may leave.

    Raises `NotFound`, `PermissionDenied`, and `Conflict` if no owner would be left.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        package = lock_for_principal(principal, namespace_name, name)
        collaboration = role_assignments.get(Collaboration, package, username)
        if collaboration.user != principal.user:
            rights.require_rank(package, principal.user, [Role(collaboration.role)])
        role_assignments.remove(collaboration, actor=principal.user)


def set_collaborators_by_staff(
    package: Package, saved: Sequence[Collaboration], removed: Sequence[Collaboration], *, actor: User
) -> None:
    """Save new and changed collaborations of any package, and remove others.

    Raises `Conflict` if no open account would be left as owner.
    """
    with transaction.atomic():
        lookup.lock_for_update(package)
        role_assignments.set_by_staff(Collaboration, package, saved, removed, actor=actor)


def give_role_as_staff(package: Package, user: User, role: Role, *, actor: User) -> bool:
    """Give an account a role in a package; return False if it has the role already.

    Raises `Invalid` for a closed account, and `Conflict` if no open account would be left as owner.
    """
    with transaction.atomic():
        lock_accounts(user)
        locked = lookup.lock_for_update(package)
        return role_assignments.give_by_staff(Collaboration, locked, user, role, actor=actor)


def undo_roles_as_staff(package: Package, *, events: Sequence[AuditEvent], actor: User) -> bool:
    """Undo roles that staff have given in a package; raises `Conflict` if they have changed since, and `NotFound`."""
    with transaction.atomic():
        return role_assignments.undo_by_staff(Collaboration, lookup.lock_for_update(package), events, actor=actor)


def lock_for_principal(principal: Principal, namespace_name: str, name: str) -> Package:
    """Lock a package that the principal may read until the transaction ends; raises `NotFound`."""
    # The order of locks is the same everywhere, or two requests could wait for each other: user, namespace, package.
    principal.revalidate_and_lock()
    return lookup.lock_for_update(lookup.get_package(principal.user, namespace_name, name))


@receiver(role_removed, sender=Membership)
def remove_from_packages_of_namespace(
    sender: type[Membership], assignment: Membership, actor: User, **kwargs: Any
) -> None:
    """Remove a former member from all packages of the namespace.

    Packages that would be left without an owner go to the namespace's oldest owner.
    """
    namespace = assignment.namespace
    collaborations = Collaboration.objects.filter(package__namespace=namespace, user=assignment.user)
    owned = list(collaborations.filter(role=Role.OWNER).values_list("package", flat=True))
    collaborations.delete()
    orphans = Package.objects.filter(pk__in=owned).exclude(collaborations__role=Role.OWNER)
    open_accounts = User.objects.in_good_standing()
    heir = Membership.in_subject(namespace).filter(role=Role.OWNER, user__in=open_accounts).order_by("pk").first()
    if heir is None:  # the only owner is banned, and a manager removed the member
        return
    Collaboration.objects.bulk_create(
        [Collaboration(package=package, user=heir.user, role=Role.OWNER, added_by=actor) for package in orphans],
        update_conflicts=True,  # the heir may have had a lower role there
        unique_fields=["package", "user"],
        update_fields=["role", "added_by"],
    )


@receiver(namespace_renaming)
def refuse_rename_with_packages(sender: type[Namespace], namespace: Namespace, **kwargs: Any) -> None:
    """Raise `Conflict` if the namespace has packages: dependencies name them by the namespace's name."""
    if namespace.packages.exists():
        raise Conflict(
            f"The name {namespace.name!r} cannot change while there are packages under it.", code="name_in_use"
        )


@receiver(account_ending)
def refuse_end_with_packages(sender: type[User], user: User, **kwargs: Any) -> None:
    """Raise `Conflict` if the account has a role in a package, or packages in its personal namespace."""
    if Package.objects.filter(Q(namespace__user=user) | Q(collaborations__user=user)).exists():
        raise Conflict(f"{user} has packages.")
