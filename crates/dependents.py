"""Dependents of a crate: the crates of this registry whose default version needs it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, QuerySet

from crates import catalogue, listing, names, ownership
from crates.models import Crate, CrateDownloads, Dependency
from crates.records import DependencyRecord, VersionRecord


@dataclass(frozen=True)
class DependentList:
    """A page of dependents: one dependency of each, their versions, and the number of all dependents."""

    dependencies: Sequence[DependencyRecord]
    versions: Iterable[VersionRecord]
    total: int


def list_dependents(name: str, page: int, per_page: int) -> DependentList:
    """Return a page of the dependents of a crate, those with the most downloads first; raises `NotFound`."""
    return list_dependents_on("", ownership.get_crate(name).name, page, per_page)


def list_dependents_on(registry: str, name: str, page: int, per_page: int) -> DependentList:
    """Return a page of the dependents of a crate in the registry with this index URL; an empty one is this registry."""
    current = Dependency.objects.filter(canonical_name=names.canonical(name), registry=registry, is_current=True)
    start = (page - 1) * per_page
    downloads = dict(select_dependents(current)[start : start + per_page])
    # A version can need a crate several times, for its code and for its tests: the first dependency stands for all.
    rows = current.filter(version__in=downloads).order_by("-version_id", "-position")
    dependencies = {row.version_id: row for row in rows}
    keys = [key for key in downloads if key in dependencies]  # another version may be the default one meanwhile
    return DependentList(
        [catalogue.dependency_record(dependencies[key], name, downloads[key]) for key in keys],
        catalogue.version_records(keys),
        count_dependents(current),
    )


def select_dependents(current: QuerySet[Dependency]) -> QuerySet[CrateDownloads, tuple[int, int]]:
    """Select the default versions that have some of these dependencies, with the downloads of their crates.

    Few are looked up and sorted; to find the first of many, the index of downloads is followed.
    """
    by_downloads = listing.ORDERS["downloads"]
    crates = by_downloads.sort(by_downloads.rows(listing.USABLE))
    few = list(current.order_by().values_list("version_id", flat=True).distinct()[: listing.FEW + 1])
    if len(few) <= listing.FEW:
        crates = crates.filter(crate__default_version__in=few)
    else:
        crates = crates.filter(Exists(current.filter(version=OuterRef("crate__default_version"))))
    return crates.values_list("crate__default_version", "total")


def count_dependents(current: QuerySet[Dependency]) -> int:
    """Count the dependents, in the index of dependencies alone."""
    # A default version is yanked only if all versions of its crate are, and there are few such crates. To look at the
    # versions themselves would read one row for each dependent.
    yanked = Crate.objects.filter(max_version=None).exclude(default_version=None).values("default_version")
    return current.exclude(version__in=yanked).order_by().values("version").distinct().count()
