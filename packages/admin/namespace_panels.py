"""What the page of a namespace in the admin site shows of its packages."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, OuterRef, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from namespaces.models import Namespace
from packages.admin.package_page import named
from packages.models import Package, Release
from registry_site.admin.object_pages import (
    MAX_ROWS,
    CountedFact,
    Link,
    Panel,
    add_fact,
    add_panel,
    list_url,
    object_url,
    panel_of,
)
from registry_site.templatetags import figures


def package_panels(request: HttpRequest, namespace: Namespace) -> Iterator[Panel]:
    packages = Package.objects.filter(namespace=namespace).select_related("newest")
    columns = ("name", "field", "type", "updated_at", "removed_at", "newest__version", "newest__status")
    yield panel_of(
        "Packages",
        {
            "Package": lambda row: Link(row.name, object_url(Package, row.pk)),
            "Ecosystem": lambda row: row.field,
            "For": lambda row: row.get_type_display(),
            "Newest": lambda row: named(row.newest) if row.newest else None,
            "Last change": lambda row: row.updated_at,
            "In the trash since": lambda row: row.removed_at,
        },
        packages.only(*columns).order_by("canonical_name")[: MAX_ROWS + 1],
        more=Link("All packages", list_url(Package, q=namespace.name)),
    )


def stored_packages() -> dict[str, Any]:
    """Return the number of packages of a namespace, and the bytes of their archives."""
    packages = Package.objects.filter(namespace=OuterRef("pk")).order_by().values("namespace")
    releases = Release.objects.filter(package__namespace=OuterRef("pk")).order_by().values("package__namespace")
    return {
        "package_number": Coalesce(Subquery(packages.annotate(number=Count("pk")).values("number")), 0),
        "package_bytes": Coalesce(Subquery(releases.annotate(bytes=Sum("size")).values("bytes")), 0),
    }


def show_packages(namespace: Any) -> str:
    return f"{figures.size(namespace.package_bytes)} in {figures.grouped(namespace.package_number)} packages"


add_panel(Namespace, Package, package_panels)
add_fact(Namespace, CountedFact("Stored", stored_packages, show_packages))
