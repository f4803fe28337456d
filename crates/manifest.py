"""What a crate says of itself: the packed `Cargo.toml`, which counts, and the JSON metadata, which has to agree.

Sources: The Cargo Book, "The Manifest Format" and "Registry Web API"; what cargo writes when it normalises a manifest.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from crates import names, versions
from registry_site import strict_json
from registry_site.errors import Invalid

CRATES_IO = "https://github.com/rust-lang/crates.io-index"
MOST_DEPENDENCIES = 1000
MOST_FEATURES = 5000
MOST_KEYWORDS = 20
USUAL_KEYWORDS = 5
LONGEST_DESCRIPTION = 5000
LONGEST_URL = 2000

KINDS = {"dependencies": "normal", "dev-dependencies": "dev", "build-dependencies": "build"}
# In a feature's name cargo allows letters and digits of any script, and these.
_FEATURE = re.compile(r"[\w][\w.+-]*")
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_RUST_VERSION = re.compile(r"[0-9]{1,5}(\.[0-9]{1,5}){0,2}")
_LINKS = re.compile(r"[A-Za-z0-9_.+-]+")
_CATEGORY = re.compile(r"[a-z0-9_-]+(::[a-z0-9_-]+)*")


@dataclass(frozen=True)
class Dependency:
    """In the form of the index: `name` is the alias when there is one, and `package` then the crate's own name.

    `registry` is None for this registry, else the URL of the other's index.
    """

    name: str
    req: str
    features: list[str]
    optional: bool
    default_features: bool
    target: str | None
    kind: str
    registry: str | None
    package: str | None

    def comparable(self) -> tuple[Any, ...]:
        """Equal for what differs in spelling only: cargo sets the blanks of a `cfg(…)` anew in the JSON."""
        target = None if self.target is None else re.sub(r"\s", "", self.target)
        return tuple(asdict(replace(self, target=target, features=sorted(self.features))).values())


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


@dataclass(frozen=True)
class Registries:
    """Index URLs: this registry's own, and the others that a crate here may depend on."""

    own: str
    allowed: frozenset[str]

    def resolve(self, url: str | None) -> str | None:
        """An index URL → None for this registry, or the URL; raises `Invalid` for one that is not allowed."""
        if url is None or url.rstrip("/") == self.own.rstrip("/"):
            return None
        if url not in self.allowed:
            raise Invalid(
                f"A dependency comes from the registry {url[:200]!r}, which is neither this one ({self.own}) nor one "
                "that its operator allows (REGISTRY_ALLOWED_REGISTRIES)."
            )
        return url


