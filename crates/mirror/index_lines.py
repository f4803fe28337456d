"""Lines of an index file: parse them leniently, and relay their bytes unchanged except for `yanked`."""

import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")  # laxer than names of ours: it may begin with a digit
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,149}")
CHECKSUM = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True)
class Line:
    """A line as it came, without its end. `version` is empty if the line cannot be parsed."""

    raw: bytes
    version: str = ""
    checksum: str = ""
    yanked: bool = False
    published_at: datetime | None = None
    name: str = ""

    @classmethod
    def parse(cls, raw: bytes) -> "Line":
        """Read what the mirror needs. Version and checksum become paths and keys, so check their form strictly."""
        fields = _load(raw)
        name, version, checksum = fields.get("name"), fields.get("vers"), fields.get("cksum")
        if not isinstance(version, str) or not VERSION.fullmatch(version):
            return cls(raw)
        if not isinstance(checksum, str) or not CHECKSUM.fullmatch(checksum):
            return cls(raw)
        try:
            time = datetime.fromisoformat(fields["pubtime"])
            published_at = time.astimezone(UTC) if time.tzinfo else None
        except (KeyError, ValueError, TypeError, OverflowError):  # the field is young, and nobody promises its form
            published_at = None
        name = name if isinstance(name, str) else ""
        return cls(raw, version, checksum.lower(), fields.get("yanked") is True, published_at, name)


def parse(body: bytes) -> list[Line]:
    """Return the lines of an index file, in their order, without empty ones."""
    return [Line.parse(raw) for raw in body.split(b"\n") if raw.strip()]


def join(lines: list[Line]) -> bytes:
    return b"".join(line.raw + b"\n" for line in lines)


def is_index_file(body: bytes) -> bool:
    """Return whether a file is empty, or has any line of an index, even one that cannot be parsed otherwise."""
    return not body.strip() or any("cksum" in _load(raw) for raw in body.split(b"\n"))


def mark_yanked(line: Line) -> Line:
    """Return the line as yanked: cargo keeps a locked version that is yanked, but does not choose it any more."""
    if line.yanked or not line.version:
        return line
    yanked = {**json.loads(line.raw), "yanked": True}
    # Replace the word in the bytes, so that fields and numbers of newer cargos stay as they are.
    raw = re.sub(rb'"yanked":\s*false', b'"yanked":true', line.raw)
    if json.loads(raw) != yanked:  # the word is missing, escaped, or stands in some other text as well
        raw = json.dumps(yanked, separators=(",", ":")).encode()
    return replace(line, raw=raw, yanked=True)


def _load(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in a line, or an empty one."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
