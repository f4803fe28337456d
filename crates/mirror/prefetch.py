"""Fetching before anybody asks: what a lock file names, what a list names, or a crate with all that it needs."""

import json
import tomllib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from crates import names
from crates.mirror import crate_cache, index_cache, overrides, resolving, serving
from crates.mirror.index_lines import Line
from registry_site.errors import Invalid, NotFound

CrateVersion = tuple[str, str]  # name, version
NO_SOURCE = "{0} is no file, and no crate such as serde or serde@1.0"


def read_source(source: str) -> list[CrateVersion]:
    """What a `Cargo.lock`, a list of `name version` lines, or `name[@requirement]` asks for; raises `Invalid`."""
    path = Path(source)
    if path.is_file():
        text = _text(path)
        return sorted(set(_locked(text) if path.name.endswith(".lock") else _listed(text)))
    name, _, requirement = source.partition("@")
    if not index_cache.NAME.fullmatch(name):
        raise Invalid(NO_SOURCE.format(source))
    return sorted(_with_dependencies(name, requirement or "*"))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is no text.") from error


def _locked(text: str) -> Iterator[CrateVersion]:
    """The packages of crates.io, and of whatever replaces it."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"The lock file cannot be read: {error}.") from error
    packages = found.get("package", [])
    for package in packages if isinstance(packages, list) else [None]:
        if not isinstance(package, dict) or not {"name", "version"} <= package.keys():
            raise Invalid("The lock file cannot be read: a package has no name or no version.")
        if str(package.get("source", "")).startswith(("registry+", "sparse+")):
            yield str(package["name"]), str(package["version"])


def _listed(text: str) -> Iterator[CrateVersion]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace("@", " ").split()
        if words and len(words) != 2:
            raise Invalid(
                f"Line {number} of the list is not understood: write a crate and a version, as in serde 1.0.0."
            )
        if words:
            yield words[0], words[1]


def _with_dependencies(name: str, requirement: str) -> set[CrateVersion]:
    """The newest that fits, and so on for all that it needs; what is optional or for its tests is left out."""
    found: set[CrateVersion] = set()
    left, seen = deque([(name, requirement)]), set()
    while left:
        asked = left.popleft()
        if asked in seen:
            continue
        seen.add(asked)
        line = _chosen(*asked)
        if (asked[0], line.version) not in found:
            found.add((asked[0], line.version))
            left.extend(_needed(line))
    return found


def _chosen(name: str, requirement: str) -> Line:
    entry = serving.get_entry(names.index_path(name))
    offered = serving.visible_lines(entry, overrides.active_overrides_for(name))
    usable = {line.version: line for line in offered if line.version and not line.yanked}
    version = resolving.newest(requirement, usable)
    if version is None:
        raise NotFound(f"There is no version {requirement} of a crate {name} upstream.")
    return usable[version]


def _needed(line: Line) -> Iterator[tuple[str, str]]:
    for dependency in json.loads(line.raw).get("deps", []):
        if not dependency.get("optional") and dependency.get("kind") != "dev" and not dependency.get("registry"):
            yield dependency.get("package") or dependency["name"], dependency["req"]


def fetch(name: str, version: str) -> bool:
    """Fetch one version; False when it was here. Raises as `archives.find` does."""
    return crate_cache.find(name, version)[1]
