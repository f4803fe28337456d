"""The page of a namespace: its packages, and some of its members."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from accounts.credentials import browser_sessions
from accounts.models import User
from namespaces import membership
from namespaces.models import Namespace
from packages import listing, rights, section, shell_lines
from packages.presentation import log_in_line
from registry_site import paging, visitors
from registry_site.http.spelling import redirect_to_spelling

MAX_MEMBERS = 12  # beside the packages; the page of members has all
SORTS = {"name": "By name", "updated": "Latest", "new": "Newest", "downloads": "Most downloaded"}


@require_safe
def packages_of_namespace(request: HttpRequest, namespace: str) -> HttpResponse:
    """`GET /namespaces/{namespace}?sort=&page=`, at the address that spells the name as it was registered"""
    visitors.require_reader(request)
    row = membership.get_any_namespace(namespace)
    if row.name != namespace:
        return redirect_to_spelling(request, namespace=row.name)
    context = context_of(request, row, browser_sessions.get_viewer(request))
    return render(request, "namespaces/namespace.html", context)


def context_of(request: HttpRequest, namespace: Namespace, viewer: User | None) -> dict[str, Any]:
    number = paging.number_of(request)
    sort = request.GET.get("sort", "")
    sort = sort if sort in SORTS else "name"
    page = listing.page_of_namespace(namespace, viewer, sort, number)
    packages = page.packages if page.number == number else []
    rows = [section.package_entry(package, title=package.name) for package in packages]
    members = [] if namespace.user else membership.members_of(namespace)[: MAX_MEMBERS + 1]
    return {
        "namespace": namespace,
        "tab": "packages",
        "total": page.total,
        "sort": sort,
        "sorts": SORTS,
        "members": paging.part_of(list(members), 1, MAX_MEMBERS),
        "rows": rows,
        **lines_to_publish(namespace, viewer),
        **paging.ways(request, number, rows, number < page.last),
    }


def lines_to_publish(namespace: Namespace, viewer: User | None) -> dict[str, Any]:
    """Return the lines that publish a package here, for those who may."""
    if viewer is None or not rights.may_create(namespace, viewer):
        return {}
    url = f"{settings.PUBLIC_URL}{namespace.page_path}/packages"
    return {"log_in_line": log_in_line(viewer), "publish_line": shell_lines.publish_line(url)}
