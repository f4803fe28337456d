"""Pages of the lists of packages.

Each order of all listed packages has an index, and a counter says how many they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.dispatch import receiver

from accounts import names
from accounts.models import User
from accounts.signals import works_wanted
from accounts.works import Work, Works
from namespaces.models import Membership, Namespace, Role
from packages import counters, search
from packages.models import Collaboration, Package, PackageDownloads
from registry_site.compiled_queries import compiled
from registry_site.errors import Invalid, NotFound

PAGE_SIZE = 20  # yapkg's document leaves it open
WORK_COLUMNS = ("name", "namespace__name", "newest__description")
MAX_WORKS = 50  # packages or namespaces on the page of a person
ORDERS = {"name": "canonical_name", "new": "-created_at", "updated": "-updated_at"}
BY_RELEVANCE = "relevance"  # of the names and texts of packages to the words of a query
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
    namespace = next(iter(present_namespaces(names.canonical(name))), None)
    if namespace is None:
        raise NotFound(f"There is no namespace {name[:80]!r}.", code="namespace_missing")
    return page_of_namespace(namespace, user, "name", page)


@compiled
def present_namespaces(canonical_name: str) -> QuerySet[Namespace]:
    return Namespace.objects.present().named(canonical_name)


def page_of_namespace(namespace: Namespace, user: User | None, order: str, page: int) -> Page:
    """Return a page of the packages in a namespace that `user` may read, in an order as `listed_page` has them."""
    packages = Package.objects.filter(namespace=namespace, removed_at=None).visible_to(user)
    total = packages.count() if user else sum(public_counts(namespace.pk))
    return _page(in_order(packages, order).values_list("pk", flat=True), total, page)


@compiled
def public_counts(namespace: int) -> QuerySet[Package, int]:
    """Select the number of public packages in a namespace, or no row."""
    packages = Package.objects.filter(namespace=namespace, removed_at=None).visible_to(None)
    return packages.order_by().values("namespace").annotate(number=Count("pk")).values_list("number", flat=True)


def in_order(packages: QuerySet[Package], order: str) -> QuerySet[Package]:
    """Sort packages of which no index has the order."""
    if order == "name":
        return packages.order_by("canonical_name")  # alone: it is the order of an index of the namespace
    if order in ORDERS:
        return packages.order_by(ORDERS[order], "-pk")
    return packages.order_by(f"-downloads__{ORDERS_BY_DOWNLOADS[order].removeprefix('-')}", "pk")


def search_page(query: str, page: int, order: str = BY_RELEVANCE) -> Page:
    """Return a page of the listed packages that match a query, the best match or another one first; raises `Invalid`.

    An empty query lists all, those of the best match by name.
    """
    if len(query) > search.MAX_QUERY:
        raise Invalid(f"A query has at most {search.MAX_QUERY} characters.", code="query_too_long")
    if not query.strip():
        return listed_page("name" if order == BY_RELEVANCE else order, page)
    keys = search.search_packages(query)
    if order != BY_RELEVANCE:
        keys = list(in_order(Package.objects.filter(pk__in=keys), order).values_list("pk", flat=True))
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
    packages = {package.pk: package for package in shown_packages(order)}
    return [packages[key] for key in order if key in packages]


@compiled
def shown_packages(keys: Sequence[int]) -> QuerySet[Package]:
    packages = Package.objects.with_newest().annotate(download_count=F("downloads__total"))
    return packages.filter(pk__in=keys).order_by()


@receiver(works_wanted)
def packages_of(sender: type[User], user: User, viewer: User | None, **kwargs: Any) -> Works:
    """Return packages that a person manages or works on, the latest first: those that the viewer may see."""
    managed = Membership.objects.filter(user=user, role__in=(Role.OWNER, Role.MANAGER)).values("namespace")
    shared = Collaboration.objects.filter(user=user).values("package")
    visible = Package.objects.present().visible_to(viewer)
    packages = visible.filter(Q(namespace__in=managed) | Q(pk__in=shared)).order_by("-updated_at", "-pk")
    some = list(packages.select_related("namespace", "newest").only(*WORK_COLUMNS)[: MAX_WORKS + 1])
    works = [
        Work(
            str(package),
            package.page_path,
            package.newest.description if package.newest else "",
        )
        for package in some[:MAX_WORKS]
    ]
    return Works("Packages", works, has_more=len(some) > MAX_WORKS)


@receiver(works_wanted)
def namespaces_of(sender: type[User], user: User, viewer: User | None, **kwargs: Any) -> Works:
    """Return namespaces in which a person has a role: those with public packages, and shared ones of the viewer."""
    shown = Q(Exists(Package.objects.listed().filter(namespace=OuterRef("pk"))))
    if viewer is not None:
        shown |= Q(user=None, pk__in=Membership.objects.filter(user=viewer).values("namespace"))
    namespaces = Namespace.objects.present().filter(shown, memberships__user=user).order_by("name")
    some = list(namespaces.only("name", "user")[: MAX_WORKS + 1])
    works = [Work(each.name, each.page_path, "Personal" if each.user_id else "") for each in some[:MAX_WORKS]]
    return Works("Namespaces", works, has_more=len(some) > MAX_WORKS)
