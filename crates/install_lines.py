"""Lines that put a crate into a project, with the features that a reader has ticked. Pure."""

import json
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from crates.records import DependencyRecord, VersionRecord
from registry_site import semantic_versions

DEFAULT = "default"
DEPENDENCY_PREFIX = "dep:"
MAX_SHOWN = 300  # features of a page; the crates with the most have some 1,500


@dataclass(frozen=True)
class Feature:
    """A feature of a version, and what it turns on."""

    name: str
    enables: Sequence[str]
    is_default: bool
    is_ticked: bool


@dataclass(frozen=True)
class FeatureChoice:
    """The features of a version, and which of them a reader has ticked."""

    features: Sequence[Feature]
    has_default: bool
    without_default: bool

    @property
    def ticked(self) -> list[str]:
        return [feature.name for feature in self.features if feature.is_ticked]

    @property
    def is_made(self) -> bool:
        """Tell whether the choice differs from that of cargo."""
        return self.without_default or bool(self.ticked)

    @property
    def shown(self) -> Sequence[Feature]:
        return self.features[:MAX_SHOWN]

    @property
    def left_out(self) -> int:
        return len(self.features) - len(self.shown)


@dataclass(frozen=True)
class InstallLines:
    """Lines for a terminal and for a `Cargo.toml`; empty where they make no sense."""

    add: str
    toml: str
    install: str


def choose_features(
    features: Mapping[str, Sequence[str]], ticked: Collection[str], *, without_default: bool
) -> FeatureChoice:
    """Return the features of a version by name; names in `ticked` that are none of them are left out."""
    by_default = features_of_default(features)
    return FeatureChoice(
        [
            Feature(name, enables, name in by_default, name in ticked)
            for name, enables in sorted(features.items())
            if name != DEFAULT
        ],
        has_default=bool(features.get(DEFAULT)),
        without_default=without_default and bool(features.get(DEFAULT)),
    )


def implicit_features(
    features: Mapping[str, Sequence[str]], dependencies: Sequence[DependencyRecord]
) -> dict[str, Sequence[str]]:
    """Return the features that cargo adds: one for each optional dependency that no feature names as `dep:`."""
    explicit = {value for values in features.values() for value in values if value.startswith(DEPENDENCY_PREFIX)}
    optional = {record.explicit_name or record.crate_id for record in dependencies if record.optional}
    return {name: [f"{DEPENDENCY_PREFIX}{name}"] for name in optional if f"{DEPENDENCY_PREFIX}{name}" not in explicit}


def features_of_default(features: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the features that `default` turns on, directly or through others."""
    reached: set[str] = set()
    pending = [DEFAULT]
    while pending:
        for name in features.get(pending.pop(), ()):
            if name in features and name not in reached:
                reached.add(name)
                pending.append(name)
    return reached


def lines_of(version: VersionRecord, choice: FeatureChoice, registry: str, *, is_pinned: bool) -> InstallLines:
    """Return the lines for a version in a registry of this name, which is empty for that of cargo itself.

    `is_pinned` says that the reader has chosen this version; else cargo takes the latest.
    """
    number = semantic_versions.without_build(version.num)
    options = ["--registry", registry] if registry else []
    chosen = [*options, f"{version.crate}@{number}" if is_pinned else version.crate]
    flags = ["--no-default-features"] if choice.without_default else []
    if choice.ticked:
        flags += ["--features", ",".join(choice.ticked)]
    has_library = version.has_lib is not False
    return InstallLines(
        add=shlex.join(["cargo", "add", *chosen, *flags]) if has_library else "",
        toml=f"{version.crate} = {toml_of(number, choice, registry)}" if has_library else "",
        install=shlex.join(["cargo", "install", *chosen, *flags]) if version.bin_names else "",
    )


def toml_of(number: str, choice: FeatureChoice, registry: str) -> str:
    """Return a requirement as `Cargo.toml` has it: a text, or a table if there is more to say."""
    fields = [f"version = {json.dumps(number)}"]
    if registry:
        fields.append(f"registry = {json.dumps(registry)}")
    if choice.without_default:
        fields.append("default-features = false")
    if choice.ticked:
        fields.append(f"features = {json.dumps(choice.ticked)}")
    return json.dumps(number) if len(fields) == 1 else f"{{ {', '.join(fields)} }}"
