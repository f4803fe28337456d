"""The pages of a package and of a release in the admin site."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from accounts.models import good_standing
from namespaces.admin.namespace_page import invitation_panel, role_panel
from namespaces.models import Namespace, Role
from packages.models import (
    SEARCH_COLUMNS_OF_PACKAGE,
    Collaboration,
    CollaboratorInvitation,
    Package,
    Release,
    SnapshotRevision,
    Status,
)
from registry_site.admin.object_pages import (
    MAX_ROWS,
    Description,
    Fact,
    Link,
    Panel,
    link_to,
    list_url,
    may_view,
    object_url,
    panel_of,
    trash_fact,
)
from registry_site.download_counts import total_of
from registry_site.templatetags import figures

# --- Packages --------------------------------------------------------------------------------------------------------


def package_queryset() -> QuerySet[Package]:
    """Select the packages with the number and the bytes of their releases, and whether an owner can let others in."""
    releases = Release.objects.filter(package=OuterRef("pk")).order_by().values("package")
    owners = Collaboration.objects.filter(good_standing("user__"), package=OuterRef("pk"), role=Role.OWNER)
    packages: QuerySet[Package] = Package.objects.with_newest().select_related("downloads")
    return packages.annotate(
        release_count=Coalesce(Subquery(releases.annotate(number=Count("pk")).values("number")), 0),
        release_bytes=Coalesce(Subquery(releases.annotate(bytes=Sum("size")).values("bytes")), 0),
        has_owner=Exists(owners),
    )


def describe_package(request: HttpRequest, package: Any) -> Description:
    return Description(list(package_facts(package)), list(package_panels(request, package)))


def package_facts(package: Any) -> Iterator[Fact]:
    if package.removed_at:
        yield trash_fact(package.removed_at)
    elif package.namespace.removed_at:
        yield Fact("Hidden", "Its namespace is in the trash, and it comes back with that.", "bad")
    else:
        yield Fact("Standing", f"In use, {package.get_type_display()}.", "good")
    if not package.has_owner:
        yield Fact("No owner", "No owner of its own has an open account; one of its namespace may.", "warn")
    yield Fact("Namespace", Link(package.namespace.name, object_url(Namespace, package.namespace_id)))
    yield Fact("Ecosystem", package.field)
    if package.newest:
        yield Fact("Newest", Link(named(package.newest), object_url(Release, package.newest_id)))
    yield Fact("Stored", f"{figures.size(package.release_bytes)} in {figures.grouped(package.release_count)} releases")
    yield Fact("Downloads", total_of(package))
    yield Fact("Made", package.created_at)
    yield Fact("Last change", package.updated_at)


def named(release: Release) -> str:
    return f"{release.version} ({release.get_status_display()})"


def package_panels(request: HttpRequest, package: Package) -> Iterator[Panel]:
    if may_view(request, Release):
        yield release_panel(package)
    if may_view(request, Collaboration):
        yield role_panel("Collaborators", Collaboration, package)
    if may_view(request, CollaboratorInvitation):
        yield invitation_panel(CollaboratorInvitation, package)


def release_panel(package: Package) -> Panel:
    columns = ("package_id", "version", "status", "publisher__username", "published_at", "size", "downloads__total")
    releases = package.releases.select_related("publisher", "downloads").only(*columns).order_by("-published_at", "-pk")
    return panel_of(
        "Releases",
        {
            "Version": lambda row: Link(row.version, object_url(Release, row.pk)),
            "Status": lambda row: row.get_status_display(),
            "Publisher": lambda row: link_to(row.publisher),
            "Published": lambda row: row.published_at,
            "Size": lambda row: figures.size(row.size),
            "Downloads": total_of,
        },
        releases[: MAX_ROWS + 1],
        more=Link("All releases", list_url(Release, q=package.name)),
        order="newest",
    )


# --- Releases --------------------------------------------------------------------------------------------------------


def release_queryset() -> QuerySet[Release]:
    large = (*Release.LARGE_COLUMNS, *SEARCH_COLUMNS_OF_PACKAGE)
    return Release.objects.select_related("package__namespace", "publisher", "downloads").defer(*large)


def describe_release(request: HttpRequest, release: Any) -> Description:
    panels = [revision_panel(release)] if may_view(request, SnapshotRevision) else []
    return Description(list(release_facts(release)), panels)


def release_facts(release: Any) -> Iterator[Fact]:
    package = release.package
    if package.removed_at or package.namespace.removed_at:
        yield Fact("Hidden", "Its package or its namespace is in the trash.", "bad")
    elif release.status == Status.DEPRECATED:
        yield Fact("Deprecated", "It should not be used any more; it can still be fetched.", "warn")
    else:
        yield Fact("Standing", "In use.", "good")
    fixed = "never changes again" if release.is_final else "may be replaced by a new one of the same version"
    yield Fact("Status", f"{release.get_status_display()}: {fixed}")
    yield Fact("Package", Link(str(package), object_url(Package, package.pk)))
    yield Fact("Published", release.published_at)
    yield Fact("Publisher", link_to(release.publisher))
    yield Fact("Archive", f"{figures.size(release.size)}, SHA-256 {release.sha256}" if release.sha256 else "none")
    yield Fact("Downloads", total_of(release))
    yield Fact("Description", release.description)
    yield Fact("Keywords", ", ".join(map(str, release.keywords)))


def revision_panel(release: Release) -> Panel:
    """Return what was replaced of a snapshot, without its large columns."""
    people = ("publisher__username", "replaced_by__username")
    columns = ("release_id", "status", "published_at", "replaced_at", "size", "sha256", *people)
    return panel_of(
        "Replaced contents",
        {
            "Status": lambda row: row.get_status_display(),
            "Published": lambda row: row.published_at,
            "Publisher": lambda row: link_to(row.publisher),
            "Replaced": lambda row: row.replaced_at,
            "By": lambda row: link_to(row.replaced_by),
            "Size": lambda row: figures.size(row.size),
            "SHA-256": lambda row: row.sha256,
        },
        release.revisions.select_related("publisher", "replaced_by").only(*columns)[: MAX_ROWS + 1],
        empty="It was never replaced.",
    )
