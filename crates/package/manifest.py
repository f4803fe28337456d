"""Manifests: the packed `Cargo.toml`, which counts, and the JSON metadata of the publish, which has to agree.

Sources: The Cargo Book, "The Manifest Format" and "Registry Web API"; what cargo writes when it normalises a manifest.
"""

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from crates import names
from crates.package import dependencies, features
from crates.package.dependencies import Dependency, Registries
from crates.package.fields import Fields
from registry_site import semantic_versions
from registry_site.errors import Invalid
from registry_site.http import strict_json

MAX_DEPENDENCIES = 1000
MAX_FEATURES = 5000
MAX_KEYWORDS = 20
MAX_KEYWORD_LENGTH = 64
MAX_DESCRIPTION_LENGTH = 5000
MAX_KEY_PARTS = 64
CRATES_IO_KEYWORDS = 5

_RUST_VERSION = re.compile(r"(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){0,2}")
_LINKS = re.compile(r"[A-Za-z0-9_.+-]+")
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
    """The part of a publish's JSON that can contradict the packed manifest."""

    name: str
    version: str
    dependencies: list[Dependency]
    features: dict[str, list[str]]
    links: str
    rust_version: str


def parse_metadata(body: bytes, registries: Registries) -> Metadata:
    """Parse the JSON of a publish; raises `Invalid`."""
    fields = Fields(strict_json.loads(body), "The JSON metadata")
    for key, kind in (("name", str), ("vers", str), ("deps", list), ("features", dict)):
        if not isinstance(fields.raw.get(key), kind):
            raise Invalid(f"The JSON metadata has no {key}, or it is not of the right type.")
    deps = fields.raw["deps"]
    if len(deps) > MAX_DEPENDENCIES:
        raise Invalid(f"The crate has {len(deps)} dependencies; at most {MAX_DEPENDENCIES} are taken.")
    name, version = fields.string("name"), fields.string("vers")
    names.validate(name)
    semantic_versions.parse(version)
    return Metadata(
        name=name,
        version=version,
        dependencies=[dependencies.read_json(raw, registries) for raw in deps],
        features=features.read(fields),
        links=fields.matching_string("links", _LINKS, "z"),
        rust_version=fields.matching_string("rust_version", _RUST_VERSION, "1.85"),
    )


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
        links=package.matching_string("links", _LINKS, "z"),
        rust_version=package.matching_string("rust-version", _RUST_VERSION, "1.85"),
        description=package.string("description", MAX_DESCRIPTION_LENGTH),
        license=package.string("license"),
        has_license="license" in package.raw or "license-file" in package.raw,
        homepage=package.url("homepage"),
        repository=package.url("repository"),
        documentation=package.url("documentation"),
        keywords=package.strings("keywords"),
        categories=[category for category in categories if _CATEGORY.fullmatch(category)],
        invalid_categories=[category for category in categories if not _CATEGORY.fullmatch(category)],
    )
    manifest.check_limits()
    features.check_references(
        manifest.features,
        dependencies={d.name for d in manifest.dependencies},
        optional={d.name for d in manifest.dependencies if d.optional},
    )
    for key in ("readme", "license-file"):
        file = package.raw.get(key)
        if isinstance(file, str) and file.removeprefix("./") not in paths:
            raise Invalid(f"The packed Cargo.toml names {file[:80]!r} as {key}, which is not in the crate.")
    return manifest


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
    """Check that the JSON metadata agrees with the packed `Cargo.toml`; raises `Invalid` for the first difference."""
    for key in ("name", "version", "links", "rust_version"):
        claimed, packed = getattr(metadata, key), getattr(manifest, key)
        if claimed != packed:
            raise _disagreement(key, claimed, packed)
    # Only the order may differ: generations of cargo write lists in different orders.
    claimed_features = {name: sorted(values) for name, values in metadata.features.items()}
    packed_features = {name: sorted(values) for name, values in manifest.features.items()}
    if claimed_features != packed_features:
        raise _disagreement("features", *_first_difference(claimed_features.items(), packed_features.items()))
    claimed_dependencies = sorted((repr(d.comparison_key()), str(d)) for d in metadata.dependencies)
    packed_dependencies = sorted((repr(d.comparison_key()), str(d)) for d in manifest.dependencies)
    if [key for key, _ in claimed_dependencies] != [key for key, _ in packed_dependencies]:
        claimed_texts, packed_texts = ([text for _, text in d] for d in (claimed_dependencies, packed_dependencies))
        raise _disagreement("dependencies", *_first_difference(claimed_texts, packed_texts))


def _first_difference(claimed: Any, packed: Any) -> tuple[Any, Any]:
    only_claimed = [entry for entry in claimed if entry not in packed]
    only_packed = [entry for entry in packed if entry not in claimed]
    return (only_claimed or ["nothing"])[0], (only_packed or ["nothing"])[0]


def _disagreement(key: str, claimed: Any, packed: Any) -> Invalid:
    return Invalid(
        f"The JSON metadata and the packed Cargo.toml disagree on {key}: {str(claimed)[:200]!r} there, "
        f"{str(packed)[:200]!r} here. The packed one counts; publish with `cargo publish`."
    )
