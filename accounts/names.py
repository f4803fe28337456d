"""Names of local users: what is allowed, and when two of them are the same."""

import re

from registry_site.errors import Invalid
from registry_site.http import url_map

PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")

# Words of the interface that are not the first segment of a path.
RESERVED_WORDS = frozenset({"administrator", "new", "registry", "root", "static", "support", "system"})

# Ktra's clients know a user by this prefix and the name; it is the same person with or without it.
KTRA_PREFIX = "ktra-secure-auth:"


def canonical(name: str) -> str:
    """The form under which a name is unique; only A-Z have another case here, so that no look-alike becomes one."""
    return name.lower() if name.isascii() else name


def is_reserved(name: str) -> bool:
    """Tell whether a user or namespace of this name could pass for the registry itself: a path or a word of it."""
    return canonical(name) in RESERVED_WORDS or canonical(name) in url_map.first_segments()


def validate(name: str, longest: int = 63) -> None:
    """Raises `Invalid` unless `name` can be a local user's."""
    if not PATTERN.fullmatch(name) or len(name) > longest:
        raise Invalid(
            f"The user name {name[:80]!r} is not allowed: use 1 to {longest} of A-Z, a-z, 0-9, - and _, "
            "and begin with a letter or a digit.",
            code="name_invalid",
        )


def validate_for_signup(name: str, longest: int = 63) -> None:
    """Raises `Invalid` for what nobody may take over the web; an operator may."""
    validate(name, longest)
    if is_reserved(name):
        raise Invalid(f"The user name {name!r} is reserved; choose another.", code="name_invalid")


def strip_ktra_prefix(login: str) -> str:
    """`alice` and `ktra-secure-auth:alice` → `alice`."""
    return login.removeprefix(KTRA_PREFIX)
