"""Dependencies of a crate, in the form of the index."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crates import names
from crates.package import features, requirements, targets
from crates.package.fields import MAX_URL_LENGTH, Fields
from registry_site.errors import Invalid
from registry_site.origins import with_plain_origin

CRATES_IO = "https://github.com/rust-lang/crates.io-index"
KIND_BY_SECTION = {"dependencies": "normal", "dev-dependencies": "dev", "build-dependencies": "build"}
MAX_ARTIFACT_LENGTH = 255
# cargo replaces or removes these keys when it packs a crate.
UNPACKED_KEYS = ("git", "workspace", "registry")
# Fields of the index that most lines do without.
RARE_FIELDS = ("public", "artifact", "bindep_target", "lib")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_ARTIFACT = re.compile(r"bin(:[\w.-]+)?|cdylib|staticlib")


@dataclass(frozen=True)
class Registries:
    """Index URLs: this registry's own under each of its names, and those of others on which a crate here may depend."""

    own: tuple[str, ...]
    allowed: frozenset[str]

    def resolve(self, url: str) -> str | None:
        """Return None for a URL of this registry, and any other allowed URL in its plain form; raises `Invalid`."""
        plain = with_plain_origin(url)
        if plain.rstrip("/") in {own.rstrip("/") for own in self.own}:
            return None
        if plain not in self.allowed:
            raise Invalid(
                f"A dependency comes from the registry {url[:200]!r}, which is neither this one ({self.own[0]}; other "
                "names: REGISTRY_ALSO_KNOWN_AS) nor one that its operator allows (REGISTRY_ALLOWED_REGISTRIES)."
            )
        return plain


@dataclass(frozen=True)
class Dependency:
    """A dependency as an index line has it.

    A renamed one has its alias as `name` and the crate's own name as `package`. `registry` is None for this registry,
    else the URL of the other's index. An artifact dependency has the kinds of its `artifact`.
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
    public: bool = False
    artifact: list[str] | None = None
    bindep_target: str | None = None
    lib: bool = False

    def index_entry(self) -> dict[str, Any]:
        """Return the entry of an index line, with the rare fields only where they say something."""
        return {key: value for key, value in vars(self).items() if value or key not in RARE_FIELDS}


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
    package = fields.string("package") if "package" in fields.raw else None
    for crate_name in (alias, package):
        if crate_name is not None and (not _NAME.fullmatch(crate_name) or len(crate_name) > names.MAX_LENGTH):
            raise Invalid(f"{fields.label}: the name {crate_name[:80]!r} is not allowed.")
    if target is not None:
        targets.validate(target)
    requirement = fields.string("version")
    if not requirement:
        raise Invalid(f"{fields.label} has no version; a published crate needs one for each dependency.")
    optional, public = fields.boolean("optional", default=False), fields.boolean("public", default=False)
    if optional and kind == "dev":
        raise Invalid(f"{fields.label} is optional, which a dev-dependency cannot be.")
    if public and kind != "normal":
        raise Invalid(f"{fields.label} is public, which a {kind}-dependency cannot be.")
    enabled_features = features.read_values(fields, "features")
    for feature in enabled_features:
        features.check_name(feature, fields.label)
    default_features = "default-features" if "default-features" in fields.raw else "default_features"
    return Dependency(
        name=alias,
        req=requirements.normalize(requirement),
        features=enabled_features,
        optional=optional,
        default_features=fields.boolean(default_features, default=True),
        target=target,
        kind=kind,
        # In a packed manifest no registry means crates.io.
        registry=registries.resolve(fields.string("registry-index", MAX_URL_LENGTH) or CRATES_IO),
        package=package if package != alias else None,
        public=public,
        **read_artifact(fields),
    )


def read_artifact(fields: Fields) -> dict[str, Any]:
    """Read `artifact`, and the `target` and `lib` that belong to it, as the index names them; raises `Invalid`.

    Source: The Cargo Book, "Unstable Features", artifact dependencies.
    """
    if "artifact" not in fields.raw:
        return {}
    kinds = [fields.string("artifact")] if isinstance(fields.raw["artifact"], str) else fields.strings("artifact")
    has_all_and_one = "bin" in kinds and any(kind.startswith("bin:") for kind in kinds)
    is_valid = all(len(kind) <= MAX_ARTIFACT_LENGTH and _ARTIFACT.fullmatch(kind) for kind in kinds)
    if not kinds or not is_valid or has_all_and_one or len(set(kinds)) < len(kinds):
        raise Invalid(f"{fields.label}: artifact is not understood; write it like bin, bin:NAME, cdylib or staticlib.")
    target = fields.string("target")
    if target:
        targets.validate_triple(target)
    return {"artifact": kinds, "bindep_target": target or None, "lib": fields.boolean("lib", default=False)}
