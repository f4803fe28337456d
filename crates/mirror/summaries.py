"""Summaries of index files, for lists: names, numbers of versions, and the versions that stand out."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

import semver

from crates import names
from crates.mirror import resolving
from crates.mirror.index_lines import NAME, Line
from crates.mirror.models import CachedIndexFile, IndexSummary
from registry_site.search import spelling
from registry_site.search.words import tokenize

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # of a version that does not say when, and so is old enough


def distinct(lines: Iterable[Line]) -> list[Line]:
    """Return the lines whose version has the form of SemVer, each version once."""
    return list({line.version: line for line in lines if resolving.parse(line.version)}.values())


def choose_foremost(lines: Sequence[Line]) -> dict[str, str]:
    """Return the columns of the versions that stand out, as crates.io chooses them; empty where there is none.

    The lines are `distinct`, and in the order of publication.
    """
    numbers = [(resolving.parse(line.version) or semver.Version(0), line.version, line.yanked) for line in lines]
    usable = [(number, text) for number, text, yanked in numbers if not yanked]
    stable = [pair for pair in usable if pair[0].prerelease is None]
    every = [(number, text) for number, text, _ in numbers]
    every_stable = [pair for pair in every if pair[0].prerelease is None]

    def highest(*choices: Sequence[tuple[semver.Version, str]]) -> str:
        first = next((choice for choice in choices if choice), [])
        return max(first, default=(None, ""), key=itemgetter(0))[1]

    return {
        "max_version": highest(usable),
        "max_stable_version": highest(stable),
        "default_version": highest(stable, usable, every_stable, every),
        "newest_version": usable[-1][1] if usable else "",
    }


def publication_times(lines: Sequence[Line], latest: datetime) -> list[datetime]:
    """Return when each line was published; for one that does not say it, the time of the next that does, or `latest`.

    Lines come in the order of publication, so no version came later than that.
    """
    times = []
    for line in reversed(lines):
        latest = line.published_at or latest
        times.append(latest)
    return times[::-1]


def spelling_of(name: str, lines: Sequence[Line]) -> str:
    """Return the name of a crate as its last line spells it, or else as it is."""
    spellings = (line.name for line in reversed(lines) if NAME.fullmatch(line.name))
    return next((spelt for spelt in spellings if spelt.lower() == name), name)


def columns(name: str, lines: Sequence[Line], changed_at: datetime) -> dict[str, Any]:
    """Return the columns of the `IndexSummary` of an index file with these `distinct` lines, except for `lines`."""
    times = publication_times(lines, changed_at) or [changed_at]
    spelt = spelling_of(name, lines)
    return {
        "name": spelt,
        "canonical_name": names.canonical(spelt),
        "name_words": " ".join(dict.fromkeys([spelling.joined(spelt), *tokenize(spelt)])),
        "version_count": len(lines),
        **choose_foremost(lines),
        "created_at": min(times),
        "updated_at": max(times),
        "first_usable_at": min((line.published_at or LONG_AGO for line in lines if not line.yanked), default=None),
    }


def pack(lines: Sequence[Line]) -> list[list[Any]]:
    """Return lines as `IndexSummary.lines` has them."""
    return [
        [line.version, line.checksum, line.yanked, line.published_at.timestamp() if line.published_at else None]
        for line in lines
    ]


def unpack(packed: Sequence[Sequence[Any]], name: str) -> list[Line]:
    """Return packed lines of a crate, without their bytes."""
    return [
        Line(b"", version, checksum, yanked, None if time is None else datetime.fromtimestamp(time, UTC), name)
        for version, checksum, yanked, time in packed
    ]


def lines_of(index_file: CachedIndexFile) -> list[Line]:
    """Return the stored lines of a crate, without their bytes."""
    packed = IndexSummary.objects.filter(index_file=index_file).values_list("lines", flat=True).first()
    return unpack(packed or [], index_file.name)
