"""Advisories of a RustSec database, from a checkout that the operator updates: `crates/NAME/RUSTSEC-….md`.

Each file begins with TOML between fences: `[advisory]`, and `[versions]` with requirements, `patched` and `unaffected`.
Source: https://github.com/rustsec/advisory-db/blob/main/README.md
"""

import logging
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings

from crates import names
from crates.mirror import resolving
from registry_site.errors import Invalid

ADVISORY = re.compile(r"\s*```toml\r?\n(?P<toml>.*?)\r?\n```\s*(?:# *(?P<title>[^\r\n]{0,200}))?", re.DOTALL)
MAX_FILE_BYTES = 1024 * 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Advisory:
    """A vulnerability of a crate. `safe_ranges` match the versions that are patched or were never affected."""

    id: str
    title: str
    safe_ranges: tuple[Callable[[str], bool], ...]

    def __str__(self) -> str:
        return f"{self.id} is against it{f': {self.title}' if self.title else ''}."

    def affects(self, version: str) -> bool:
        return not any(contains(version) for contains in self.safe_ranges)


def advisories_for(name: str) -> list[Advisory]:
    """Return the advisories about any version of a crate, by their ids, from all configured databases."""
    advisories = []
    for database in settings.MIRROR_ADVISORIES:
        folder = Path(database) / "crates"
        try:
            spelling = _spellings(folder, folder.stat().st_mtime_ns).get(names.canonical(name))
            paths = [] if spelling is None else list((folder / spelling).glob("*.md"))
        except OSError:  # git replaces the folder while it updates the checkout
            paths = []
        for path in paths:
            try:
                stat = path.stat()
                stamp = stat.st_mtime_ns, stat.st_size
            except OSError:
                stamp = 0, 0
            advisory = _read(path, stamp)
            if advisory is not None:
                advisories.append(advisory)
    return sorted(advisories, key=lambda advisory: advisory.id)


# Some thousand folders, which change when the checkout is updated. The time of change in the key notices that.
@lru_cache(maxsize=8)
def _spellings(folder: Path, changed: int) -> dict[str, str]:
    return {names.canonical(spelling): spelling for spelling in os.listdir(folder)}


# Every request for the index file of a crate asks for its advisories. The stamp in the key notices changed files.
@lru_cache(maxsize=2048)
def _read(path: Path, stamp: tuple[int, int]) -> Advisory | None:
    """Return the advisory in a file; None if it is withdrawn, only informs, or cannot be read."""
    try:
        with path.open("rb") as file:
            match = ADVISORY.match(file.read(MAX_FILE_BYTES).decode())
        if match is None:
            raise ValueError("it has no TOML at its beginning")
        document = tomllib.loads(match["toml"])
        advisory, versions = document["advisory"], document.get("versions", {})
        if advisory.get("withdrawn") or advisory.get("informational"):
            return None
        safe = [*versions.get("patched", []), *versions.get("unaffected", [])]
        title = (match["title"] or "").strip().rstrip(".")
        return Advisory(str(advisory["id"]), title, tuple(resolving.range_matcher(range_) for range_ in safe))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, Invalid) as error:
        _log.warning("The advisory %s cannot be read: %s", path, error)
        return None
