"""Policies of the operator: quarantine versions by age, license, deny list and advisories.

A quarantined version is relayed as yanked: builds that have locked it go on, and nobody chooses it any more. The
overrides of staff go first: a blocked version is quarantined, too, and an exempt one passes.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

import semver
from django.conf import settings
from django.utils import timezone

from crates import names
from crates.mirror import advisories, licenses, resolving
from crates.mirror.advisories import Advisory
from crates.mirror.index_lines import Line
from crates.mirror.models import CachedCrate
from crates.mirror.overrides import ActiveOverride
from registry_site.errors import Invalid

LICENSE = re.compile(r"[A-Za-z0-9.:+-]+")
PATTERN = re.compile(r"[A-Za-z0-9_*?-]+")
END_OF_TIME = datetime.max.replace(tzinfo=UTC)

Reasons = dict[str, str]  # by version; versions that pass have none
Licenses = Mapping[tuple[str, str], str]  # by version and checksum
LicenseOf = Callable[[Line], str | None]  # may fetch the crate; None if that is not possible now


def check_settings() -> None:
    """Raise `ImproperlyConfigured` for a setting that would quarantine nothing, or not what its author meant."""
    refusal = settings.REGISTRY.refusal
    try:
        for word in settings.MIRROR_DENYLIST:
            _parse_denial(word)
    except Invalid as error:
        advice = "give names such as time, evil-* or time@<0.2.23, separated by blanks"
        raise refusal("MIRROR_DENYLIST", advice) from error
    if not all(LICENSE.fullmatch(word) for word in settings.MIRROR_LICENSES):
        raise refusal("MIRROR_LICENSES", "give SPDX identifiers such as MIT or Apache-2.0, separated by blanks")
    if not all((Path(database) / "crates").is_dir() for database in settings.MIRROR_ADVISORIES):
        raise refusal("MIRROR_ADVISORIES", "give checkouts of the advisory database, which have a folder `crates`")


def describe() -> list[str]:
    """Return a sentence for each policy that is set."""
    sentences = {
        f"releases are held back for {settings.MIRROR_MIN_AGE_DAYS} days": settings.MIRROR_MIN_AGE_DAYS,
        f"licenses are {' '.join(settings.MIRROR_LICENSES)}": settings.MIRROR_LICENSES,
        f"denied are {' '.join(settings.MIRROR_DENYLIST)}": settings.MIRROR_DENYLIST,
        f"advisories are in {' '.join(settings.MIRROR_ADVISORIES)}": settings.MIRROR_ADVISORIES,
    }
    return [sentence for sentence, is_set in sentences.items() if is_set]


def other_than_age() -> list[str]:
    """Return the names of the policies that are set beside the age."""
    names_of = {
        "licenses": settings.MIRROR_LICENSES,
        "the deny list": settings.MIRROR_DENYLIST,
        "advisories": settings.MIRROR_ADVISORIES,
    }
    return [name for name, is_set in names_of.items() if is_set]


def quarantine_reasons(
    name: str,
    lines: Sequence[Line],
    overrides: Sequence[ActiveOverride],
    license_of: LicenseOf,
    cached: Licenses | None = None,
) -> Reasons:
    """Return why each version of a crate is quarantined, or blocked by staff.

    `license_of` is called only for versions that nothing else quarantines, since it may have to fetch their crates;
    `cached` are the licenses of the crates that are here, if the caller has read them.
    """
    policies = CratePolicies.of(name)
    reasons: Reasons = {}
    passed = []
    for line in lines:
        if not line.version:
            continue
        against = [f"It is blocked: {override.reason}" for override in overrides if override.blocks(line.version)]
        if not against and not any(override.exempts(line.version) for override in overrides):
            against = policies.reasons_against(line)
            if not against:
                passed.append(line)
        if against:
            reasons[line.version] = " ".join(against)
    if settings.MIRROR_LICENSES:
        licenses_here = cached_licenses([name])[name] if cached is None else cached
        reasons |= _license_reasons(passed, licenses_here, license_of)
    return reasons


def old_enough_at(line: Line) -> datetime | None:
    """Return when a version will be old enough to be offered; None if it is, or if nobody knows its age."""
    if line.published_at is None:
        return None
    try:
        time = line.published_at + timedelta(days=settings.MIRROR_MIN_AGE_DAYS)
    except OverflowError:  # upstream can write any year
        return END_OF_TIME
    return time if time > timezone.now() else None


def may_concern(name: str, last_published_at: datetime, overrides: Sequence[ActiveOverride]) -> bool:
    """Return whether a policy or an override may concern any version of a crate, the last of which came then."""
    if overrides or settings.MIRROR_LICENSES:
        return True
    policies = CratePolicies.of(name)
    return bool(policies.denied or policies.advisories or (policies.youngest and last_published_at > policies.youngest))


def youngest_allowed() -> datetime | None:
    """Return when a version has to be published at the latest; None if that does not count."""
    days = settings.MIRROR_MIN_AGE_DAYS
    return timezone.now() - timedelta(days=days) if days else None


def cached_licenses(crates: Collection[str]) -> Mapping[str, Licenses]:
    """Return the licenses of cached crates by their names in lower case."""
    licenses_here: defaultdict[str, dict[tuple[str, str], str]] = defaultdict(dict)
    rows = CachedCrate.objects.filter(name__in=crates).values_list("name", "version", "sha256", "license")
    for name, version, sha256, license_ in rows:
        licenses_here[name][version, sha256] = license_
    return licenses_here


@dataclass(frozen=True)
class CratePolicies:
    """The policies, except for licenses, as far as they concern one crate: settings and advisories are read once."""

    youngest: datetime | None
    denied: Sequence[tuple[str, Callable[[str], bool]]]
    advisories: Sequence[Advisory]

    @classmethod
    def of(cls, name: str) -> "CratePolicies":
        canonical = names.canonical(name)
        denials = [(word, *_parse_denial(word)) for word in settings.MIRROR_DENYLIST]
        denied = [(word, contains) for word, pattern, contains in denials if fnmatchcase(canonical, pattern)]
        return cls(youngest_allowed(), denied, advisories.advisories_for(name))

    def reasons_against(self, line: Line) -> list[str]:
        reasons = []
        # Like cargo, take a version as old enough if the index does not say when it was published.
        if self.youngest and line.published_at is not None and line.published_at > self.youngest:
            published = f"{line.published_at:%Y-%m-%d}"
            days = settings.MIRROR_MIN_AGE_DAYS
            reasons.append(f"It was published on {published}, and is held back for {days} days.")
        reasons += [f"It is on the deny list, as {word}." for word, contains in self.denied if contains(line.version)]
        reasons += [str(advisory) for advisory in self.advisories if advisory.affects(line.version)]
        return reasons


@lru_cache(maxsize=1024)
def _parse_denial(word: str) -> tuple[str, Callable[[str], bool]]:
    """Return the name pattern and the range of versions in `pattern` or `pattern@requirement`; raises `Invalid`."""
    pattern, at, requirement = word.partition("@")
    if not PATTERN.fullmatch(pattern):
        raise Invalid("It names no crate.")
    return names.canonical(pattern), resolving.range_matcher(requirement if at else "*")


def _license_reasons(lines: list[Line], cached: Licenses, license_of: LicenseOf) -> Reasons:
    """Return the reasons against versions whose license is not allowed.

    Fetching every crate would take minutes. So a version whose crate is not here is taken to be under the license of
    the next newer one, or else of the newest that is cached: licenses rarely change.
    """
    numbers = {line.version: resolving.parse(line.version) or semver.Version(0) for line in lines}
    usable = sorted((line for line in lines if not line.yanked), key=lambda line: numbers[line.version], reverse=True)
    licenses_by_version = _find_licenses(usable, cached, license_of)
    nearest = next((licenses_by_version[line.version] for line in usable if line.version in licenses_by_version), None)
    reasons: Reasons = {}
    for line in usable:
        nearest = licenses_by_version.get(line.version, nearest)
        if nearest is None:
            reasons[line.version] = "Its license is not known yet, for its file could not be fetched."
        elif not licenses.is_allowed(nearest, settings.MIRROR_LICENSES):
            reasons[line.version] = f"Its license is {nearest or 'not stated'}, which is not allowed here."
    return reasons


def _find_licenses(usable: list[Line], cached: Licenses, license_of: LicenseOf) -> dict[str, str]:
    """Return the licenses of cached crates, and of the newest others until one is allowed: cargo chooses that one."""
    result = {line.version: cached[key] for line in usable if (key := (line.version, line.checksum)) in cached}

    def is_prerelease(line: Line) -> bool:
        version = resolving.parse(line.version)
        return version is not None and version.prerelease is not None

    # cargo chooses a pre-release only when the requirement names one, so they come last.
    for line in sorted(usable, key=is_prerelease):
        if line.version not in result:
            license_ = license_of(line)
            if license_ is not None:
                result[line.version] = license_
        if line.version in result and licenses.is_allowed(result[line.version], settings.MIRROR_LICENSES):
            break
    return result
