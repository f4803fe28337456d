"""Versions by Semantic Versioning 2.0."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import semver

from registry_site.errors import Invalid

MAX_LENGTH = 150
MAX_PART = 2**64 - 1  # cargo reads each number into a u64


def parse(text: str) -> semver.Version:
    """Parse a version. Raises `Invalid`, also for a number that does not fit 64 bits."""
    try:
        if not text.isascii() or len(text) > MAX_LENGTH:
            raise ValueError(text)
        version = semver.Version.parse(text)
    except ValueError as error:
        raise Invalid(f"The version {text[:80]!r} is not understood: write it like 1.2.3 or 1.2.3-rc.1.") from error
    if max(version.major, version.minor, version.patch) > MAX_PART:
        raise Invalid(f"The version {text[:80]!r} has a number over {MAX_PART}.")
    return version


def without_build(text: str) -> str:
    """Return a version without its build metadata, by which it is unique: `1.0.0+a` → `1.0.0`."""
    return text.partition("+")[0]


@lru_cache(maxsize=16384)  # a page sorts all versions of a crate, of which it shows some
def order_of(text: str) -> tuple[Any, ...]:
    """Return a key by which texts are sorted as SemVer sorts their versions, many times as fast; raises `Invalid`."""
    version = parse(text)
    identifiers = (version.prerelease or "").split(".")
    prerelease = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in identifiers)
    return version.major, version.minor, version.patch, version.prerelease is None, prerelease, version.build or ""


def numbers_before(numbers: Sequence[str]) -> dict[str, str]:
    """Return by each number the next lower one, of a stable version that of a stable one if there is any.

    `numbers` begin with the highest; the lowest has none before it.
    """
    before: dict[str, str] = {}
    last = last_stable = ""
    for number in reversed(numbers):
        is_stable = "-" not in without_build(number)
        if lower := (last_stable if is_stable else "") or last:
            before[number] = lower
        last, last_stable = number, number if is_stable else last_stable
    return before
