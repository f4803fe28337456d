"""Mirrored crates from stored index files alone, as cargo sees them: upstream is never asked here."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import semver

from crates import names
from crates.mirror import index_lines, overrides, policies, resolving, serving, shared_names, summaries, upstreams
from crates.mirror.index_lines import Line
from crates.mirror.models import CANONICAL_NAME, CachedCrate, CachedIndexFile
from crates.mirror.policies import Reasons
from crates.mirror.summaries import Foremost
from registry_site.errors import NotFound


@dataclass(frozen=True)
class StoredVersion:
    """A version: its line, which looks yanked if it is held back, for a reason, and when it was published."""

    line: Line
    reason: str
    published_at: datetime
    id: int

    @property
    def rank(self) -> tuple[semver.Version, str]:
        """The number by SemVer; among those that differ in build metadata alone, the text decides."""
        return resolving.parse(self.line.version) or semver.Version(0), self.line.version


@dataclass(frozen=True)
class StoredCrate:
    """A crate with its versions in the order of their publication; `name` is upstream's spelling."""

    index_file: CachedIndexFile
    name: str
    versions: Sequence[StoredVersion]

    @property
    def foremost(self) -> Foremost:
        return summaries.choose_foremost([version.line for version in self.versions])

    def get_version(self, number: str) -> StoredVersion:
        """Return a version; raises `NotFound`."""
        for version in self.versions:
            if version.line.version == number:
                return version
        raise NotFound(f"There is no version {number[:80]!r} of the crate {self.name} in the mirror.")

    def files_of(self, versions: Sequence[StoredVersion]) -> dict[str, CachedCrate]:
        """Return the cached files of a few versions by number, with their facts, but without their READMEs."""
        cached = self.index_file.cached_crates().select_related("facts").defer("facts__readme_text")
        selected = cached.filter(version__in=[version.line.version for version in versions])
        files = {(crate.version, crate.sha256): crate for crate in selected}
        keys = [(version.line.version, version.line.checksum) for version in versions]
        return {key[0]: files[key] for key in keys if key in files}

    def described_file(self) -> CachedCrate | None:
        """Return the file that describes the crate: that of its default version, or else of the highest stored one."""
        checksums = {version.line.version: version.line.checksum for version in self.versions}
        stored = self.index_file.cached_crates().exclude(facts=None).values_list("pk", "version", "sha256")
        keys = {number: pk for pk, number, sha256 in stored if checksums.get(number) == sha256}
        default = self.foremost.default
        number = default if default in keys else max(keys, key=lambda text: (resolving.parse(text), text), default="")
        facts = CachedCrate.objects.select_related("facts").defer("facts__readme_text")
        return facts.get(pk=keys[number]) if number else None


def get_crate(name: str) -> StoredCrate:
    """Return a crate whose index file is stored.

    Raises `NotFound`, also for names that exist here alone, and `Gone` or `UnavailableForLegalReasons` if upstream
    answered so.
    """
    index_file = get_index_file(name)
    lines = {line.version: line for line in serving.available_lines(index_file) if resolving.parse(line.version)}
    active = overrides.active_overrides_for(index_file.name)
    # A license that only a fetch would tell stays unknown.
    reasons = policies.quarantine_reasons(index_file.name, list(lines.values()), active, lambda line: None)
    return StoredCrate(
        index_file,
        summaries.spelling_of(index_file.name, list(lines.values())),
        stored_versions(index_file, list(lines.values()), reasons),
    )


def stored_versions(index_file: CachedIndexFile, lines: Sequence[Line], reasons: Reasons) -> list[StoredVersion]:
    times = summaries.publication_times(lines, index_file.changed_at)
    return [
        StoredVersion(
            replace(line, yanked=line.yanked or line.version in reasons),
            reasons.get(line.version, ""),
            time,
            stable_id(index_file.name, line.version),
        )
        for line, time in zip(lines, times, strict=True)
    ]


def get_index_file(name: str) -> CachedIndexFile:
    """Return the stored index file of a crate, in any spelling of its name; raises as `get_crate`."""
    if not index_lines.NAME.fullmatch(name):
        raise NotFound(upstreams.no_such_crate("this is no name of a crate"))
    shared_names.refuse_unserved_name(name)
    index_files = CachedIndexFile.objects.defer("checksums")
    index_file = index_files.filter(path=names.index_path(name.lower())).first()
    if index_file is None:
        spelt = index_files.alias(canonical_name=CANONICAL_NAME).filter(canonical_name=names.canonical(name))
        index_file = spelt.filter(status=200).first()
    if index_file is None:
        raise NotFound(
            upstreams.no_such_crate("the mirror has not stored it yet; it does so when cargo first asks for it")
        )
    if index_file.status != 200:
        raise upstreams.absence_error(index_file.status)
    return index_file


def stable_id(*parts: str) -> int:
    """Return a number that stands for a version, or for one of its dependencies: 53 bits, exact in any JSON reader."""
    return int.from_bytes(hashlib.sha256("@".join(parts).encode()).digest()[:8]) >> 11
