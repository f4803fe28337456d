"""Names that staff reserve, as patterns: exact names, or names with `*` for any further characters.

Names are compared in the form in which their kind is unique, so that a look-alike of a reserved name is reserved, too.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import CharField, Lookup, TextChoices

from accounts import crate_patterns, names
from registry_site.errors import Invalid

MAX_STARS = 5


class NameKind(TextChoices):
    CRATE = "crate", "crate"
    ACCOUNT = "account", "account"
    NAMESPACE = "namespace", "namespace"


@dataclass(frozen=True)
class Rule:
    """What a pattern of one kind may have, and the forms of names, of which the first is unique."""

    pattern: re.Pattern[str]
    characters: str
    forms: Sequence[Callable[[str], str]]


RULES = {
    NameKind.CRATE: Rule(
        re.compile(r"[A-Za-z0-9_*-]{1,64}"), "1 to 64 letters, digits, - and _", [crate_patterns.canonical]
    ),
    # Accounts at an OpenID provider are called `host:name`. A skeleton has `m` for `rn`: with it alone, a pattern such
    # as `r*` would miss a name that begins with `rn`.
    NameKind.ACCOUNT: Rule(
        re.compile(r"[A-Za-z0-9._@+:*-]{1,255}"),
        "1 to 255 letters, digits, and . - _ : @ +",
        [names.skeleton, names.canonical],
    ),
    NameKind.NAMESPACE: Rule(
        re.compile(r"[A-Za-z0-9._*-]{1,63}"), "1 to 63 letters, digits, . - and _", [names.skeleton, names.canonical]
    ),
}


def normalize(kind: NameKind, pattern: str) -> str:
    """Return a pattern with each run of stars as one; raises `Invalid`, also for one that every name matches."""
    rule = RULES[kind]
    normal = re.sub(r"\*+", "*", pattern.strip())
    if not rule.pattern.fullmatch(normal):
        raise Invalid(
            f"A reserved name of this kind has {rule.characters}, and * for any further characters.", code="pattern"
        )
    if not re.search(r"[A-Za-z0-9]", normal):
        raise Invalid("A reserved name has a letter or a digit; this one would reserve too many.", code="pattern")
    if normal.count("*") > MAX_STARS:
        raise Invalid(f"A reserved name has at most {MAX_STARS} stars.", code="pattern")
    return normal


def unique_form(kind: NameKind, name: str) -> str:
    """Return the form in which names and patterns of this kind are unique."""
    return RULES[kind].forms[0](name)


def matches(kind: NameKind, pattern: str, name: str) -> bool:
    """Return whether a name, or a look-alike of it, is what the pattern says."""
    return any(fits(form(name), form(pattern)) for form in RULES[kind].forms)


def fits(name: str, pattern: str) -> bool:
    """Return whether a name fits a pattern, both in one form.

    Compiled regular expressions are kept for 256 patterns only, and take a hundred times as long without that.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return name == first
    *middle, last = rest
    start, end = len(first), len(name) - len(last)
    if start > end or not (name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        position = name.find(part, start, end)
        if position < 0:
            return False
        start = position + len(part)
    return True


@CharField.register_lookup
class Fits(Lookup):
    """That a column fits a pattern, both in one form.

    A regular expression of five stars takes SQLite seconds for one name: it tries all ways to share it out among them.
    """

    lookup_name = "fits"

    def as_sqlite(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} GLOB %s", (*parameters, self.rhs)

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, parameters = self.process_lhs(compiler, connection)
        return f"{column} LIKE %s", (*parameters, self.rhs.replace("_", r"\_").replace("*", "%"))
