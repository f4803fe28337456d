"""A package and one of its versions, as pages show them to a viewer."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any, Self

from django.conf import settings
from django.db.models import Count, Subquery

from accounts.models import User
from accounts.second_factor.proofs import has_second_factor
from packages import downloads, lookup, shell_lines
from packages.models import Collaboration, DailyDownloads, Package, Release, ReleaseDownloads, Status, Type
from packages.release_input import Dependency
from packages.rights import Rights
from packages.shell_lines import FetchLines
from registry_site import download_chart, download_counts
from registry_site.download_chart import Chart
from registry_site.paging import Part, part_of

VERSIONS_PER_PAGE = 50
FILES_PER_PAGE = 200
DEPENDENCIES_PER_PAGE = 100
FEED_LENGTH = 50
MAX_COLLABORATORS = 12  # beside the package; the page of collaborators has all


def log_in_line(viewer: User | None) -> str:
    """Return the line that logs a viewer in; empty where nobody has a password."""
    if not settings.PASSWORD_LOGIN:
        return ""
    needs_code = viewer is not None and has_second_factor(viewer)
    return shell_lines.log_in_line(
        f"{settings.PUBLIC_URL}/login", viewer.username if viewer else "", needs_code=needs_code
    )


class PresentedPackage:
    """A package and one of its versions. What a page does not show is not read."""

    def __init__(
        self, package: Package, release: Release, rights: Rights, viewer: User | None, *, is_pinned: bool
    ) -> None:
        self.row = package
        self.release = release
        self.rights = rights
        self.viewer = viewer
        self.is_pinned = is_pinned  # the address names the version
        self.namespace = package.namespace
        self.name = package.name
        self.root = package.page_path

    @classmethod
    def get(cls, viewer: User | None, namespace: str, name: str, version: str = "") -> Self:
        """Return a package that `viewer` may read, with a version or else with the newest one; raises `NotFound`."""
        package, rights = lookup.get_with_rights(viewer, namespace, name)
        release = lookup.release_of(package, version) if version else package.newest_release()
        return cls(package, release, rights, viewer, is_pinned=bool(version))

    @property
    def address(self) -> str:
        """The address of what is shown: of the package, or of the version that was named."""
        return self.release.page_path if self.is_pinned else self.root

    @property
    def has_settings(self) -> bool:
        """Whether there is something that the viewer may change or remove."""
        return self.rights.may_publish or self.rights.may_remove

    @property
    def is_private(self) -> bool:
        return self.row.type == Type.PRIVATE

    @property
    def is_snapshot(self) -> bool:
        return self.release.status == Status.SNAPSHOT

    @property
    def is_deprecated(self) -> bool:
        return self.release.status == Status.DEPRECATED

    @property
    def newer(self) -> str:
        """The newest version, if another one is shown."""
        newest = self.row.newest
        return newest.version if newest is not None and newest.pk != self.release.pk else ""

    # --- How to fetch it ---------------------------------------------------------------------------------------------

    @property
    def download_path(self) -> str:
        """The path of the archive; empty without one."""
        return f"{self.release.page_path}/download" if self.release.sha256 else ""

    @property
    def filename(self) -> str:
        return downloads.archive_filename(self.release)

    @property
    def needs_log_in(self) -> bool:
        return self.is_private or settings.AUTH_REQUIRED

    @cached_property
    def lines(self) -> FetchLines:
        return shell_lines.lines_of(
            f"{settings.PUBLIC_URL}{self.download_path}",
            self.filename,
            self.release.sha256,
            self.row.field,
            log_in=log_in_line(self.viewer) if self.needs_log_in else "",
        )

    # --- Numbers -----------------------------------------------------------------------------------------------------

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """How many versions there are, and how often the package and this version were fetched."""
        of_release = ReleaseDownloads.objects.filter(pk=self.release.pk).values("total")
        rows = Package.objects.filter(pk=self.row.pk).order_by()
        columns: dict[str, Any] = {"versions": Count("releases"), "of_release": Subquery(of_release)}
        counts: Any = rows.values("downloads__total", "downloads__recent").annotate(**columns).get()
        return {name: count or 0 for name, count in counts.items()}

    @property
    def version_count(self) -> int:
        return self.counts["versions"]

    @cached_property
    def chart(self) -> Chart:
        return download_chart.draw(self.count_by_day(), download_counts.today(), download_counts.RECENT_DAYS)

    def count_by_day(self) -> list[tuple[date, int]]:
        """Return the downloads on each of the recent days that has any."""
        rows = DailyDownloads.objects.filter(release__package=self.row)
        return download_counts.by_day_of_parts(rows, self.version_count, f"package-{self.row.pk}")

    # --- Lists -------------------------------------------------------------------------------------------------------

    @property
    def dependencies(self) -> Sequence[Dependency]:
        dependencies: Sequence[Dependency] = self.release.dependencies
        return dependencies

    @property
    def dev_dependencies(self) -> Sequence[Dependency]:
        dependencies: Sequence[Dependency] = self.release.dev_dependencies
        return dependencies

    @property
    def dependency_count(self) -> int:
        return len(self.dependencies) + len(self.dev_dependencies)

    def list_dependencies(self, number: int) -> Part:
        """Return a page of the dependencies, each with the mark of those for development, which come last."""
        rows = [(row, False) for row in self.dependencies] + [(row, True) for row in self.dev_dependencies]
        return part_of(rows, number, DEPENDENCIES_PER_PAGE)

    def list_files(self, number: int) -> Part:
        """Return a page of the files in the archive, in its order."""
        files = Release.objects.filter(pk=self.release.pk).values_list("files", flat=True).first() or []
        return part_of(files, number, FILES_PER_PAGE)

    def list_versions(self, number: int) -> Part:
        """Return a page of the versions, the newest first."""
        keys = part_of(lookup.sorted_keys(self.row), number, VERSIONS_PER_PAGE)
        return Part(lookup.releases_of_keys(self.row, keys.rows), keys.has_next)

    def list_latest(self) -> Sequence[Release]:
        """Return the versions that were published last, the latest first."""
        keys = self.row.releases.order_by("-published_at", "-pk").values_list("pk", flat=True)
        return lookup.releases_of_keys(self.row, list(keys[:FEED_LENGTH]))

    @cached_property
    def collaborators(self) -> Part:
        """The first collaborators; like the API, pages show them to those alone who have signed in."""
        rows = Collaboration.in_subject(self.row)[: MAX_COLLABORATORS + 1] if self.viewer else []
        return part_of(list(rows), 1, MAX_COLLABORATORS)
