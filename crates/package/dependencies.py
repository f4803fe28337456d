"""Dependencies of a crate, in the form of the index."""

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from crates import names
from crates.package import features, requirements, targets
from crates.package.fields import MAX_URL_LENGTH, Fields
from registry_site.errors import Invalid

CRATES_IO = "https://github.com/rust-lang/crates.io-index"
KINDS = ("normal", "dev", "build")
KIND_BY_SECTION = {"dependencies": "normal", "dev-dependencies": "dev", "build-dependencies": "build"}
# cargo replaces or removes these keys when it packs a crate.
UNPACKED_KEYS = ("artifact", "git", "workspace", "registry")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Registries:
    """Index URLs: this registry's own, and those of other registries on which a crate here may depend."""

    own: str
    allowed: frozenset[str]

    def resolve(self, url: str | None) -> str | None:
        """Return None for the URL of this registry, and any other allowed URL as it is; raises `Invalid`."""
        if url is None or url.rstrip("/") == self.own.rstrip("/"):
            return None
        if url not in self.allowed:
            raise Invalid(
                f"A dependency comes from the registry {url[:200]!r}, which is neither this one ({self.own}) nor one "
                "that its operator allows (REGISTRY_ALLOWED_REGISTRIES)."
            )
        return url


@dataclass(frozen=True)
class Dependency:
    """A dependency as an index line has it.

    A renamed one has its alias as `name` and the crate's own name as `package`. `registry` is None for this registry,
    else the URL of the other's index.
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

    def __str__(self) -> str:
        """Describe it: `first ^1 (base, dev, optional, without default features, with a b, for cfg(unix))`."""
        details = (
            self.package,
            self.kind,
            "optional" if self.optional else None,
            None if self.default_features else "without default features",
            f"with {' '.join(sorted(self.features))}" if self.features else None,
            f"for {self.target}" if self.target else None,
            f"from {self.registry}" if self.registry else None,
        )
        return f"{self.name} {self.req} ({', '.join(filter(None, details))})"

    def comparison_key(self) -> tuple[Any, ...]:
        """Return a value that is equal for two spellings of the same dependency."""
        # cargo writes the blanks of a `cfg(…)` in the JSON its own way, whatever stands in the manifest.
        target = None if self.target is None else re.sub(r"\s", "", self.target)
        return tuple(asdict(replace(self, target=target, features=sorted(self.features))).values())


def read_json(raw: Any, registries: Registries) -> Dependency:
    """Read one of the `deps` of the JSON metadata; raises `Invalid`."""
    fields = Fields(raw, "A dependency in the JSON metadata")
    name, alias = fields.string("name"), fields.string("explicit_name_in_toml")
    return _dependency(
        fields,
        name=alias or name,
        package=name,
        requirement=fields.string("version_req"),
        target=fields.string("target") or None,
        kind=fields.string("kind") or "normal",
        default_features=fields.boolean("default_features", default=True),
        registry=registries.resolve(fields.string("registry", MAX_URL_LENGTH) or None),
    )


def read_manifest(document: Fields, registries: Registries) -> Iterator[Dependency]:
    """Read all dependencies of a packed `Cargo.toml`, also those for some targets only; raises `Invalid`."""
    sections: list[tuple[str | None, Fields]] = [(None, document)]
    sections += [
        (target, Fields(table, f"The packed Cargo.toml's [target.{target[:80]!r}]"))
        for target, table in document.table("target").items()
    ]
    for target, section in sections:
        for key, kind in KIND_BY_SECTION.items():
            for spelling in dict.fromkeys((key, key.replace("-", "_"))):  # cargo reads `dev_dependencies` too
                for alias, raw in section.table(spelling).items():
                    yield read_manifest_entry(alias, raw, target, kind, registries)


def read_manifest_entry(alias: str, raw: Any, target: str | None, kind: str, registries: Registries) -> Dependency:
    """Read `alias = "1.2"` or `[dependencies.alias]` of a packed `Cargo.toml`; raises `Invalid`."""
    raw = {"version": raw} if isinstance(raw, str) else raw
    fields = Fields(raw, f"The packed Cargo.toml's dependency {alias[:80]!r}")
    for key in UNPACKED_KEYS:
        if key in fields.raw:
            raise Invalid(
                f"{fields.label} has the key {key!r}, which a published crate cannot have; use `cargo publish`."
            )
    default_features = "default-features" if "default-features" in fields.raw else "default_features"
    return _dependency(
        fields,
        name=alias,
        package=fields.string("package") if "package" in fields.raw else None,
        requirement=fields.string("version"),
        target=target,
        kind=kind,
        default_features=fields.boolean(default_features, default=True),
        # In a packed manifest no registry means crates.io; in the JSON it means the registry of the upload.
        registry=registries.resolve(fields.string("registry-index", MAX_URL_LENGTH) or CRATES_IO),
    )


def _dependency(
    fields: Fields,
    *,
    name: str,
    package: str | None,
    requirement: str,
    target: str | None,
    kind: str,
    default_features: bool,
    registry: str | None,
) -> Dependency:
    """Check a dependency and read from `fields` what JSON and manifest spell alike; raises `Invalid`."""
    for crate_name in (name, package):
        if crate_name is not None and (not _NAME.fullmatch(crate_name) or len(crate_name) > names.MAX_LENGTH):
            raise Invalid(f"{fields.label}: the name {crate_name[:80]!r} is not allowed.")
    if kind not in KINDS:
        raise Invalid(f"{fields.label}: the kind {kind[:80]!r} is none of {', '.join(KINDS)}.")
    if target is not None:
        targets.validate(target)
    if not requirement:
        raise Invalid(f"{fields.label} has no version; a published crate needs one for each dependency.")
    optional = fields.boolean("optional", default=False)
    if optional and kind == "dev":
        raise Invalid(f"{fields.label} is optional, which a dev-dependency cannot be.")
    enabled_features = fields.strings("features")
    for feature in enabled_features:
        features.check_name(feature, fields.label)
    return Dependency(
        name=name,
        req=requirements.normalize(requirement),
        features=enabled_features,
        optional=optional,
        default_features=default_features,
        target=target,
        kind=kind,
        registry=registry,
        package=package if package != name else None,
    )
