"""Text of index files: one JSON object per line, as in The Cargo Book, "Index Format". Pure."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC
from typing import Any

from crates.models import Version


def render(name: str, versions: Iterable[Version]) -> str:
    """Return the index file of a crate; every line ends in a newline."""
    # JSON in ASCII escapes all ends of lines, so that no text of a publisher can begin a line of its own.
    return "".join(json.dumps(line(name, version), separators=(",", ":")) + "\n" for version in versions)


def line(name: str, version: Version) -> dict[str, Any]:
    """Return the entry of one version."""
    # cargo before 1.60 cannot read this syntax. In `features2`, with `v` 2, it makes such a cargo skip the line.
    features2 = {
        feature: values
        for feature, values in version.features.items()
        if any(value.startswith("dep:") or "?/" in value for value in values)
    }
    entry: dict[str, Any] = {
        "name": name,
        "vers": version.number,
        "deps": version.dependencies,
        "cksum": version.checksum,
        "features": {feature: values for feature, values in version.features.items() if feature not in features2},
        "yanked": version.yanked,
        "links": version.links or None,
        "pubtime": version.published_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if version.rust_version:
        entry["rust_version"] = version.rust_version
    if features2:
        entry |= {"features2": features2, "v": 2}
    if any(dependency.get("artifact") for dependency in version.dependencies):
        entry["v"] = 3  # a cargo without artifact dependencies skips the line
    return entry


def etag(text: str) -> str:
    """Return the strong validator of an index file."""
    return f'"{hashlib.sha256(text.encode("ascii")).hexdigest()[:32]}"'
