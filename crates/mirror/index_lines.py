"""The lines of an index file: read as far as they can be, and passed on as they came, but for `yanked`. Pure."""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,149}")
CHECKSUM = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True)
class Line:
    """One line as it came, without its end; of one that cannot be read, `version` is empty."""

    raw: bytes
    version: str = ""
    checksum: str = ""
    yanked: bool = False
    published_at: datetime | None = None
    name: str = ""


def parse(body: bytes) -> list[Line]:
    """All lines of an index file, in their order; empty ones are left out."""
    return [_parsed(raw) for raw in body.split(b"\n") if raw.strip()]


def is_index_file(body: bytes) -> bool:
    """Whether there is any line as an index has them, or nothing at all."""
    return not body.strip() or any(_is_line(raw) for raw in body.split(b"\n"))


def join(lines: list[Line]) -> bytes:
    return b"".join(line.raw + b"\n" for line in lines)


def mark_yanked(line: Line) -> Line:
    """The same, said to be yanked: cargo goes on with it where it is locked, and chooses it no more."""
    if line.yanked or not line.version:
        return line
    wanted = {**json.loads(line.raw), "yanked": True}
    raw = re.sub(rb'"yanked":\s*false', b'"yanked":true', line.raw)
    if json.loads(raw) != wanted:  # it stands somewhere else, or is said in another way
        raw = json.dumps(wanted, separators=(",", ":")).encode()
    return replace(line, raw=raw, yanked=True)


def _is_line(raw: bytes) -> bool:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "cksum" in found


def _parsed(raw: bytes) -> Line:
    try:
        found = json.loads(raw)
        version, checksum = found["vers"], found["cksum"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Line(raw)
    if not isinstance(version, str) or not VERSION.fullmatch(version):
        return Line(raw)
    if not isinstance(checksum, str) or not CHECKSUM.fullmatch(checksum):
        return Line(raw)
    name = found.get("name")
    return Line(
        raw,
        version,
        checksum.lower(),
        found.get("yanked") is True,
        _moment(found.get("pubtime")),
        name if isinstance(name, str) else "",
    )


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, TypeError, OverflowError):
        return None
