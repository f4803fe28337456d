"""What cargo builds of a crate: its library, its binaries and its build script.

Nobody is refused here: cargo has built the crate, and generations of it write a manifest in different ways. The newer
ones list all targets in a packed `Cargo.toml`; with the older ones they follow from the paths of files.
Source: The Cargo Book, "Cargo Targets", target auto-discovery.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_BINARIES = 100
MAX_BUILD_SCRIPTS = 20
MAX_NAME_LENGTH = 128

_BINARY_FILE = re.compile(r"src/bin/([^/]+)(?:\.rs|/main\.rs)")


@dataclass(frozen=True)
class BuildTargets:
    """The library's name is empty if there is none, or if it is too long to be shown."""

    has_library: bool
    library_name: str
    is_proc_macro: bool
    binary_names: list[str]
    has_build_script: bool


def read(document: Mapping[str, Any], package: Mapping[str, Any], paths: Collection[str]) -> BuildTargets:
    """Read the targets of a packed `Cargo.toml` and of a crate's files."""
    library = document.get("lib")
    named = library if isinstance(library, dict) else {}
    has_library = isinstance(library, dict) or (package.get("autolib") is not False and "src/lib.rs" in paths)
    default_name = str(package.get("name", "")).replace("-", "_")
    name = named.get("name", default_name) if has_library else ""
    kinds = named.get("crate-type", named.get("crate_type"))
    is_proc_macro = named.get("proc-macro", named.get("proc_macro")) is True
    binaries = sorted(set(binary_names(document, package, paths)))
    return BuildTargets(
        has_library=has_library,
        library_name=name if is_name(name) else "",
        is_proc_macro=is_proc_macro or (isinstance(kinds, list) and "proc-macro" in kinds),
        binary_names=[name for name in binaries if is_name(name)][:MAX_BINARIES],
        has_build_script=bool(build_scripts(package, paths)),
    )


def binary_names(document: Mapping[str, Any], package: Mapping[str, Any], paths: Collection[str]) -> Iterator[str]:
    listed = document.get("bin")
    tables = [table for table in listed if isinstance(table, dict)] if isinstance(listed, list) else []
    yield from (str(table.get("name", "")) for table in tables)
    # In the edition of 2015, listed binaries turn the discovery off.
    is_discovering = package.get("autobins", not tables or package.get("edition", "2015") != "2015")
    if is_discovering is True:
        if "src/main.rs" in paths:
            yield str(package.get("name", ""))
        yield from (match[1] for path in paths if (match := _BINARY_FILE.fullmatch(path)))


def build_scripts(package: Mapping[str, Any], paths: Collection[str]) -> list[str]:
    """Return the paths of the build scripts, of which nightly cargo takes several."""
    script = package.get("build")
    if script is None:
        return ["build.rs"] if "build.rs" in paths else []
    if isinstance(script, bool):
        return ["build.rs"] if script else []
    scripts = script[:MAX_BUILD_SCRIPTS] if isinstance(script, list) else [script]
    return [str(path).removeprefix("./") for path in scripts if path]


def is_name(name: Any) -> bool:
    return isinstance(name, str) and 0 < len(name) <= MAX_NAME_LENGTH and name.isprintable()
