"""The programs that the benchmarks need, and what to install for one that is missing."""

import os
import shutil
import sys

INSTALL = {
    "cargo": "install Rust's cargo",
    "nginx": "install the Debian package nginx",
    "wrk": "install the Debian package wrk",
    "openssl": "install the Debian package openssl",
}
# Where a distribution keeps servers, which is not always in the path of a user.
PLACES = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def require(*names: str) -> None:
    """Leave with status 2 and one line when a program is missing."""
    missing = [f"{name} is missing: {INSTALL[name]}" for name in names if _which(name) is None]
    if missing:
        print("; ".join(missing) + ".", file=sys.stderr)
        sys.exit(2)


def path_of(name: str) -> str:
    """Where a program is; it was found by `require`."""
    found = _which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is missing: {INSTALL[name]}")
    return found


def _which(name: str) -> str | None:
    return shutil.which(name, path=PLACES)
