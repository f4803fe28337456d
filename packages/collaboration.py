"""Who else works on a package, and as what."""

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.dispatch import receiver

from accounts import audit
from accounts import names as account_names
from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from namespaces.membership import Invitation, accounts_of
from namespaces.models import Namespace, Role
from namespaces.signals import member_removed, namespace_renaming
from packages import lookup, releasing, rights
from packages.models import Collaboration, Package
from registry_site.errors import Conflict, NotFound, PermissionDenied


def list_collaborators(principal: Principal, namespace_name: str, name: str) -> list[Collaboration]:
    """In the order in which they came; raises `NotFound` for a package that the principal may not read."""
    package = lookup.get_package(principal.user, namespace_name, name)
    return _listed(package)


def add_collaborators(
    principal: Principal, namespace_name: str, name: str, invitations: Sequence[Invitation]
) -> list[Collaboration]:
    """Make accounts collaborators, all or none.

    Raises `NotFound`, `PermissionDenied` when the principal may not give such a role, `Invalid` for unknown or
    closed accounts, and `Conflict` for who is one already.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        package = _lock(principal, namespace_name, name)
        _require_rank(package, principal.user, *(invitation.role for invitation in invitations))
        users = accounts_of(invitations)
        if Collaboration.objects.filter(package=package, user__in=users).exists():
            raise Conflict("One of them is a collaborator already.", code="already_collaborator")
        Collaboration.objects.bulk_create(
            Collaboration(package=package, user=user, role=invitation.role, added_by=principal.user)
            for user, invitation in zip(users, invitations, strict=True)
        )
        added = {invitation.username: invitation.role.value for invitation in invitations}
        audit.record(principal.user, "package.add_collaborators", str(package), collaborators=added)
        return _listed(package)


def change_role(principal: Principal, namespace_name: str, name: str, username: str, role: Role) -> Collaboration:
    """Raises `NotFound`, `PermissionDenied`, and `Conflict` when no owner would be left."""
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        package = _lock(principal, namespace_name, name)
        collaboration = _collaboration(package, username)
        former = Role(collaboration.role)
        _require_rank(package, principal.user, former, role)
        collaboration.role = role
        collaboration.save(update_fields=["role"])
        if former is Role.OWNER:
            _require_owner(package)
        audit.record(
            principal.user, "package.change_role", str(package), collaborator=str(collaboration.user), role=role.value
        )
    return collaboration


def remove_collaborator(principal: Principal, namespace_name: str, name: str, username: str) -> None:
    """Everybody may leave of their own.

    Raises `NotFound`, `PermissionDenied`, and `Conflict` when no owner would be left.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        package = _lock(principal, namespace_name, name)
        collaboration = _collaboration(package, username)
        if collaboration.user != principal.user:
            _require_rank(package, principal.user, Role(collaboration.role))
        collaboration.delete()
        if collaboration.role == Role.OWNER:
            _require_owner(package)
        audit.record(principal.user, "package.remove_collaborator", str(package), collaborator=str(collaboration.user))


def set_by_staff(
    package: Package, changed: Sequence[Collaboration], removed: Sequence[Collaboration], *, actor: User
) -> None:
    """Change the collaborators of any package; raises `Conflict` when no open account would be left as owner."""
    with transaction.atomic():
        releasing.lock_for_update(package)
        for collaboration in changed:
            action = "package.change_role" if collaboration.pk else "package.add_collaborator"
            collaboration.added_by = collaboration.added_by or actor
            collaboration.save()
            audit.record(actor, action, str(package), collaborator=str(collaboration.user), role=collaboration.role)
        for collaboration in removed:
            collaboration.delete()
            audit.record(actor, "package.remove_collaborator", str(package), collaborator=str(collaboration.user))
        _require_owner(package)


@receiver(member_removed)
def remove_collaborations_of_former_member(
    sender: type[Namespace], namespace: Namespace, user: User, actor: User, **kwargs: Any
) -> None:
    """Who is no member is no collaborator either; what would be nobody's becomes the namespace's owner's."""
    left = Collaboration.objects.filter(package__namespace=namespace, user=user)
    owned = list(left.filter(role=Role.OWNER).values_list("package", flat=True))
    left.delete()
    orphans = Package.objects.filter(pk__in=owned).exclude(collaborations__role=Role.OWNER)
    heir = (
        User.objects.in_good_standing()
        .filter(memberships__namespace=namespace, memberships__role=Role.OWNER)
        .order_by("memberships__pk")
        .first()
    )
    if heir is None:
        return
    Collaboration.objects.bulk_create(
        [Collaboration(package=package, user=heir, role=Role.OWNER, added_by=actor) for package in orphans],
        update_conflicts=True,  # the heir may have been something less there
        unique_fields=["package", "user"],
        update_fields=["role", "added_by"],
    )


@receiver(namespace_renaming)
def refuse_rename_with_packages(sender: type[Namespace], namespace: Namespace, **kwargs: Any) -> None:
    """Others refer to packages by the namespace's name."""
    if namespace.packages.exists():
        raise Conflict(
            f"The name {namespace.name!r} cannot change while there are packages under it.", code="name_in_use"
        )


def _lock(principal: Principal, namespace_name: str, name: str) -> Package:
    principal.revalidate_and_lock()
    return releasing.lock_for_update(lookup.get_package(principal.user, namespace_name, name))


def _listed(package: Package) -> list[Collaboration]:
    return list(package.collaborations.select_related("user"))


def _collaboration(package: Package, username: str) -> Collaboration:
    name = account_names.canonical(username)
    collaborations = package.collaborations.select_related("user", "package__namespace")
    collaboration = collaborations.filter(user__reservation__name=name).first()
    if collaboration is None:
        raise NotFound(f"{username[:80]!r} is no collaborator of {package}.", code="collaborator_missing")
    return collaboration


def _require_rank(package: Package, user: User, *concerned: Role) -> None:
    own = rights.rights_of(package, user)
    if not own.may_manage or not all(own.may_give(role) for role in concerned):
        raise PermissionDenied("You may not do this to somebody in this role, or give it.")


def _require_owner(package: Package) -> None:
    owners = User.objects.in_good_standing().filter(collaborations__package=package, collaborations__role=Role.OWNER)
    if not owners.exists():
        raise Conflict(f"{package} would be left without an owner; make somebody else one first.", code="last_owner")
