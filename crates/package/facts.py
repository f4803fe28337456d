"""Facts from a `.crate` file, for people and tools; the index needs none of them. Pure.

Nobody is refused here, for cargo has taken the crate. What is over a limit is left out.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from crates.package import archive, build_targets, licenses, manifest
from crates.package.archive import Contents, Member
from crates.package.build_targets import BuildTargets
from crates.package.source_lines import LineCounts
from registry_site.errors import Invalid, ParseError
from registry_site.http import strict_json

REVISION = 1  # of the rules in this module and those below: `refreshcrates` reads a crate again after another one
MAX_README_SIZE = 512 * 1024
MAX_LICENSE_SIZE = 256 * 1024
MAX_METADATA_SIZE = 16 * 1024
MAX_PATH_LENGTH = 255
MAX_FILES = 10_000
MAX_LENGTH_OF_PATHS = 512 * 1024
README_NAMES = ("README.md", "README.txt", "README")  # of cargo, where the manifest says nothing

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_EDITION = re.compile(r"20[0-9]{2}")


@dataclass(frozen=True)
class Facts:
    """`files` has path, size, and offset in the unpacked tar. `omissions` are sentences for the publisher."""

    edition: str
    build_targets: BuildTargets
    license_expression: str
    license_file: str
    license_text: str
    readme_path: str
    readme_text: str
    docs_rs: Any
    vcs_commit: str
    vcs_path: str
    files: list[tuple[str, int, int]]
    file_count: int
    unpacked_size: int
    line_counts: LineCounts | None
    omissions: list[str]


def read(document: Mapping[str, Any], contents: Contents, crate: IO[bytes], compressed_size: int) -> Facts:
    """Read the facts of a crate and its parsed `Cargo.toml`; raises `Invalid` only for a crate that is damaged."""
    package = document.get("package", document.get("project"))
    package = package if isinstance(package, dict) else {}
    texts = TextReader(contents, crate, compressed_size)
    readme_path = named_file(package, "readme", contents.members) or default_readme(package, contents.members)
    license_file = named_file(package, "license-file", contents.members)
    readme_text = texts.read(readme_path, MAX_README_SIZE, "readme")
    license_text = texts.read(license_file, MAX_LICENSE_SIZE, "license-file")
    files = list(listed_files(contents.members.values()))
    if len(files) < len(contents.members):
        texts.omissions.append(f"the crate has {len(contents.members)} files; only the first {len(files)} are listed")
    commit, vcs_path = read_vcs_info(contents.usual_texts.get(".cargo_vcs_info.json", b""))
    edition = package.get("edition", "2015")
    expression = package.get("license")
    return Facts(
        edition=edition if isinstance(edition, str) and _EDITION.fullmatch(edition) else "",
        build_targets=build_targets.read(document, package, contents.members.keys()),
        license_expression=licenses.normalize(expression) if isinstance(expression, str) else "",
        license_file=license_file,
        license_text=license_text,
        readme_path=readme_path,
        readme_text=readme_text,
        docs_rs=read_docs_rs(package),
        vcs_commit=commit,
        vcs_path=vcs_path,
        files=files,
        file_count=len(contents.members),
        unpacked_size=sum(member.size for member in contents.members.values()),
        line_counts=contents.line_counts,
        omissions=texts.omissions,
    )


class TextReader:
    """The texts of a crate. One that is too long is left out, with a sentence in `omissions`."""

    def __init__(self, contents: Contents, crate: IO[bytes], compressed_size: int) -> None:
        self.contents = contents
        self.crate = crate
        self.compressed_size = compressed_size
        self.omissions: list[str] = []

    def read(self, path: str, max_size: int, label: str) -> str:
        if not path:
            return ""
        member = self.contents.members[path]
        if member.size <= max_size:
            text = decode(self.bytes_of(member))
            if len(text.encode()) <= max_size:  # what is no UTF-8 grows
                return text
        self.omissions.append(
            f"the {label} {path[:80]!r} has {member.size} bytes and is not shown; at most {max_size} bytes of UTF-8 are"
        )
        return ""

    def bytes_of(self, member: Member) -> bytes:
        text = self.contents.usual_texts.get(member.path)
        return archive.read_member(self.crate, self.compressed_size, member) if text is None else text


def decode(data: bytes) -> str:
    """Return a text that a database can hold."""
    return data.decode("utf-8-sig", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")


def named_file(package: Mapping[str, Any], key: str, paths: Collection[str]) -> str:
    """Return the path of a file that a manifest names and the crate has, or an empty text."""
    name = package.get(key)
    path = manifest.plain_path(name) if isinstance(name, str) else ""
    return path if path in paths and len(path) <= MAX_PATH_LENGTH else ""


def default_readme(package: Mapping[str, Any], paths: Collection[str]) -> str:
    """Return the README that cargo finds by itself, or an empty text."""
    if package.get("readme") is True:
        return "README.md" if "README.md" in paths else ""
    if "readme" in package:
        return ""
    return next((name for name in README_NAMES if name in paths), "")


def listed_files(members: Collection[Member]) -> Iterator[tuple[str, int, int]]:
    remaining = MAX_LENGTH_OF_PATHS
    for number, member in enumerate(members):
        remaining -= len(member.path.encode())
        if number >= MAX_FILES or remaining < 0:
            return
        yield member.path, member.size, member.offset


def read_vcs_info(text: bytes) -> tuple[str, str]:
    """Return the commit of a crate's sources, and their folder in the repository, as cargo notes both."""
    try:
        info = strict_json.loads(text)
    except (Invalid, ParseError):
        return "", ""
    info = info if isinstance(info, dict) else {}
    git, path = info.get("git"), info.get("path_in_vcs")
    commit = git.get("sha1") if isinstance(git, dict) else None
    return (
        commit if isinstance(commit, str) and _COMMIT.fullmatch(commit) else "",
        path if isinstance(path, str) and len(path) <= MAX_PATH_LENGTH and path.isprintable() else "",
    )


def read_docs_rs(package: Mapping[str, Any]) -> Any:
    """Return `[package.metadata.docs.rs]`; None if there is none, or if JSON cannot hold it."""
    value: Any = package
    for key in ("metadata", "docs", "rs"):
        value = value.get(key) if isinstance(value, dict) else None
    if value is None:
        return None
    try:
        text = json.dumps(value, default=str)  # dates
        return strict_json.loads(text.encode()) if len(text) <= MAX_METADATA_SIZE else None
    except (Invalid, ParseError, RecursionError, ValueError):
        return None
