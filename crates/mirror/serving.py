"""What cargo is shown of an entry: upstream's bytes, but for what is not to be had here or is held back."""

import hashlib
from datetime import datetime

from django.conf import settings

from crates.mirror import index_cache, index_lines, metrics, overrides, policies, upstreams
from crates.mirror.index_lines import Line
from crates.mirror.metrics import OutcomeRecorder, ignore_outcome
from crates.mirror.models import CachedCrate, CachedIndexFile
from crates.mirror.overrides import ActiveOverride


def render_index_file(path: str) -> tuple[bytes, str, datetime | None]:
    """The file of the index at `path` and its ETag; and when it changed, of what is upstream's own.

    Raises as `entries.find` does, and what says that there is none.
    """
    found = get_entry(path, metrics.record_index_outcome)
    rulings = overrides.active_overrides_for(found.name)
    changed_here = bool(rulings or policies.describe() or settings.MIRROR_OFFLINE)
    body = index_lines.join(visible_lines(found, rulings)) if changed_here else bytes(found.body)
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', None if changed_here else found.changed_at


def get_entry(path: str, tell: OutcomeRecorder = ignore_outcome) -> CachedIndexFile:
    """The entry of a crate that upstream has; raises as `entry` does."""
    found = index_cache.get_or_refresh(path, tell)
    if found.status != 200:
        raise upstreams.ABSENCE_ERRORS[found.status](index_cache.NO_SUCH_CRATE)
    return found


def visible_lines(found: CachedIndexFile, rulings: list[ActiveOverride]) -> list[Line]:
    """Its lines that are to be had; what is held back is yanked."""
    every = available_lines(found)
    reasons = policies.quarantine_reasons(found, every, rulings)
    return [index_lines.mark_yanked(line) if line.version in reasons else line for line in every]


def available_lines(found: CachedIndexFile) -> list[Line]:
    """Its lines, without those whose files are not here when nobody is asked."""
    every = index_lines.parse(bytes(found.body))
    if not settings.MIRROR_OFFLINE:
        return every
    kept = set(CachedCrate.objects.filter(name=found.name).values_list("version", "sha256"))
    return [line for line in every if (line.version, line.checksum) in kept]
