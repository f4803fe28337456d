"""Giving roles, and taking them away."""

from django.db import transaction

from accounts import audit
from accounts.models import Role, RoleGrant, User
from registry_site.errors import Invalid

# The original's code and its documents spell this one role in two ways.
SYNONYMS = {"userManager": Role.USERS_MANAGER.value}


def role_of(name: str) -> Role:
    """The role of this name; raises `Invalid` with the names there are."""
    try:
        return Role(SYNONYMS.get(name, name))
    except ValueError as error:
        raise Invalid(f"There is no role {name!r}; there are: {', '.join(Role.values)}.") from error


def take(user: User, role: Role, *, actor: User | None) -> None:
    """Take a role away; one that the user has not changes nothing."""
    with transaction.atomic():
        taken, _ = RoleGrant.objects.filter(user=user, role=role).delete()
        if taken:
            audit.record(actor, "role.take", str(user), role=role.value)


def grant(user: User, role: Role, *, actor: User | None) -> None:
    """Give a role; to give it again changes nothing."""
    with transaction.atomic():
        _, new = RoleGrant.objects.get_or_create(user=user, role=role)
        if new:
            audit.record(actor, "role.grant", str(user), role=role.value)
