"""Namespaces: create, remove and restore them, and manage their members."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.dispatch import receiver
from django.utils import timezone

from accounts import roles
from accounts.models import NameReservation, User, good_standing
from accounts.name_patterns import NameKind
from accounts.principals import Principal, lock_accounts
from accounts.scopes import Scope
from accounts.signals import co_members_wanted, sole_ownerships_wanted
from namespaces import names, role_assignments
from namespaces.models import Membership, Namespace, Role
from namespaces.role_assignments import NewRole
from namespaces.signals import namespace_visibility_changed
from registry_site import audit
from registry_site.compiled_queries import compiled
from registry_site.errors import Invalid, NotFound, PermissionDenied
from registry_site.models import AuditEvent
from registry_site.rate_limits import RateLimit


def get_namespace(name: str) -> Namespace:
    """Return a shared namespace; raises `NotFound`.

    A personal one is not found either: yapkg's document knows shared namespaces only.
    """
    namespace = Namespace.objects.present().shared().named(name).first()
    if namespace is None:
        raise no_such_namespace()
    return namespace


def get_any_namespace(name: str) -> Namespace:
    """Return a shared or a personal namespace, with its user; raises `NotFound`."""
    namespace = Namespace.objects.present().named(name).select_related("user").first()
    if namespace is None:
        raise no_such_namespace()
    return namespace


def no_such_namespace() -> NotFound:
    return NotFound("There is no such namespace.", code="namespace_missing")


def role_of(namespace: Namespace, user: User | None) -> Role | None:
    """Return the role of `user` in `namespace`; a system administrator is an owner everywhere."""
    if user is None:
        return None
    role = Membership.objects.filter(namespace=namespace, user=user).values_list("role", flat=True).first()
    if role != Role.OWNER and roles.is_administrator(user):
        return Role.OWNER
    return None if role is None else Role(role)


def givable_roles(namespace: Namespace, user: User | None) -> tuple[Role, ...]:
    """Return the roles that `user` may give and take in a shared namespace."""
    own_role = role_of(namespace, user)
    return () if own_role is None else roles_below(own_role)


def roles_below(own_role: Role) -> tuple[Role, ...]:
    """Return the roles that somebody of this role may give and take: owners all, managers those below their own."""
    if own_role is Role.OWNER:
        return tuple(Role)
    return tuple(role for role in Role if own_role is Role.MANAGER and role.rank < own_role.rank)


def members_of(namespace: Namespace) -> QuerySet[Membership]:
    """Select the owners, then all others, each group in the order of joining, with their users."""
    return role_assignments.owners_first(Membership, namespace)


@receiver(sole_ownerships_wanted)
def solely_owned(sender: type[User], user: User, limit: int, **kwargs: Any) -> list[str]:
    """Return the shared namespaces that have no other owner whose account is open."""
    owners = Membership.objects.filter(role=Role.OWNER)
    others = owners.filter(good_standing("user__"), namespace=OuterRef("pk")).exclude(user=user)
    own = owners.filter(user=user).values("namespace")
    namespaces = Namespace.objects.present().filter(~Exists(others), user=None, pk__in=own).order_by("name")
    return [f"namespace {name}" for name in namespaces.values_list("name", flat=True)[:limit]]


@receiver(co_members_wanted)
def co_members(sender: type[User], viewer: User, users: Sequence[User], **kwargs: Any) -> set[int]:
    """Return the users who created a namespace of the viewer's, or added members, by their primary keys."""
    return set(co_members_among(viewer.pk, [user.pk for user in users]))


@compiled
def co_members_among(viewer: int, users: Sequence[int]) -> QuerySet[Membership, int]:
    namespaces = Namespace.objects.present().filter(memberships__user=viewer)
    added = Membership.objects.filter(namespace=OuterRef("namespace"), added_by=OuterRef("user"))
    members = Membership.objects.filter(Exists(added), user__in=users, namespace__in=namespaces)
    return members.order_by().values_list("user", flat=True)


