"""The page of a crate in the admin site: standing, versions, owners, dependencies, dependents and the README."""

from collections.abc import Iterator
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, Substr
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from crates import dependents, removal
from crates.models import Crate, Dependency, Ownership, Version, VersionContents
from registry_site.admin.object_pages import (
    MAX_ROWS,
    Cell,
    Description,
    Fact,
    Link,
    Panel,
    link_to,
    list_url,
    may_view,
    object_url,
    panel_of,
)
from registry_site.download_counts import total_of
from registry_site.templatetags import figures

README_LENGTH = 2_000
DEFAULT_COLUMNS = ("number", "description", "license_expression")  # of the version that describes the crate
VERSION_COLUMNS = (
    *("number", "size", "published_at", "published_with", "yanked", "yank_message", "removed_at", "removal_reason"),
    *("destroyed_at", "crate_id", "published_by__username", "downloads__total"),
)


def page_queryset() -> QuerySet[Crate]:
    """Select crates with all that their facts need, in one query."""
    versions = Version.with_removed.filter(crate=OuterRef("pk")).order_by().values("crate")
    figures_of_versions = {
        "number": Count("pk"),
        "yanked_number": Count("pk", filter=Q(yanked=True)),
        "removed_number": Count("pk", filter=Q(removed_at__isnull=False)),
        "left_number": Count("pk", filter=Q(destroyed_at=None)),
        "bytes": Sum("size", filter=Q(destroyed_at=None)),
    }
    counted = {
        f"versions_{name}": Coalesce(Subquery(versions.annotate(figure=figure).values("figure")), 0)
        for name, figure in figures_of_versions.items()
    }
    crates = Crate.with_removed.select_related("removed_by", "downloads")
    return crates.annotate(
        **counted,
        readme=Subquery(readmes(OuterRef("default_version"))),
        **{f"default_{name}": F(f"default_version__{name}") for name in DEFAULT_COLUMNS},
        **{f"{name}_number": F(f"{name}_version__number") for name in ("max", "newest")},
    )


def may_destroy(crate: Any) -> bool:
    """Return whether a crate of `page_queryset` is removed, and has versions with texts."""
    return crate.removed_at is not None and crate.versions_left_number > 0


def may_restore(crate: Any) -> bool:
    return may_destroy(crate) and removal.is_restorable(crate.removed_at)


def readmes(version: Any) -> QuerySet[Any]:
    """Select the beginning of the README of a version, and one character more."""
    return VersionContents.objects.filter(version=version).values_list(Substr("readme_text", 1, README_LENGTH + 1))


def readme_panel(text: str | None, url: str) -> Panel:
    rows = [[format_html("<pre>{}</pre>", text[:README_LENGTH])]] if text else []
    more = Link("The whole README" if text and len(text) > README_LENGTH else "Public page", url)
    return Panel("README", ("Beginning",), rows, empty="There is none.", more=more)


def dependency_panel(rows: QuerySet[Dependency], title: str, more: Link | None = None) -> Panel:
    """Return the dependencies of a version; those on a crate of this registry lead to its page."""
    crates = Crate.with_removed.filter(canonical_name=OuterRef("canonical_name")).values("pk")[:1]
    rows = rows.annotate(crate=Subquery(crates)).defer(*Dependency.LARGE_COLUMNS).order_by("position")
    return panel_of(
        title,
        {
            "Crate": lambda row: Link(row.name, "" if row.registry else object_url(Crate, row.crate)),
            "Requirement": lambda row: row.requirement,
            "Kind": lambda row: f"{row.kind}{', optional' if row.is_optional else ''}",
            "Registry": lambda row: row.registry or "this one",
        },
        rows[: MAX_ROWS + 1],
        more=more,
    )


def state_of(version: Version) -> Cell:
    """Return why cargo does not choose a version, or that it may."""
    if version.destroyed_at is not None:
        return f"destroyed: {version.removal_reason}"
    if version.removed_at is not None:
        return f"removed: {version.removal_reason}"
    if version.yanked:
        return f"yanked: {version.yank_message}" if version.yank_message else "yanked"
    return "usable"


def removal_fact(row: Any) -> Fact:
    by = f" by {row.removed_by}" if row.removed_by else ""
    return Fact("Removed", f"{row.removed_at:%Y-%m-%d %H:%M} UTC{by}: {row.removal_reason}", "bad")


