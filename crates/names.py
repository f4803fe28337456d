"""Names of crates: what is allowed, when two are the same, and where a name stands in the index."""

import re

from registry_site.errors import Invalid

MAX_LENGTH = 64
PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")

# Names that Windows gives to devices: a directory of this name cannot be made there.
WINDOWS_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
)
# Crates that come with the compiler: a dependency on one of the same name could not be told apart.
SYSROOT_CRATES = frozenset({"alloc", "core", "proc_macro", "std", "test"})


def canonical(name: str) -> str:
    """The form under which a name is unique: without case, `-` and `_` alike."""
    return name.lower().replace("-", "_")


def validate(name: str) -> None:
    """Raises `Invalid` unless `name` can be a crate's."""
    if not PATTERN.fullmatch(name) or len(name) > MAX_LENGTH:
        raise Invalid(
            f"The crate name {name[:80]!r} is not allowed: use 1 to {MAX_LENGTH} of A-Z, a-z, 0-9, - and _, "
            "and begin with a letter."
        )
    if canonical(name) in WINDOWS_DEVICES | SYSROOT_CRATES:
        raise Invalid(f"The crate name {name!r} is reserved; choose another.")


def index_path(name: str) -> str:
    """Where the index keeps a crate: `a` → `1/a`, `abc` → `3/a/abc`, `Serde` → `se/rd/serde`."""
    lower = name.lower()
    if len(lower) <= 2:
        return f"{len(lower)}/{lower}"
    if len(lower) == 3:
        return f"3/{lower[0]}/{lower}"
    return f"{lower[:2]}/{lower[2:4]}/{lower}"
