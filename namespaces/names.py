"""Names of namespaces: what is allowed."""

import re

from accounts import names
from registry_site.errors import Invalid

LONGEST = 63
PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def validate(name: str) -> None:
    """Raises `Invalid` unless somebody may open a namespace of this name."""
    if not PATTERN.fullmatch(name) or len(name) > LONGEST:
        raise Invalid(
            f"The namespace {name[:80]!r} is not allowed: use 1 to {LONGEST} of A-Z, a-z, 0-9, -, _ and ., "
            "and begin and end with a letter or a digit.",
            code="name_invalid",
        )
    if names.is_reserved(name):
        raise Invalid(f"The namespace {name!r} is reserved; choose another.", code="name_invalid")
