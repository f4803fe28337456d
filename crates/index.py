"""Rows → index text: one JSON object per line, as The Cargo Book's "Index Format" has it. Pure."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC
from typing import Any

from crates.models import Version


def render(name: str, versions: Iterable[Version]) -> str:
    """The index file of a crate; each line ends in a newline, and is ASCII, so that no text can break a line."""
    return "".join(json.dumps(_line(name, version), separators=(",", ":")) + "\n" for version in versions)


def etag(text: str) -> str:
    return f'"{hashlib.sha256(text.encode("ascii")).hexdigest()[:32]}"'


def _line(name: str, version: Version) -> dict[str, Any]:
    # Syntax that old cargo does not know goes to `features2`, with `v` 2, so that old cargo skips the line.
    newer = {feature: values for feature, values in version.features.items() if any(map(_is_newer, values))}
    line: dict[str, Any] = {
        "name": name,
        "vers": version.number,
        "deps": version.dependencies,
        "cksum": version.checksum,
        "features": {feature: values for feature, values in version.features.items() if feature not in newer},
        "yanked": version.yanked,
        "links": version.links or None,
        "pubtime": version.published_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if version.rust_version:
        line["rust_version"] = version.rust_version
    if newer:
        line |= {"features2": newer, "v": 2}
    return line


def _is_newer(value: str) -> bool:
    return value.startswith("dep:") or "?/" in value
