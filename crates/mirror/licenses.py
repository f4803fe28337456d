"""The license of a crate: in its own `Cargo.toml`, for the index has none; and whether it is one of those allowed."""

from collections.abc import Collection
from functools import lru_cache
from typing import IO, Any

from license_expression import AND, OR, ExpressionError, LicenseSymbol, LicenseWithExceptionSymbol, Licensing

from crates.package import manifest
from registry_site.archives.gzip_reader import BoundedGzipReader, unpacked_limit
from registry_site.archives.tar_reader import BLOCK, read_entries
from registry_site.errors import Invalid

MAX_MANIFEST_BYTES = 1024 * 1024  # bytes
MAX_LICENSE_LENGTH = 255  # characters

_expressions = Licensing()


def read_license(crate: IO[bytes], size: int) -> str:
    """What a `.crate` file of `size` bytes says in `license`; empty when it says nothing that can be read."""
    try:
        package = manifest.parse_toml(_manifest(crate, size)).get("package")
    except Invalid:
        return ""
    license_ = package.get("license") if isinstance(package, dict) else None
    return (
        license_ if isinstance(license_, str) and len(license_) <= MAX_LICENSE_LENGTH and license_.isprintable() else ""
    )


def is_allowed(license_: str, allowed: Collection[str]) -> bool:
    """May a crate under this SPDX expression be used by somebody to whom these licenses are good?

    Of an `OR` one is enough. `/` is how crates of old write it. An exception only ever permits more.
    """
    return _holds(_parsed(license_.replace("/", " OR ")), {one.casefold() for one in allowed})


@lru_cache(maxsize=1024)
def _parsed(expression: str) -> Any:
    try:
        return _expressions.parse(expression)
    except (ExpressionError, AssertionError, IndexError):  # it stumbles over empty brackets
        return None


def _holds(expression: Any, allowed: Collection[str]) -> bool:
    match expression:
        case OR():
            return any(_holds(part, allowed) for part in expression.args)
        case AND():
            return all(_holds(part, allowed) for part in expression.args)
        case LicenseWithExceptionSymbol():
            return _holds(expression.license_symbol, allowed)
        case LicenseSymbol():
            key = expression.key.casefold()
            return key in allowed or key.removesuffix("+") in allowed
    return False


def _manifest(crate: IO[bytes], size: int) -> bytes:
    """The packed `Cargo.toml`; raises `Invalid`."""
    crate.seek(0)
    tar = BoundedGzipReader(crate, unpacked_limit(size), "crate")
    for entry in read_entries(tar, lenient=True):
        folder, _, path = entry.path.partition("/")
        if folder and path == "Cargo.toml" and not entry.is_directory and entry.size <= MAX_MANIFEST_BYTES:
            return tar.read(entry.size)
        tar.skip(entry.size + -entry.size % BLOCK)
    raise Invalid("The crate has no Cargo.toml.")