def create_namespace(principal: Principal, name: str) -> Namespace:
    """Create a namespace that the principal owns.

    Raises `Invalid`, `Conflict` for a name that is taken, `PermissionDenied` and `TooManyRequests`.
    """
    principal.require(Scope.MANAGE)
    names.validate(name)
    with transaction.atomic():
        principal.revalidate_and_lock()
        _check_rate(principal.user)
        return _create(name, principal.user, actor=principal.user)


def create_namespace_for(owner: User, name: str, *, actor: User) -> Namespace:
    """Create a namespace for somebody else, as staff do for a team; no limit of a day counts.

    Raises `Invalid`, also for an owner whose account is closed or banned, and `Conflict` for a name that is taken.
    """
    names.validate(name)
    with transaction.atomic():
        # The lock waits for a ban of the owner, or precedes it.
        lock_accounts(owner)
        role_assignments.open_accounts([owner.username])
        return _create(name, owner, actor=actor)


def _create(name: str, owner: User, *, actor: User) -> Namespace:
    reservation = NameReservation.objects.reserve(name, kinds=[NameKind.NAMESPACE])
    namespace = Namespace.objects.create(name=name, reservation=reservation)
    Membership.objects.create(namespace=namespace, user=owner, role=Role.OWNER, added_by=actor)
    detail = {} if owner == actor else {"owner": owner.username}
    audit.record(actor, audit.Action.NAMESPACE_CREATE, namespace, **detail)
    return namespace


def remove_namespace(principal: Principal, name: str) -> None:
    """Put a namespace and its packages into the trash; raises `NotFound` and `PermissionDenied`."""
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        namespace, role = lock_as_member(principal, name)
        if role is not Role.OWNER:
            raise PermissionDenied(f"Only an owner of {namespace} may remove it.")
        set_removed(namespace, removed=True, actor=principal.user)


def set_removed(namespace: Namespace, *, removed: bool, actor: User | None) -> bool:
    """Put a locked namespace into the trash, or restore it; return False if there is nothing to change.

    Raises `Invalid` for a personal namespace, which exists as long as its account.
    """
    if namespace.user_id is not None:
        raise Invalid("A personal namespace cannot be removed.")
    if (namespace.removed_at is not None) == removed:
        return False
    # Packages keep a `removed_at` of their own. A restored namespace has exactly those that it had before.
    namespace.removed_at = timezone.now() if removed else None
    namespace.save(update_fields=["removed_at"])
    namespace_visibility_changed.send(sender=Namespace, namespace=namespace)
    audit.record(actor, audit.Action.NAMESPACE_REMOVE if removed else audit.Action.NAMESPACE_RESTORE, namespace)
    return True


def add_members(principal: Principal, name: str, new_roles: Sequence[NewRole]) -> Namespace:
    """Make accounts members, all or none.

    Raises `NotFound`, `PermissionDenied` if the principal may not give such a role, `Invalid` for an unknown or closed
    account, and `Conflict` for an account that is a member already.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        namespace, own_role = lock_as_member(principal, name)
        _require_rank(own_role, [new_role.role for new_role in new_roles])
        role_assignments.add(Membership, namespace, new_roles, actor=principal.user)
    return namespace


def change_role(principal: Principal, name: str, username: str, role: Role) -> Membership:
    """Give a member another role.

    Raises `NotFound`, `PermissionDenied`, and `Conflict` if no owner would be left.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        namespace, own_role = lock_as_member(principal, name)
        membership = role_assignments.get(Membership, namespace, username)
        _require_rank(own_role, (Role(membership.role), role))
        role_assignments.change_role(membership, role, actor=principal.user)
    return membership


