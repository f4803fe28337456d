"""What the operator's policies hold back, and why: it is relayed as yanked, so that locked builds go on.

A version can be too young, not be under an allowed license, be denied by its name, or have an advisory against it. What
staff have blocked is told in the same way; what they have exempted is not held back.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import lru_cache

import semver
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from crates import names
from crates.mirror import advisories, archives, licenses, resolving
from crates.mirror.decisions import Ruling
from crates.mirror.lines import Line
from crates.mirror.models import Archive, Entry
from registry_site import versions
from registry_site.errors import Invalid, RegistryError

MOST_FETCHED = 3  # files at a request, to know the license of what cargo would choose

Reasons = dict[str, str]  # of each version that is held back
Judge = Callable[[Line], Iterator[str]]


def check_settings() -> None:
    """Raises `ImproperlyConfigured` for a deny list that cannot be understood."""
    try:
        for word in settings.MIRROR_DENY:
            _means(word)
    except Invalid as error:
        refusal: ImproperlyConfigured = settings.REGISTRY.refuse(
            "MIRROR_DENY", "give names such as time, evil-* or time@<0.2.23, separated by blanks"
        )
        raise refusal from error


@lru_cache(maxsize=1024)
def _means(word: str) -> Callable[[str, str], bool]:
    """Of `pattern` or `pattern@requirement`: tells whether it means a version of a crate; raises `Invalid`."""
    pattern, _, requirement = word.partition("@")
    if not pattern:
        raise Invalid("It names no crate.")
    covers, canonical = resolving.within(requirement or "*"), names.canonical(pattern)
    return lambda name, version: fnmatchcase(names.canonical(name), canonical) and covers(version)


def described() -> list[str]:
    """Each policy that is set, in words; none without policies."""
    told = {
        f"releases are held back for {settings.MIRROR_MIN_AGE_DAYS} days": settings.MIRROR_MIN_AGE_DAYS,
        f"licenses are {' '.join(settings.MIRROR_LICENSES)}": settings.MIRROR_LICENSES,
        f"denied are {' '.join(settings.MIRROR_DENY)}": settings.MIRROR_DENY,
        f"advisories are in {' '.join(settings.MIRROR_ADVISORIES)}": settings.MIRROR_ADVISORIES,
    }
    return [words for words, is_set in told.items() if is_set]


def held_back(entry: Entry, found: list[Line], rulings: list[Ruling]) -> Reasons:
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
    if line.published_at is not None and line.published_at > timezone.now() - age:
        yield f"It was published on {line.published_at:%Y-%m-%d}, and is held back for {age.days} days."


def _denied(name: str) -> Judge:
    return lambda line: (
        f"It is on the deny list, as {word}." for word in settings.MIRROR_DENY if _means(word)(name, line.version)
    )


def _advised(name: str) -> Judge:
    known = advisories.of_crate(name)
    return lambda line: (str(one) for one in known if one.affects(line.version))


def _unlicensed(entry: Entry, found: list[Line]) -> Reasons:
    """Those whose license is not allowed; one that nobody knows yet is taken to be that of the next newer version.

    Files are fetched for it, a few at a request, until a version is found that cargo may choose.
    """
    kept = Archive.objects.filter(name=entry.name).values_list("version", "sha256", "license")
    known = {(version, sha256): license_ for version, sha256, license_ in kept}
    reasons: Reasons = {}
    nearest, left = None, MOST_FETCHED
    for line in sorted((line for line in found if not line.yanked), key=_as_cargo_chooses, reverse=True):
        license_ = known.get((line.version, line.checksum))
        if license_ is None and left:
            license_ = _fetched_license(entry, line)
            left = left - 1 if license_ is not None else 0
        nearest = nearest if license_ is None else license_
        if nearest is None:
            reasons[line.version] = "Its license is not known yet, for its file could not be fetched."
        elif licenses.is_allowed(nearest, settings.MIRROR_LICENSES):
            left = 0
        else:
            reasons[line.version] = f"Its license is {nearest or 'not stated'}, which is not allowed here."
    return reasons


def _fetched_license(entry: Entry, line: Line) -> str | None:
    try:
        return archives.obtain(entry, line)[0].license
    except RegistryError:  # it is on record, and the version is held back
        return None


def _as_cargo_chooses(line: Line) -> tuple[bool, semver.Version]:
    """Pre-releases come last."""
    try:
        version = versions.parse(line.version)
    except Invalid:
        return False, semver.Version(0)
    return version.prerelease is None, version
