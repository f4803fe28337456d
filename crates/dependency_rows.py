"""Dependencies as rows, so that the dependents of a crate are one look-up. The index line has the same as JSON."""

from typing import Any

from django.db.models import Q

from crates import names
from crates.models import Dependency, Version

BATCH_SIZE = 200


def store(version: Version, *, is_current: bool) -> None:
    """Store the dependencies of a new version, in the transaction that inserts it."""
    rows = [row(version, position, entry, is_current) for position, entry in enumerate(version.dependencies)]
    if rows:
        Dependency.objects.bulk_create(rows, batch_size=BATCH_SIZE)


def set_current(former: Version | None, version: Version | None) -> None:
    """Mark the dependencies of a version as those of its crate, and those of its former default version as not."""
    rows = Dependency.objects.filter(version__in=[each.pk for each in (former, version) if each is not None])
    rows.update(is_current=Q(version=version))


def row(version: Version, position: int, entry: dict[str, Any], is_current: bool) -> Dependency:
    """Return the row of an entry of an index line, which is not stored yet."""
    columns = columns_of(entry)
    return Dependency(
        version=version,
        position=position,
        canonical_name=names.canonical(columns["name"]),
        is_current=is_current,
        **columns,
    )


def columns_of(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the columns that follow from an entry of an index line alone."""
    return {
        "name": entry.get("package") or entry["name"],
        "explicit_name": entry["name"] if entry.get("package") else "",
        "registry": entry["registry"] or "",
        "requirement": entry["req"],
        "kind": entry["kind"],
        "is_optional": entry["optional"],
        "default_features": entry["default_features"],
        "features": entry["features"],
        "target": entry["target"] or "",
    }
