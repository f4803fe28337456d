"""Health of upstreams: when each last answered and last failed, for staff. A worker stores it every few seconds."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone

from crates.mirror.models import UpstreamHealth
from registry_site.write_buffers import WriteBuffer

INTERVAL = timedelta(minutes=1)  # between two times of a row, unless the upstream begins to fail or to answer
MAX_FAILURE_LENGTH = 300


class Outcome(NamedTuple):
    """The last answer and the last failure of an upstream that are not stored yet."""

    answered_at: datetime | None = None
    failed_at: datetime | None = None
    failure: str = ""


class Outcomes(WriteBuffer[str, Outcome]):
    """Outcomes that are not stored yet, by the URL of the upstream."""

    subject = "upstream_health"
    max_keys = 100

    def merge(self, former: Outcome, value: Outcome) -> Outcome:
        answered_at, failed_at = value.answered_at or former.answered_at, value.failed_at or former.failed_at
        return Outcome(answered_at, failed_at, value.failure or former.failure)

    def store(self, values: Mapping[str, Outcome]) -> None:
        rows = UpstreamHealth.objects.select_for_update(no_key=True).in_bulk(list(values))
        changed = [row for url, outcome in values.items() if (row := changed_row(rows.get(url), url, outcome))]
        if changed:
            columns = ["answered_at", "failed_at", "failure"]
            UpstreamHealth.objects.bulk_create(
                changed, update_conflicts=True, unique_fields=["url"], update_fields=columns
            )


def changed_row(row: UpstreamHealth | None, url: str, outcome: Outcome) -> UpstreamHealth | None:
    """Return the row as it is to be stored, or None if it says nearly the same already."""
    row = row or UpstreamHealth(url=url)
    was_failing, is_due = row.is_failing, False
    for column in ("answered_at", "failed_at"):
        former, at = getattr(row, column), getattr(outcome, column)
        if at is not None and (former is None or at > former):
            is_due = is_due or former is None or at >= former + INTERVAL
            setattr(row, column, at)
    row.failure = outcome.failure or row.failure
    return row if is_due or row.is_failing != was_failing else None


pending = Outcomes()


@contextmanager
def recorded(url: str, failures: type[Exception]) -> Iterator[None]:
    """Record how a request to an upstream ended: by a failure, or by an answer of any kind."""
    try:
        yield
    except failures as error:
        pending.add({url: Outcome(failed_at=timezone.now(), failure=str(error)[:MAX_FAILURE_LENGTH])})
        raise
    pending.add({url: Outcome(answered_at=timezone.now())})
