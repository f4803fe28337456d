"""Removal: owners remove a crate within limits; staff remove and restore crates and versions, and destroy removed ones.

What is removed is out of the index, the search and all lists at once. Until `REGISTRY_TRASH_DAYS` are over, staff can
restore it. What is destroyed has lost its texts at once. The rows stay, so that a number never comes back.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from crates import derived_fields, download_counts, names, ownership, taxonomy
from crates.models import Crate, Dependency, Ownership, Version, VersionContents
from registry_site import audit
from registry_site.errors import Conflict, Invalid, PermissionDenied

FREELY_REMOVABLE = timedelta(hours=72)  # crates.io's limits
MAX_DOWNLOADS_PER_MONTH = 500
MAX_REASON_LENGTH = 500  # characters, as wide as the column

# The columns that hold a text of the publisher, or one that was taken from the file.
WITHOUT_TEXTS: dict[str, Any] = {
    **dict.fromkeys(("description", "homepage", "repository", "documentation", "links", "license"), ""),
    **dict.fromkeys(("license_expression", "license_file", "rust_version", "edition", "library_name"), ""),
    **dict.fromkeys(("vcs_commit", "yank_message", "published_with"), ""),
    **dict.fromkeys(("binary_names", "line_counts"), None),
    "keywords": [],
    "categories": [],
    "dependencies": [],
    "features": {},
}


# --- What others learn of it -----------------------------------------------------------------------------------------


def sentence(version: Version) -> str:
    """Return what people read who ask for a removed version."""
    reason = f": {version.removal_reason}" if version.removal_reason else " by its owners."
    return f"{version.crate} {version.number} was removed{reason}"


def sentence_about_crate(crate: Crate) -> str:
    """Return what people read who look for a removed crate."""
    reason = f": {crate.removal_reason}" if crate.removal_reason else " by its owners."
    return f"{crate} was removed{reason}"


def require_present(version: Version) -> None:
    """Raise `Conflict` for a version that was removed: nobody can publish its number again."""
    if version.removed_at is not None:
        raise Conflict(f"{sentence(version)} (Its number cannot be used again; publish under a new version.)")


def require_free_name(crate: Crate, user: User) -> None:
    """Raise `PermissionDenied` for the name of a crate that was removed, as long as it is reserved."""
    if crate.removed_at is None or not is_restorable(crate.removed_at):
        return
    until = f"{end_of_trash(crate.removed_at):%Y-%m-%d %H:%M} UTC"
    if crate.is_removed_by_staff:
        raise PermissionDenied(f"{crate} was removed: {crate.removal_reason} (Its name is reserved until {until}.)")
    if not crate.ownerships.filter(user=user).exists():
        raise PermissionDenied(f"{crate} was removed, and its name is reserved for its owners until {until}.")


def begin_again(crate: Crate, name: str, user: User, upstream: Crate.Upstream) -> None:
    """Give a removed and locked crate to a publisher; raises `PermissionDenied`. Its versions stay removed.

    All its owners have it again as long as the name is reserved for them: one of them could oust the others otherwise.
    """
    require_free_name(crate, user)
    if crate.removed_at is not None and not is_restorable(crate.removed_at):
        crate.ownerships.all().delete()
        Ownership.objects.create(crate=crate, user=user, added_by=user)
        crate.follows.all().delete()
    crate.name, crate.index_path, crate.upstream = name, names.index_path(name), upstream
    crate.created_at = timezone.now()
    _clear_removal(crate, "name", "index_path", "upstream", "created_at")


def _clear_removal(crate: Crate, *changed: str) -> None:
    crate.removed_at, crate.removed_by, crate.removal_reason, crate.is_removed_by_staff = None, None, "", False
    crate.save(update_fields=[*changed, "removed_at", "removed_by", "removal_reason", "is_removed_by_staff"])


def end_of_trash(removed_at: datetime) -> datetime:
    return removed_at + timedelta(days=settings.TRASH_DAYS)


def is_restorable(removed_at: datetime) -> bool:
    return end_of_trash(removed_at) > timezone.now()


# --- Removal ---------------------------------------------------------------------------------------------------------


def remove_crate(principal: Principal, name: str, reason: str = "") -> None:
    """Remove a crate of the principal's.

    Raises `Conflict` for one that others may need by now, `Invalid`, `NotFound`, `PermissionDenied` and
    `Unauthenticated`.
    """
    principal.require(Scope.CHANGE_OWNERS, crate=name)
    with derived_fields.queue(name), transaction.atomic():
        crate = ownership.get_owned_for_update(principal, name)
        require_removable(crate)
        _remove_crate(crate, reason, actor=principal.user, by_staff=False)


def require_removable(crate: Crate) -> None:
    """Raise `Conflict` for an older crate with several owners, with dependents here, or with many downloads."""
    if crate.created_at > timezone.now() - FREELY_REMOVABLE:
        return
    after = f"after {FREELY_REMOVABLE // timedelta(hours=1)} hours"
    if crate.ownerships.count() > 1:
        raise Conflict(f"only crates with a single owner can be deleted {after}")
    if has_dependents(crate):
        raise Conflict(f"only crates without reverse dependencies can be deleted {after}")
    if download_counts.most_in_a_month(crate) > MAX_DOWNLOADS_PER_MONTH:
        raise Conflict(f"only crates with at most {MAX_DOWNLOADS_PER_MONTH} downloads per month can be deleted {after}")


def has_dependents(crate: Crate) -> bool:
    """Return whether any present version of another crate needs a crate."""
    rows = Dependency.objects.filter(canonical_name=crate.canonical_name, registry="", version__removed_at=None)
    others = rows.exclude(version__crate=crate).order_by()
    return any(others.filter(is_current=value).exists() for value in (True, False))  # each has an index of its own


def remove_crate_as_staff(crate: Crate, reason: str, *, actor: User) -> bool:
    """Remove any crate; return False if it was removed before. Raises `Invalid` without a reason."""
    require_reason(reason)
    with derived_fields.queue(crate.name), transaction.atomic():
        locked = ownership.lock_for_update(crate)
        if locked.removed_at is None:
            _remove_crate(locked, reason, actor=actor, by_staff=True)
            return True
    return False


def remove_version(version: Version, reason: str, *, actor: User) -> bool:
    """Remove a version of any crate; return False if it was removed before. Raises `Invalid` without a reason."""
    require_reason(reason)
    columns = {"removed_at": timezone.now(), "removed_by": actor, "removal_reason": _bounded(reason)}
    others = Version.objects.filter(crate=version.crate_id).exclude(pk=version.pk)
    with derived_fields.queue(version.crate.name):
        derive = partial(derived_fields.from_versions, versions=others)
        prepared = None
        with suppress(Conflict):
            prepared = derive(Crate.with_removed.get(pk=version.crate_id))
        with transaction.atomic():
            crate = ownership.lock_for_update(version.crate)
            if not Version.objects.filter(pk=version.pk).update(**columns):
                return False
            derived_fields.save(crate, prepared, derive)
            audit.record(actor, audit.Action.CRATE_REMOVE, version, reason=reason)
    return True


def require_reason(reason: str) -> None:
    """Raise `Invalid` for a removal without a reason."""
    if not reason.strip():
        raise Invalid("Give a reason: people read it who ask for what was removed.")


def _remove_crate(crate: Crate, reason: str, *, actor: User, by_staff: bool) -> None:
    """Remove a locked crate, and all its present versions with it."""
    crate.removed_at, crate.removed_by, crate.removal_reason = timezone.now(), actor, _bounded(reason)
    crate.is_removed_by_staff = by_staff
    crate.save(update_fields=["removed_at", "removed_by", "removal_reason", "is_removed_by_staff"])
    crate.versions.update(removed_at=crate.removed_at, removed_by=actor, removal_reason=crate.removal_reason)
    _save_derived_fields(crate, Version.objects.none())
    audit.record(actor, audit.Action.CRATE_REMOVE, crate, reason=reason)


def _bounded(reason: str) -> str:
    if len(reason) > MAX_REASON_LENGTH:
        raise Invalid(f"The reason has {len(reason)} characters; at most {MAX_REASON_LENGTH} are taken.")
    return reason.strip()


# --- Restoring -------------------------------------------------------------------------------------------------------


def restore_crate(crate: Crate, *, actor: User) -> bool:
    """Bring back a crate, and the versions that were removed with it; return False for one that is not removed.

    Raises `Conflict` after its time in the trash, and if all these versions are destroyed.
    """
    with derived_fields.queue(crate.name), transaction.atomic():
        crate = ownership.lock_for_update(crate)
        if crate.removed_at is None:
            return False
        # Versions that were removed before have another time, and stay removed.
        versions = Version.with_removed.filter(crate=crate, removed_at=crate.removed_at, destroyed_at=None)
        _require_restorable(crate.removed_at, crate, has_texts=versions.exists())
        versions.update(removed_at=None, removed_by=None, removal_reason="")
        _clear_removal(crate)
        _save_derived_fields(crate, crate.versions.all())
        audit.record(actor, audit.Action.CRATE_RESTORE, crate)
    return True


def restore_version(version: Version, *, actor: User) -> bool:
    """Bring back a version; return False for one that is not removed.

    Raises `Conflict` after its time in the trash, if it is destroyed, and if its crate is removed.
    """
    with derived_fields.queue(version.crate.name), transaction.atomic():
        crate = ownership.lock_for_update(version.crate)
        version.refresh_from_db(fields=["removed_at", "destroyed_at"])
        if version.removed_at is None:
            return False
        if crate.removed_at is not None:
            raise Conflict(f"The crate {crate} is removed; restore that.")
        _require_restorable(version.removed_at, version, has_texts=version.destroyed_at is None)
        columns = {"removed_at": None, "removed_by": None, "removal_reason": ""}
        Version.with_removed.filter(pk=version.pk).update(**columns)
        _save_derived_fields(crate, crate.versions.all())
        audit.record(actor, audit.Action.CRATE_RESTORE, version)
    return True


def may_restore_version(version: Version) -> bool:
    """Return whether `restore_version` could bring back a version."""
    at = version.removed_at
    return at is not None and is_restorable(at) and version.destroyed_at is None and version.crate.removed_at is None


def _require_restorable(removed_at: datetime, subject: Crate | Version, *, has_texts: bool) -> None:
    if not has_texts:
        raise Conflict(f"{subject} is destroyed; nobody can restore it.")
    if not is_restorable(removed_at):
        raise Conflict(f"{subject} was removed more than {settings.TRASH_DAYS} days ago; nobody can restore it.")


def _save_derived_fields(crate: Crate, versions: QuerySet[Version]) -> None:
    derived_fields.save(crate, None, partial(derived_fields.from_versions, versions=versions))


# --- Destruction -----------------------------------------------------------------------------------------------------


def destroy_crate(crate: Crate, reason: str, *, actor: User) -> bool:
    """Destroy all versions of a removed crate; return False if it is not removed, or if all are destroyed."""
    return _destroy(crate, Q(crate__removed_at__isnull=False), crate, reason, actor=actor)


def destroy_version(version: Version, reason: str, *, actor: User) -> bool:
    """Destroy a removed version; return False if it is not removed, or is destroyed."""
    return _destroy(version.crate, Q(pk=version.pk), version, reason, actor=actor)


def destroy_expired(crate: Crate, *, actor: str) -> bool:
    """Destroy the versions of a crate whose time in the trash is over; return False if there are none."""
    is_expired = Q(removed_at__lt=timezone.now() - timedelta(days=settings.TRASH_DAYS))
    return _destroy(crate, is_expired, crate, "their time in the trash is over", actor=actor)


def _destroy(crate: Crate, condition: Q, target: Crate | Version, reason: str, *, actor: User | str) -> bool:
    """Delete the texts of removed versions, and what was derived from them. The index has lost their lines before."""
    require_reason(reason)
    with transaction.atomic():
        crate = ownership.lock_for_update(crate)
        removed = Version.with_removed.filter(condition, crate=crate, removed_at__isnull=False, destroyed_at=None)
        versions = list(removed.only("number", "keywords", "categories"))
        if not versions:
            return False
        rows = Version.with_removed.filter(pk__in=[version.pk for version in versions])
        VersionContents.objects.filter(version__in=versions).delete()
        Dependency.objects.filter(version__in=versions).delete()
        rows.update(**WITHOUT_TEXTS, destroyed_at=timezone.now())
        taxonomy.forget(versions)
        download_counts.forget(crate, versions)
        numbers = [version.number for version in versions]
        audit.record(actor, audit.Action.CRATE_DESTROY, target, reason=reason, versions=numbers)
    return True
