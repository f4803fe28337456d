"""Dependencies, in the form of the index."""

import re
from dataclasses import asdict, dataclass, replace
from typing import Any

from crates import names
from crates.package import features, requirements, targets
from crates.package.fields import Fields
from registry_site.errors import Invalid

CRATES_IO = "https://github.com/rust-lang/crates.io-index"
KINDS = ("normal", "dev", "build")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


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


@dataclass(frozen=True)
class Dependency:
    """`name` is the alias when there is one, and `package` then the crate's own name.

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

    def __str__(self) -> str:
        """For a person: `first ^1 (base, dev, optional, without default features, with a b, for cfg(unix))`."""
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

    def comparable(self) -> tuple[Any, ...]:
        """Equal for what differs in spelling only: cargo sets the blanks of a `cfg(…)` anew in the JSON."""
        target = None if self.target is None else re.sub(r"\s", "", self.target)
        return tuple(asdict(replace(self, target=target, features=sorted(self.features))).values())


def dependency(
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
    """What a manifest and its JSON spell alike is read from `fields`, the rest given; raises `Invalid`."""
    for given in (name, package):
        if given is None:
            continue
        if not _NAME.fullmatch(given) or len(given) > names.MAX_LENGTH:
            raise Invalid(f"{fields.where}: the name {given[:80]!r} is not allowed.")
    if kind not in KINDS:
        raise Invalid(f"{fields.where}: the kind {kind[:80]!r} is none of {', '.join(KINDS)}.")
    if target is not None:
        targets.validate(target)
    if not requirement:
        raise Invalid(f"{fields.where} has no version; a published crate needs one for each dependency.")
    optional = fields.flag("optional", default=False)
    if optional and kind == "dev":
        raise Invalid(f"{fields.where} is optional, which a dev-dependency cannot be.")
    wanted = fields.texts("features")
    for feature in wanted:
        features.check_name(feature, fields.where)
    return Dependency(
        name=name,
        req=requirements.normalize(requirement),
        features=wanted,
        optional=optional,
        default_features=default_features,
        target=target,
        kind=kind,
        registry=registry,
        package=package if package != name else None,
    )
