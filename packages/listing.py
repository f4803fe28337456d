"""Pages of the lists of packages.

Each order of all listed packages has an index, and a counter says how many they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.db.models import Q, QuerySet
from django.dispatch import receiver

from accounts.models import User
from accounts.signals import works_wanted
from accounts.works import Work, Works
from namespaces.models import Namespace, Role
from packages import counters, search
from packages.models import Collaboration, Package, PackageDownloads
from registry_site.errors import Invalid, NotFound

PAGE_SIZE = 20  # yapkg's document leaves it open
MAX_WORKS = 50  # packages on the page of a person
ORDERS = {"name": "canonical_name", "new": "-created_at", "updated": "-updated_at"}
ORDERS_BY_DOWNLOADS = {"downloads": "-total", "recent-downloads": "-recent"}


@dataclass(frozen=True)
class Page:
    """One page of a list, and the number of all pages and packages."""

    packages: Sequence[Package]
    number: int
    last: int
    total: int


def namespace_page(user: User | None, name: str, page: int) -> Page:
    """Return a page of the packages in a namespace that `user` may read, by name; raises `NotFound`."""
    namespace = Namespace.objects.present().named(name).first()
    if namespace is None:
        raise NotFound(f"There is no namespace {name[:80]!r}.", code="namespace_missing")
    packages = Package.objects.filter(namespace=namespace, removed_at=None).visible_to(user).order_by("canonical_name")
    return _page(packages.values_list("pk", flat=True), packages.count(), page)


def search_page(query: str, page: int) -> Page:
    """Return a page of the listed packages that match a query, the best match first; raises `Invalid`.

    An empty query lists all by name.
    """
    if len(query) > search.MAX_QUERY:
        raise Invalid(f"A query has at most {search.MAX_QUERY} characters.", code="query_too_long")
    if not query.strip():
        return listed_page("name", page)
    keys = search.search_packages(query)
    return _page(keys, len(keys), page)


def listed_page(order: str, page: int) -> Page:
    """Return a page of all listed packages in an order of `ORDERS` or `ORDERS_BY_DOWNLOADS`."""
    return _page(listed_keys(order), counters.listed_packages.value(), page)


def listed_keys(order: str) -> QuerySet[Package, int] | QuerySet[PackageDownloads, int]:
    """Select the primary keys of all listed packages in an order."""
    if order in ORDERS_BY_DOWNLOADS:
        rows = PackageDownloads.objects.filter(package__is_listed=True)
        return rows.order_by(ORDERS_BY_DOWNLOADS[order], "package_id").values_list("package_id", flat=True)
    column = ORDERS[order]
    return Package.objects.listed().order_by(column, "-pk" if column[0] == "-" else "pk").values_list("pk", flat=True)


def _page(
    keys: Sequence[int] | QuerySet[Package, int] | QuerySet[PackageDownloads, int], total: int, page: int
) -> Page:
    """Return a page of these primary keys; a number out of range means the first or the last page."""
    last = max(1, -(-total // PAGE_SIZE))
    number = min(max(page, 1), last)
    return Page(_packages(keys[(number - 1) * PAGE_SIZE : number * PAGE_SIZE]), number, last, total)


def _packages(keys: Sequence[int] | QuerySet[Package, int] | QuerySet[PackageDownloads, int]) -> list[Package]:
    """Return the packages of primary keys in their order; one can be deleted meanwhile."""
    order = list(keys)
    packages = Package.objects.with_newest().order_by().in_bulk(order)
    return [packages[key] for key in order if key in packages]


def page_path(package: Package) -> str:
    return f"/namespaces/{quote(package.namespace.name)}/packages/{quote(package.name, safe='@/')}"


@receiver(works_wanted)
def packages_of(sender: type[User], user: User, viewer: User | None, **kwargs: Any) -> Works:
    """Return packages that a person manages or works on, the latest first: those that the viewer may see."""
    managed = Namespace.objects.filter(memberships__user=user, memberships__role__in=(Role.OWNER, Role.MANAGER))
    shared = Collaboration.objects.filter(user=user).values("package")
    visible = Package.objects.present().visible_to(viewer)
    packages = visible.filter(Q(namespace__in=managed.values("pk")) | Q(pk__in=shared)).order_by("-updated_at", "-pk")
    some = list(packages.with_newest()[: MAX_WORKS + 1])
    works = [
        Work(
            str(package),
            page_path(package),
            package.newest.description if package.newest else "",
        )
        for package in some[:MAX_WORKS]
    ]
    return Works("Packages", works, has_more=len(some) > MAX_WORKS)
