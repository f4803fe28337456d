"""Features of a crate: their names, and that they refer to what there is.

The rules are cargo's: it ignores an index line whose features it cannot read, so that nobody could use the version.
"""

from collections.abc import Collection, Mapping

from crates.package.fields import Fields
from registry_site.errors import Invalid

MAX_NAME_LENGTH = 255


def read(fields: Fields) -> dict[str, list[str]]:
    """The table `features`; raises `Invalid`."""
    names = {feature: table for feature, table in fields.tables("features")}
    values = Fields(names, f"{fields.where}'s [features]")
    for feature in names:
        check_name(feature, fields.where)
    return {feature: values.texts(feature) for feature in names}


def check_name(feature: str, where: str) -> None:
    """Letters and digits of any script, `_`, and after the first also `-`, `+` and `.`; raises `Invalid`."""
    first, rest = feature[:1], feature[1:].translate(str.maketrans("", "", "-+."))
    begins = first.isidentifier() or (first.isascii() and first.isdigit())
    if not begins or not f"_{rest}".isidentifier() or len(feature) > MAX_NAME_LENGTH:
        raise Invalid(f"{where}: the feature name {feature[:80]!r} is not allowed.")


def check_references(
    features: Mapping[str, list[str]], dependencies: Collection[str], optional: Collection[str]
) -> None:
    """Raises `Invalid` for a feature that includes nothing that exists, and for an optional dependency without any."""
    switched = {value[4:] for values in features.values() for value in values if value.startswith("dep:")}
    implicit = set(optional) - switched - set(features)
    mentioned = set(implicit)
    for feature, values in features.items():
        for value in values:
            dependency, slash, remote = value.partition("/")
            name = value[4:] if value.startswith("dep:") else dependency.removesuffix("?")
            if value.startswith("dep:") or dependency.endswith("?"):
                known = name in optional
            elif slash:
                known = name in dependencies
            else:
                known = name in features or name in implicit
            if not known:
                raise Invalid(
                    f"The feature {feature!r} includes {value[:80]!r}, which is neither a feature nor a fitting "
                    "dependency of this crate."
                )
            if slash:
                check_name(remote, f"The feature {feature!r}")
            if slash or value.startswith("dep:"):
                mentioned.add(name)
    if unused := set(optional) - mentioned:
        raise Invalid(f"No feature switches on the optional dependency {min(unused)!r}.")
