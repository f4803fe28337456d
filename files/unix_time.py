"""Unix time, as the API has it: seconds since 1970 with a fraction. Pure."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Context, Decimal, InvalidOperation

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = 253402300799  # the last second of the year 9999
CUT = Context(rounding=ROUND_DOWN)


def parse(text: str) -> datetime | None:
    """Down to the microsecond; what lies outside of the times that there are is the nearest one. None for no number."""
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        return None
    if not seconds.is_finite():
        return None
    within = min(max(seconds, Decimal(0)), Decimal(LAST))
    return EPOCH + timedelta(microseconds=int(CUT.multiply(within, Decimal(1_000_000))))
