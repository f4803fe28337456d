"""Pages of the lists of packages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.dispatch import receiver

from accounts.models import User
from accounts.signals import works_wanted
from accounts.works import Work, Works
from namespaces.models import Namespace, Role
from packages import search
from packages.models import Collaboration, Package
from registry_site.errors import Invalid, NotFound

PAGE_SIZE = 20  # yapkg's document leaves it open
MAX_WORKS = 50  # packages on the page of a person


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
    packages = Package.objects.present().visible_to(user).filter(namespace=namespace)
    return _page(packages.values_list("pk", flat=True), page)


def search_page(query: str, page: int) -> Page:
    """Return a page of the public packages that match a query, the best match first; raises `Invalid`."""
    if len(query) > search.MAX_QUERY:
        raise Invalid(f"A query has at most {search.MAX_QUERY} characters.", code="query_too_long")
    return _page(search.search_packages(query), page)


def _page(keys: Sequence[int] | QuerySet[Package, int], page: int) -> Page:
    """Return a page of these primary keys; a number out of range means the first or the last page."""
    paginator = Paginator(keys, PAGE_SIZE)
    keys_of_page = paginator.get_page(max(page, 1))
    packages = Package.objects.with_newest().in_bulk(list(keys_of_page.object_list))
    # A package can be deleted between the two queries.
    rows = [packages[key] for key in keys_of_page.object_list if key in packages]
    return Page(rows, keys_of_page.number, paginator.num_pages, paginator.count)


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
            f"/namespaces/{quote(package.namespace.name, safe='')}/packages/{quote(package.name, safe='@/')}",
            package.newest.description if package.newest else "",
        )
        for package in some[:MAX_WORKS]
    ]
    return Works("Packages", works, has_more=len(some) > MAX_WORKS)
