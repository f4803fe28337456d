"""Owners of crates: list, add, remove. Every crate keeps an owner whose account is open."""

import json
from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet, Sum
from django.dispatch import receiver

from accounts import names
from accounts.models import User, UserQuerySet, good_standing
from accounts.principals import Principal, lock_accounts
from accounts.scopes import Scope
from accounts.second_factor import proofs
from accounts.signals import co_members_wanted, sole_ownerships_wanted
from crates.models import Crate, CrateDownloads, Ownership, Version
from crates.names import canonical
from registry_site import audit
from registry_site.compiled_queries import compiled
from registry_site.errors import Conflict, Invalid, NotFound, PermissionDenied
from registry_site.models import AuditEvent

MAX_LOGINS = 50


def get_crate(name: str) -> Crate:
    """Return the crate of this name; raises `NotFound`."""
    crate = next(iter(crates_named(canonical(name))), None)
    if crate is None:
        raise missing(name)
    return crate


@compiled
def crates_named(canonical_name: str) -> QuerySet[Crate]:
    return Crate.objects.filter(canonical_name=canonical_name)


def missing(name: str) -> NotFound:
    return NotFound(f"The crate {name!r} does not exist here.")


def not_an_owner(user: User, name: str) -> PermissionDenied:
    return PermissionDenied(f"{user} does not own the crate {name}; ask one of its owners (`cargo owner --list`).")


def owners(name: str) -> list[User]:
    """Return the owners of a crate in the order in which they were added; raises `NotFound`."""
    return [ownership.user for ownership in ownerships_of(get_crate(name).pk)]


@compiled
def ownerships_of(crate: int) -> QuerySet[Ownership]:
    return Ownership.objects.filter(crate=crate).select_related("user")


def list_owned(principal: Principal) -> list[Crate]:
    """Return the crates of a user by name, without large columns; raises `PermissionDenied`."""
    principal.require(Scope.READ)
    return list(Crate.objects.filter(ownerships__user=principal.user).only("name"))


def downloads_of(user_id: int) -> int:
    """Return the downloads of all crates of a user together; raises `NotFound`."""
    if not User.objects.filter(pk=user_id).exists():
        raise NotFound("There is no user of this id.", code="user_missing")
    rows = CrateDownloads.objects.filter(crate__ownerships__user=user_id, crate__removed_at=None)
    return rows.aggregate(sum=Sum("total"))["sum"] or 0


@receiver(sole_ownerships_wanted)
def solely_owned(sender: type[User], user: User, limit: int, **kwargs: Any) -> list[str]:
    """Return the crates that have no other owner whose account is open."""
    others = Ownership.objects.filter(good_standing("user__"), crate=OuterRef("pk")).exclude(user=user)
    crates = Crate.objects.filter(~Exists(others), ownerships__user=user).order_by("name")
    return [f"crate {name}" for name in crates.values_list("name", flat=True)[:limit]]


@receiver(co_members_wanted)
def co_owners(sender: type[User], viewer: User, users: Sequence[User], **kwargs: Any) -> set[int]:
    """Return the users who published a version of a crate of the viewer's, or added owners, by their primary keys."""
    return set(co_owners_among(viewer.pk, [user.pk for user in users]))


@compiled
def co_owners_among(viewer: int, users: Sequence[int]) -> QuerySet[Ownership, int]:
    crates = Crate.objects.filter(ownerships__user=viewer)
    added = Ownership.objects.filter(crate=OuterRef("crate"), added_by=OuterRef("user"))
    published = Version.objects.filter(crate=OuterRef("crate"), published_by=OuterRef("user"))
    ownerships = Ownership.objects.filter(Exists(added) | Exists(published), user__in=users, crate__in=crates)
    return ownerships.order_by().values_list("user", flat=True)


def require_owner(crate: Crate, principal: Principal) -> None:
    """Require that the principal owns the crate; raises `PermissionDenied`."""
    if not ownership_keys(crate.pk, principal.user.pk):
        raise not_an_owner(principal.user, crate.name)


@compiled
def ownership_keys(crate: int, user: int) -> QuerySet[Ownership, int]:
    return Ownership.objects.order_by().filter(crate=crate, user=user).values_list("pk", flat=True)


def lock_for_update(crate: Crate) -> Crate:
    """Lock the crate's row, removed or not, until the transaction ends, and return its present state."""
    return Crate.with_removed.for_update().get(pk=crate.pk)


def get_owned_for_update(principal: Principal, name: str, *others: User) -> Crate:
    """Return a crate of the principal, locked until the transaction ends, as are the accounts of `others`.

    Raises `Unauthenticated`, `NotFound` and `PermissionDenied`.
    """
    # Lock order: the user's row, then the crate's. A publish takes its locks in the same order.
    principal.revalidate_and_lock(*others)
    crate = lock_for_update(get_crate(name))
    if crate.removed_at is not None:
        raise NotFound(f"The crate {name!r} was removed just now.")
    require_owner(crate, principal)
    return crate


def add(principal: Principal, name: str, logins: Sequence[str]) -> str:
    """Make accounts owners, all or none, and return a sentence for cargo to print. Present owners stay owners.

    Raises `Invalid` for unknown or closed accounts, `NotFound`, `PermissionDenied` and `ConfirmationRequired`.
    """
    principal.require(Scope.CHANGE_OWNERS, crate=name)
    proofs.require_recent(principal)
    users = _get_users(logins, User.objects.in_good_standing(), "there is no such open account")
    with transaction.atomic():
        crate = get_owned_for_update(principal, name, *users)
        _require_open(users)
        _change_owners(crate, users, [], actor=principal.user)
    if len(users) == 1:
        return f"user {users[0].login} has been added to the owners list of crate {crate}"
    listed = ", ".join(f'"{user.login}"' for user in users)
    return f"users [{listed}] have been added to the owners list of crate {crate}"


