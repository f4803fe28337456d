"""Last uses of credentials and machines: when, and from which address.

They wait in the memory of each worker, and one statement stores those of all rows of a model. A row is written at most
once an hour, whatever the number of workers: the time is the first use of that hour.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Model, Q
from django.utils import timezone

from registry_site.http import client_address
from registry_site.write_buffers import WriteBuffer

INTERVAL = timedelta(hours=1)
MAX_ROWS = 10_000  # of one model in memory, about 2 MB; others are recorded at their next use


class LastUse(NamedTuple):
    at: datetime
    ip_address: str | None


class LastUses(WriteBuffer[int, LastUse]):
    """Last uses of a model's rows that are not stored yet, by primary key; `at` and `ip` name its fields."""

    subject = "last_uses"
    max_keys = MAX_ROWS

    def __init__(self, model: type[Model], at: str, ip: str) -> None:
        super().__init__(kind=model._meta.model_name or "")
        self.model, self.at, self.ip = model, at, ip

    def record(self, row: Model) -> None:
        """Record that a row is used now, unless that was stored within the last hour."""
        now, last = timezone.now(), getattr(row, self.at)
        if last is None or last <= now - INTERVAL:
            self.record_key(row.pk, client_address.client_ip())

    def record_key(self, key: int, ip_address: str | None) -> None:
        """Record that the row with this key is used now; it is stored unless it was within the last hour."""
        self.add({key: LastUse(timezone.now(), ip_address)})

    def merge(self, former: LastUse, value: LastUse) -> LastUse:
        return value

    def store(self, values: Mapping[int, LastUse]) -> None:
        # Another worker may have stored a use since. With the oldest one as the limit, no time goes back.
        limit = min(use.at for use in values.values()) - INTERVAL
        rows: Any = self.model._default_manager
        due = rows.filter(Q((self.at, None)) | Q((f"{self.at}__lte", limit)), pk__in=values)
        # A row that somebody holds, such as one that is being revoked, is left to its next use: no deadlocks.
        free = due.order_by().select_for_update(skip_locked=True, no_key=True)
        rows.filter(pk__in=free.values("pk")).bulk_update(
            [self.model(**{"pk": key, self.at: use.at, self.ip: use.ip_address}) for key, use in values.items()],
            [self.at, self.ip],
        )
