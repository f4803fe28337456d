"""Licenses of crates: read them from `Cargo.toml`, for an index has none, and compare them with those allowed."""

from collections.abc import Collection
from typing import IO, Any

from license_expression import AND, OR, LicenseSymbol, LicenseWithExceptionSymbol

from crates.package import licenses, manifest
from registry_site.archives.gzip_reader import BoundedGzipReader, unpacked_limit
from registry_site.archives.tar_reader import BLOCK, read_entries
from registry_site.errors import Invalid

MAX_MANIFEST_BYTES = 1024 * 1024
MAX_LICENSE_LENGTH = 255  # characters, as wide as the column


def read_license(crate: IO[bytes], size: int) -> str:
    """Return `license` of the packed `Cargo.toml` of a `.crate` file; empty if there is none that can be read.

    Whoever published the crate wrote the file, so its size is bounded while it is unpacked. A broken archive is no
    reason not to mirror it: cargo is the judge of that.
    """
    crate.seek(0)
    tar = BoundedGzipReader(crate, unpacked_limit(size), "crate")
    try:
        for entry in read_entries(tar, lenient=True):
            folder, _, path = entry.path.partition("/")
            if folder and path == "Cargo.toml" and not entry.is_directory and entry.size <= MAX_MANIFEST_BYTES:
                package = manifest.parse_toml(tar.read(entry.size)).get("package")
                break
            tar.skip(entry.size + -entry.size % BLOCK)  # the content of an entry is padded to whole blocks
        else:
            return ""
    except Invalid:
        return ""
    text = package.get("license") if isinstance(package, dict) else None
    return text if isinstance(text, str) and len(text) <= MAX_LICENSE_LENGTH and text.isprintable() else ""


def is_allowed(expression: str, allowed: Collection[str]) -> bool:
    """Return whether these licenses suffice for a crate under this SPDX expression.

    One part of an `OR` suffices. Old crates write `/` for `OR`. An exception (`WITH`) only ever permits more.
    """
    return _is_satisfied(licenses.parse(expression), {license_id.casefold() for license_id in allowed})


def _is_satisfied(expression: Any, allowed: Collection[str]) -> bool:
    match expression:
        case OR():
            return any(_is_satisfied(part, allowed) for part in expression.args)
        case AND():
            return all(_is_satisfied(part, allowed) for part in expression.args)
        case LicenseWithExceptionSymbol():
            return _is_satisfied(expression.license_symbol, allowed)
        case LicenseSymbol():
            key = expression.key.casefold()
            return key in allowed or key.removesuffix("+") in allowed  # `+` means: or any later version
    return False
