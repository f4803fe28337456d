"""Roles: grant and revoke them, and the checks of what they allow."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import BooleanField, Case, Exists, OuterRef, Q, QuerySet, When

from accounts.models import Role, RoleGrant, User
from registry_site import audit
from registry_site.compiled_queries import compiled
from registry_site.errors import Conflict, Invalid, PermissionDenied

# backup-repository's code and its documents spell this role differently.
SYNONYMS = {"userManager": Role.USERS_MANAGER.value}


def parse_role(name: str) -> Role:
    """Return the role of this name; raises `Invalid` with the names that exist."""
    try:
        return Role(SYNONYMS.get(name, name))
    except ValueError as error:
        raise Invalid(f"There is no role {name!r}; there are: {', '.join(Role.values)}.") from error


def list_roles(user: User) -> list[str]:
    """Return the roles of a user in the order of their grants; a superuser is a system administrator, too."""
    granted = roles_of(user.pk)
    if user.is_superuser and Role.SYSTEM_ADMIN not in granted:
        granted.append(Role.SYSTEM_ADMIN.value)
    return granted


@compiled
def roles_of(user: int) -> QuerySet[RoleGrant, str]:
    return RoleGrant.objects.filter(user=user).order_by("pk").values_list("role", flat=True)


def is_administrator(user: User) -> bool:
    """Return whether the user may do everything to every account."""
    return user.is_superuser or Role.SYSTEM_ADMIN in list_roles(user)


def administrators() -> QuerySet[User]:
    """Return the administrators, also those whose accounts are closed."""
    by_role = RoleGrant.objects.filter(role=Role.SYSTEM_ADMIN)
    users: QuerySet[User] = User.objects.filter(Q(is_superuser=True) | Q(pk__in=by_role.values("user")))
    return users


def may_manage_users(user: User) -> bool:
    """Return whether the user may look at the accounts of others."""
    return not {Role.SYSTEM_ADMIN, Role.USERS_MANAGER}.isdisjoint(list_roles(user))


def require_administrator(user: User, message: str) -> None:
    """Raise `PermissionDenied` unless the user is an administrator."""
    if not is_administrator(user):
        raise PermissionDenied(message, code="not_administrator")


def refusals(actor: User | None, users: Iterable[User]) -> dict[int, str]:
    """Return why `actor` may not change some of the users, by their keys, in one query for all.

    Nobody acts on an account with more rights or roles than their own. Administrators and the operator (None) may
    change every account, and users may change themselves.
    """
    if actor is None or actor.is_superuser:
        return {}
    others = {user.pk: user for user in users if user.pk != actor.pk}
    if not others:
        return {}
    above = {user.pk: user for user in _with_more_rights(actor).filter(pk__in=others)}
    # Staff who grant roles could grant themselves each but that of administrators.
    grants_roles = actor.has_perm("accounts.add_rolegrant")
    reasons = {}
    for key, user in above.items():
        if user.administers:
            reasons[key] = f"{others[key]} administers this registry: only who does so too may do this."
        elif user.has_more_permissions or not grants_roles:
            reasons[key] = f"{others[key]} has rights or roles that you lack: only administrators may do this."
    return reasons


def _with_more_rights(actor: User) -> QuerySet[Any]:
    """Select the accounts with rights or roles that `actor` lacks, also closed ones, and say which of both.

    An administrator by role lacks none.
    """
    direct: Any = User.user_permissions.through.objects
    by_group: Any = Group.permissions.through.objects
    has_more = Q()
    # From the side of each account: a join over all holders of a permission grows with the number of staff.
    for permissions in (direct.filter(user=OuterRef("pk")), by_group.filter(group__user=OuterRef("pk"))):
        for own in (direct.filter(user=actor), by_group.filter(group__user=actor)):
            permissions = permissions.exclude(permission__in=own.values("permission"))
        has_more |= Q(Exists(permissions))
    grants = RoleGrant.objects.filter(user=OuterRef("pk"))
    own_roles = RoleGrant.objects.filter(user=actor).order_by().values("role")
    by_role = Exists(grants.filter(role=Role.SYSTEM_ADMIN))
    users = User.objects.annotate(
        administers=Case(When(is_superuser=True, then=True), default=by_role, output_field=BooleanField()),
        has_more_permissions=has_more,
        has_more_roles=Exists(grants.exclude(role__in=own_roles)),
    )
    is_administrator_by_role = Exists(RoleGrant.objects.filter(user=actor.pk, role=Role.SYSTEM_ADMIN))
    more: QuerySet[Any] = users.exclude(is_administrator_by_role).filter(
        Q(administers=True) | Q(has_more_permissions=True) | Q(has_more_roles=True)
    )
    return more


def may_act_on(actor: User | None, user: User) -> bool:
    """Return whether `actor` may change `user`, by the rule of `refusals`."""
    return not refusals(actor, [user])


def require_may_act_on(actor: User | None, user: User) -> None:
    """Raise `PermissionDenied` unless `actor` may change `user`."""
    for message in refusals(actor, [user]).values():
        raise PermissionDenied(message, code="not_administrator")


def require_other_administrator(user: User, *, actor: User | None) -> None:
    """Raise `Conflict` if nobody who can sign in could administer without `user`; the operator (None) is never refused.

    Call it in the transaction of the change, before other rows are locked. An administrator by role cannot enter the
    admin site, so those who give up the right to it need a successor there.
    """
    # `user` may be changed already, and not yet saved: the rows count.
    if actor is None or not administrators().filter(pk=user.pk).exists():
        return
    # Two administrators can remove each other at the same time: the second one waits here for the first.
    locked = {row.pk: row for row in administrators().select_for_update(no_key=True).order_by("pk")}
    # A new query, which sees what the first one has committed. The locked rows do not show a revoked role.
    others = User.objects.in_good_standing().able_to_sign_in().filter(pk__in=administrators()).exclude(pk=user.pk)
    if actor.pk == user.pk and user.pk in locked and locked[user.pk].is_superuser:
        others = others.filter(is_superuser=True, is_staff=True)
    if not others.exists():
        raise Conflict(
            f"{user} is the only administrator: make another account an administrator first.",
            code="only_administrator",
        )


def grant(user: User, role: Role, *, actor: User | None) -> None:
    """Grant a role; a second grant of the same role changes nothing.

    Raises `PermissionDenied` unless administrators or the operator grant the role of administrators.
    """
    _require_right_to_assign(role, actor)
    with transaction.atomic():
        _, is_new = RoleGrant.objects.get_or_create(user=user, role=role)
        if is_new:
            audit.record(actor, audit.Action.ROLE_GRANT, user, role=role.value)


def revoke(user: User, role: Role, *, actor: User | None) -> None:
    """Revoke a role; nothing happens if the user does not have it.

    Raises `PermissionDenied` as `grant` does, and `Conflict` for the role of the only administrator.
    """
    _require_right_to_assign(role, actor)
    with transaction.atomic():
        if role is Role.SYSTEM_ADMIN and not user.is_superuser:
            require_other_administrator(user, actor=actor)
        # The lock waits for transactions that rely on the role: none of them commits after the revocation.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        deleted, _ = RoleGrant.objects.filter(user=user, role=role).delete()
        if deleted:
            audit.record(actor, audit.Action.ROLE_TAKE, user, role=role.value)


def _require_right_to_assign(role: Role, actor: User | None) -> None:
    if actor is not None and role is Role.SYSTEM_ADMIN:
        require_administrator(actor, f"Only who administers may give or take the role {role.value}.")
