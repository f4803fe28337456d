"""Cursors: opaque texts by which the next page of a list begins behind the last row of the one before."""

import base64
import binascii
import json
from datetime import datetime
from typing import Any

from registry_site.errors import Invalid

MAX_LENGTH = 500


def encode(*values: Any) -> str:
    """Return the cursor behind a row with these values, which JSON can write."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def decode(text: str, *types: type) -> list[Any]:
    """Return the values of a cursor, which have these types; raises `Invalid`."""
    try:
        if len(text) > MAX_LENGTH:
            raise ValueError("too long")
        values = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        if not isinstance(values, list) or [type(value) for value in values] != list(types):
            raise ValueError("other values")
        if not all(is_storable(value) for value in values):
            raise ValueError("no database takes these")
    except (ValueError, binascii.Error, RecursionError) as error:
        raise refusal() from error
    return values


def is_storable(value: Any) -> bool:
    """Return whether a database can compare its columns with a value of a cursor."""
    return value.isascii() and value.isprintable() if isinstance(value, str) else abs(value) < 2**63


def parse_time(text: str) -> datetime:
    """Return a time that `isoformat` wrote into a cursor; raises `Invalid`."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise refusal() from error
    if time.tzinfo is None or not time.isoformat().endswith("+00:00"):
        raise refusal()
    return time


def refusal() -> Invalid:
    return Invalid("seek: take it from meta.next_page of the page before, with the other parameters unchanged.")


def decode_key(text: str) -> int | None:
    """Return the primary key in a cursor of nothing else, or None for an empty text; raises `Invalid`."""
    if not text:
        return None
    key: int = decode(text, int)[0]
    return key
