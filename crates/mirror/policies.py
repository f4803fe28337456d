"""What the operator's policies hold back, and why: it is relayed as yanked, so that locked builds go on.

A version can be too young, not be under an allowed license, be denied by its name, or have an advisory against it. What
staff have blocked is told in the same way; what they have exempted is not held back.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import semver
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from crates import names
from crates.mirror import advisories, crate_cache, index_cache, licenses, resolving
from crates.mirror.index_lines import Line
from crates.mirror.models import CachedCrate, CachedIndexFile
from crates.mirror.overrides import ActiveOverride
from crates.mirror.upstreams import UpstreamFault
from registry_site import versions
from registry_site.errors import Invalid, NotFound, RegistryError

LICENSE = re.compile(r"[A-Za-z0-9.:+-]+")
PATTERN = re.compile(r"[A-Za-z0-9_*?-]+")
MAX_FETCHES = 3  # files at a request, to know the license of what cargo would choose

Reasons = dict[str, str]  # of each version that is held back
Judge = Callable[[Line], Iterator[str]]


def check_settings() -> None:
    """Raises `ImproperlyConfigured` for what would hold nothing back, or not what was meant."""
    try:
        for word in settings.MIRROR_DENYLIST:
            _denial(word)
    except Invalid as error:
        raise _refused(
            "MIRROR_DENYLIST", "give names such as time, evil-* or time@<0.2.23, separated by blanks"
        ) from error
    if not all(LICENSE.fullmatch(word) for word in settings.MIRROR_LICENSES):
        raise _refused("MIRROR_LICENSES", "give SPDX identifiers such as MIT or Apache-2.0, separated by blanks")
    if not all((Path(database) / "crates").is_dir() for database in settings.MIRROR_ADVISORIES):
        raise _refused("MIRROR_ADVISORIES", "give checkouts of the advisory database, which have a folder `crates`")


def _refused(name: str, wanted: str) -> ImproperlyConfigured:
    refusal: ImproperlyConfigured = settings.REGISTRY.refusal(name, wanted)
    return refusal


@lru_cache(maxsize=1024)
def _denial(word: str) -> tuple[str, Callable[[str], bool]]:
    """Of `pattern` or `pattern@requirement`: which names it means, and which versions; raises `Invalid`."""
    pattern, at, requirement = word.partition("@")
    if not PATTERN.fullmatch(pattern):
        raise Invalid("It names no crate.")
    return names.canonical(pattern), resolving.range_matcher(requirement if at else "*")


def describe() -> list[str]:
    """Each policy that is set, in words; none without policies."""
    told = {
        f"releases are held back for {settings.MIRROR_MIN_AGE_DAYS} days": settings.MIRROR_MIN_AGE_DAYS,
        f"licenses are {' '.join(settings.MIRROR_LICENSES)}": settings.MIRROR_LICENSES,
        f"denied are {' '.join(settings.MIRROR_DENYLIST)}": settings.MIRROR_DENYLIST,
        f"advisories are in {' '.join(settings.MIRROR_ADVISORIES)}": settings.MIRROR_ADVISORIES,
    }
    return [words for words, is_set in told.items() if is_set]


def quarantine_reasons(entry: CachedIndexFile, found: list[Line], rulings: list[ActiveOverride]) -> Reasons:
    """Why each of these versions that is held back is so; the others are not in it."""
    judges = [_age, _denied(entry.name), _advised(entry.name)]
    reasons: Reasons = {}
    open_to_all = []
    for line in found:
        if not line.version:
            continue
        told = [f"It is blocked: {one.reason}" for one in rulings if one.blocks(line.version)]
        if not told and not any(one.exempts(line.version) for one in rulings):
            told = [reason for judge in judges for reason in judge(line)]
            open_to_all += [] if told else [line]
        if told:
            reasons[line.version] = " ".join(told)
    if settings.MIRROR_LICENSES:
        reasons |= _unlicensed(entry, open_to_all)
    return reasons


def _age(line: Line) -> Iterator[str]:
    """What the index has no time of is old enough, as cargo itself takes it."""
    age = timedelta(days=settings.MIRROR_MIN_AGE_DAYS)
    if age and line.published_at is not None and line.published_at > timezone.now() - age:
        yield f"It was published on {line.published_at:%Y-%m-%d}, and is held back for {age.days} days."


def _denied(name: str) -> Judge:
    canonical = names.canonical(name)
    denials = [(word, *_denial(word)) for word in settings.MIRROR_DENYLIST]
    found = [(word, covers) for word, pattern, covers in denials if fnmatchcase(canonical, pattern)]
    return lambda line: (f"It is on the deny list, as {word}." for word, covers in found if covers(line.version))


def _advised(name: str) -> Judge:
    known = advisories.advisories_for(name)
    return lambda line: (str(one) for one in known if one.affects(line.version))


def _unlicensed(entry: CachedIndexFile, found: list[Line]) -> Reasons:
    """Those whose license is not allowed.

    One that nobody knows yet is taken to be that of the next newer version, or of the newest that is known.
    """
    usable = sorted((line for line in found if not line.yanked), key=_version, reverse=True)
    known = _known_licenses(entry, usable)
    nearest = next((known[line.version] for line in usable if line.version in known), None)
    reasons: Reasons = {}
    for line in usable:
        nearest = known.get(line.version, nearest)
        if nearest is None:
            reasons[line.version] = "Its license is not known yet, for its file could not be fetched."
        elif not _is_allowed(nearest):
            reasons[line.version] = f"Its license is {nearest or 'not stated'}, which is not allowed here."
    return reasons


def _known_licenses(entry: CachedIndexFile, usable: list[Line]) -> dict[str, str]:
    """Of each version whose file is here. A few are fetched, until there is one that cargo may choose."""
    kept = CachedCrate.objects.filter(name=entry.name).values_list("version", "sha256", "license")
    here = {(version, sha256): license_ for version, sha256, license_ in kept}
    known = {line.version: here[key] for line in usable if (key := (line.version, line.checksum)) in here}
    left = MAX_FETCHES
    for line in sorted(usable, key=lambda line: _version(line).prerelease is not None):  # as cargo chooses
        if line.version not in known:
            license_, left = _learned(entry, line, left)
            known |= {} if license_ is None else {line.version: license_}
        if not left or (line.version in known and _is_allowed(known[line.version])):
            break
    return known


def _learned(entry: CachedIndexFile, line: Line, left: int) -> tuple[str | None, int]:
    """The license in a file that is fetched, and how many more may be: none after a fault, for they would wait, too."""
    key = f"mirror-license-{line.checksum}"
    left_then: int | None = cache.get(key)
    if left_then is None:
        try:
            return crate_cache.get_or_fetch(entry, line)[0].license, left - 1
        except NotFound:
            left_then = left - 1
        except RegistryError as error:
            if not isinstance(error.__cause__, UpstreamFault):  # too many wait for upstream just now
                return None, 0
            left_then = 0
        cache.set(key, left_then, index_cache.RETRY_AFTER_FAULT.total_seconds())
    return None, left_then


def _is_allowed(license_: str) -> bool:
    return licenses.is_allowed(license_, settings.MIRROR_LICENSES)


def _version(line: Line) -> semver.Version:
    try:
        return versions.parse(line.version)
    except Invalid:
        return semver.Version(0)