def remove(principal: Principal, name: str, logins: Sequence[str]) -> None:
    """Remove owners, all or none.

    Raises `Invalid` for an account that is not an owner, `Conflict` if no open account would be left as owner,
    `NotFound`, `PermissionDenied` and `ConfirmationRequired`.
    """
    principal.require(Scope.CHANGE_OWNERS, crate=name)
    proofs.require_recent(principal)
    with transaction.atomic():
        crate = get_owned_for_update(principal, name)
        users = _get_users(logins, User.objects.filter(ownerships__crate=crate), "not an owner")
        _change_owners(crate, [], users, actor=principal.user)


def change_as_staff(crate: Crate, added: Sequence[User], removed: Sequence[User], *, actor: User) -> bool:
    """Change the owners of any crate; return False if they are so already.

    Raises `Invalid` for a new owner whose account is closed, and `Conflict` if no open account would be left as owner.
    """
    with transaction.atomic():
        lock_accounts(*added)
        locked = lock_for_update(crate)
        owners = set(locked.ownerships.values_list("user", flat=True))
        added = [user for user in added if user.pk not in owners]
        removed = [user for user in removed if user.pk in owners]
        _require_open(added)
        _change_owners(locked, added, removed, actor=actor)
    return bool(added or removed)


def transfer_as_staff(crate: Crate, user: User, *, actor: User) -> bool:
    """Make an account the only owner of a crate; return False if it is. Raises what `change_as_staff` raises."""
    with transaction.atomic():
        lock_accounts(user)
        others = list(User.objects.filter(ownerships__crate=lock_for_update(crate)).exclude(pk=user.pk))
        return change_as_staff(crate, [user], others, actor=actor)


def undo_as_staff(crate: Crate, *, events: Sequence[AuditEvent], actor: User) -> bool:
    """Undo changes of owners by their events; raises `Conflict` if these owners have changed since.

    Raises what `change_as_staff` raises, too.
    """
    keys: dict[str, set[int]] = {audit.Action.CRATE_ADD_OWNERS: set(), audit.Action.CRATE_REMOVE_OWNERS: set()}
    for event in events:
        if event.action in keys:
            keys[event.action].update(event.detail.get("user_ids", ()))
    added, removed = keys.values()
    with transaction.atomic():
        users = User.objects.in_bulk(added | removed)
        lock_accounts(*(users[key] for key in removed & users.keys()))  # ahead of the crate, as everywhere
        owners = set(lock_for_update(crate).ownerships.values_list("user", flat=True))
        if not users.keys() >= added | removed:
            raise Conflict(f"The owners of {crate} are not as they were left: an account does not exist any more.")
        if changed := [str(users[key]) for key in (added - owners) | (removed & owners)]:
            raise Conflict(f"The owners of {crate} have changed since: {', '.join(sorted(changed)[:10])}.")
        restored, taken = ([users[key] for key in sorted(chosen)] for chosen in (removed, added))
        return change_as_staff(crate, restored, taken, actor=actor)


def _require_open(users: Sequence[User]) -> None:
    """Raise `Invalid` for an account that is closed or banned.

    The caller has locked the accounts, so that a ban or an end of them precedes this or waits for the commit.
    """
    keys = {user.pk for user in users}
    open_keys = set(User.objects.in_good_standing().filter(pk__in=keys).values_list("pk", flat=True))
    for user in users:
        if user.pk not in open_keys:
            raise Invalid(f"The account {user} is closed or banned, so it can own nothing new.")


def _change_owners(crate: Crate, added: Sequence[User], removed: Sequence[User], *, actor: User) -> None:
    ownerships = [Ownership(crate=crate, user=user, added_by=actor) for user in added]
    Ownership.objects.bulk_create(ownerships, ignore_conflicts=True)  # an owner who is added again stays an owner
    crate.ownerships.filter(user__in=removed).delete()
    # The lock on the crate's row keeps two owners from removing each other at the same time.
    if removed and not User.objects.in_good_standing().filter(ownerships__crate=crate).exists():
        raise Conflict(f"The crate {crate} would be left without an owner; add another one first.")
    for action, users in ((audit.Action.CRATE_ADD_OWNERS, added), (audit.Action.CRATE_REMOVE_OWNERS, removed)):
        if users:
            keys = [user.pk for user in users]
            audit.record(actor, action, crate, users=[str(user) for user in users], user_ids=keys)


def _get_users(logins: Sequence[str], candidates: UserQuerySet, reason: str) -> list[User]:
    """Return the accounts of these logins, each once; raises `Invalid` with the `reason` for all others."""
    if not 0 < len(logins) <= MAX_LOGINS:
        raise Invalid(f"Name 1 to {MAX_LOGINS} accounts.")
    users = {user.reservation.name: user for user in candidates.named(*logins).select_related("reservation")}
    unknown = [login for login in logins if names.canonical(names.strip_ktra_prefix(login)) not in users]
    if unknown:
        message = f"one or more invalid login names are detected: {json.dumps(unknown)} ({reason})"
        raise Invalid(message, code="logins_unknown")
    return list(users.values())
