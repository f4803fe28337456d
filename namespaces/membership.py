"""Opening and removing namespaces, and who belongs to them in which role."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.utils import timezone

from accounts import audit, roles
from accounts import names as account_names
from accounts.models import NameReservation, User
from accounts.principals import Principal
from accounts.scopes import Scope
from namespaces import names
from namespaces.models import Membership, Namespace, Role
from namespaces.signals import member_removed, namespace_hidden
from registry_site.errors import Conflict, Invalid, NotFound, PermissionDenied

MOST_AT_ONCE = 50
NO_SUCH = "There is no such namespace."


@dataclass(frozen=True)
class Invitation:
    """Somebody who is to become a member or a collaborator."""

    username: str
    role: Role


def get_namespace(name: str) -> Namespace:
    """A namespace that is nobody's own; raises `NotFound`, for a personal one, too, as the document has it."""
    namespace = Namespace.objects.present().shared().named(name).first()
    if namespace is None:
        raise NotFound(NO_SUCH, code="namespace_missing")
    return namespace


def role_of(namespace: Namespace, user: User | None) -> Role | None:
    """What `user` is in `namespace`; an administrator of the registry is an owner everywhere."""
    if user is None:
        return None
    role = Membership.objects.filter(namespace=namespace, user=user).values_list("role", flat=True).first()
    if role != Role.OWNER and roles.is_administrator(user):
        return Role.OWNER
    return None if role is None else Role(role)


def list_members(namespace: Namespace) -> list[Membership]:
    """The owners first, then the others, in the order in which they came."""
    found = namespace.memberships.select_related("user")
    return sorted(found, key=lambda membership: membership.role != Role.OWNER)


def create_namespace(principal: Principal, name: str) -> Namespace:
    """A namespace whose owner is the principal.

    Raises `Invalid`, `Conflict` for a taken name and `PermissionDenied`.
    """
    principal.require(Scope.MANAGE)
    names.validate(name)
    taken = Conflict(f"The name {name!r} is taken by a namespace or a user.", code="name_taken")
    with transaction.atomic():
        principal.revalidate_and_lock()
        try:
            with transaction.atomic():
                reservation = NameReservation.objects.create(name=account_names.canonical(name))
        except IntegrityError as error:
            raise taken from error
        namespace = Namespace.objects.create(name=name, reservation=reservation)
        Membership.objects.create(namespace=namespace, user=principal.user, role=Role.OWNER, added_by=principal.user)
        audit.record(principal.user, "namespace.create", str(namespace))
    return namespace


def remove_namespace(principal: Principal, name: str) -> None:
    """Put a namespace and all that is in it into the trash; raises `NotFound` and `PermissionDenied`."""
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        namespace, role = lock_as_member(principal, name)
        if role is not Role.OWNER:
            raise PermissionDenied(f"Only an owner of {namespace} may remove it.")
        set_removed(namespace, removed=True, actor=principal.user)


def set_removed(namespace: Namespace, *, removed: bool, actor: User | None) -> bool:
    """Into the trash or out of it; False when it was so before. A personal one goes with its account only."""
    if namespace.user_id is not None:
        raise Invalid("A personal namespace cannot be removed.")
    if (namespace.removed_at is not None) == removed:
        return False
    namespace.removed_at = timezone.now() if removed else None
    namespace.save(update_fields=["removed_at"])
    namespace_hidden.send(sender=Namespace, namespace=namespace)
    audit.record(actor, "namespace.remove" if removed else "namespace.restore", str(namespace))
    return True


