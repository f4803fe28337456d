"""All that two versions of a crate are compared by, read from each `.crate` file once. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from crates.package import archive, build_targets, facts, licenses, manifest, unsafe_code
from crates.package.archive import Member
from registry_site.archives.gzip_reader import CHUNK_SIZE, BoundedGzipReader, unpacked_limit
from registry_site.archives.tar_reader import BLOCK, MAX_PATH_BYTES, read_entries
from registry_site.errors import Invalid

MAX_UNPACKED = 64 * 1024 * 1024  # bytes of a crate that are read, in a fifth of a second
MAX_ENTRIES = 10_000
MAX_LENGTH_OF_PATHS = 512 * 1024
# Of code with the word `unsafe` in it, whose tokens take a fifth of a second.
MAX_COUNTED = 4 * 1024 * 1024
# The texts that are parsed, with their largest sizes.
PARSED = {"Cargo.toml": archive.MAX_FOREIGN_MANIFEST_SIZE, ".cargo_vcs_info.json": 64 * 1024}
MAX_LENGTH = 255  # of texts of the manifest
DIGEST_SIZE = 16


@dataclass(frozen=True)
class File:
    """A file of a crate. `unsafe` is the number of these tokens in Rust code; None if they were not counted."""

    member: Member
    digest: bytes
    unsafe: int | None = None


@dataclass(frozen=True)
class Inventory:
    """A crate's files by path, as far as they are compared, and what its manifest says about building it."""

    files: Mapping[str, File]
    is_complete: bool
    has_manifest: bool  # which could be read
    build_scripts: Sequence[str] = ()  # their paths
    is_proc_macro: bool = False
    programs: Sequence[str] = ()
    edition: str = ""
    rust_version: str = ""
    license: str = ""
    license_file: str = ""
    vcs_commit: str = ""

    @property
    def unpacked_size(self) -> int:
        return sum(file.member.size for file in self.files.values())

    @property
    def unsafe_counts(self) -> dict[str, int]:
        """The files with `unsafe` in them."""
        return {path: file.unsafe for path, file in self.files.items() if file.unsafe}

    @property
    def is_counted(self) -> bool:
        """Tell whether the `unsafe` tokens of all Rust code were counted."""
        return self.is_complete and not any(is_rust(path) and file.unsafe is None for path, file in self.files.items())


def read(crate: IO[bytes], compressed_size: int) -> Inventory:
    """Read a crate, also one of another registry, as far as it can be read."""
    reader = FileReader(BoundedGzipReader(crate, min(unpacked_limit(compressed_size), MAX_UNPACKED), "crate"))
    with suppress(Invalid):
        reader.read()
    document: Mapping[str, Any] = {}
    with suppress(Invalid):
        document = manifest.parse_toml(reader.texts.get("Cargo.toml", b""))
    package = document.get("package", document.get("project"))
    package = package if isinstance(package, dict) else {}
    targets = build_targets.read(document, package, reader.files.keys())
    license_text = text_of(package, "license")
    return Inventory(
        files=reader.files,
        is_complete=reader.is_complete,
        has_manifest=bool(package),
        build_scripts=[script[:MAX_LENGTH] for script in build_targets.build_scripts(package, reader.files.keys())],
        is_proc_macro=targets.is_proc_macro,
        programs=targets.binary_names,
        edition=text_of(package, "edition") or "2015",
        rust_version=text_of(package, "rust-version"),
        license=licenses.normalize(license_text) or license_text,
        license_file=facts.named_file(package, "license-file", reader.files),
        vcs_commit=facts.read_vcs_info(reader.texts.get(".cargo_vcs_info.json", b""))[0],
    )


def text_of(package: Mapping[str, Any], key: str) -> str:
    value = package.get(key)
    return value if isinstance(value, str) and len(value) <= MAX_LENGTH and value.isprintable() else ""


def is_rust(path: str) -> bool:
    return path.endswith(".rs")


@dataclass
class FileReader:
    """The files of a crate, each read once, and never whole unless its text is needed."""

    tar: BoundedGzipReader
    files: dict[str, File] = field(default_factory=dict)
    texts: dict[str, bytes] = field(default_factory=dict)
    is_complete: bool = False
    remaining_code: int = field(default_factory=lambda: MAX_COUNTED)
    remaining_paths: int = field(default_factory=lambda: MAX_LENGTH_OF_PATHS)

    def read(self) -> None:
        """Read all files within the limits; raises `Invalid` for what is damaged or over them."""
        for number, entry in enumerate(read_entries(self.tar, lenient=True)):
            path = archive.unpacked_path(entry)
            length = len(entry.path.encode())
            self.remaining_paths -= length
            # A longer path fits into no address of a page.
            if number >= MAX_ENTRIES or length > MAX_PATH_BYTES or self.remaining_paths < 0:
                return
            if path and not entry.is_directory:
                self.texts.pop(path, None)
                self.files[path] = self.read_file(Member(path, entry.size, self.tar.offset))
            else:
                self.tar.skip(entry.size)
            self.tar.skip(-entry.size % BLOCK)
        self.is_complete = True

    def read_file(self, member: Member) -> File:
        is_text = member.size <= PARSED.get(member.path, -1)
        if is_text or (is_rust(member.path) and member.size <= MAX_COUNTED):
            content = self.tar.read(member.size)
            if is_text:
                self.texts[member.path] = content
            digest = hashlib.blake2b(content, digest_size=DIGEST_SIZE)
            return File(member, digest.digest(), self.count_unsafe(member.path, content))
        digest = hashlib.blake2b(digest_size=DIGEST_SIZE)
        remaining = member.size
        while remaining:
            chunk = self.tar.read(min(remaining, CHUNK_SIZE))
            digest.update(chunk)
            remaining -= len(chunk)
        return File(member, digest.digest())

    def count_unsafe(self, path: str, content: bytes) -> int | None:
        if not is_rust(path):
            return None
        if unsafe_code.WORD not in content:
            return 0
        self.remaining_code -= len(content)
        number = unsafe_code.count(content) if self.remaining_code >= 0 else None
        if number is None:
            self.remaining_code = -1  # the next one may be as hostile
        return number


def read_texts(crate: IO[bytes], compressed_size: int, members: Sequence[Member]) -> dict[str, bytes]:
    """Return the bytes of some files by their paths, in one reading; those that cannot be read are left out."""
    tar = BoundedGzipReader(crate, min(unpacked_limit(compressed_size), MAX_UNPACKED), "crate")
    texts: dict[str, bytes] = {}
    with suppress(Invalid):
        for member in sorted(members, key=lambda member: member.offset):
            tar.skip(member.offset - tar.offset)
            texts[member.path] = tar.read(member.size)
    return texts