class CratePage:
    """What the page shows of a crate, for those who may view each part of it."""

    def __init__(self, request: HttpRequest, crate: Any) -> None:
        self.request = request
        self.crate = crate

    def describe(self) -> Description:
        return Description([self.standing(), *self.facts()], list(self.panels()))

    def standing(self) -> Fact:
        crate = self.crate
        if crate.removed_at is not None:
            return removal_fact(crate)
        if crate.max_version_id is None:
            return Fact("Not usable", "No version is left that is not yanked.", "warn")
        return Fact("Standing", f"Usable, up to version {crate.max_number}.", "good")

    def facts(self) -> Iterator[Fact]:
        crate, downloads = self.crate, getattr(self.crate, "downloads", None)
        yield Fact("Description", crate.default_description)
        yield Fact("License", crate.default_license_expression)
        states = ((crate.versions_yanked_number, "yanked"), (crate.versions_removed_number, "removed"))
        parts = [figures.grouped(crate.versions_number), *(f"{figures.grouped(n)} {state}" for n, state in states if n)]
        yield Fact("Versions", ", ".join(parts))
        yield Fact("Newest version", Link(crate.newest_number or "", object_url(Version, crate.newest_version_id)))
        yield Fact("Described by", Link(crate.default_number or "", object_url(Version, crate.default_version_id)))
        yield Fact("Stored", f"{figures.size(crate.versions_bytes)}; index file {figures.size(crate.index_size)}")
        if downloads:
            recent = f"{figures.grouped(downloads.total)} in all, {figures.grouped(downloads.recent)} in 90 days"
            yield Fact("Downloads", recent)
        yield Fact("Upstream", crate.get_upstream_display())
        yield Fact("Created", crate.created_at)
        yield Fact("Last change", crate.updated_at)

    def panels(self) -> Iterator[Panel]:
        if may_view(self.request, Version):
            yield self.version_panel()
        if may_view(self.request, Ownership):
            yield self.owner_panel()
        if self.crate.default_version_id and may_view(self.request, Version):
            yield from self.dependency_panels()
        yield self.dependent_panel()
        yield readme_panel(self.crate.readme, reverse("crate", args=[self.crate.name]))

    def version_panel(self) -> Panel:
        versions = Version.with_removed.filter(crate=self.crate).select_related("published_by", "downloads")
        return panel_of(
            "Versions",
            {
                "Version": lambda version: Link(version.number, object_url(Version, version.pk)),
                "State": state_of,
                "Published": lambda version: version.published_at,
                "By": lambda version: link_to(version.published_by),
                "With": lambda version: version.published_with,
                "Size": lambda version: figures.size(version.size),
                "Downloads": total_of,
            },
            versions.only(*VERSION_COLUMNS)[: MAX_ROWS + 1],
            more=Link("All versions", list_url(Version, q=f"{self.crate.name}@")),
            order="newest",
        )

    def owner_panel(self) -> Panel:
        owners = Ownership.objects.filter(crate=self.crate).select_related("user", "added_by")
        columns = ("user__username", "added_by__username", "added_at", "crate_id")
        return panel_of(
            "Owners",
            {
                "Owner": lambda row: link_to(row.user),
                "Since": lambda row: row.added_at,
                "Added by": lambda row: link_to(row.added_by),
            },
            owners.only(*columns)[: MAX_ROWS + 1],
            empty="Nobody owns it.",
            more=Link("All owners, to remove some", list_url(Ownership, q=self.crate.name)),
        )

    def dependency_panels(self) -> Iterator[Panel]:
        rows = Dependency.objects.filter(version=self.crate.default_version_id)
        yield dependency_panel(rows, f"Dependencies of {self.crate.default_number}")

    def dependent_panel(self) -> Panel:
        current = dependents.current_dependencies("", self.crate.name).order_by("-version")
        columns = ("requirement", "kind", "is_optional", "version__number", "version__crate__name")
        return panel_of(
            "Dependents",
            {
                "Crate": lambda row: Link(row.version.crate.name, object_url(Crate, row.version.crate_id)),
                "Version": lambda row: Link(row.version.number, object_url(Version, row.version_id)),
                "Requirement": lambda row: row.requirement,
                "Kind": lambda row: row.kind,
            },
            current.select_related("version__crate").only(*columns)[: MAX_ROWS + 1],
            more=Link("All dependents", reverse("crate-dependents", args=[self.crate.name])),
        )
