"""Text of index files: one JSON object per line, as in The Cargo Book, "Index Format". Pure."""

import hashlib
import json
from datetime import UTC
from typing import Any

from crates.models import Version
from registry_site.errors import Invalid

MAX_LINE_SIZE = 64 * 1024  # bytes
MAX_FILE_SIZE = 8 * 1024 * 1024  # bytes; a client that lacks one line fetches all
SEPARATORS = (",", ":")
COLUMNS = ("number", "checksum", "dependencies", "features", "yanked", "links", "published_at", "rust_version")


def render_line(name: str, version: Version) -> str:
    """Return the line of a version, with its newline."""
    # JSON in ASCII escapes all ends of lines, so that no text of a publisher can begin a line of its own.
    return json.dumps(line(name, version), separators=SEPARATORS) + "\n"


def new_line(name: str, version: Version) -> str:
    """Return the line of a version that is published; raises `Invalid` for a line that is too long."""
    text = render_line(name, version)
    if len(text) > MAX_LINE_SIZE:
        raise Invalid(
            f"{name} {version.number} needs {len(text)} bytes in the index, for its dependencies and features; at most "
            f"{MAX_LINE_SIZE} are taken."
        )
    return text


def with_yanked(line: str, *, yanked: bool) -> str:
    """Return a line with another `yanked`; its other keys and values stay as they are."""
    return json.dumps(json.loads(line) | {"yanked": yanked}, separators=SEPARATORS) + "\n"


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
    """Return the strong validator of an index file by its text."""
    return f'"{hashlib.sha256(text.encode("ascii")).hexdigest()[:32]}"'


def etag_after(former: str, line: str) -> str:
    """Return the strong validator of an index file that has got a line, at its end or instead of the version's former.

    It is a digest over the file's history: the validator before and this change. So two files have the same one only if
    they have the same text, on each node and after a restored backup, too, though nobody reads all of the text.
    """
    return etag(f"{former}\n{line}")
