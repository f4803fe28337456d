"""Who owns a crate: at least one account that is open, always."""

import json
from collections.abc import Sequence

from django.db import transaction

from accounts import audit, names
from accounts.models import User, UserQuerySet
from accounts.principals import Principal
from accounts.scopes import Scope
from crates.models import Crate, Ownership
from registry_site.errors import Conflict, Invalid, NotFound, PermissionDenied

MAX_LOGINS = 50


def get_crate(name: str) -> Crate:
    """The crate; raises `NotFound`."""
    crate = Crate.objects.named(name).first()
    if crate is None:
        raise NotFound(f"The crate {name!r} does not exist here.")
    return crate


def owners(name: str) -> list[User]:
    """In the order in which they were added; raises `NotFound`."""
    return [ownership.user for ownership in get_crate(name).ownerships.select_related("user")]


def require_owner(crate: Crate, principal: Principal) -> None:
    """Raises `PermissionDenied` unless the principal owns the crate."""
    if not crate.ownerships.filter(user=principal.user).exists():
        raise PermissionDenied(
            f"{principal.user} does not own the crate {crate}; ask one of its owners (`cargo owner --list`)."
        )


def get_owned_for_update(principal: Principal, name: str) -> Crate:
    """Inside a transaction: the crate for its owner, held as by `held`.

    Raises `Unauthenticated`, `NotFound` and `PermissionDenied`.
    """
    principal.revalidate_and_lock()
    crate = lock_for_update(get_crate(name))
    require_owner(crate, principal)
    return crate


def lock_for_update(crate: Crate) -> Crate:
    """Inside a transaction: the crate as it is now, of which nobody else changes anything until its end."""
    return Crate.objects.select_for_update(no_key=True).get(pk=crate.pk)


def add(principal: Principal, name: str, logins: Sequence[str]) -> str:
    """Make accounts owners, all or none → a sentence for the person. Who is one already stays one.

    Raises `Invalid` for unknown or closed accounts, `NotFound` and `PermissionDenied`.
    """
    principal.require(Scope.OWNERS, name)
    wanted = _find(logins, User.objects.in_good_standing(), "there is no such open account")
    with transaction.atomic():
        crate = get_owned_for_update(principal, name)
        _change(crate, wanted, [], actor=principal.user)
    if len(wanted) == 1:
        return f"user {wanted[0].login} has been added to the owners list of crate {crate}"
    listed = ", ".join(f'"{user.login}"' for user in wanted)
    return f"users [{listed}] have been added to the owners list of crate {crate}"


def remove(principal: Principal, name: str, logins: Sequence[str]) -> None:
    """Take ownership from accounts, all or none.

    Raises `Invalid` when one of them is unknown or no owner, `Conflict` when no open account would be left as owner,
    `NotFound` and `PermissionDenied`.
    """
    principal.require(Scope.OWNERS, name)
    with transaction.atomic():
        crate = get_owned_for_update(principal, name)
        _change(
            crate, [], _find(logins, User.objects.filter(ownerships__crate=crate), "not an owner"), actor=principal.user
        )


def change_as_staff(crate: Crate, added: Sequence[User], removed: Sequence[User], *, actor: User) -> None:
    """Change the owners of a crate of others; raises `Conflict` when no open account would be left as owner."""
    with transaction.atomic():
        _change(lock_for_update(crate), added, removed, actor=actor)


def _change(crate: Crate, added: Sequence[User], removed: Sequence[User], *, actor: User) -> None:
    new = [Ownership(crate=crate, user=user, added_by=actor) for user in added]
    Ownership.objects.bulk_create(new, ignore_conflicts=True)  # who is an owner already stays one
    crate.ownerships.filter(user__in=removed).delete()
    if removed and not User.objects.in_good_standing().filter(ownerships__crate=crate).exists():
        raise Conflict(f"The crate {crate} would be left without an owner; add another one first.")
    for action, users in (("crate.add_owners", added), ("crate.remove_owners", removed)):
        if users:
            audit.record(actor, action, crate.name, users=[str(user) for user in users])


def _find(logins: Sequence[str], among: UserQuerySet, otherwise: str) -> list[User]:
    """The accounts of these logins, each once; raises `Invalid` when one of them is not `among` those."""
    if not 0 < len(logins) <= MAX_LOGINS:
        raise Invalid(f"Name 1 to {MAX_LOGINS} accounts.")
    found = {user.reservation.name: user for user in among.named(*logins).select_related("reservation")}
    unknown = [login for login in logins if names.canonical(names.strip_ktra_prefix(login)) not in found]
    if unknown:
        raise Invalid(f"one or more invalid login names are detected: {json.dumps(unknown)} ({otherwise})")
    return list(found.values())
