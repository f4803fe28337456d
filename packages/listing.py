"""Lists of packages, page by page."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.core.paginator import Paginator
from django.db.models import QuerySet

from accounts.models import User
from namespaces.models import Namespace
from packages import search
from packages.models import Package
from registry_site.errors import Invalid, NotFound

PAGE_SIZE = 20


@dataclass(frozen=True)
class Page:
    """One page of a list; a number beyond the last means the last, one below the first the first."""

    packages: Sequence[Package]
    number: int
    last: int
    total: int


def namespace_page(user: User | None, name: str, page: int) -> Page:
    """What `user` may read of a namespace, by name; raises `NotFound`."""
    namespace = Namespace.objects.present().named(name).first()
    if namespace is None:
        raise NotFound(f"There is no namespace {name[:80]!r}.", code="namespace_missing")
    packages = Package.objects.present().visible_to(user).filter(namespace=namespace)
    return _page(packages.values_list("pk", flat=True), page)


def search_page(query: str, page: int) -> Page:
    """The public packages that a query finds, the best first; raises `Invalid`."""
    if len(query) > search.LONGEST_QUERY:
        raise Invalid(f"A query has at most {search.LONGEST_QUERY} characters.", code="query_too_long")
    return _page(search.search_packages(query), page)


def _page(keys: Sequence[int] | QuerySet[Package, int], page: int) -> Page:
    """Only the packages of the page are read whole."""
    paginator = Paginator(keys, PAGE_SIZE)
    chosen = paginator.get_page(max(page, 1))
    rows = Package.objects.with_newest().in_bulk(list(chosen.object_list))
    packages = [rows[key] for key in chosen.object_list if key in rows]
    return Page(packages, chosen.number, paginator.num_pages, paginator.count)
