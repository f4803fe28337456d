"""Overview of a mirrored crate for people: its versions, and why cargo does not choose some of them."""

from dataclasses import dataclass

from crates import names
from crates.mirror import index_lines, overrides, serving, upstreams
from crates.mirror.index_lines import Line
from crates.mirror.models import CachedCrate, CachedIndexFile
from registry_site.errors import NotFound


@dataclass(frozen=True)
class MirroredVersion:
    """A version of a mirrored crate. The reasons are empty if none applies; `crate` is None if it is not cached."""

    line: Line
    quarantine_reason: str
    exemption_reason: str
    crate: CachedCrate | None


def describe_crate(name: str) -> tuple[CachedIndexFile, list[MirroredVersion]]:
    """Return the index file of a crate and its versions; raises as `serving.get_index_file`."""
    if not index_lines.NAME.fullmatch(name):
        raise NotFound(upstreams.no_such_crate("this is no name of a crate"))
    index_file = serving.get_index_file(names.index_path(name.lower()))
    return index_file, describe_versions(index_file)


def describe_versions(index_file: CachedIndexFile) -> list[MirroredVersion]:
    """Return the available versions of a crate, those first that were published last."""
    lines = [line for line in reversed(serving.available_lines(index_file)) if line.version]
    active = overrides.active_overrides_for(index_file.name)
    reasons = serving.quarantine_reasons(index_file, lines, active)
    crates = {(crate.version, crate.sha256): crate for crate in index_file.cached_crates()}
    # Several overrides may exempt a version. The newest comes first in the list, so it overwrites the others here.
    exemptions = {
        line.version: override.reason
        for line in lines
        for override in reversed(active)
        if override.exempts(line.version)
    }
    return [
        MirroredVersion(
            line,
            reasons.get(line.version, ""),
            "" if line.version in reasons else exemptions.get(line.version, ""),
            crates.get((line.version, line.checksum)),
        )
        for line in lines
    ]
