"""Names of local users: what is allowed, and when two of them are the same."""

import re

from registry_site.errors import Invalid

PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")

# A first path segment or a word of the interface: a person of this name could be taken for the registry itself.
RESERVED = frozenset(
    {
        "admin",
        "administrator",
        "api",
        "auth",
        "auth_verify",
        "dl",
        "docs",
        "health",
        "index",
        "ktra",
        "login",
        "logout",
        "me",
        "mirror",
        "namespace",
        "namespaces",
        "new",
        "packages",
        "register",
        "registry",
        "replace_token",
        "root",
        "settings",
        "static",
        "support",
        "system",
        "users",
        "v1",
    }
)

# Ktra's clients know a user by this prefix and the name; it is the same person with or without it.
KTRA_PREFIX = "ktra-secure-auth:"


def canonical(name: str) -> str:
    """The form under which a name is unique; only A-Z have another case here, so that no look-alike becomes one."""
    return name.lower() if name.isascii() else name


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
    if canonical(name) in RESERVED:
        raise Invalid(f"The user name {name!r} is reserved; choose another.", code="name_invalid")


def strip_ktra_prefix(login: str) -> str:
    """`alice` and `ktra-secure-auth:alice` → `alice`."""
    return login.removeprefix(KTRA_PREFIX)
