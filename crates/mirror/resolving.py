"""Which version a requirement chooses, as cargo does when nothing is locked. Pure."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

import semver

from crates.package.requirements import normalized
from registry_site.errors import Invalid
from registry_site.versions import parse

_COMPARATOR = re.compile(r"(\^|~|=|>=|<=|>|<|)([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(-[0-9A-Za-z.-]+)?(\.\*)?")


def newest(requirement: str, versions: Iterable[str]) -> str | None:
    """The highest of the versions that fits; raises `Invalid` for what is no requirement."""
    fits = _matcher(normalized(requirement))
    fitting = [version for text in versions if (version := _parsed(text)) is not None and fits(version)]
    return str(max(fitting)) if fitting else None


def within(requirement: str) -> Callable[[str], bool]:
    """Tells whether a version lies within a requirement, pre-releases like all others; raises `Invalid`.

    In `*` lies every text, in any other requirement only what is a version.
    """
    comparators = _comparators(normalized(requirement))

    def fits(text: str) -> bool:
        version = _parsed(text)
        return not comparators or (version is not None and all(one.covers(version) for one in comparators))

    return fits


@lru_cache(maxsize=16384)
def _parsed(text: str) -> semver.Version | None:
    try:
        return parse(text)
    except Invalid:
        return None


def _matcher(requirement: str) -> Callable[[semver.Version], bool]:
    """A pre-release fits only beside a comparator that names one of the same three numbers."""
    comparators = _comparators(requirement)

    def fits(version: semver.Version) -> bool:
        named = version.prerelease is None or any(one.names_prerelease_of(version) for one in comparators)
        return named and all(one.fits(version) for one in comparators)

    return fits


def _comparators(requirement: str) -> "list[Comparator]":
    return [] if requirement == "*" else [Comparator.read(part) for part in requirement.split(", ")]


@dataclass(frozen=True)
class Comparator:
    """An operator and one to three numbers, three perhaps with a pre-release, as cargo's `semver` has them."""

    operator: str
    numbers: list[int]
    prerelease: str | None

    @classmethod
    def read(cls, text: str) -> "Comparator":
        """Of a requirement that is normalized."""
        match = _COMPARATOR.fullmatch(text)
        assert match is not None  # noqa: S101
        operator, *numbers, prerelease, _ = match.groups()
        return cls(
            operator or "=", [int(number) for number in numbers if number is not None], (prerelease or "")[1:] or None
        )

    def names_prerelease_of(self, version: semver.Version) -> bool:
        return self.prerelease is not None and self.numbers == _numbers(version)

    def fits(self, version: semver.Version) -> bool:
        have = _numbers(version)[: len(self.numbers)]
        later = _rank(version.prerelease).compare(_rank(self.prerelease))
        same, whole = have == self.numbers, len(self.numbers) == 3
        match self.operator:
            case "=":
                return same and later == 0
            case ">":
                return have > self.numbers or (same and whole and later > 0)
            case ">=":
                return have > self.numbers or (same and (later == 0 or (whole and later > 0)))
            case "<":
                return have < self.numbers or (same and whole and later < 0)
            case "<=":
                return have < self.numbers or (same and (later == 0 or (whole and later < 0)))
            case "~":
                return have[:2] == self.numbers[:2] and (have > self.numbers or (same and later >= 0))
        at_least = have > self.numbers or (same and (later >= 0 or not whole))
        return have[: self.fixed] == self.numbers[: self.fixed] and at_least

    def covers(self, version: semver.Version) -> bool:
        """By the order of versions alone, so that 1.2.5-rc.1 is one of 1.2 and above 1.2, and 2.0.0-rc.1 is no 1."""
        have, lowest = _numbers(version), [*self.numbers, 0, 0][:3]
        above = (have > lowest) - (have < lowest) or _rank(version.prerelease).compare(_rank(self.prerelease))
        have = have[: len(self.numbers)]
        order = above if len(self.numbers) == 3 else (have > self.numbers) - (have < self.numbers)
        match self.operator:
            case "=":
                return order == 0
            case ">":
                return order > 0
            case ">=":
                return above >= 0
            case "<":
                return order < 0
            case "<=":
                return order <= 0
        fixed = min(len(self.numbers), 2) if self.operator == "~" else self.fixed
        return have[:fixed] == self.numbers[:fixed] and above >= 0

    @property
    def fixed(self) -> int:
        """How many of the numbers `^` holds on to: all up to the first that is not 0."""
        return next((place for place, number in enumerate(self.numbers) if number), len(self.numbers) - 1) + 1


def _numbers(version: semver.Version) -> list[int]:
    return [version.major, version.minor, version.patch]


def _rank(prerelease: str | None) -> semver.Version:
    return semver.Version(0, prerelease=prerelease)
