"""What cargo is shown of an entry: upstream's bytes, but for what is not to be had here or is held back."""

import hashlib
from datetime import datetime

from django.conf import settings

from crates.mirror import index_cache, index_lines, metrics, overrides, policies, upstreams
from crates.mirror.index_lines import Line
from crates.mirror.metrics import Tell, to_nobody
from crates.mirror.models import Archive, Entry
from crates.mirror.overrides import Ruling


def entry(path: str) -> tuple[bytes, str, datetime | None]:
    """The file of the index at `path` and its ETag; and when it changed, of what is upstream's own.

    Raises as `entries.find` does, and what says that there is none.
    """
    found = present(path, metrics.of_index)
    rulings = overrides.about(found.name)
    changed_here = bool(rulings or policies.described() or settings.MIRROR_OFFLINE)
    body = index_lines.joined(offered(found, rulings)) if changed_here else bytes(found.body)
    return body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', None if changed_here else found.changed_at


def present(path: str, tell: Tell = to_nobody) -> Entry:
    """The entry of a crate that upstream has; raises as `entry` does."""
    found = index_cache.find(path, tell)
    if found.status != 200:
        raise upstreams.ABSENT[found.status](index_cache.NOT_HERE)
    return found


def offered(found: Entry, rulings: list[Ruling]) -> list[Line]:
    """Its lines that are to be had; what is held back is yanked."""
    every = to_be_had(found)
    reasons = policies.held_back(found, every, rulings)
    return [index_lines.held_back(line) if line.version in reasons else line for line in every]


def to_be_had(found: Entry) -> list[Line]:
    """Its lines, without those whose files are not here when nobody is asked."""
    every = index_lines.parsed(bytes(found.body))
    if not settings.MIRROR_OFFLINE:
        return every
    kept = set(Archive.objects.filter(name=found.name).values_list("version", "sha256"))
    return [line for line in every if (line.version, line.checksum) in kept]