def remove_member(principal: Principal, name: str, username: str) -> None:
    """Remove a member, and all roles that the account has in the namespace's packages. Every member may leave.

    Raises `NotFound`, `PermissionDenied`, and `Conflict` if no owner would be left.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        namespace, own_role = lock_as_member(principal, name)
        membership = role_assignments.get(Membership, namespace, username)
        if membership.user != principal.user:
            _require_rank(own_role, [Role(membership.role)])
        role_assignments.remove(membership, actor=principal.user)


def set_members_by_staff(
    namespace: Namespace, saved: Sequence[Membership], removed: Sequence[Membership], *, actor: User
) -> None:
    """Save new and changed memberships of a shared namespace, and remove others.

    Raises `Invalid` for a personal namespace, and `Conflict` if no open account would be left as owner.
    """
    with transaction.atomic():
        _lock_shared(namespace)
        role_assignments.set_by_staff(Membership, namespace, saved, removed, actor=actor)


def give_role_as_staff(namespace: Namespace, user: User, role: Role, *, actor: User) -> bool:
    """Give an account a role in a shared namespace; return False if it has the role already.

    Raises `Invalid` for a personal namespace and for a closed account, `NotFound` for a removed namespace, and
    `Conflict` if no open account would be left as owner.
    """
    with transaction.atomic():
        lock_accounts(user)
        return role_assignments.give_by_staff(Membership, _lock_shared(namespace), user, role, actor=actor)


def transfer_as_staff(namespace: Namespace, user: User, *, actor: User) -> bool:
    """Make an account the owner of a shared namespace, and its former owners managers; return False if nothing changes.

    Raises `Invalid` for a personal namespace, `NotFound` for a removed one, and `Conflict` for a closed account.
    """
    with transaction.atomic():
        lock_accounts(user)
        locked = _lock_shared(namespace)
        rows = list(Membership.in_subject(locked).filter(Q(role=Role.OWNER) | Q(user=user)).select_related("user"))
        new = next((row for row in rows if row.user_id == user.pk), Membership(namespace=locked, user=user))
        changed = [row for row in rows if row.role == Role.OWNER and row is not new]
        for row in changed:
            row.role = Role.MANAGER
        if new.role != Role.OWNER:
            new.role = Role.OWNER
            changed.insert(0, new)
        role_assignments.set_by_staff(Membership, locked, changed, [], actor=actor)
    return bool(changed)


def undo_roles_as_staff(namespace: Namespace, *, events: Sequence[AuditEvent], actor: User) -> bool:
    """Undo roles that staff have given in a shared namespace; raises `Conflict` if they have changed since.

    Raises `NotFound` for a removed namespace.
    """
    with transaction.atomic():
        return role_assignments.undo_by_staff(Membership, _lock_shared(namespace), events, actor=actor)


def lock_as_member(principal: Principal, name: str) -> tuple[Namespace, Role]:
    """Lock a namespace until the transaction ends; return it with the principal's role.

    Raises `NotFound`, and `PermissionDenied` without a role.
    """
    # The order of locks is the same everywhere, or two requests could wait for each other: user, namespace, package.
    principal.revalidate_and_lock()
    namespace = lock_for_update(get_namespace(name))
    role = role_of(namespace, principal.user)
    if role is None:
        raise PermissionDenied(f"You are no member of {namespace}.")
    return namespace, role


def lock_for_update(namespace: Namespace) -> Namespace:
    """Lock a namespace until the transaction ends; return its current row.

    Raises `NotFound` if the namespace was removed in the meantime.
    """
    current = Namespace.objects.for_update().present().filter(pk=namespace.pk).first()
    if current is None:
        raise no_such_namespace()
    return current


def _lock_shared(namespace: Namespace) -> Namespace:
    """Lock a namespace as `lock_for_update` does; raises `Invalid` for a personal one."""
    if namespace.user_id is not None:
        raise Invalid("A personal namespace belongs to its user alone.")
    return lock_for_update(namespace)


def _check_rate(user: User) -> None:
    """Limit the namespaces that a user creates within a day; raises `TooManyRequests`."""
    number = settings.NAMESPACES_PER_DAY
    if number:
        message = f"{user} has created {number} namespaces within a day; wait, or ask the operator."
        limit = RateLimit("namespaces", number, timedelta(days=1), message, is_exact=True)
        limit.check_rows(AuditEvent.objects.filter(actor=user, action=audit.Action.NAMESPACE_CREATE))


def _require_rank(own_role: Role, roles: Iterable[Role]) -> None:
    """Raise `PermissionDenied` unless somebody of this role may give and take all these roles."""
    givable = roles_below(own_role)
    if not givable or not set(givable).issuperset(roles):
        raise PermissionDenied(f"As {own_role.label} you may not do this to somebody in this role, or give it.")
