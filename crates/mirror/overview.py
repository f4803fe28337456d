"""What people are told about a mirrored crate: its versions, and why one is held back."""

from dataclasses import dataclass

from crates import names
from crates.mirror import index_cache, overrides, policies, serving
from crates.mirror.index_lines import Line
from crates.mirror.models import CachedCrate, CachedIndexFile
from registry_site.errors import NotFound


@dataclass(frozen=True)
class Version:
    """A line of the index; `held_back` and `exempt` are reasons, or empty; `archive` is its file, if that is here."""

    line: Line
    held_back: str
    exempt: str
    archive: CachedCrate | None


def describe_crate(name: str) -> tuple[CachedIndexFile, list[Version]]:
    """Its entry and its versions, those first that were published last; raises as `serving.entry` does."""
    if not index_cache.NAME.fullmatch(name):
        raise NotFound(index_cache.NO_SUCH_CRATE)
    entry = serving.get_entry(names.index_path(name.lower()))
    return entry, describe_versions(entry)


def describe_versions(entry: CachedIndexFile) -> list[Version]:
    found = [line for line in reversed(serving.available_lines(entry)) if line.version]
    rulings = overrides.active_overrides_for(entry.name)
    reasons = policies.quarantine_reasons(entry, found, rulings)
    kept = {(archive.version, archive.sha256): archive for archive in CachedCrate.objects.filter(name=entry.name)}
    exempt = {
        one.version: ruling.reason for one in found for ruling in reversed(rulings) if ruling.exempts(one.version)
    }
    return [
        Version(
            line,
            reasons.get(line.version, ""),
            "" if line.version in reasons else exempt.get(line.version, ""),
            kept.get((line.version, line.checksum)),
        )
        for line in found
    ]
