"""Names of namespaces: the rules for new ones."""

import re

from accounts import names
from registry_site.errors import Invalid

MAX_LENGTH = 63
RULE = f"1 to {MAX_LENGTH} of A-Z, a-z, 0-9, -, _ and ., and begin and end with a letter or a digit."
PATTERN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


def validate(name: str) -> None:
    """Raise `Invalid` unless `name` is allowed for a new namespace."""
    if not PATTERN.fullmatch(name) or len(name) > MAX_LENGTH:
        raise Invalid(f"The namespace {name[:80]!r} is not allowed: use {RULE}", code="name_invalid")
    if names.is_reserved(name):
        raise Invalid(f"The namespace {name!r} is reserved; choose another.", code="name_invalid")
