"""What a crate says of itself: the packed `Cargo.toml`, which counts, and the JSON metadata, which has to agree.

Sources: The Cargo Book, "The Manifest Format" and "Registry Web API"; what cargo writes when it normalises a manifest.
"""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from crates import names
from crates.package import features
from crates.package.dependencies import CRATES_IO, Dependency, Registries, dependency
from crates.package.fields import MAX_URL_LENGTH, Fields
from registry_site import versions
from registry_site.errors import Invalid
from registry_site.http import strict_json

MAX_DEPENDENCIES = 1000
MAX_FEATURES = 5000
MAX_KEYWORDS = 20
CRATES_IO_KEYWORDS = 5
MAX_DESCRIPTION_LENGTH = 5000
MAX_KEY_PARTS = 64

KIND_BY_SECTION = {"dependencies": "normal", "dev-dependencies": "dev", "build-dependencies": "build"}
_RUST_VERSION = re.compile(r"(0|[1-9][0-9]{0,4})(\.(0|[1-9][0-9]{0,4})){0,2}")
_LINKS = re.compile(r"[A-Za-z0-9_.+-]+")
_CATEGORY = re.compile(r"[a-z0-9_-]+(::[a-z0-9_-]+)*")
# Texts and comments of TOML, also such as do not end; what is left has its dots in keys and numbers only.
_TEXT = re.compile(
    r'''"""(?:[^"\\]|\\.|"(?!""))*+(?:"{3,5}|\Z)|"(?:[^"\\\n]|\\.)*+"?'''
    r"""|'''(?:[^']|'(?!''))*+(?:'{3,5}|\Z)|'[^'\n]*+'?"""
    r"|#[^\n]*+",
    re.DOTALL,
)
_LONG_KEY = re.compile(rf"(?<![\w.-])[\w-]++(?:[ \t]*+\.[ \t]*+[\w-]++){{{MAX_KEY_PARTS},}}")


@dataclass(frozen=True)
class Manifest:
    """What the registry keeps of a packed `Cargo.toml`; `warnings` are sentences for the publisher."""

    name: str
    version: str
    dependencies: list[Dependency]
    features: dict[str, list[str]]
    links: str = ""
    rust_version: str = ""
    description: str = ""
    license: str = ""
    homepage: str = ""
    repository: str = ""
    documentation: str = ""
    keywords: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    invalid_categories: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


# --- The JSON metadata ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Metadata:
    """What the JSON of a publish claims, as far as it can contradict the packed manifest."""

    name: str
    version: str
    dependencies: list[Dependency]
    features: dict[str, list[str]]
    links: str
    rust_version: str


def parse_metadata(body: bytes, registries: Registries) -> Metadata:
    """The JSON of a publish; raises `Invalid`."""
    fields = Fields(strict_json.loads(body), "The JSON metadata")
    for key, kind in (("name", str), ("vers", str), ("deps", list), ("features", dict)):
        if not isinstance(fields.table.get(key), kind):
            raise Invalid(f"The JSON metadata has no {key}, or it is not of the right type.")
    if len(fields.table["deps"]) > MAX_DEPENDENCIES:
        raise Invalid(f"The crate has {len(fields.table['deps'])} dependencies; at most {MAX_DEPENDENCIES} are taken.")
    name, version = fields.text("name"), fields.text("vers")
    names.validate(name)
    versions.parse(version)
    return Metadata(
        name=name,
        version=version,
        dependencies=[_json_dependency(entry, registries) for entry in fields.table["deps"]],
        features=features.read(fields),
        links=fields.matching("links", _LINKS, "z"),
        rust_version=fields.matching("rust_version", _RUST_VERSION, "1.85"),
    )


def _json_dependency(entry: Any, registries: Registries) -> Dependency:
    fields = Fields(entry, "A dependency in the JSON metadata")
    name, alias = fields.text("name"), fields.text("explicit_name_in_toml")
    return dependency(
        fields,
        name=alias or name,
        package=name,
        requirement=fields.text("version_req"),
        target=fields.text("target") or None,
        kind=fields.text("kind") or "normal",
        default_features=fields.flag("default_features", default=True),
        registry=registries.resolve(fields.text("registry", MAX_URL_LENGTH) or None),
    )


# --- The packed Cargo.toml --------------------------------------------------------------------------------------


def parse_packed(text: bytes, registries: Registries, paths: frozenset[str]) -> Manifest:
    """The `Cargo.toml` in a crate whose files are `paths`; raises `Invalid`."""
    document = Fields(parse_toml(text), "The packed Cargo.toml")
    package = Fields(document.table.get("package", document.table.get("project")), "The packed Cargo.toml's [package]")
    name, version = package.text("name"), package.text("version")
    names.validate(name)
    versions.parse(version)
    categories = package.texts("categories")
    manifest = Manifest(
        name=name,
        version=version,
        dependencies=list(_packed_dependencies(document, registries)),
        features=features.read(document),
        links=package.matching("links", _LINKS, "z"),
        rust_version=package.matching("rust-version", _RUST_VERSION, "1.85"),
        description=package.text("description", MAX_DESCRIPTION_LENGTH),
        license=package.text("license"),
        homepage=package.url("homepage"),
        repository=package.url("repository"),
        documentation=package.url("documentation"),
        keywords=package.texts("keywords"),
        categories=[category for category in categories if _CATEGORY.fullmatch(category)],
        invalid_categories=[category for category in categories if not _CATEGORY.fullmatch(category)],
    )
    _check_limits(manifest, len(categories))
    features.check_references(
        manifest.features,
        dependencies={d.name for d in manifest.dependencies},
        optional={d.name for d in manifest.dependencies if d.optional},
    )
    for key in ("readme", "license-file"):
        file = package.table.get(key)
        if isinstance(file, str) and file.removeprefix("./") not in paths:
            raise Invalid(f"The packed Cargo.toml names {file[:80]!r} as {key}, which is not in the crate.")
    manifest.warnings.extend(
        _warnings(manifest, licensed="license" in package.table or "license-file" in package.table)
    )
    return manifest


