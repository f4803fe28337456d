"""License expressions by SPDX. Pure."""

from functools import lru_cache
from typing import Any

from license_expression import ExpressionError, Licensing, get_spdx_licensing

MAX_LENGTH = 255  # characters

_any_names = Licensing()


@lru_cache(maxsize=1024)
def parse(expression: str) -> Any:
    """Return the tree of an expression of any names, None for what is no expression. Old crates write `/` for `OR`."""
    return _parse(_any_names, expression)


@lru_cache(maxsize=1024)
def normalize(expression: str) -> str:
    """Return an expression as SPDX writes it, `mit/apache-2.0` as `MIT OR Apache-2.0`; empty if SPDX does not know it.

    Names of one's own begin with `LicenseRef-`.
    """
    if not expression or len(expression) > MAX_LENGTH or not expression.isprintable():
        return ""
    spdx = _spdx_names()
    tree = _parse(spdx, expression)
    if tree is None:
        return ""
    unknown = [key for key in spdx.unknown_license_keys(tree) if not key.startswith("LicenseRef-")]
    text: str = tree.render()
    return "" if unknown or len(text) > MAX_LENGTH else text


@lru_cache(maxsize=1)
def _spdx_names() -> Licensing:
    licensing = get_spdx_licensing()  # reads a file of a megabyte
    licensing.parse("MIT")  # builds its tables, before a second thread looks into them
    return licensing


def _parse(licensing: Licensing, expression: str) -> Any:
    try:
        return licensing.parse(expression.replace("/", " OR "), strict=licensing is not _any_names)
    except (ExpressionError, AssertionError, IndexError):  # the last two come of empty brackets
        return None
