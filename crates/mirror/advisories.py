"""What a checkout of the RustSec advisory database says against a version: `crates/NAME/RUSTSEC-….md`.

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
MAX_FILE_BYTES = 1024 * 1024  # bytes

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Advisory:
    """`id` as RUSTSEC-2021-0001; `unharmed` are those who tell whether a version is patched, or never was affected."""

    id: str
    title: str
    unharmed: tuple[Callable[[str], bool], ...]

    def __str__(self) -> str:
        return f"{self.id} is against it{f': {self.title}' if self.title else ''}."

    def affects(self, version: str) -> bool:
        return not any(fits(version) for fits in self.unharmed)


def advisories_for(name: str) -> list[Advisory]:
    """Against any version of a crate, in the order of their ids; those of the databases that are configured."""
    found = [
        advisory
        for database in settings.MIRROR_ADVISORIES
        for path in _files(Path(database) / "crates", name)
        if (advisory := _read(path, _stamp(path))) is not None
    ]
    return sorted(found, key=lambda advisory: advisory.id)


def _files(folder: Path, name: str) -> list[Path]:
    """The files about one crate; none while the checkout is being updated."""
    try:
        spelling = _spellings(folder, folder.stat().st_mtime_ns).get(names.canonical(name))
        if spelling is None:
            return []
        return list((folder / spelling).glob("*.md"))
    except OSError:
        return []


def _stamp(path: Path) -> tuple[int, int]:
    """When a file changed, and its size; nothing of one that is not there any more."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=8)
def _spellings(folder: Path, changed: int) -> dict[str, str]:
    return {names.canonical(spelling): spelling for spelling in os.listdir(folder)}


@lru_cache(maxsize=2048)
def _read(path: Path, stamp: tuple[int, int]) -> Advisory | None:
    """None for what warns of no danger, was withdrawn, or cannot be read."""
    try:
        with path.open("rb") as file:
            front = ADVISORY.match(file.read(MAX_FILE_BYTES).decode())
        if front is None:
            raise ValueError("it has no TOML at its beginning")
        found = tomllib.loads(front["toml"])
        about, versions = found["advisory"], found.get("versions", {})
        if about.get("withdrawn") or about.get("informational"):
            return None
        unharmed = [*versions.get("patched", []), *versions.get("unaffected", [])]
        title = (front["title"] or "").strip().rstrip(".")
        return Advisory(str(about["id"]), title, tuple(resolving.range_matcher(one) for one in unharmed))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, Invalid) as error:
        _log.warning("The advisory %s cannot be read: %s", path, error)
        return None
