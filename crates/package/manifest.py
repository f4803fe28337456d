"""Manifests: the packed `Cargo.toml`, which counts, and the JSON metadata of the publish, which names the same crate.

Sources: The Cargo Book, "The Manifest Format" and "Registry Web API"; what cargo writes when it normalises a manifest.
"""

import posixpath
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crates import names
from crates.package import dependencies, features
from crates.package.dependencies import Dependency, Registries
from crates.package.fields import MAX_URL_LENGTH, WEB_SCHEMES, Fields, is_url
from registry_site import semantic_versions
from registry_site.errors import Invalid
from registry_site.http import strict_json

MAX_DEPENDENCIES = 1000
MAX_FEATURES = 5000
MAX_KEYWORDS = 20
MAX_KEYWORD_LENGTH = 64
MAX_DESCRIPTION_LENGTH = 5000
MAX_KEY_PARTS = 64
MAX_LINKS_BYTES = MAX_LICENSE_BYTES = 4096
USUAL_LICENSE_LENGTH = 255
CRATES_IO_KEYWORDS = 5
REPOSITORY_SCHEMES = ("ssh", "git", "git+ssh", "git+http", "git+https", "hg", "svn", "svn+ssh")  # what no page links to

_RUST_VERSION = re.compile(r"(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){0,2}")
_SCP_ADDRESS = re.compile(r"[\w.-]+@[\w.-]+:[\w./~-]+")  # git@example.com:owner/name.git
_CATEGORY = re.compile(r"[a-z0-9_-]+(::[a-z0-9_-]+)*")
# Texts and comments of TOML, also unterminated ones. In the rest, dots stand in keys and numbers only.
_TEXT = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\Z)|"(?:[^"\\\n]|\\.)*+"?'''
    r"""|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)|'[^'\n]*+'?"""
    r"|#[^\n]*+",
    re.DOTALL,
)
_LONG_KEY = re.compile(rf"(?<![\w.-])[\w-]++(?:[ \t]*+\.[ \t]*+[\w-]++){{{MAX_KEY_PARTS},}}")


# --- JSON metadata ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metadata:
    """The part of a publish's JSON that counts: which crate it is about, before the archive is read."""

    name: str
    version: str


def parse_metadata(body: bytes) -> Metadata:
    """Parse the JSON of a publish; raises `Invalid`."""
    fields = Fields(strict_json.loads(body), "The JSON metadata")
    for key in ("name", "vers"):
        if not isinstance(fields.raw.get(key), str):
            raise Invalid(f"The JSON metadata has no {key}, or it is not of the right type.")
    metadata = Metadata(fields.string("name"), fields.string("vers"))
    names.validate(metadata.name)
    semantic_versions.parse(metadata.version)
    return metadata


# --- Packed Cargo.toml ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Manifest:
    """The part of a packed `Cargo.toml` that the registry keeps."""

    name: str
    version: str
    dependencies: list[Dependency]
    features: dict[str, list[str]]
    links: str
    rust_version: str
    description: str
    license: str
    has_license: bool
    homepage: str
    repository: str
    documentation: str
    keywords: list[str]
    categories: list[str]
    invalid_categories: list[str]
    missing_files: dict[str, str]
    document: Mapping[str, Any]  # the whole of it

    def check_limits(self) -> None:
        """Check the numbers of entries, and the keywords; raises `Invalid`."""
        for count, maximum, noun in (
            (len(self.dependencies), MAX_DEPENDENCIES, "dependencies"),
            (len(self.features), MAX_FEATURES, "features"),
            (len(self.keywords), MAX_KEYWORDS, "keywords"),
            (len(self.categories) + len(self.invalid_categories), MAX_KEYWORDS, "categories"),
        ):
            if count > maximum:
                raise Invalid(f"The crate has {count} {noun}; at most {maximum} are taken.")
        for word in (*self.keywords, *self.categories, *self.invalid_categories):
            if len(word) > MAX_KEYWORD_LENGTH or not word.isprintable():
                raise Invalid(f"The keyword or category {word[:80]!r} is too long or not printable.")

    def warnings(self) -> list[str]:
        """Return sentences for the publisher about a crate that is valid but poorly described."""
        warnings = []
        if not self.description:
            warnings.append("the crate has no description, so a search finds it by its name only")
        if not self.has_license:
            warnings.append("the crate has no license or license-file, so others may not know what they may do with it")
        for key, file in self.missing_files.items():
            warnings.append(f"the {key} {file[:80]!r} is not in the crate, so nobody can read it there")
        if self.repository and not is_url(self.repository, WEB_SCHEMES):
            warnings.append(f"the repository {self.repository[:80]!r} is no http or https URL, so no page links to it")
        if len(self.license) > USUAL_LICENSE_LENGTH:
            warnings.append(
                f"the license has {len(self.license)} characters; tools expect an SPDX expression of at most "
                f"{USUAL_LICENSE_LENGTH}: put a longer text into a license-file"
            )
        if len(self.keywords) > CRATES_IO_KEYWORDS:
            warnings.append(
                f"the crate has {len(self.keywords)} keywords; crates.io takes at most {CRATES_IO_KEYWORDS}"
            )
        open_ended = sorted({d.name for d in self.dependencies if d.req == "*" and d.kind != "dev"})
        if open_ended:
            listed = ", ".join(open_ended)
            warnings.append(f"any version of {listed} is accepted (`*`), also ones that break this crate")
        return warnings