def add_members(principal: Principal, name: str, invitations: Sequence[Invitation]) -> Namespace:
    """Make accounts members, all or none.

    Raises `NotFound`, `PermissionDenied` when the principal may not give such a role, `Invalid` for unknown or
    closed accounts, and `Conflict` for who is a member already.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        namespace, role = lock_as_member(principal, name)
        for invitation in invitations:
            _require_rank(role, invitation.role)
        users = accounts_of(invitations)
        if Membership.objects.filter(namespace=namespace, user__in=users).exists():
            raise Conflict("One of them is a member already.", code="already_member")
        Membership.objects.bulk_create(
            Membership(namespace=namespace, user=user, role=invitation.role, added_by=principal.user)
            for user, invitation in zip(users, invitations, strict=True)
        )
        added = {invitation.username: invitation.role.value for invitation in invitations}
        audit.record(principal.user, "namespace.add_members", str(namespace), members=added)
    return namespace


def change_role(principal: Principal, name: str, username: str, role: Role) -> Membership:
    """Raises `NotFound`, `PermissionDenied`, and `Conflict` when no owner would be left."""
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        namespace, own_role = lock_as_member(principal, name)
        membership = _membership(namespace, username)
        former = Role(membership.role)
        _require_rank(own_role, former, role)
        membership.role = role
        membership.save(update_fields=["role"])
        if former is Role.OWNER:
            _require_owner(namespace)
        audit.record(
            principal.user, "namespace.change_role", str(namespace), member=str(membership.user), role=role.value
        )
    return membership


def remove_member(principal: Principal, name: str, username: str) -> None:
    """Take every right in the namespace and its packages from a member; everybody may leave of their own.

    Raises `NotFound`, `PermissionDenied`, and `Conflict` when no owner would be left.
    """
    principal.require(Scope.MANAGE)
    with transaction.atomic():
        namespace, own_role = lock_as_member(principal, name)
        membership = _membership(namespace, username)
        if membership.user != principal.user:
            _require_rank(own_role, Role(membership.role))
        expel(membership, actor=principal.user)


def expel(membership: Membership, *, actor: User) -> None:
    """Inside a transaction that holds the namespace; raises `Conflict` when no owner would be left."""
    namespace, user = membership.namespace, membership.user
    membership.delete()
    if membership.role == Role.OWNER:
        _require_owner(namespace)
    member_removed.send(sender=Namespace, namespace=namespace, user=user, actor=actor)
    audit.record(actor, "namespace.remove_member", str(namespace), member=str(user))


def set_by_staff(
    namespace: Namespace, changed: Sequence[Membership], removed: Sequence[Membership], *, actor: User
) -> None:
    """Change the members of any namespace that is nobody's own; what is `changed` can be new.

    Raises `Invalid`, and `Conflict` when no open account would be left as owner.
    """
    if namespace.user_id is not None:
        raise Invalid("A personal namespace belongs to its user alone.")
    with transaction.atomic():
        lock_for_update(namespace)
        for membership in changed:
            action = "namespace.change_role" if membership.pk else "namespace.add_member"
            membership.added_by = membership.added_by or actor
            membership.save()
            audit.record(actor, action, str(namespace), member=str(membership.user), role=membership.role)
        for membership in removed:
            expel(membership, actor=actor)
        _require_owner(namespace)


def lock_as_member(principal: Principal, name: str) -> tuple[Namespace, Role]:
    """Inside a transaction: the namespace, held, and the principal's role in it.

    Raises `NotFound` and `PermissionDenied`.
    """
    principal.revalidate_and_lock()
    namespace = lock_for_update(get_namespace(name))
    role = role_of(namespace, principal.user)
    if role is None:
        raise PermissionDenied(f"You are no member of {namespace}.")
    return namespace, role


def lock_for_update(namespace: Namespace) -> Namespace:
    """Inside a transaction: the namespace as it is now, of which nobody else changes anything until its end.

    Raises `NotFound` when it was removed meanwhile.
    """
    now = Namespace.objects.select_for_update(no_key=True).present().filter(pk=namespace.pk).first()
    if now is None:
        raise NotFound(NO_SUCH, code="namespace_missing")
    return now


def accounts_of(invitations: Sequence[Invitation]) -> list[User]:
    """The open accounts of these names, in their order; raises `Invalid` when one is none, or is named twice."""
    if not 0 < len(invitations) <= MOST_AT_ONCE:
        raise Invalid(f"Name 1 to {MOST_AT_ONCE} accounts.")
    wanted = [account_names.canonical(invitation.username) for invitation in invitations]
    found = {
        user.reservation.name: user
        for user in User.objects.in_good_standing().filter(reservation__name__in=wanted).select_related("reservation")
    }
    if unknown := [name for name in wanted if name not in found]:
        raise Invalid(f"There is no open account {unknown[0][:80]!r}.", code="user_missing")
    if len(found) < len(wanted):
        raise Invalid("An account is named twice.")
    return [found[name] for name in wanted]


def _membership(namespace: Namespace, username: str) -> Membership:
    name = account_names.canonical(username)
    membership = namespace.memberships.select_related("user", "namespace").filter(user__reservation__name=name).first()
    if membership is None:
        raise NotFound(f"{username[:80]!r} is no member of {namespace}.", code="member_missing")
    return membership


def _require_rank(own: Role, *concerned: Role) -> None:
    """An owner may do all; a manager only with those below; everybody else nothing."""
    highest = max(role.rank for role in concerned)
    if own is not Role.OWNER and (own is not Role.MANAGER or highest >= own.rank):
        raise PermissionDenied(f"As {own.label} you may not do this to somebody in this role, or give it.")


def _require_owner(namespace: Namespace) -> None:
    owners = User.objects.in_good_standing().filter(memberships__namespace=namespace, memberships__role=Role.OWNER)
    if not owners.exists():
        raise Conflict(f"{namespace} would be left without an owner; make somebody else one first.", code="last_owner")
