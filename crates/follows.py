"""Crates that users follow, and the new versions of these."""

from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction

from accounts.principals import Principal
from accounts.scopes import Scope
from crates import catalogue, ownership
from crates.models import Follow, Version
from crates.records import VersionRecord
from registry_site import audit
from registry_site.audit import Action
from registry_site.errors import Conflict
from registry_site.models import AuditEvent
from registry_site.rate_limits import RateLimit

MAX_FOLLOWS = 1000  # of a user: each list of updates looks at all of them
ACTIONS = (Action.CRATE_FOLLOW, Action.CRATE_UNFOLLOW)
CHANGES = RateLimit(
    "follows", 60, timedelta(minutes=1), "You have changed 60 times within a minute what you follow; wait a little."
)


def set_following(principal: Principal, name: str, *, following: bool) -> None:
    """Follow a crate, or follow it no more.

    Raises `NotFound`, `Conflict` for too many crates, `TooManyRequests`, `PermissionDenied` and `Unauthenticated`.
    """
    principal.require(Scope.READ)
    crate = ownership.get_crate(name)
    follows = Follow.objects.filter(user=principal.user)
    with transaction.atomic():
        principal.revalidate_and_lock()
        if follows.filter(crate=crate).exists() == following:
            return
        action = Action.CRATE_FOLLOW if following else Action.CRATE_UNFOLLOW
        CHANGES.check_rows(AuditEvent.objects.filter(actor=principal.user, action__in=ACTIONS))
        if not following:
            follows.filter(crate=crate).delete()
        elif follows.count() >= MAX_FOLLOWS:
            raise Conflict(f"You follow {MAX_FOLLOWS} crates already; follow one of them no more first.")
        else:
            Follow.objects.create(user=principal.user, crate=crate)
        audit.record(principal.user, action, crate)


def is_following(principal: Principal, name: str) -> bool:
    """Return whether a user follows a crate; raises `NotFound` and `PermissionDenied`."""
    principal.require(Scope.READ)
    return Follow.objects.filter(user=principal.user, crate=ownership.get_crate(name)).exists()


def list_updates(principal: Principal, page: int, per_page: int) -> tuple[Iterable[VersionRecord], bool]:
    """Return a page of the versions of followed crates, the latest first, and whether there are more.

    Raises `PermissionDenied`.
    """
    principal.require(Scope.READ)
    versions = Version.objects.filter(crate__follows__user=principal.user).order_by("-published_at", "-pk")
    start = (page - 1) * per_page
    keys = list(versions.values_list("pk", flat=True)[start : start + per_page + 1])
    return catalogue.version_records(keys[:per_page]), len(keys) > per_page