def parse_toml(text: bytes) -> dict[str, Any]:
    """A packed `Cargo.toml` as a table; raises `Invalid`."""
    try:
        document = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("The packed Cargo.toml is not UTF-8.") from error
    # The reader's time and memory grow with the square of a dotted key's length.
    if _LONG_KEY.search(_TEXT.sub("_", document)):
        raise Invalid(f"The packed Cargo.toml has a key of more than {MAX_KEY_PARTS} parts.")
    try:
        return tomllib.loads(document)
    except RecursionError as error:
        raise Invalid("The packed Cargo.toml is nested too deeply.") from error
    except ValueError as error:  # bad syntax, and numbers of thousands of digits
        raise Invalid(f"The packed Cargo.toml cannot be read: {str(error)[:200]}.") from error


def _packed_dependencies(document: Fields, registries: Registries) -> Iterator[Dependency]:
    sections: list[tuple[str | None, Fields]] = [(None, document)]
    sections += [
        (target, Fields(table, f"The packed Cargo.toml's [target.{target[:80]!r}]"))
        for target, table in document.tables("target")
    ]
    for target, section in sections:
        for key, kind in KIND_BY_SECTION.items():
            for spelling in dict.fromkeys((key, key.replace("-", "_"))):
                for alias, entry in section.tables(spelling):
                    yield _packed_dependency(alias, entry, target, kind, registries)


def _packed_dependency(alias: str, entry: Any, target: str | None, kind: str, registries: Registries) -> Dependency:
    entry = {"version": entry} if isinstance(entry, str) else entry
    fields = Fields(entry, f"The packed Cargo.toml's dependency {alias[:80]!r}")
    for key in ("artifact", "git", "workspace", "registry"):
        if key in fields.table:
            raise Invalid(
                f"{fields.where} has the key {key!r}, which a published crate cannot have; use `cargo publish`."
            )
    package = fields.text("package") if "package" in fields.table else None
    spelling = "default-features" if "default-features" in fields.table else "default_features"
    return dependency(
        fields,
        name=alias,
        package=package,
        requirement=fields.text("version"),
        target=target,
        kind=kind,
        default_features=fields.flag(spelling, default=True),
        registry=registries.resolve(fields.text("registry-index", MAX_URL_LENGTH) or CRATES_IO),
    )


def _check_limits(manifest: Manifest, categories: int) -> None:
    for count, most, what in (
        (len(manifest.dependencies), MAX_DEPENDENCIES, "dependencies"),
        (len(manifest.features), MAX_FEATURES, "features"),
        (len(manifest.keywords), MAX_KEYWORDS, "keywords"),
        (categories, MAX_KEYWORDS, "categories"),
    ):
        if count > most:
            raise Invalid(f"The crate has {count} {what}; at most {most} are taken.")
    for word in (*manifest.keywords, *manifest.categories, *manifest.invalid_categories):
        if len(word) > 64 or not word.isprintable():
            raise Invalid(f"The keyword or category {word[:80]!r} is too long or not printable.")


def _warnings(manifest: Manifest, licensed: bool) -> Iterator[str]:
    if not manifest.description:
        yield "the crate has no description, so a search finds it by its name only"
    if not licensed:
        yield "the crate has no license or license-file, so others may not know what they may do with it"
    if len(manifest.keywords) > CRATES_IO_KEYWORDS:
        yield f"the crate has {len(manifest.keywords)} keywords; crates.io takes at most {CRATES_IO_KEYWORDS}"
    open_ended = sorted({d.name for d in manifest.dependencies if d.req == "*" and d.kind != "dev"})
    if open_ended:
        yield f"any version of {', '.join(open_ended)} is accepted (`*`), also ones that break this crate"


def check_agreement(metadata: Metadata, manifest: Manifest) -> None:
    """Raises `Invalid` with the first thing that the JSON metadata says otherwise than the packed `Cargo.toml`."""
    for what in ("name", "version", "links", "rust_version"):
        claimed, packed = getattr(metadata, what), getattr(manifest, what)
        if claimed != packed:
            raise _disagreement(what, claimed, packed)
    claimed_features = {name: sorted(values) for name, values in metadata.features.items()}
    packed_features = {name: sorted(values) for name, values in manifest.features.items()}
    if claimed_features != packed_features:
        raise _disagreement("features", *_first_difference(claimed_features.items(), packed_features.items()))
    claimed_dependencies = sorted((repr(d.comparable()), str(d)) for d in metadata.dependencies)
    packed_dependencies = sorted((repr(d.comparable()), str(d)) for d in manifest.dependencies)
    if [key for key, _ in claimed_dependencies] != [key for key, _ in packed_dependencies]:
        told = [[text for _, text in both] for both in (claimed_dependencies, packed_dependencies)]
        raise _disagreement("dependencies", *_first_difference(*told))


def _first_difference(claimed: Any, packed: Any) -> tuple[Any, Any]:
    only_claimed = [entry for entry in claimed if entry not in packed]
    only_packed = [entry for entry in packed if entry not in claimed]
    return (only_claimed or ["nothing"])[0], (only_packed or ["nothing"])[0]


def _disagreement(what: str, claimed: Any, packed: Any) -> Invalid:
    return Invalid(
        f"The JSON metadata and the packed Cargo.toml disagree on {what}: {str(claimed)[:200]!r} there, "
        f"{str(packed)[:200]!r} here. The packed one counts; publish with `cargo publish`."
    )
