"""Names of crates: rules, canonical form and path in the index."""

import re

from accounts import crate_patterns
from registry_site.errors import Invalid

MAX_LENGTH = 64
PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
MISSPELT_INDEX_PATH = re.compile(r"/*(?:[A-Za-z0-9_-]+/+){0,2}([A-Za-z0-9_-]+)")

# Windows has devices of these names and cannot create a directory of the same name to unpack a crate.
WINDOWS_DEVICES = frozenset(
    {"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10)}
)
# The compiler brings these crates; a dependency of the same name would be ambiguous.
SYSROOT_CRATES = frozenset({"alloc", "core", "proc_macro", "std", "test"})


def canonical(name: str) -> str:
    """Return the form under which a name is unique: in lower case, with `_` for `-`."""
    return crate_patterns.canonical(name)


def validate(name: str) -> None:
    """Validate the name of a new crate; raises `Invalid`."""
    if not PATTERN.fullmatch(name) or len(name) > MAX_LENGTH:
        raise Invalid(
            f"The crate name {name[:80]!r} is not allowed: use 1 to {MAX_LENGTH} of A-Z, a-z, 0-9, - and _, "
            "and begin with a letter."
        )
    if canonical(name) in WINDOWS_DEVICES | SYSROOT_CRATES:
        raise Invalid(f"The crate name {name!r} is reserved; choose another.")


def index_path(name: str) -> str:
    """Return the path of a crate's index file: `a` → `1/a`, `abc` → `3/a/abc`, `Serde` → `se/rd/serde`."""
    return f"{index_folder(name.lower())}/{name.lower()}"


def normalize_index_path(path: str) -> str:
    """Return the path of the crate that the last segment of `path` names: bots misspell the folders and the case.

    Anything else, such as a path with a dot, is returned as it is: no crate has it.
    """
    match = MISSPELT_INDEX_PATH.fullmatch(path)
    return index_path(match[1]) if match else path


def index_folder(name: str) -> str:
    """Return the folder of a crate in an index, in the case of `name`: `a` → `1`, `abc` → `3/a`, `serde` → `se/rd`."""
    if len(name) <= 2:
        return str(len(name))
    return f"3/{name[0]}" if len(name) == 3 else f"{name[:2]}/{name[2:4]}"