class Fields:
    """A table of strangers' values, read with the type that each should have; `where` is for the error."""

    def __init__(self, table: Any, where: str) -> None:
        if not isinstance(table, dict):
            raise Invalid(f"{where} is not a table.")
        self.table: Mapping[str, Any] = table
        self.where = where

    def _get(self, key: str, kind: type, default: Any, wanted: str) -> Any:
        value = self.table.get(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise Invalid(f"{self.where}: {key} is not {wanted}.")
        return value

    def text(self, key: str, longest: int = 255) -> str:
        value: str = self._get(key, str, "", "a text")
        strict_json.check_text(value)
        if len(value) > longest:
            raise Invalid(f"{self.where}: {key} has {len(value)} characters; at most {longest} are taken.")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], example: str) -> str:
        value = self.text(key)
        if value and not pattern.fullmatch(value):
            raise Invalid(f"{self.where}: {key} is {value[:80]!r}; write it like {example}.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._get(key, bool, default, "true or false"))

    def texts(self, key: str) -> list[str]:
        values: list[Any] = self._get(key, list, [], "a list")
        for value in values:
            if not isinstance(value, str):
                raise Invalid(f"{self.where}: {key} is not a list of texts.")
            strict_json.check_text(value)
        return values

    def tables(self, key: str) -> Iterator[tuple[str, Any]]:
        yield from self._get(key, dict, {}, "a table").items()

    def url(self, key: str) -> str:
        value = self.text(key, LONGEST_URL)
        if value and (urlsplit_scheme(value) not in ("http", "https") or re.search(r"[\s\x00-\x1f\x7f]", value)):
            raise Invalid(f"{self.where}: {key} is {value[:80]!r}; give an http or https URL.")
        return value


def urlsplit_scheme(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    return parts.scheme if parts.netloc else ""


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
    name, version = fields.text("name"), fields.text("vers")
    names.validate(name)
    versions.parse(version)
    return Metadata(
        name=name,
        version=version,
        dependencies=[_json_dependency(entry, registries) for entry in fields.table["deps"]],
        features=_features(fields),
        links=fields.matching("links", _LINKS, "z"),
        rust_version=fields.matching("rust_version", _RUST_VERSION, "1.85"),
    )


def _json_dependency(entry: Any, registries: Registries) -> Dependency:
    fields = Fields(entry, "A dependency in the JSON metadata")
    name, alias = fields.text("name"), fields.text("explicit_name_in_toml")
    return _dependency(
        fields,
        name=alias or name,
        package=name if alias else "",
        requirement=fields.text("version_req"),
        target=fields.text("target") or None,
        kind=fields.text("kind") or "normal",
        default_features=fields.flag("default_features", default=True),
        registry=registries.resolve(fields.text("registry", LONGEST_URL) or None),
    )


# --- The packed Cargo.toml --------------------------------------------------------------------------------------


def parse_packed(text: bytes, registries: Registries, paths: frozenset[str]) -> Manifest:
    """The `Cargo.toml` in a crate whose files are `paths`; raises `Invalid`."""
    document = Fields(_toml(text), "The packed Cargo.toml")
    package = Fields(document.table.get("package", document.table.get("project")), "The packed Cargo.toml's [package]")
    name, version = package.text("name"), package.text("version")
    names.validate(name)
    versions.parse(version)
    categories = package.texts("categories")
    manifest = Manifest(
        name=name,
        version=version,
        dependencies=list(_packed_dependencies(document, registries)),
        features=_features(document),
        links=package.matching("links", _LINKS, "z"),
        rust_version=package.matching("rust-version", _RUST_VERSION, "1.85"),
        description=package.text("description", LONGEST_DESCRIPTION),
        license=package.text("license"),
        homepage=package.url("homepage"),
        repository=package.url("repository"),
        documentation=package.url("documentation"),
        keywords=package.texts("keywords"),
        categories=[category for category in categories if _CATEGORY.fullmatch(category)],
        invalid_categories=[category for category in categories if not _CATEGORY.fullmatch(category)],
    )
    _check_limits(manifest, len(categories))
    _check_features(manifest)
    for key in ("readme", "license-file"):
        file = package.table.get(key)
        if isinstance(file, str) and file.removeprefix("./") not in paths:
            raise Invalid(f"The packed Cargo.toml names {file[:80]!r} as {key}, which is not in the crate.")
    manifest.warnings.extend(
        _warnings(manifest, licensed="license" in package.table or "license-file" in package.table)
    )
    return manifest


def _toml(text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Invalid("The packed Cargo.toml is not UTF-8.") from error
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
        for key, kind in KINDS.items():
            for spelling in {key, key.replace("-", "_")}:
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
    package = fields.text("package")
    spelling = "default-features" if "default-features" in fields.table else "default_features"
    return _dependency(
        fields,
        name=alias,
        package=package if package != alias else "",
        requirement=fields.text("version"),
        target=target,
        kind=kind,
        default_features=fields.flag(spelling, default=True),
        registry=registries.resolve(fields.text("registry-index", LONGEST_URL) or CRATES_IO),
    )


# --- What both have ---------------------------------------------------------------------------------------------


def _dependency(
    fields: Fields,
    *,
    name: str,
    package: str,
    requirement: str,
    target: str | None,
    kind: str,
    default_features: bool,
    registry: str | None,
) -> Dependency:
    if not _ALIAS.fullmatch(name) or len(name) > names.MAXIMUM_LENGTH:
        raise Invalid(f"{fields.where}: the name {name[:80]!r} is not allowed.")
    if package and (not _ALIAS.fullmatch(package) or len(package) > names.MAXIMUM_LENGTH):
        raise Invalid(f"{fields.where}: the package name {package[:80]!r} is not allowed.")
    if kind not in KINDS.values():
        raise Invalid(f"{fields.where}: the kind {kind[:80]!r} is none of {', '.join(KINDS.values())}.")
    if target is not None and (not target.isprintable() or not 0 < len(target) <= 500):
        raise Invalid(f"{fields.where}: the target {target[:80]!r} is not allowed.")
    if not requirement:
        raise Invalid(f"{fields.where} has no version; a published crate needs one for each dependency.")
    features = fields.texts("features")
    for feature in features:
        _check_feature_name(feature, fields.where)
    return Dependency(
        name=name,
        req=versions.requirement(requirement),
        features=features,
        optional=fields.flag("optional", default=False),
        default_features=default_features,
        target=target,
        kind=kind,
        registry=registry,
        package=package or None,
    )


def _features(fields: Fields) -> dict[str, list[str]]:
    features = {}
    for feature, _ in fields.tables("features"):
        _check_feature_name(feature, fields.where)
        features[feature] = Fields(fields.table["features"], f"{fields.where}'s [features]").texts(feature)
    return features


def _check_feature_name(feature: str, where: str) -> None:
    if not _FEATURE.fullmatch(feature) or len(feature) > 255:
        raise Invalid(f"{where}: the feature name {feature[:80]!r} is not allowed.")


def _check_limits(manifest: Manifest, categories: int) -> None:
    for count, most, what in (
        (len(manifest.dependencies), MOST_DEPENDENCIES, "dependencies"),
        (len(manifest.features), MOST_FEATURES, "features"),
        (len(manifest.keywords), MOST_KEYWORDS, "keywords"),
        (categories, MOST_KEYWORDS, "categories"),
    ):
        if count > most:
            raise Invalid(f"The crate has {count} {what}; at most {most} are taken.")
    for word in (*manifest.keywords, *manifest.categories, *manifest.invalid_categories):
        if len(word) > 64 or not word.isprintable():
            raise Invalid(f"The keyword or category {word[:80]!r} is too long or not printable.")


def _check_features(manifest: Manifest) -> None:
    """A feature may only refer to what there is: cargo ignores an index line in which it does not."""
    optional = {d.name for d in manifest.dependencies if d.optional}
    usable = {d.name for d in manifest.dependencies if d.kind != "dev" or d.optional}
    for feature, values in manifest.features.items():
        for value in values:
            dependency, slash, remote = value.partition("/")
            if value.startswith("dep:"):
                known = value[4:] in optional
            elif slash:
                _check_feature_name(remote, f"The feature {feature!r}")
                known = dependency.removesuffix("?") in (optional if dependency.endswith("?") else usable)
            else:
                known = value in manifest.features or value in optional
            if not known:
                raise Invalid(
                    f"The feature {feature!r} includes {value[:80]!r}, which is neither a feature nor an optional "
                    "dependency of this crate."
                )


def _warnings(manifest: Manifest, licensed: bool) -> Iterator[str]:
    if not manifest.description:
        yield "the crate has no description, so a search finds it by its name only"
    if not licensed:
        yield "the crate has no license or license-file, so others may not know what they may do with it"
    if len(manifest.keywords) > USUAL_KEYWORDS:
        yield f"the crate has {len(manifest.keywords)} keywords; crates.io takes at most {USUAL_KEYWORDS}"
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
    claimed_dependencies = [d.comparable() for d in metadata.dependencies]
    packed_dependencies = [d.comparable() for d in manifest.dependencies]
    if sorted(claimed_dependencies, key=repr) != sorted(packed_dependencies, key=repr):
        raise _disagreement("dependencies", *_first_difference(claimed_dependencies, packed_dependencies))


def _first_difference(claimed: Any, packed: Any) -> tuple[Any, Any]:
    only_claimed = [entry for entry in claimed if entry not in packed]
    only_packed = [entry for entry in packed if entry not in claimed]
    return (only_claimed or ["nothing"])[0], (only_packed or ["nothing"])[0]


def _disagreement(what: str, claimed: Any, packed: Any) -> Invalid:
    return Invalid(
        f"The JSON metadata and the packed Cargo.toml disagree on {what}: {str(claimed)[:200]!r} there, "
        f"{str(packed)[:200]!r} here. The packed one counts; publish with `cargo publish`."
    )
