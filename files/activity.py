"""When clients were last seen, and their failed handshakes. Neither handshakes nor other requests write for that."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import BigIntegerField, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.dispatch import receiver
from django.utils import timezone

from files.models import Client, FailedHandshakes
from registry_site.download_counts import add_to_rows, last_day_before_recent, today
from registry_site.http import client_address
from registry_site.last_uses import LastUses
from registry_site.signals import purge_requested
from registry_site.write_buffers import WriteBuffer

SHOWN_DAYS = 7
last_uses = LastUses(Client, "last_seen_at", "last_seen_ip")


class Failure(NamedTuple):
    """Failed handshakes of a client on a day: their number, and the last one."""

    times: int
    at: datetime
    ip_address: str | None


class HandshakeFailures(WriteBuffer[tuple[int, date], Failure]):
    """Failed handshakes that are not stored yet, by client and day."""

    subject = "failed_handshakes"
    max_keys = 10_000  # about 2 MB

    def merge(self, former: Failure, value: Failure) -> Failure:
        return Failure(former.times + value.times, *max(former[1:], value[1:], key=lambda last: last[0]))

    def store(self, values: Mapping[tuple[int, date], Failure]) -> None:
        newest = {pk: failure for (pk, _), failure in sorted(values.items())}
        locked = Client.objects.filter(pk__in=newest).order_by("pk").select_for_update(no_key=True)
        clients = [client for client in locked if is_newer(newest[client.pk], client)]
        for client in clients:
            client.last_failure_at, client.last_failure_ip = newest[client.pk].at, newest[client.pk].ip_address
        Client.objects.bulk_update(clients, ["last_failure_at", "last_failure_ip"])
        present = {client.pk for client in locked}
        add_to_rows(FailedHandshakes, {key: failure.times for key, failure in values.items() if key[0] in present})

    def amount(self, values: Mapping[tuple[int, date], Failure]) -> int:
        return sum(failure.times for failure in values.values())


failed_handshakes = HandshakeFailures()


def is_newer(failure: Failure, client: Client) -> bool:
    return client.last_failure_at is None or client.last_failure_at < failure.at


def record_failure(client_id: int) -> None:
    """Count a failed handshake of a client."""
    failed_handshakes.add({(client_id, today()): Failure(1, timezone.now(), client_address.client_ip())})


def with_recent_failures(clients: QuerySet[Client]) -> QuerySet[Client]:
    """Annotate clients with the number of their failed handshakes of the last `SHOWN_DAYS` days."""
    shown = FailedHandshakes.objects.filter(client=OuterRef("pk"), day__gt=today() - timedelta(days=SHOWN_DAYS))
    sums = shown.values("client").annotate(sum=Sum("count", output_field=BigIntegerField())).values("sum")
    return clients.annotate(recent_failures=Coalesce(Subquery(sums), 0))


@receiver(purge_requested)
def purge(**kwargs: Any) -> str:
    """Delete the counts of failed handshakes that are not recent any more."""
    deleted, _ = FailedHandshakes.objects.filter(day__lte=last_day_before_recent()).delete()
    return f"{deleted} days of failed handshakes deleted."
