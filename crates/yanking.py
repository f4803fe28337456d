"""Yanking versions: cargo does not choose a yanked version any more, but lock files that name it still work."""

from collections.abc import Callable
from functools import partial

from django.db import transaction
from django.utils import timezone

from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from crates import derived_fields, ownership, throttling
from crates.models import Crate, Version
from registry_site import audit
from registry_site.errors import Conflict, Invalid, NotFound

MAX_MESSAGE_LENGTH = 1000  # characters, as wide as the column


def set_yanked(
    principal: Principal, name: str, number: str, *, yanked: bool | None = None, message: str | None = None
) -> Version:
    """Yank or unyank a version of an owned crate, or change the message of a yanked one; return the version.

    What is None stays as it is. A version that is not yanked has no message.
    Raises `Invalid`, `NotFound`, `PermissionDenied`, `TooManyRequests` and `Unauthenticated`.
    """
    principal.require(Scope.YANK, crate=name)
    crate = ownership.get_crate(name)
    ownership.require_owner(crate, principal)
    version = crate.versions.filter(number=number).first()
    if version is None:
        raise NotFound(f"The crate {crate} has no version {number[:80]!r}.")
    is_yanked = version.yanked if yanked is None else yanked
    if message and not is_yanked:
        raise Invalid(f"{version} is not yanked, so it takes no message.")
    if not _is_so(version, is_yanked, message):
        throttling.check_change_rate(principal.user, crate)

    def lock() -> Crate:
        locked = ownership.get_owned_for_update(principal, name)
        throttling.check_change_rate(principal.user, locked)
        return locked

    _change_yanked(version, lock, yanked=is_yanked, message=message, actor=principal.user)
    return version


def set_yanked_as_staff(version: Version, *, yanked: bool, message: str | None = None, actor: User) -> bool:
    """Yank a version of any crate, with a message, or unyank it; return whether that changed it."""
    lock = partial(ownership.lock_for_update, version.crate)
    return _change_yanked(version, lock, yanked=yanked, message=message, actor=actor)


def _change_yanked(
    version: Version, lock: Callable[[], Crate], *, yanked: bool, message: str | None, actor: User
) -> bool:
    """Change a version while `lock` holds its crate; return False if there is nothing to change."""
    require_present(version)
    if _is_so(version, yanked, message):
        return False
    derive = partial(derived_fields.after_yank, version=version, yanked=yanked)
    with derived_fields.queue(version.crate.name):
        prepared = derive(Crate.with_removed.get(pk=version.crate_id))
        with transaction.atomic():
            crate = lock()
            version.refresh_from_db(fields=["yanked", "yanked_at", "yank_message", "removed_at"])
            require_present(version)
            if _is_so(version, yanked, message):  # another request was faster
                return False
            is_turned = version.yanked != yanked
            if is_turned:
                version.yanked, version.yanked_at = yanked, timezone.now() if yanked else None
            version.yank_message = message or ""
            version.save(update_fields=["yanked", "yanked_at", "yank_message"])
            if is_turned:
                derived_fields.save(crate, prepared, derive)
            detail = {"message": message} if message else {}
            audit.record(actor, audit.Action.CRATE_YANK if yanked else audit.Action.CRATE_UNYANK, version, **detail)
    return True


def require_present(version: Version) -> None:
    """Raise `Conflict` for a version that was removed."""
    if version.removed_at is not None:
        raise Conflict(f"{version} is removed; restore it first.")


def _is_so(version: Version, yanked: bool, message: str | None) -> bool:
    return version.yanked == yanked and message in (None, version.yank_message)
