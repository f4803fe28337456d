"""Giving roles, taking them away, and what they allow."""

from django.db import transaction

from accounts import audit
from accounts.models import Role, RoleGrant, User
from registry_site.errors import Invalid, PermissionDenied

# The original's code and its documents spell this one role in two ways.
SYNONYMS = {"userManager": Role.USERS_MANAGER.value}


def role_of(name: str) -> Role:
    """The role of this name; raises `Invalid` with the names there are."""
    try:
        return Role(SYNONYMS.get(name, name))
    except ValueError as error:
        raise Invalid(f"There is no role {name!r}; there are: {', '.join(Role.values)}.") from error


def of(user: User) -> list[str]:
    """The roles of a user, in the order in which they were given; who administers the site administers all."""
    given = list(RoleGrant.objects.filter(user=user).order_by("pk").values_list("role", flat=True))
    if user.is_superuser and Role.SYSTEM_ADMIN not in given:
        given.append(Role.SYSTEM_ADMIN.value)
    return given


def administers(user: User) -> bool:
    """May the user do everything to everybody?"""
    return Role.SYSTEM_ADMIN in of(user)


def manages_users(user: User) -> bool:
    """May the user look at the accounts of others?"""
    return not {Role.SYSTEM_ADMIN, Role.USERS_MANAGER}.isdisjoint(of(user))


def require_administrator(user: User, message: str) -> None:
    """Raises `PermissionDenied` unless the user administers."""
    if not administers(user):
        raise PermissionDenied(message, code="not_administrator")


def has_rank_over(actor: User | None, user: User) -> bool:
    """May the one act on the other? On who administers only who does so too, and the operator may all."""
    return actor is None or actor.pk == user.pk or not administers(user) or administers(actor)


def require_rank_over(actor: User | None, user: User) -> None:
    """Raises `PermissionDenied` unless the one may act on the other."""
    if not has_rank_over(actor, user):
        raise PermissionDenied(
            f"{user} administers this registry: only who does so too may do this.", code="not_administrator"
        )


def take(user: User, role: Role, *, actor: User | None) -> None:
    """Take a role away; one that the user has not changes nothing. Raises `PermissionDenied` as `grant` does."""
    _require_rank(role, actor)
    with transaction.atomic():
        # The lock waits for what is being done by the role, so that nothing of it is acknowledged afterwards.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        taken, _ = RoleGrant.objects.filter(user=user, role=role).delete()
        if taken:
            audit.record(actor, "role.take", str(user), role=role.value)


def grant(user: User, role: Role, *, actor: User | None) -> None:
    """Give a role; to give it again changes nothing.

    Raises `PermissionDenied` to staff who would make somebody an administrator and are none.
    """
    _require_rank(role, actor)
    with transaction.atomic():
        _, new = RoleGrant.objects.get_or_create(user=user, role=role)
        if new:
            audit.record(actor, "role.grant", str(user), role=role.value)


def _require_rank(role: Role, actor: User | None) -> None:
    if actor is not None and role is Role.SYSTEM_ADMIN:
        require_administrator(actor, f"Only who administers may give or take the role {role.value}.")
