"""Programs that the benchmarks need, and the packages that have them."""

import os
import shutil
import sys

INSTALL = {
    "cargo": "install Rust's cargo",
    "nginx": "install the Debian package nginx",
    "wrk": "install the Debian package wrk",
    "h2load": "install the Debian package nghttp2-client",
    "openssl": "install the Debian package openssl",
}
# Distributions keep servers in directories that are not always in the PATH of a user.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])


def require(*names: str) -> None:
    """Exit with status 2 and one line if a program is missing."""
    missing = [f"{name} is missing: {INSTALL[name]}" for name in names if _which(name) is None]
    if missing:
        print("; ".join(missing) + ".", file=sys.stderr)
        sys.exit(2)


def path_of(name: str) -> str:
    """Return the path of a program that `require` has checked."""
    path = _which(name)
    if path is None:
        raise FileNotFoundError(f"{name} is missing: {INSTALL[name]}")
    return path


def _which(name: str) -> str | None:
    return shutil.which(name, path=SEARCH_PATH)
