"""Rate limits of publishers, counted in rows."""

from datetime import timedelta
from functools import cache

from django.conf import settings
from django.db.models import CharField, DateTimeField

from accounts.models import User
from crates.models import Crate, Version
from registry_site.audit import Action
from registry_site.models import AuditEvent
from registry_site.prepared import Parameter, PreparedQuery
from registry_site.rate_limits import RateLimit

CHANGES = (Action.CRATE_PUBLISH, Action.CRATE_YANK, Action.CRATE_UNYANK)


def check_publish_rate(user: User) -> None:
    """Limit the versions that a user publishes within a few seconds; raises `TooManyRequests`."""
    number = settings.PUBLISH_LIMIT_PER_10_SECONDS
    if number:
        message = f"{user} has published {number} versions within 10 seconds; wait a little."
        limit = RateLimit("publishes", number, timedelta(seconds=10), message)
        limit.check_query(_blocking_publish(number), user=user.pk)


def check_change_rate(user: User, crate: Crate) -> None:
    """Limit the changes of one crate by one user within a minute; raises `TooManyRequests`.

    After each change, everybody who uses the crate fetches its whole index file again.
    """
    number = settings.CRATE_CHANGES_PER_MINUTE
    if number:
        message = f"{user} has changed {crate} {number} times within a minute; wait {{seconds}} seconds."
        limit = RateLimit("crate changes", number, timedelta(minutes=1), message, is_exact=True)
        limit.check_query(_blocking_change(number), user=user.pk, target=f"{crate}@")


@cache
def _blocking_publish(limit: int) -> PreparedQuery:
    return PreparedQuery(
        lambda: (
            Version.with_removed.filter(
                published_by=Parameter("user", User._meta.pk), published_at__gt=Parameter("start", DateTimeField())
            )
            .order_by("-published_at")
            .values_list("published_at")[limit - 1 : limit]
        )
    )


@cache
def _blocking_change(limit: int) -> PreparedQuery:
    # The name of the target instead of a join: a crate can have thousands of versions.
    return PreparedQuery(
        lambda: (
            AuditEvent.objects.filter(
                actor=Parameter("user", User._meta.pk),
                action__in=CHANGES,
                target__startswith=Parameter("target", CharField()),
                at__gt=Parameter("start", DateTimeField()),
            )
            .order_by("-at")
            .values_list("at")[limit - 1 : limit]
        )
    )
