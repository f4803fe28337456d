"""Mirrored crates from stored index files alone, as cargo sees them: upstream is never asked here."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import semver
from django.conf import settings

from crates import names
from crates.mirror import index_lines, overrides, policies, resolving, serving, shared_names, summaries, upstreams
from crates.mirror.index_lines import Line
from crates.mirror.models import CANONICAL_NAME, CachedCrate, CachedIndexFile, IndexSummary
from crates.mirror.policies import Reasons
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
    """A crate with its versions in the order of their publication, and a summary of these, which is not stored."""

    index_file: CachedIndexFile
    summary: IndexSummary
    versions: Sequence[StoredVersion]

    @property
    def name(self) -> str:
        """The name as upstream spells it."""
        return self.summary.name

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
        """Return the file that describes the crate, with its facts, but without the README."""
        chosen = IndexSummary.objects.filter(index_file=self.index_file).values("described_by")
        described = CachedCrate.objects.filter(pk__in=chosen).select_related("facts")
        return described.defer("facts__readme_text").first()


def get_crate(name: str) -> StoredCrate:
    """Return a crate whose index file is stored.

    Raises `NotFound`, also for names that exist here alone, and `Gone` or `UnavailableForLegalReasons` if upstream
    answered so.
    """
    index_file = get_index_file(name)
    lines = summaries.distinct(serving.available_lines(index_file))
    active = overrides.active_overrides_for(index_file.name)
    # A license that only a fetch would tell stays unknown.
    return describe_lines(
        index_file, lines, policies.quarantine_reasons(index_file.name, lines, active, lambda line: None)
    )


def describe_lines(index_file: CachedIndexFile, lines: Sequence[Line], reasons: Reasons) -> StoredCrate:
    """Return a crate with the versions of `distinct` lines, some of which are held back for a reason."""
    shown = as_served(lines, reasons)
    times = summaries.publication_times(shown, index_file.changed_at)
    versions = [
        StoredVersion(line, reasons.get(line.version, ""), time, stable_id(index_file.name, line.version))
        for line, time in zip(shown, times, strict=True)
    ]
    columns = summaries.columns(index_file.name, shown, index_file.changed_at)
    # By its key: the two rows would refer to each other, and megabytes wait for the collector of garbage.
    return StoredCrate(index_file, IndexSummary(index_file_id=index_file.pk, **columns), versions)


def apply_policies(rows: Sequence[IndexSummary]) -> list[IndexSummary]:
    """Return summaries as those of `get_crate` are, without crates that it refuses; nothing is stored.

    Of all crates together it takes a query for names, one for overrides, and two for versions that may be held back.
    """
    canonical = {row.canonical_name for row in rows}
    refused = shared_names.unserved_names(canonical)
    active = overrides.active_overrides_by_crate(canonical)
    served = [row for row in rows if row.canonical_name not in refused]
    concerned = [
        row
        for row in served
        if settings.MIRROR_OFFLINE
        or policies.may_concern(row.index_file.name, row.updated_at, active.get(row.canonical_name, []))
    ]
    if concerned:
        packed = IndexSummary.objects.filter(pk__in=[row.pk for row in concerned]).values_list("pk", "lines")
        lines, cached = dict(packed), policies.cached_licenses([row.index_file.name for row in concerned])
        for row in concerned:
            name, index_file = row.name, row.index_file
            available = summaries.unpack(lines.get(row.pk, []), name)
            files = cached.get(index_file.name, {})
            if settings.MIRROR_OFFLINE:
                available = [line for line in available if (line.version, line.checksum) in files]
            overrides_here = active.get(row.canonical_name, [])
            reasons = policies.quarantine_reasons(index_file.name, available, overrides_here, lambda line: None, files)
            columns = summaries.columns(index_file.name, as_served(available, reasons), index_file.changed_at)
            for column, value in columns.items():
                setattr(row, column, value)
    return served


def as_served(lines: Sequence[Line], reasons: Reasons) -> list[Line]:
    """Return lines as yanked that are held back for a reason."""
    return [replace(line, yanked=line.yanked or line.version in reasons) for line in lines]


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
