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
from registry_site.errors import NotFound


def set_yanked(principal: Principal, name: str, number: str, *, yanked: bool) -> None:
    """Yank or unyank a version of an owned crate.

    Raises `NotFound`, `PermissionDenied`, `TooManyRequests` and `Unauthenticated`.
    """
    principal.require(Scope.YANK, name)
    crate = ownership.get_crate(name)
    ownership.require_owner(crate, principal)
    version = crate.versions.filter(number=number).first()
    if version is None:
        raise NotFound(f"The crate {crate} has no version {number[:80]!r}.")
    if version.yanked != yanked:
        throttling.check_change_rate(principal.user, crate)

    def lock() -> Crate:
        locked = ownership.get_owned_for_update(principal, name)
        throttling.check_change_rate(principal.user, locked)
        return locked

    _change_yanked(version, lock, yanked=yanked, actor=principal.user)


def set_yanked_as_staff(version: Version, *, yanked: bool, actor: User) -> bool:
    """Yank or unyank a version of any crate; return whether that changed it."""
    return _change_yanked(version, partial(ownership.lock_for_update, version.crate), yanked=yanked, actor=actor)


def _change_yanked(version: Version, lock: Callable[[], Crate], *, yanked: bool, actor: User) -> bool:
    """Change a version while `lock` holds its crate; return False if there is nothing to change."""
    if version.yanked == yanked:
        return False
    derive = partial(derived_fields.after_yank, version=version, yanked=yanked)
    with derived_fields.queue(version.crate.name):
        prepared = derive(Crate.objects.without_large_columns().get(pk=version.crate_id))
        with transaction.atomic():
            crate = lock()
            version.refresh_from_db(fields=["yanked"])
            if version.yanked == yanked:  # another request was faster
                return False
            version.yanked = yanked
            version.yanked_at = timezone.now() if yanked else None
            version.yank_message = ""
            version.save(update_fields=["yanked", "yanked_at", "yank_message"])
            derived_fields.save(crate, prepared, derive)
            audit.record(actor, audit.Action.CRATE_YANK if yanked else audit.Action.CRATE_UNYANK, version)
    return True
