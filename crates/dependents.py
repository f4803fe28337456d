"""Dependents of a crate: the crates of this registry whose default version needs it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Exists, OuterRef, QuerySet

from crates import catalogue, dependency_links, listing, names, ownership
from crates.models import Crate, CrateDownloads, Dependency
from crates.records import DependencyRecord, VersionRecord

PURPOSES: dict[str, str] = {Dependency.Kind.DEV: "for tests", Dependency.Kind.BUILD: "to build"}
DEPENDENT_COLUMNS = (
    "crate__default_version",
    "crate__name",
    "crate__default_version__number",
    "crate__default_version__description",
    "crate__default_version__published_at",
    "total",
)


@dataclass(frozen=True)
class DependentList:
    """A page of dependents: one dependency of each, their versions, and the number of all dependents."""

    dependencies: Sequence[DependencyRecord]
    versions: Iterable[VersionRecord]
    total: int


@dataclass(frozen=True)
class Need:
    """A dependency of a dependent: which versions it admits, and for what."""

    requirement: str
    kind: str
    is_optional: bool

    @property
    def purpose(self) -> str:
        return PURPOSES.get(self.kind, "")


@dataclass(frozen=True)
class Dependent:
    """A crate whose default version needs another one, with all the dependencies by which it does."""

    name: str
    number: str
    description: str
    published_at: datetime
    downloads: int
    needs: Sequence[Need]
    is_outdated: bool  # one of the requirements does not admit the newest version


@dataclass(frozen=True)
class DependentPage:
    """Some dependents of a crate, and whether more follow."""

    dependents: Sequence[Dependent]
    number: int
    has_next: bool


def list_dependents(name: str, page: int, per_page: int) -> DependentList:
    """Return a page of the dependents of a crate, those with the most downloads first; raises `NotFound`."""
    return list_dependents_on("", ownership.get_crate(name).name, page, per_page)


def list_dependents_on(registry: str, name: str, page: int, per_page: int) -> DependentList:
    """Return a page of the dependents of a crate in the registry with this index URL; an empty one is this registry."""
    current = current_dependencies(registry, name)
    start = (page - 1) * per_page
    some = select_dependents(current, first_versions(current))
    downloads = dict(some.values_list("crate__default_version", "total")[start : start + per_page])
    # A version can need a crate several times, for its code and for its tests: the first dependency stands for all.
    rows = current.filter(version__in=downloads).order_by("-version_id", "-position")
    dependencies = {row.version_id: row for row in rows}
    keys = [key for key in downloads if key in dependencies]  # another version may be the default one meanwhile
    return DependentList(
        [catalogue.dependency_record(dependencies[key], name, downloads[key]) for key in keys],
        catalogue.version_records(keys),
        count_dependents(current),
    )


def describe_dependents(
    current: QuerySet[Dependency], versions: Sequence[int], newest: str, page: int, per_page: int
) -> DependentPage:
    """Return a page of the dependents of a crate, whose newest version has the number `newest`.

    They have some of the dependencies `current`, of which `versions` are the first versions.
    """
    start = (page - 1) * per_page
    rows = list(select_dependents(current, versions).values_list(*DEPENDENT_COLUMNS)[start : start + per_page + 1])
    shown = rows[:per_page]
    needs: defaultdict[int, list[Need]] = defaultdict(list)
    dependencies = current.filter(version__in=[row[0] for row in shown]).order_by("version_id", "position")
    rows_of_needs = dependencies.values_list("version_id", "requirement", "kind", "is_optional")
    for version, requirement, kind, is_optional in rows_of_needs:
        needs[version].append(Need(requirement, kind, is_optional))
    dependents = []
    for version, crate, number, description, published_at, downloads in shown:
        is_outdated = any(dependency_links.is_outdated(need.requirement, newest) for need in needs[version])
        dependents.append(Dependent(crate, number, description, published_at, downloads, needs[version], is_outdated))
    return DependentPage(dependents, page, has_next=len(rows) > per_page)


def current_dependencies(registry: str, name: str) -> QuerySet[Dependency]:
    """Select the dependencies on a crate of the default versions of all crates."""
    return Dependency.objects.filter(canonical_name=names.canonical(name), registry=registry, is_current=True)


def first_versions(current: QuerySet[Dependency]) -> list[int]:
    """Return the keys of the versions that have some of these dependencies; of many, one more than can be sorted."""
    return list(each_once(current)[: listing.FEW + 1])


def select_dependents(current: QuerySet[Dependency], versions: Sequence[int]) -> QuerySet[CrateDownloads]:
    """Select the downloads of crates whose default versions have some of these dependencies, the most first.

    `versions` are the first of them. Few are looked up and sorted; to find the first of many, the index of downloads is
    followed.
    """
    by_downloads = listing.ORDERS["downloads"]
    if len(versions) <= listing.FEW:
        return by_downloads.sort(CrateDownloads.objects.filter(crate__default_version__in=versions))
    needing = Exists(current.filter(version=OuterRef("crate__default_version")))
    return by_downloads.sort(by_downloads.rows(listing.USABLE).filter(needing))


def count_up_to_many(versions: Sequence[int]) -> str:
    """Return the number of some first versions, or `1000+`: to count more would read an entry for each."""
    return f"{listing.FEW}+" if len(versions) > listing.FEW else str(len(versions))


def count_dependents(current: QuerySet[Dependency]) -> int:
    """Count the dependents, in the index of dependencies alone."""
    return each_once(current).count()


def count_for_each(crates: Iterable[Crate]) -> dict[str, int]:
    """Return how many crates of this registry depend on each of these, by canonical names; none for those without."""
    chosen = [crate.canonical_name for crate in crates]
    current = Dependency.objects.filter(canonical_name__in=chosen, registry="", is_current=True)
    rows = usable(current).order_by().values("canonical_name").annotate(number=Count("version", distinct=True))
    return dict(rows.values_list("canonical_name", "number"))


def each_once(current: QuerySet[Dependency]) -> QuerySet[Dependency, int]:
    """Select the keys of the versions that have some of these dependencies, without those that are yanked."""
    return usable(current).order_by().values_list("version_id", flat=True).distinct()


def usable(current: QuerySet[Dependency]) -> QuerySet[Dependency]:
    """Select the dependencies of versions that are not yanked."""
    # A default version is yanked only if all versions of its crate are, and there are few such crates. To look at the
    # versions themselves would read one row for each dependent.
    yanked = Crate.with_removed.filter(max_version=None, default_version__isnull=False).values("default_version")
    return current.exclude(version__in=yanked)
