"""Summaries of index files, for lists: names, numbers of versions, and the versions that stand out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import semver

from crates.mirror import resolving
from crates.mirror.index_lines import NAME, Line
from registry_site.search import spelling
from registry_site.search.words import tokenize


@dataclass(frozen=True)
class Foremost:
    """The versions of a crate that stand out; empty texts where there is none. `default` is chosen as at crates.io."""

    highest: str = ""
    highest_stable: str = ""
    default: str = ""
    newest: str = ""
    is_default_yanked: bool = False


def choose_foremost(lines: Sequence[Line]) -> Foremost:
    """Return the versions that stand out among the lines of an index file, which come in the order of publication."""
    numbers = [(number, line) for line in lines if line.version and (number := resolving.parse(line.version))]
    usable = [(number, line) for number, line in numbers if not line.yanked]

    def highest(candidates: Sequence[tuple[semver.Version, Line]]) -> Line | None:
        return max(candidates, key=lambda pair: pair[0], default=(None, None))[1]

    stable = highest([pair for pair in usable if pair[0].prerelease is None])
    every = [pair for pair in numbers if pair[0].prerelease is None] or numbers
    default = stable or highest(usable) or highest(every)
    return Foremost(
        highest=version_of(highest(usable)),
        highest_stable=version_of(stable),
        default=version_of(default),
        newest=version_of(usable[-1][1] if usable else None),
        is_default_yanked=default is not None and default.yanked,
    )


def version_of(line: Line | None) -> str:
    return line.version if line else ""


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
    """Return the columns of the `IndexSummary` of an index file."""
    shown = [line for line in lines if line.version]
    foremost, times = choose_foremost(shown), publication_times(shown, changed_at) or [changed_at]
    spelt = spelling_of(name, shown)
    return {
        "name": spelt,
        "name_words": " ".join(dict.fromkeys([spelling.joined(spelt), *tokenize(spelt)])),
        "version_count": len(shown),
        "max_version": foremost.highest,
        "max_stable_version": foremost.highest_stable,
        "default_version": foremost.default,
        "newest_version": foremost.newest,
        "created_at": min(times),
        "updated_at": max(times),
    }
