"""Version requirements applied to the texts of an index: the version that cargo would choose, and ranges."""

from collections.abc import Callable, Iterable
from functools import lru_cache

import semver

from crates.package.requirements import Requirement
from registry_site import semantic_versions
from registry_site.errors import Invalid


def newest(requirement: str, candidates: Iterable[str]) -> str | None:
    """Return the highest candidate that cargo would choose when nothing is locked; raises `Invalid`."""
    parsed = Requirement.parse(requirement)
    matching = [version for text in candidates if (version := parse(text)) is not None and parsed.matches(version)]
    return str(max(matching)) if matching else None


def range_matcher(requirement: str) -> Callable[[str], bool]:
    """Return a test whether a version lies in the range of a requirement; raises `Invalid`.

    Pre-releases lie in a range like all other versions. `*` contains every text, other ranges only versions.
    """
    parsed = Requirement.parse(requirement)

    def contains(text: str) -> bool:
        version = parse(text)
        return not parsed.comparators or (version is not None and parsed.contains(version))

    return contains


# An override or an advisory is matched against all versions of a crate at each look at its index file.
@lru_cache(maxsize=16384)
def parse(text: str) -> semver.Version | None:
    try:
        return semantic_versions.parse(text)
    except Invalid:
        return None
