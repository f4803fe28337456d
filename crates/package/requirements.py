"""Version requirements by cargo's rules: validate, normalize, match.

The grammar and the rules are those of the `semver` crate, which cargo uses; the tables in the tests were made by cargo.
"""

import re
from dataclasses import dataclass
from typing import Self

import semver

from registry_site.errors import Invalid
from registry_site.semantic_versions import MAX_PART

MAX_COMPARATORS = 32  # as in the `semver` crate

_NUMBER = r"(?:0|[1-9][0-9]{0,19})"
_PART = rf"(?:{_NUMBER}|[*xX])"
_PRE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_COMPARATOR = re.compile(
    rf" *(?P<op>\^|~|=|>=|<=|>|<)? *(?P<major>{_NUMBER})"
    rf"(?:\.(?P<minor>{_PART})(?:\.(?P<patch>{_PART}))?)?"
    rf"(?:-(?P<pre>{_PRE}(?:\.{_PRE})*))?(?P<build>\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)? *"
)


def normalize(text: str) -> str:
    """Return a requirement in the form in which cargo writes it: `1.2` → `^1.2`; raises `Invalid`."""
    return str(Requirement.parse(text))


@dataclass(frozen=True)
class Comparator:
    """An operator and one to three numbers; three may have a pre-release. The operator `*` is that of `1.*`."""

    operator: str
    numbers: list[int]
    prerelease: str | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a part of a requirement; raises `ValueError`."""
        match = _COMPARATOR.fullmatch(text)
        if match is None:
            raise ValueError(text)
        parts = [part for part in match.group("major", "minor", "patch") if part is not None]
        numbers = [int(part) for part in parts if part.isdigit()]
        is_wildcard = len(numbers) < len(parts)
        if max(numbers) > MAX_PART or not all(part.isdigit() for part in parts[: len(numbers)]):
            raise ValueError(text)
        if (match["pre"] or match["build"]) and len(numbers) < 3:
            raise ValueError(text)
        # Under an operator cargo drops the wildcard: `>=1.*` means `>=1`.
        return cls(match["op"] or ("*" if is_wildcard else "^"), numbers, match["pre"])

    def __str__(self) -> str:
        version = ".".join(map(str, self.numbers)) + (f"-{self.prerelease}" if self.prerelease else "")
        return f"{version}.*" if self.operator == "*" else f"{self.operator}{version}"

    def contains(self, version: semver.Version) -> bool:
        """Compare by the order of versions alone: `1.2` has 1.2.5-rc.1, and `1` has no 2.0.0-rc.1."""
        numbers, lowest = _numbers(version), [*self.numbers, 0, 0][:3]
        above = _compare(numbers, lowest)
        if above == 0:  # only a tie of the numbers pays for the slow comparison of pre-releases
            above = _prerelease(version.prerelease).compare(_prerelease(self.prerelease))
        prefix = numbers[: len(self.numbers)]
        order = above if len(self.numbers) == 3 else _compare(prefix, self.numbers)
        match self.operator:
            case "=" | "*":
                return order == 0
            case ">":
                return order > 0
            case ">=":
                return above >= 0
            case "<":
                return order < 0
            case "<=":
                return order <= 0
        fixed = 2 if self.operator == "~" else self.caret_width()
        return prefix[:fixed] == self.numbers[:fixed] and above >= 0

    def matches(self, version: semver.Version) -> bool:
        """Compare as cargo does when it resolves: a partial comparator takes no pre-release of its own numbers."""
        if version.prerelease and len(self.numbers) < 3 and _numbers(version)[: len(self.numbers)] == self.numbers:
            # The `semver` crate compares pre-releases last, and for a partial `^` not at all.
            return self.operator == "^"
        return self.contains(version)

    def caret_width(self) -> int:
        """Return how many numbers `^` fixes: all up to the first that is not 0."""
        return next((index for index, number in enumerate(self.numbers, 1) if number), len(self.numbers))


@dataclass(frozen=True)
class Requirement:
    """Comparators that a version has to satisfy, all of them; `*` has none."""

    comparators: tuple[Comparator, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a requirement such as `1.2` or `>=1, <2`; raises `Invalid`."""
        stripped = text.strip(" ")
        if stripped in ("*", "x", "X"):
            return cls(())
        try:
            parts = stripped.split(",")
            if len(parts) > MAX_COMPARATORS:
                raise ValueError(text)
            return cls(tuple(map(Comparator.parse, parts)))
        except ValueError as error:
            raise Invalid(
                f"The version requirement {text[:80]!r} is not understood: write it like ^1.2, >=1.2, <2 or =1.2.3."
            ) from error

    def __str__(self) -> str:
        return ", ".join(map(str, self.comparators)) or "*"

    def contains(self, version: semver.Version) -> bool:
        """Return whether a version lies in the range, pre-releases like all others."""
        return all(comparator.contains(version) for comparator in self.comparators)

    def matches(self, version: semver.Version) -> bool:
        """Return whether cargo would choose the version.

        A pre-release needs a comparator that names a pre-release of the same three numbers.
        """
        if version.prerelease:
            numbers = _numbers(version)
            if not any(comparator.prerelease and comparator.numbers == numbers for comparator in self.comparators):
                return False
        return all(comparator.matches(version) for comparator in self.comparators)


def _numbers(version: semver.Version) -> list[int]:
    return [version.major, version.minor, version.patch]


def _compare(left: list[int], right: list[int]) -> int:
    return (left > right) - (left < right)


def _prerelease(text: str | None) -> semver.Version:
    return semver.Version(0, prerelease=text)
