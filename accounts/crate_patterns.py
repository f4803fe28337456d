"""Crate patterns: the crates that a cargo token may change, by name or, with `*` at the end, by how names begin.

A token without patterns may change all crates of its user.
"""

import re
from collections.abc import Iterable, Sequence

from registry_site.errors import Invalid

MAX_PATTERNS = 100  # of one token: each request with it loads them
MAX_LENGTH = 65  # the longest name of a crate, and the star
PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}\*?|\*")


def canonical(name: str) -> str:
    """Return the form under which the name of a crate is unique: in lower case, with `_` for `-`."""
    return name.lower().replace("-", "_")


def parse_patterns(patterns: Sequence[str]) -> list[str]:
    """Return patterns as they were written, each once; raises `Invalid`."""
    unique: dict[str, str] = {}
    for pattern in patterns:
        if not PATTERN.fullmatch(pattern):
            raise Invalid(
                f"{pattern[:80]!r} is no crate pattern: write the name of a crate such as serde_json, "
                "or the beginning of names and a star such as serde*.",
                code="crate_pattern",
            )
        unique.setdefault(canonical(pattern), pattern)
    if len(unique) > MAX_PATTERNS:
        message = f"{len(unique)} crate patterns are too many: a token has at most {MAX_PATTERNS}."
        raise Invalid(message, code="crate_pattern")
    return list(unique.values())


def match(patterns: Iterable[str], name: str) -> bool:
    """Return whether any of the patterns is the name of a crate, or its beginning before a star."""
    crate = canonical(name)
    for pattern in map(canonical, patterns):
        if pattern == crate or (pattern.endswith("*") and crate.startswith(pattern[:-1])):
            return True
    return False
