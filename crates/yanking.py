"""Yanking versions: cargo does not choose a yanked version any more, but lock files that name it still work."""

from django.db import transaction

from accounts.models import User
from accounts.principals import Principal
from accounts.scopes import Scope
from crates import ownership, publishing
from crates.models import Crate, Version
from registry_site import audit
from registry_site.errors import NotFound


def set_yanked(principal: Principal, name: str, number: str, *, yanked: bool) -> None:
    """Yank or unyank a version of an owned crate.

    Raises `NotFound`, `PermissionDenied` and `Unauthenticated`.
    """
    principal.require(Scope.YANK, name)
    with transaction.atomic():
        crate = ownership.get_owned_for_update(principal, name)
        _change_yanked(crate, number, yanked=yanked, actor=principal.user)


def set_yanked_as_staff(version: Version, *, yanked: bool, actor: User) -> bool:
    """Yank or unyank a version of any crate; return whether that changed it."""
    with transaction.atomic():
        crate = ownership.lock_for_update(version.crate)
        return _change_yanked(crate, version.number, yanked=yanked, actor=actor)


def _change_yanked(crate: Crate, number: str, *, yanked: bool, actor: User) -> bool:
    version = crate.versions.filter(number=number).first()
    if version is None:
        raise NotFound(f"The crate {crate} has no version {number[:80]!r}.")
    if version.yanked == yanked:
        return False
    version.yanked = yanked
    version.save(update_fields=["yanked"])
    publishing.update_derived_fields(crate)
    audit.record(actor, audit.Action.CRATE_YANK if yanked else audit.Action.CRATE_UNYANK, version)
    return True
