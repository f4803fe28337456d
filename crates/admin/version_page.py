"""The page of a version in the admin site: standing, origin, contents, dependencies and the README."""

from collections.abc import Iterator
from typing import Any

from django.db.models import OuterRef, QuerySet, Subquery
from django.urls import reverse

from crates.admin.crate_page import dependency_panel, readme_panel, readmes, removal_fact
from crates.models import Crate, Dependency, Version
from registry_site.admin.object_pages import Description, Fact, Link, Panel, link_to, object_url
from registry_site.download_counts import total_of
from registry_site.templatetags import figures


def page_queryset() -> QuerySet[Version]:
    """Select versions with all that their facts need, in one query, and without large columns."""
    versions = Version.with_removed.select_related("crate", "published_by", "removed_by", "downloads")
    without_large = versions.defer(*Version.LARGE_COLUMNS)
    return without_large.annotate(readme=Subquery(readmes(OuterRef("pk"))))


class VersionPage:
    """What the page shows of a version."""

    def __init__(self, version: Any) -> None:
        self.version = version

    def describe(self) -> Description:
        return Description([*self.standing(), *self.facts()], list(self.panels()))

    def standing(self) -> Iterator[Fact]:
        version = self.version
        if version.destroyed_at is not None:
            yield Fact("Destroyed", version.destroyed_at, "bad")
        if version.removed_at is not None:
            yield removal_fact(version)
        if version.crate.removed_at is not None:
            yield Fact("Crate removed", f"Why: {version.crate.removal_reason}", "bad")
        if version.yanked:
            at = f"{version.yanked_at:%Y-%m-%d %H:%M} UTC" if version.yanked_at else "some time ago"
            yield Fact("Yanked", f"{at}: {version.yank_message}" if version.yank_message else at, "warn")
        elif version.removed_at is None and version.crate.removed_at is None:
            yield Fact("Standing", "Usable.", "good")

    def facts(self) -> Iterator[Fact]:
        version = self.version
        yield Fact("Crate", Link(version.crate.name, object_url(Crate, version.crate_id)))
        yield Fact("Published", version.published_at)
        yield Fact("Published by", link_to(version.published_by))
        yield Fact("Published with", version.published_with)
        yield Fact("Downloads", total_of(version))
        yield Fact("SHA-256", version.checksum)
        yield Fact("Size", self.size())
        yield Fact("Description", version.description)
        yield Fact("License", version.license_expression or version.license_file)
        yield Fact("Rust", version.rust_version)
        yield Fact("Edition", version.edition)
        yield Fact("Contains", ", ".join(self.targets()))
        yield Fact("Repository", version.repository)  # publishers name these: no links for staff to follow
        yield Fact("Homepage", version.homepage)
        yield Fact("Documentation", version.documentation)
        yield Fact("Commit", version.vcs_commit)

    def size(self) -> str:
        version = self.version
        packed = figures.size(version.size)
        if version.unpacked_size is None:
            return packed
        return f"{packed}; {figures.size(version.unpacked_size)} unpacked, in {version.file_count:,} files"

    def targets(self) -> Iterator[str]:
        version = self.version
        if version.is_proc_macro:
            yield "a procedural macro"
        elif version.has_library:
            yield "a library"
        if version.has_build_script:
            yield "a build script"
        if version.binary_names:
            yield f"the programs {', '.join(version.binary_names)}"

    def panels(self) -> Iterator[Panel]:
        address = [self.version.crate.name, self.version.number]
        source = Link("Files of this version", reverse("crate-version-source", args=address))
        yield dependency_panel(Dependency.objects.filter(version=self.version), "Dependencies", source)
        yield readme_panel(self.version.readme, reverse("crate-version", args=address))
