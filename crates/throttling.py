"""Rate limits of publishers, counted in rows."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache, partial

from django.conf import settings
from django.db.models import QuerySet, Value

from accounts.models import User
from crates.models import Crate, Version
from registry_site.audit import Action
from registry_site.compiled_queries import compiled
from registry_site.models import AuditEvent
from registry_site.rate_limits import RateLimit

CHANGES = (Action.CRATE_PUBLISH, Action.CRATE_YANK, Action.CRATE_UNYANK)


def check_publish_rate(user: User) -> None:
    """Limit the versions that a user publishes within a few seconds; raises `TooManyRequests`."""
    number = settings.PUBLISH_LIMIT_PER_10_SECONDS
    if number:
        message = f"{user} has published {number} versions within 10 seconds; wait a little."
        limit = RateLimit("publishes", number, timedelta(seconds=10), message)
        limit.check_query(partial(_blocking_publishes(number), user.pk))


def check_change_rate(user: User, crate: Crate) -> None:
    """Limit the changes of one crate by one user within a minute; raises `TooManyRequests`.

    After each change, everybody who uses the crate fetches its whole index file again.
    """
    number = settings.CRATE_CHANGES_PER_MINUTE
    if number:
        message = f"{user} has changed {crate} {number} times within a minute; wait {{seconds}} seconds."
        limit = RateLimit("crate changes", number, timedelta(minutes=1), message, is_exact=True)
        limit.check_query(partial(_blocking_changes(number), user.pk, f"{crate}@"))


@cache
def _blocking_publishes(limit: int) -> Callable[[int, datetime], list[datetime]]:
    @compiled
    def times(user: int, start: datetime) -> QuerySet[Version, datetime]:
        rows = Version.with_removed.filter(published_by=user, published_at__gt=start).order_by("-published_at")
        return rows.values_list("published_at", flat=True)[limit - 1 : limit]

    return times


@cache
def _blocking_changes(limit: int) -> Callable[[int, str, datetime], list[datetime]]:
    @compiled
    def times(user: int, target: str, start: datetime) -> QuerySet[AuditEvent, datetime]:
        # The name of the target instead of a join: a crate can have thousands of versions.
        rows = AuditEvent.objects.filter(
            actor=user, action__in=CHANGES, target__startswith=Value(target), at__gt=start
        ).order_by("-at")
        return rows.values_list("at", flat=True)[limit - 1 : limit]

    return times
