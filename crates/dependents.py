"""Dependents of a crate: the crates of this registry whose default version needs it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crates import catalogue, names, ownership
from crates.models import Crate, CrateDownloads, Dependency
from crates.records import DependencyRecord, VersionRecord


@dataclass(frozen=True)
class DependentList:
    """A page of dependents: one dependency of each, their versions, and the number of all dependents."""

    dependencies: Sequence[DependencyRecord]
    versions: Iterable[VersionRecord]
    total: int


def list_dependents(name: str, page: int, per_page: int) -> DependentList:
    """Return a page of the dependents of a crate, the latest versions first; raises `NotFound`."""
    return list_dependents_on("", ownership.get_crate(name).name, page, per_page)


def list_dependents_on(registry: str, name: str, page: int, per_page: int) -> DependentList:
    """Return a page of the dependents of a crate in the registry with this index URL; an empty one is this registry."""
    # A default version is yanked only if all versions of its crate are, and there are few such crates. To look at the
    # versions themselves would read one row for each dependent.
    yanked = Crate.objects.filter(max_version=None).exclude(default_version=None).values("default_version")
    current = Dependency.objects.filter(canonical_name=names.canonical(name), registry=registry, is_current=True)
    rows = current.exclude(version__in=yanked)
    # A version can need a crate several times, for its code and for its tests: that is one dependent.
    keys = rows.order_by("-version_id").values_list("version_id", flat=True).distinct()
    start = (page - 1) * per_page
    keys_of_page = list(keys[start : start + per_page])
    dependencies: dict[int, Dependency] = {}
    columns = [field.attname for field in Dependency._meta.concrete_fields]
    rows_of_page = rows.filter(version__in=keys_of_page).order_by("-version_id", "position")
    for row in rows_of_page.select_related("version").only(*columns, "version__crate"):
        dependencies.setdefault(row.version_id, row)
    crates = {row.version.crate_id for row in dependencies.values()}
    downloads = dict(CrateDownloads.objects.filter(pk__in=crates).values_list("pk", "total"))
    return DependentList(
        [
            catalogue.dependency_record(row, name, downloads.get(row.version.crate_id, 0))
            for row in dependencies.values()
        ],
        catalogue.version_records(keys_of_page),
        keys.count(),
    )
