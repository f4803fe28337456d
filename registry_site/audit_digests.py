"""Digests of the audit log: of an event, and of a seal over those of its events. They need no database.

The bytes of an event are the same in every database: PostgreSQL sorts the keys of JSON and writes its numbers anew.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from uuid import UUID

from registry_site.models import AuditEvent, AuditSeal

if TYPE_CHECKING:
    from hashlib import _Hash

# The columns of an event that a digest covers, by the format of its seal. A new column needs a new format: old seals
# keep theirs for ever.
COLUMNS: dict[int, tuple[str, ...]] = {
    1: (
        "id",
        "at",
        "actor_id",
        "actor_name",
        "action",
        "target",
        "object_type",
        "object_id",
        "ip_address",
        "request_id",
        "run",
        "detail",
    )
}
FORMAT = max(COLUMNS)
HEADER = ("number", "format", "previous", "first_event", "last_event", "count", "last_at", "sealed_at")
MARK_LENGTH = 8  # bytes of an event's digest
EXACT = Context(prec=1000)  # digits: of a float there are 800 at most


def event_values(event: AuditEvent, format: int) -> dict[str, Any]:
    """Return the columns of an event that a format covers, as JSON has them."""
    return {name: as_json(getattr(event, name)) for name in COLUMNS[format]}


def as_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    return str(value) if isinstance(value, UUID) else value


def event_digest(values: Mapping[str, Any], format: int) -> bytes:
    """Return the digest of an event's columns; raises `KeyError` for an unknown format or a missing column."""
    return sha256(canonical([values[name] for name in COLUMNS[format]]).encode()).digest()


def seal_hash(seal: AuditSeal) -> "_Hash":
    """Return the hash of a seal's own columns, to which the digests of its events are added in their order."""
    return sha256(canonical([as_json(getattr(seal, name)) for name in HEADER]).encode())


def canonical(value: Any) -> str:
    """Return the one text of a JSON value: keys sorted, ASCII, no blanks, and numbers by their value alone."""
    match value:
        case dict():
            return "{" + ",".join(f"{json.dumps(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
        case list() | tuple():
            return "[" + ",".join(map(canonical, value)) + "]"
        case bool() | None | str():
            return json.dumps(value)
        case _:
            return str(Decimal(repr(value)).normalize(EXACT))


def mark(pk: int, digest: bytes) -> bytes:
    """Return what a seal keeps of one event."""
    return pk.to_bytes(8) + digest[:MARK_LENGTH]


def read_marks(seal: AuditSeal) -> Iterator[tuple[int, bytes]]:
    """Iterate over the keys of a seal's events, and the beginnings of their digests."""
    marks, width = bytes(seal.marks), 8 + MARK_LENGTH
    for start in range(0, len(marks), width):
        yield int.from_bytes(marks[start : start + 8]), marks[start + 8 : start + width]
