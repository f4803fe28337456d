"""Unix time as the API has it: seconds since 1970, with a fraction. Pure."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_DOWN, Context, Decimal, InvalidOperation

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_SECONDS = 253402300799  # the last second of the year 9999, after which `datetime` ends
TRUNCATE = Context(rounding=ROUND_DOWN)


def parse(text: str) -> datetime | None:
    """Parse a number of seconds, cut to microseconds and clamped to 1970-9999; return None if it is no number."""
    # Decimal, not float: a time that the registry gave comes back as the same microsecond.
    try:
        seconds = Decimal(text)
    except InvalidOperation:
        return None
    if not seconds.is_finite():
        return None
    clamped = min(max(seconds, Decimal(0)), Decimal(MAX_SECONDS))
    return EPOCH + timedelta(microseconds=int(TRUNCATE.multiply(clamped, Decimal(1_000_000))))
