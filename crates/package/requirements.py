"""Requirements on versions, as cargo reads them.

The grammar of requirements is cargo's (the `semver` crate); the table in the tests was made by asking cargo itself.
"""

import re

from registry_site.errors import Invalid
from registry_site.versions import LARGEST_PART

MOST_COMPARATORS = 32

_NUMBER = r"(?:0|[1-9][0-9]{0,19})"
_PART = rf"(?:{_NUMBER}|[*xX])"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_COMPARATOR = re.compile(
    rf" *(?P<op>\^|~|=|>=|<=|>|<)? *(?P<major>{_NUMBER})"
    rf"(?:\.(?P<minor>{_PART})(?:\.(?P<patch>{_PART}))?)?"
    rf"(?P<pre>-{_PRE}(?:\.{_PRE})*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)? *"
)


def normalized(text: str) -> str:
    """A requirement in the form in which cargo writes it: `1.2` → `^1.2`; raises `Invalid`."""
    stripped = text.strip(" ")
    if stripped in ("*", "x", "X"):
        return "*"
    comparators = stripped.split(",")
    if len(comparators) > MOST_COMPARATORS:
        raise _not_understood(text)
    return ", ".join(_comparator(part, text) for part in comparators)


def _comparator(part: str, whole: str) -> str:
    match = _COMPARATOR.fullmatch(part)
    if match is None:
        raise _not_understood(whole)
    numbers = [number for number in match.group("major", "minor", "patch") if number is not None]
    fixed = [number for number in numbers if number.isdigit()]
    wild = len(fixed) < len(numbers)
    if any(int(number) > LARGEST_PART for number in fixed) or numbers[: len(fixed)] != fixed:
        raise _not_understood(whole)
    if (match["pre"] or "+" in part) and len(fixed) < 3:
        raise _not_understood(whole)
    operator = match["op"] or ("" if wild else "^")
    star = ".*" if wild and not match["op"] else ""
    return f"{operator}{'.'.join(fixed)}{match['pre'] or ''}{star}"


def _not_understood(text: str) -> Invalid:
    return Invalid(f"The version requirement {text[:80]!r} is not understood: write it like ^1.2, >=1.2, <2 or =1.2.3.")
