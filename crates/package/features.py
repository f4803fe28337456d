"""Features of a crate: their names, and their references to other features and to dependencies.

The rules are cargo's. It ignores an index line whose features it cannot read, so that nobody could use the version.
"""

from collections.abc import Collection, Mapping

from crates.package.fields import Fields
from registry_site.errors import Invalid

MAX_NAME_LENGTH = 255
MAX_VALUES = 1000  # of one feature, and features of one dependency; the index repeats them for every client


def read(fields: Fields) -> dict[str, list[str]]:
    """Read the table `features`; raises `Invalid`."""
    values = Fields(fields.table("features"), f"{fields.label}'s [features]")
    for feature in values.raw:
        check_name(feature, fields.label)
    return {feature: read_values(values, feature) for feature in values.raw}


def read_values(fields: Fields, key: str) -> list[str]:
    """Read a list of features; raises `Invalid`, also for more than `MAX_VALUES`."""
    values = fields.strings(key)
    if len(values) > MAX_VALUES:
        raise Invalid(f"{fields.label}: {key[:80]} has {len(values)} entries; at most {MAX_VALUES} are taken.")
    return values


def check_name(feature: str, label: str) -> None:
    """Check that a name begins with a letter or digit or `_` and goes on with these, `-`, `+` and `.`.

    Raises `Invalid`, with the `label` of the table.
    """
    first, rest = feature[:1], feature[1:].translate(str.maketrans("", "", "-+."))
    # Letters of any script: Python's rules for identifiers and cargo's both are those of Unicode's XID.
    has_valid_start = first.isidentifier() or (first.isascii() and first.isdigit())
    if not has_valid_start or not f"_{rest}".isidentifier() or len(feature) > MAX_NAME_LENGTH:
        raise Invalid(f"{label}: the feature name {feature[:80]!r} is not allowed.")


def check_references(
    features: Mapping[str, list[str]], dependencies: Collection[str], optional: Collection[str]
) -> None:
    """Check that every feature includes things that exist, and that features switch on all optional dependencies.

    Raises `Invalid`.
    """
    # An optional dependency makes a feature of its own name, unless some feature names it with `dep:`.
    explicit = {value[4:] for values in features.values() for value in values if value.startswith("dep:")}
    implicit = set(optional) - explicit - set(features)
    switched_on = set(implicit)
    for feature, values in features.items():
        for value in values:
            dependency, slash, dependency_feature = value.partition("/")
            name = value[4:] if value.startswith("dep:") else dependency.removesuffix("?")
            if value.startswith("dep:") or dependency.endswith("?"):
                exists = name in optional
            elif slash:
                exists = name in dependencies
            else:
                exists = name in features or name in implicit
            if not exists:
                raise Invalid(
                    f"The feature {feature!r} includes {value[:80]!r}, which is neither a feature nor a fitting "
                    "dependency of this crate."
                )
            if slash:
                check_name(dependency_feature, f"The feature {feature!r}")
            if slash or value.startswith("dep:"):
                switched_on.add(name)
    if unused := set(optional) - switched_on:
        raise Invalid(f"No feature switches on the optional dependency {min(unused)!r}.")
