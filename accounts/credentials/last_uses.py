"""Last uses of credentials: when, and from which address.

They wait in the memory of each worker, and one statement stores those of all its credentials. A row is written at most
once an hour, whatever the number of workers: the time is the first use of that hour.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from accounts.models import Credential
from accounts.principals import Principal
from registry_site.http import client_address
from registry_site.write_buffers import WriteBuffer

INTERVAL = timedelta(hours=1)
MAX_CREDENTIALS = 10_000  # in memory, about 2 MB; others are recorded at their next use


class LastUse(NamedTuple):
    at: datetime
    ip_address: str | None


class LastUses(WriteBuffer[int, LastUse]):
    """Last uses that are not stored yet, by the primary key of the credential."""

    subject = "last_uses"
    max_keys = MAX_CREDENTIALS

    def merge(self, former: LastUse, value: LastUse) -> LastUse:
        return value

    def store(self, values: Mapping[int, LastUse]) -> None:
        # Another worker may have stored a use since. With the oldest one as the limit, no time goes back.
        limit = min(use.at for use in values.values()) - INTERVAL
        due = Credential.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=limit), pk__in=values)
        # A row that somebody holds, such as one that is being revoked, is left to its next use: no deadlocks.
        free = due.order_by().select_for_update(skip_locked=True, no_key=True)
        Credential.objects.filter(pk__in=free.values("pk")).bulk_update(
            [Credential(pk=key, last_used_at=use.at, last_used_ip=use.ip_address) for key, use in values.items()],
            ["last_used_at", "last_used_ip"],
        )


pending = LastUses()


def record(principal: Principal) -> Principal:
    """Record that the credential of a principal is used now, unless that was stored within the last hour."""
    credential, now = principal.credential, timezone.now()
    if credential is not None and (credential.last_used_at is None or credential.last_used_at <= now - INTERVAL):
        pending.add({credential.pk: LastUse(now, client_address.client_ip())})
    return principal
