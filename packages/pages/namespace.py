"""The page of a namespace: its packages, and some of its members."""

from typing import Any

from django.http import HttpRequest

from accounts.models import User
from namespaces import membership
from namespaces.models import Namespace
from namespaces.pages.frame import NamespacePage
from packages import listing, section
from registry_site import paging

MAX_MEMBERS = 12  # beside the packages; the page of members has all
SORTS = {"name": "By name", "updated": "Latest", "new": "Newest", "downloads": "Most downloaded"}


class PackagesOfNamespace(NamespacePage):
    """`GET /namespaces/{namespace}?sort=&page=`"""

    template_name = "namespaces/namespace.html"
    tab = "packages"

    def context(self, request: HttpRequest, namespace: Namespace, viewer: User | None) -> dict[str, Any]:
        number = paging.number_of(request)
        sort = request.GET.get("sort", "")
        sort = sort if sort in SORTS else "name"
        page = listing.page_of_namespace(namespace, viewer, sort, number)
        packages = page.packages if page.number == number else []
        rows = [section.package_entry(package, title=package.name) for package in packages]
        members = [] if namespace.user else list(membership.members_of(namespace)[: MAX_MEMBERS + 1])
        return {
            "total": page.total,
            "sort": sort,
            "sorts": SORTS,
            "members": members,
            "rows": rows,
            **paging.ways(request, number, rows, number < page.last),
        }
