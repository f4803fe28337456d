"""Licenses of crates: read them from `Cargo.toml`, for an index has none, and compare them with those allowed."""

from collections.abc import Collection, Mapping
from typing import Any

from license_expression import AND, OR, LicenseSymbol, LicenseWithExceptionSymbol

from crates.package import licenses

MAX_LICENSE_LENGTH = 255  # characters, as wide as the column


def license_of(package: Mapping[str, Any]) -> str:
    """Return the license in `[package]` of a `Cargo.toml`; empty if there is none, or one that nobody can read."""
    text = package.get("license")
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
