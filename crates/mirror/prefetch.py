"""Prefetching by an operator: the versions that a lock file, a list, or a crate with its dependencies needs."""

import json
import tomllib
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from crates import names
from crates.mirror import index_lines, overrides, resolving, serving
from registry_site.errors import Invalid, NotFound

CrateVersion = tuple[str, str]  # name, version


def read_source(source: str) -> list[CrateVersion]:
    """Return the versions that a `Cargo.lock`, a list of `name version` lines, or `name[@requirement]` needs.

    Raises `Invalid`, and for a crate as `serving.get_index_file`.
    """
    path = Path(source)
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise Invalid(f"{path} is no text.") from error
        return sorted(set(parse_lock(text) if path.name.endswith(".lock") else parse_list(text)))
    name, _, requirement = source.partition("@")
    if not index_lines.NAME.fullmatch(name):
        raise Invalid(f"{source} is no file, and no crate such as serde or serde@1.0")
    return sorted(resolve(name, requirement or "*"))


def parse_lock(text: str) -> Iterator[CrateVersion]:
    """Yield the packages from registries: crates.io, and whatever replaces it."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"The lock file cannot be read: {error}.") from error
    packages = document.get("package", [])
    for package in packages if isinstance(packages, list) else [None]:
        if not isinstance(package, dict) or not {"name", "version"} <= package.keys():
            raise Invalid("The lock file cannot be read: a package has no name or no version.")
        if str(package.get("source", "")).startswith(("registry+", "sparse+")):
            yield str(package["name"]), str(package["version"])


def parse_list(text: str) -> Iterator[CrateVersion]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].replace("@", " ").split()
        if words and len(words) != 2:
            raise Invalid(
                f"Line {number} of the list is not understood: write a crate and a version, as in serde 1.0.0."
            )
        if words:
            yield words[0], words[1]


def resolve(name: str, requirement: str) -> set[CrateVersion]:
    """Return the newest version that matches, and so on for its dependencies that are neither optional nor `dev`.

    This is not cargo's resolver. It does not unify requirements, so it may fetch a version more than cargo needs.
    """
    versions: set[CrateVersion] = set()
    queue, seen = deque([(name, requirement)]), set()
    while queue:
        name, requirement = pair = queue.popleft()
        if pair in seen:  # several crates need it, or some need each other
            continue
        seen.add(pair)
        index_file = serving.get_index_file(names.index_path(name))
        available = serving.available_lines(index_file)
        lines = serving.visible_lines(index_file, available, overrides.active_overrides_for(name))
        usable = {line.version: line for line in lines if line.version and not line.yanked}
        version = resolving.newest(requirement, usable)
        if version is None:
            raise NotFound(f"There is no version {requirement} of a crate {name} upstream.")
        if (name, version) not in versions:
            versions.add((name, version))
            for dependency in json.loads(usable[version].raw).get("deps", []):
                # A dependency with `registry` comes from another one, which this mirror does not mirror.
                if not (dependency.get("optional") or dependency.get("kind") == "dev" or dependency.get("registry")):
                    queue.append((dependency.get("package") or dependency["name"], dependency["req"]))
    return versions
