"""Version ranges in dependencies. Ecosystems differ, so only the syntax that those with SemVer share is checked.

`^1.2 || >=2 <3`, `~1.2.3`, `1.x`, `*`, `1.0 - 2.0`, `>=1,<2`, `==1.*`, `~=1.4`, `[1.0,2.0)`.
"""

import re

from packages import ecosystems, texts
from registry_site.errors import Invalid

MAX_LENGTH = 127

# The text is split at each separator first. No pattern can match a part in two ways, or a crafted text could keep the
# regular expression engine busy for ever.
_PART = r"(?:[0-9]{1,20}|[xX*])"
_VERSION = rf"v?{_PART}(?:\.{_PART}){{0,3}}(?:-[0-9A-Za-z.-]+)?(?:\+[0-9A-Za-z.-]+)?"
_OPERATOR = r"(?:\^|~>|~=|~|===|==|!=|>=|<=|>|<|=)"
_COMPARATOR = re.compile(rf"{_OPERATOR}?{_VERSION}")
_HYPHEN = re.compile(rf"{_VERSION} - {_VERSION}")
_INTERVAL = re.compile(rf"[\[(](?:{_VERSION})?(?:,(?:{_VERSION})?)?[\])]")
_BLANK_AFTER_OPERATOR = re.compile(rf"(?<![^ ,|])({_OPERATOR}) (?=[^ ])")


def validate(text: str, ecosystem: str) -> None:
    """Raise `Invalid` unless `text` is a version range; without SemVer, where versions are any texts, so is a range."""
    is_range = is_semver_range if ecosystems.follows_semver(ecosystem) else texts.is_visible_line
    if len(text) > MAX_LENGTH or not is_range(text):
        raise Invalid(
            f"The version range {text[:80]!r} is not understood: write it like ^1.2, >=1.2 <2, 1.x or *.",
            code="range_invalid",
        )


def is_semver_range(text: str) -> bool:
    """Return whether `text` is a range, or several with `||` between them."""
    return all(map(is_alternative, re.split(r" ?\|\|? ?", text.strip(" "))))


def is_alternative(text: str) -> bool:
    """Return whether `text` is a range without `||`: a hyphen range, an interval, or comparators."""
    if _HYPHEN.fullmatch(text) or _INTERVAL.fullmatch(text.replace(", ", ",")):
        return True
    comparators = re.split(r" ?, ?| ", _BLANK_AFTER_OPERATOR.sub(r"\1", text))
    return all(_COMPARATOR.fullmatch(comparator) for comparator in comparators)
