"""Names of local users: their syntax, their canonical form, and the reserved ones."""

import re

from registry_site.errors import Invalid
from registry_site.http import url_map

PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")

# Words of the interface. The first segments of all paths are reserved, too; `url_map` finds them.
RESERVED_WORDS = frozenset({"administrator", "new", "registry", "root", "static", "support", "system"})

# Ktra's clients put this prefix before a user name; it names the same user with or without it.
KTRA_PREFIX = "ktra-secure-auth:"


def canonical(name: str) -> str:
    """Return the form under which a name is unique.

    Only ASCII is lowered: `str.lower` makes a plain `k` of the Kelvin sign, which would be a look-alike of a name.
    """
    return name.lower() if name.isascii() else name


def is_reserved(name: str) -> bool:
    """Return whether the name is a path or a word of the interface and could pass for the registry itself."""
    return canonical(name) in RESERVED_WORDS or canonical(name) in url_map.first_segments()


def validate(name: str, longest: int = 63) -> None:
    """Raise `Invalid` unless the name fits a local user."""
    if not PATTERN.fullmatch(name) or len(name) > longest:
        raise Invalid(
            f"The user name {name[:80]!r} is not allowed: use 1 to {longest} of A-Z, a-z, 0-9, - and _, "
            "and begin with a letter or a digit.",
            code="name_invalid",
        )


def validate_for_signup(name: str, longest: int = 63) -> None:
    """Raise `Invalid` also for reserved names, which only an operator may give."""
    validate(name, longest)
    if is_reserved(name):
        raise Invalid(f"The user name {name!r} is reserved; choose another.", code="name_invalid")


def strip_ktra_prefix(login: str) -> str:
    """Return `alice` for both `alice` and `ktra-secure-auth:alice`."""
    return login.removeprefix(KTRA_PREFIX)