def parse_packed(text: bytes, registries: Registries, paths: frozenset[str]) -> Manifest:
    """Parse the `Cargo.toml` of a crate whose files are `paths`; raises `Invalid`."""
    document = Fields(parse_toml(text), "The packed Cargo.toml")
    package = Fields(document.raw.get("package", document.raw.get("project")), "The packed Cargo.toml's [package]")
    name, version = package.string("name"), package.string("version")
    names.validate(name)
    semantic_versions.parse(version)
    categories = package.strings("categories")
    manifest = Manifest(
        name=name,
        version=version,
        dependencies=list(dependencies.read_manifest(document, registries)),
        features=features.read(document),
        links=package.text("links", MAX_LINKS_BYTES),
        rust_version=package.matching_string("rust-version", _RUST_VERSION, "1.85"),
        description=package.string("description", MAX_DESCRIPTION_LENGTH),
        license=package.text("license", MAX_LICENSE_BYTES),
        has_license="license" in package.raw or "license-file" in package.raw,
        homepage=package.url("homepage"),
        repository=read_repository(package),
        documentation=package.url("documentation"),
        keywords=package.strings("keywords"),
        categories=[category for category in categories if _CATEGORY.fullmatch(category)],
        invalid_categories=[category for category in categories if not _CATEGORY.fullmatch(category)],
        missing_files=find_missing_files(package, paths),
        document=document.raw,
    )
    manifest.check_limits()
    features.check_references(
        manifest.features,
        dependencies={d.name for d in manifest.dependencies},
        optional={d.name for d in manifest.dependencies if d.optional},
    )
    return manifest


def read_repository(package: Fields) -> str:
    """Read the repository: the URL of a page, or an address for a version control system; raises `Invalid`."""
    address = package.string("repository", MAX_URL_LENGTH)
    if is_url(address, REPOSITORY_SCHEMES) or _SCP_ADDRESS.fullmatch(address):
        return address
    return package.url("repository")


def find_missing_files(package: Fields, paths: frozenset[str]) -> dict[str, str]:
    """Return the files that `readme` and `license-file` name and the crate does not have, by these keys."""
    named = {key: package.raw.get(key) for key in ("readme", "license-file")}
    return {key: file for key, file in named.items() if isinstance(file, str) and plain_path(file) not in paths}


def plain_path(path: str) -> str:
    """Return a path of a manifest as archives have it.

    cargo finds `docs//README.md` and `docs\\README.md`, too, on the machine where it packs.
    """
    return posixpath.normpath(path.replace("\\", "/"))


def parse_toml(text: bytes) -> dict[str, Any]:
    """Parse a packed `Cargo.toml`; raises `Invalid`."""
    try:
        document = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("The packed Cargo.toml is not UTF-8.") from error
    # Time and memory of tomllib grow with the square of a dotted key's length: 50 KB of dots cost 3.6 GB.
    if _LONG_KEY.search(_TEXT.sub("_", document)):
        raise Invalid(f"The packed Cargo.toml has a key of more than {MAX_KEY_PARTS} parts.")
    try:
        return tomllib.loads(document)
    except RecursionError as error:
        raise Invalid("The packed Cargo.toml is nested too deeply.") from error
    except ValueError as error:  # bad syntax, and numbers of thousands of digits
        raise Invalid(f"The packed Cargo.toml cannot be read: {str(error)[:200]}.") from error


# --- Agreement of the two ---------------------------------------------------------------------------------------


def check_agreement(metadata: Metadata, manifest: Manifest) -> None:
    """Check that the JSON metadata is about the crate in the packed `Cargo.toml`; raises `Invalid`.

    The rest of the JSON is ignored: generations of cargo write it in different ways from the same manifest.
    """
    for key in ("name", "version"):
        claimed, packed = getattr(metadata, key), getattr(manifest, key)
        if claimed != packed:
            raise Invalid(
                f"The JSON metadata and the packed Cargo.toml disagree on {key}: {claimed[:200]!r} there, "
                f"{packed[:200]!r} here. The packed one counts; publish with `cargo publish`."
            )
