"""Dependencies as rows, so that the dependents of a crate are one look-up. The index line has the same as JSON."""

from typing import Any

from django.db import connection

from crates import names
from crates.models import Dependency, Version

BATCH_SIZE = 200
NO_VERSION = -1
SET_CURRENT = "UPDATE crates_dependency SET is_current = (version_id = %s) WHERE version_id IN (%s, %s)"


def store(version: Version, *, is_current: bool) -> None:
    """Store the dependencies of a new version, in the transaction that inserts it."""
    rows = [row(version, position, entry, is_current) for position, entry in enumerate(version.dependencies)]
    if rows:
        Dependency.objects.bulk_create(rows, batch_size=BATCH_SIZE)


def set_current(former: Version | None, version: Version | None) -> None:
    """Mark the dependencies of a version as those of its crate, and those of its former default version as not."""
    keys = [NO_VERSION if each is None else each.pk for each in (version, version, former)]
    with connection.cursor() as cursor:
        cursor.execute(SET_CURRENT, keys)


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
