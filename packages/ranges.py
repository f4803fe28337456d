"""Ranges of versions in dependencies, of any ecosystem: only their syntax is looked at.

`^1.2 || >=2 <3`, `~1.2.3`, `1.x`, `*`, `1.0 - 2.0`, `>=1,<2`, `==1.*`, `~=1.4`, `[1.0,2.0)`.
"""

import re

from registry_site.errors import Invalid

LONGEST = 127

# The text is cut at each separator first, so that no pattern has two ways to match it.
_PART = r"(?:[0-9]{1,20}|[xX*])"
_VERSION = rf"v?{_PART}(?:\.{_PART}){{0,3}}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
_OPERATOR = r"(?:\^|~>|~=|~|===|==|!=|>=|<=|>|<|=)"
_COMPARATOR = re.compile(rf"{_OPERATOR}?{_VERSION}")
_HYPHEN = re.compile(rf"{_VERSION} - {_VERSION}")
_INTERVAL = re.compile(rf"[\[(](?:{_VERSION})?(?:,(?:{_VERSION})?)?[\])]")
_BLANK_AFTER_OPERATOR = re.compile(rf"(?<![^ ,|])({_OPERATOR}) (?=[^ ])")


def validate(text: str) -> None:
    """Raises `Invalid` for what is no range."""
    alternatives = re.split(r" ?\|\|? ?", text.strip(" "))
    if len(text) > LONGEST or not all(map(_is_alternative, alternatives)):
        raise Invalid(
            f"The version range {text[:80]!r} is not understood: write it like ^1.2, >=1.2 <2, 1.x or *.",
            code="range_invalid",
        )


def _is_alternative(text: str) -> bool:
    if _HYPHEN.fullmatch(text) or _INTERVAL.fullmatch(text.replace(", ", ",")):
        return True
    comparators = re.split(r" ?, ?| ", _BLANK_AFTER_OPERATOR.sub(r"\1", text))
    return all(_COMPARATOR.fullmatch(comparator) for comparator in comparators)
