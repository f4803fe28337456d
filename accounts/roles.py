"""Roles: grant and revoke them, and the checks of what they allow."""

from django.db import transaction

from accounts.models import Role, RoleGrant, User
from registry_site import audit
from registry_site.errors import Invalid, PermissionDenied

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
    granted = list(RoleGrant.objects.filter(user=user).order_by("pk").values_list("role", flat=True))
    if user.is_superuser and Role.SYSTEM_ADMIN not in granted:
        granted.append(Role.SYSTEM_ADMIN.value)
    return granted


def is_administrator(user: User) -> bool:
    """Return whether the user may do everything to every account."""
    return Role.SYSTEM_ADMIN in list_roles(user)


def may_manage_users(user: User) -> bool:
    """Return whether the user may look at the accounts of others."""
    return not {Role.SYSTEM_ADMIN, Role.USERS_MANAGER}.isdisjoint(list_roles(user))


def require_administrator(user: User, message: str) -> None:
    """Raise `PermissionDenied` unless the user is an administrator."""
    if not is_administrator(user):
        raise PermissionDenied(message, code="not_administrator")


def may_act_on(actor: User | None, user: User) -> bool:
    """Return whether `actor` may change `user`; only administrators and the operator (None) may change administrators.

    Users may always change themselves.
    """
    return actor is None or actor.pk == user.pk or not is_administrator(user) or is_administrator(actor)


def require_may_act_on(actor: User | None, user: User) -> None:
    """Raise `PermissionDenied` unless `actor` may change `user`."""
    if not may_act_on(actor, user):
        raise PermissionDenied(
            f"{user} administers this registry: only who does so too may do this.", code="not_administrator"
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
    """Revoke a role; nothing happens if the user does not have it. Raises `PermissionDenied` as `grant` does."""
    _require_right_to_assign(role, actor)
    with transaction.atomic():
        # The lock waits for transactions that rely on the role: none of them commits after the revocation.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        deleted, _ = RoleGrant.objects.filter(user=user, role=role).delete()
        if deleted:
            audit.record(actor, audit.Action.ROLE_TAKE, user, role=role.value)


def _require_right_to_assign(role: Role, actor: User | None) -> None:
    if actor is not None and role is Role.SYSTEM_ADMIN:
        require_administrator(actor, f"Only who administers may give or take the role {role.value}.")
