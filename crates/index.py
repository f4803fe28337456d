"""Text of index files: one JSON object per line, as in The Cargo Book, "Index Format". Pure."""

import hashlib
import json
from datetime import UTC
from typing import Any

from crates.models import Version
from registry_site.errors import Conflict, Invalid

MAX_LINE_SIZE = 64 * 1024  # bytes, without the checksum
MAX_FILE_SIZE = 8 * 1024 * 1024  # bytes; each change of a crate writes the whole file
SEPARATORS = (",", ":")
COLUMNS = ("number", "checksum", "dependencies", "features", "yanked", "links", "published_at", "rust_version")


def render_line(name: str, version: Version) -> str:
    """Return the line of a version, with its newline."""
    # JSON in ASCII escapes all ends of lines, so that no text of a publisher can begin a line of its own.
    return json.dumps(line(name, version), separators=SEPARATORS) + "\n"


def check_line_size(name: str, version: Version) -> None:
    """Check that the line of a version is not too long; raises `Invalid`."""
    size = len(render_line(name, version))
    if size > MAX_LINE_SIZE:
        raise Invalid(
            f"{name} {version.number} needs {size} bytes in the index, for its dependencies and features; at most "
            f"{MAX_LINE_SIZE} are taken."
        )


def replace_yanked(text: str, name: str, number: str, *, yanked: bool) -> str:
    """Return an index file with another `yanked` in the line of one version; its other bytes stay as they are.

    Raises `Conflict` if the version has no line any more.
    """
    # Every line begins with these two keys.
    beginning = json.dumps({"name": name, "vers": number}, separators=SEPARATORS).removesuffix("}") + ","
    start = 0 if text.startswith(beginning) else text.find(f"\n{beginning}") + 1
    if not text.startswith(beginning, start):
        raise Conflict(f"{name} {number} has been removed meanwhile.")
    end = text.index("\n", start)
    entry = json.loads(text[start:end]) | {"yanked": yanked}
    return f"{text[:start]}{json.dumps(entry, separators=SEPARATORS)}{text[end:]}"


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
