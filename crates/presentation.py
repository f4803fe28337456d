"""Crates as their pages show them: one of this registry here, a mirrored one in `crates.mirror.presentation`."""

import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, ClassVar, Self

from django.db.models import F, QuerySet
from django.db.models.functions import Left

from accounts.models import User
from crates import (
    catalogue,
    dependency_links,
    dependency_rows,
    dependents,
    download_counts,
    install_lines,
    ownership,
    removal,
    taxonomy,
)
from crates.dependency_links import LinkedDependency
from crates.dependents import DependentPage
from crates.install_lines import FeatureChoice, InstallLines
from crates.models import Crate, Dependency, Version, VersionContents
from crates.package.archive import Member
from crates.records import DependencyRecord, VersionRecord
from registry_site import download_chart, markdown, semantic_versions
from registry_site import download_counts as all_counts
from registry_site.cargo_config import REGISTRY_NAME
from registry_site.download_chart import Chart
from registry_site.download_counts import total_of
from registry_site.errors import Gone, NotFound
from registry_site.storage.blobs import Blob

VERSIONS_PER_PAGE = 30
DEPENDENTS_PER_PAGE = 30
LICENSE_NAME = re.compile(r"(UN)?LICEN[CS]E[^/]*|COPYING[^/]*", re.IGNORECASE)
MAX_LICENSE_FILES = 5
MAX_LICENSE_TEXT = 12 * 1024  # characters, of which a page stays small
FEED_LENGTH = 50
MAX_CHOICES = 100  # versions to compare with; the number of another one can be typed

# No large column, for a page has many versions; and read as tuples, for instances of models take several times as long.
LISTED_COLUMNS = (
    "pk",
    "number",
    "checksum",
    "size",
    "published_at",
    "published_with",
    "yanked",
    "yanked_at",
    "yank_message",
    "rust_version",
    "edition",
    "license_expression",
    "license_file",
    "published_by",
    "published_by__username",
    "downloads__total",
)
SHOWN_COLUMNS = (
    *catalogue.VERSION_COLUMNS,
    "keywords",
    "categories",
    "dependencies",
    "downloads__total",
)
CRATE_COLUMNS = (
    "name",
    "canonical_name",
    "created_at",
    "updated_at",
    "version_count",
    "default_version__number",
    "downloads__total",
    "downloads__recent",
)
# The version that describes a crate comes with it, in one query.
DEFAULT_VERSION_RELATED = ("default_version__published_by", "default_version__downloads")
DEFAULT_VERSION_COLUMNS = tuple(
    f"default_version__{column}" for column in ("crate", *SHOWN_COLUMNS) if column != "crate__name"
)


@dataclass(frozen=True)
class VersionPage:
    """Some versions of a crate, and whether more follow."""

    versions: Sequence[VersionRecord]
    number: int
    has_next: bool


class PresentedCrate(ABC):
    """A crate and one of its versions. What a page does not show is not read."""

    is_mirrored: ClassVar[bool]
    base: ClassVar[str]  # of the addresses of all such crates
    registry: ClassVar[str]  # the name by which cargo knows it in a manifest; empty for that of cargo itself
    index_url: ClassVar[str]  # of the registry, as dependencies name it; empty for this registry

    name: str
    keywords: Sequence[str]
    categories: Sequence[str]
    default_number: str  # of the version that describes the crate
    version_count: int
    is_pinned: bool  # the address names the version
    described_by: str = ""  # the number of another version, whose file describes the crate
    is_unread: bool = False  # the file is stored, but only its manifest has been read

    @classmethod
    @abstractmethod
    def get(cls, name: str, number: str = "") -> Self:
        """Return a crate with the version of this number, or else with the one that describes it; raises `NotFound`."""

    @classmethod
    def address_elsewhere(cls, name: str) -> str:
        """Return the address of a stored crate of this name that is of the other kind; empty if there is none."""
        return ""

    @property
    def root(self) -> str:
        """The address of the crate."""
        return f"{self.base}/{self.name}"

    @property
    def address(self) -> str:
        """The address of what is shown: of the crate, or of the version that was named."""
        return f"{self.root}/{self.version.num}" if self.is_pinned else self.root

    @property
    def source(self) -> str:
        """The address of the files of the version."""
        return f"{self.address}/source"

    @property
    @abstractmethod
    def version(self) -> VersionRecord: ...

    @property
    def newer(self) -> str:
        """The number of the version to choose instead, if it is a higher one."""
        default, shown = (semantic_versions.parse(number) for number in (self.default_number, self.version.num))
        return self.default_number if default > shown else ""

    @property
    def is_prerelease(self) -> bool:
        return semantic_versions.parse(self.version.num).prerelease is not None

    @property
    @abstractmethod
    def owners(self) -> Sequence[User]: ...

    def is_owned_by(self, user: User) -> bool:
        return user in self.owners

    @property
    @abstractmethod
    def readme_html(self) -> str: ...

    @property
    @abstractmethod
    def readme_text(self) -> str: ...

    @property
    @abstractmethod
    def license_text(self) -> str: ...

    @property
    @abstractmethod
    def license_files(self) -> Sequence[str]: ...

    @abstractmethod
    def at(self, number: str) -> Self:
        """Return the crate with the version of this number; raises `NotFound`."""

    @property
    @abstractmethod
    def version_numbers(self) -> Sequence[str]:
        """The numbers of all versions, the highest first."""

    @cached_property
    def numbers_before(self) -> dict[str, str]:
        """By the number of each version that of the one to compare it with: the next lower, of a stable one stable."""
        return semantic_versions.numbers_before(self.version_numbers)

    @property
    def version_choices(self) -> Sequence[str]:
        return self.version_numbers[:MAX_CHOICES]

    @property
    def number_before(self) -> str:
        return self.numbers_before.get(self.version.num, "")

    @property
    @abstractmethod
    def stored_blob(self) -> Blob | None:
        """The `.crate` file of the version; None if it is not stored."""

    @property
    def blob(self) -> Blob:
        """The `.crate` file of the version; raises `NotFound` if it is not stored."""
        if self.stored_blob is None:
            raise NotFound(f"The mirror has not stored the file of {self.name}@{self.version.num} yet.")
        return self.stored_blob

    @property
    @abstractmethod
    def members(self) -> Sequence[Member]: ...

    @property
    @abstractmethod
    def dependencies(self) -> Sequence[DependencyRecord]: ...

    @cached_property
    def current_dependencies(self) -> QuerySet[Dependency]:
        """The dependencies of the default versions of crates of this registry on the crate."""
        return dependents.current_dependencies(self.index_url, self.name)

    @cached_property
    def first_dependents(self) -> Sequence[int]:
        return dependents.first_versions(self.current_dependencies)

    @property
    def dependent_count(self) -> str:
        return dependents.count_up_to_many(self.first_dependents)

    def list_dependents(self, page: int) -> DependentPage:
        """Return a page of the crates of this registry that need the crate, the most downloaded first."""
        return dependents.describe_dependents(
            self.current_dependencies, self.first_dependents, self.default_number, page, DEPENDENTS_PER_PAGE
        )

    @property
    @abstractmethod
    def downloads(self) -> int: ...

    @property
    @abstractmethod
    def recent_downloads(self) -> int: ...

    @abstractmethod
    def count_by_day(self) -> list[tuple[date, int]]:
        """Return the downloads on each of the recent days that has any."""

    @abstractmethod
    def list_versions(self, page: int, per_page: int = VERSIONS_PER_PAGE, *, by_date: bool = False) -> VersionPage:
        """Return a page of the versions, the highest or the latest first."""

    @cached_property
    def features(self) -> Mapping[str, Sequence[str]]:
        """The features by name, with those that cargo adds."""
        named = self.version.features
        return {**install_lines.implicit_features(named, self.dependencies), **named}

    @property
    def feature_count(self) -> int:
        return len(self.features.keys() - {install_lines.DEFAULT})

    @cached_property
    def linked_dependencies(self) -> list[tuple[str, list[LinkedDependency]]]:
        """The dependencies by their kinds, each with the way to it."""
        linked = dependency_links.link(self.dependencies)
        kinds = {str(kind): [each for each in linked if each.record.kind == kind] for kind in Dependency.Kind}
        return [(kind, some) for kind, some in kinds.items() if some]

    @cached_property
    def chart(self) -> Chart:
        return download_chart.draw(self.count_by_day(), all_counts.today(), all_counts.RECENT_DAYS)

    def choose_features(self, ticked: Collection[str], *, without_default: bool) -> FeatureChoice:
        return install_lines.choose_features(self.features, frozenset(ticked), without_default=without_default)

    def install_lines(self, choice: FeatureChoice) -> InstallLines:
        return install_lines.lines_of(self.version, choice, self.registry, is_pinned=self.is_pinned)


class OwnCrate(PresentedCrate):
    """A crate of this registry."""

    is_mirrored = False
    base = "/crates"
    registry = REGISTRY_NAME
    index_url = ""

    def __init__(self, crate: Crate, version: Version, *, is_pinned: bool) -> None:
        self.crate = crate
        self.row = version
        self.is_pinned = is_pinned
        self.name = crate.name
        self.keywords = [word for keyword in version.keywords if (word := taxonomy.normal_word(keyword))]
        self.categories = [slug.lower() for slug in version.categories if slug]
        self.default_number = crate.default_version.number if crate.default_version else version.number
        self.version_count = crate.version_count

    @classmethod
    def get(cls, name: str, number: str = "") -> Self:
        """Return a crate with the version of this number, or else with the one that describes it.

        Raises `NotFound`, and `Gone` with the reason for what was removed.
        """
        related = ("default_version",) if number else DEFAULT_VERSION_RELATED
        columns = CRATE_COLUMNS if number else (*CRATE_COLUMNS, *DEFAULT_VERSION_COLUMNS)
        try:
            crate = Crate.objects.named(name).select_related("downloads", *related).only(*columns).get()
        except Crate.DoesNotExist as error:
            raise absence_of_crate(name) from error
        version = get_version(crate, number) if number else crate.default_version
        if version is None:
            raise absence_of_version(crate, number)
        version.crate = crate
        return cls(crate, version, is_pinned=bool(number))

    @classmethod
    def address_elsewhere(cls, name: str) -> str:
        return dependency_links.address_in_mirror(name)

    def at(self, number: str) -> Self:
        return type(self)(self.crate, get_version(self.crate, number), is_pinned=True)

    @cached_property
    def keys_by_number(self) -> dict[str, int]:
        """The primary keys of all versions by their numbers."""
        return dict(self.crate.versions.order_by().values_list("number", "pk"))

    @cached_property
    def version_numbers(self) -> Sequence[str]:
        return sorted(self.keys_by_number, key=semantic_versions.order_of, reverse=True)

    @cached_property
    def version(self) -> VersionRecord:
        return shown_record(self.row)

    @cached_property
    def owners(self) -> Sequence[User]:
        return list(User.objects.filter(ownerships__crate=self.crate).order_by("ownerships").only("username"))

    @cached_property
    def contents(self) -> dict[str, Any]:
        """The README as HTML, the beginning of the license, and the files."""
        rows: Any = VersionContents.objects.filter(version=self.row)
        columns = rows.values(
            "readme_html",
            "files",
            license_start=Left("license_text", MAX_LICENSE_TEXT + 1),
            unrendered=F("unrendered_readme__path"),
        )
        return columns.first() or {"readme_html": "", "files": [], "license_start": "", "unrendered": None}

    @cached_property
    def readme_html(self) -> str:
        html, path = self.contents["readme_html"], self.contents["unrendered"]
        if path is not None:
            html = markdown.render_readme(self.readme_text, path, self.row.repository)
        return reachable_by_keyboard(html)

    @cached_property
    def readme_text(self) -> str:
        return VersionContents.objects.filter(version=self.row).values_list("readme_text", flat=True).first() or ""

    @property
    def license_text(self) -> str:
        text: str = self.contents["license_start"]
        return text if len(text) <= MAX_LICENSE_TEXT else ""

    @property
    def license_files(self) -> Sequence[str]:
        """The paths of files that are named like a license."""
        return [path for path, *_ in self.contents["files"] if LICENSE_NAME.fullmatch(path)][:MAX_LICENSE_FILES]

    @property
    def stored_blob(self) -> Blob:
        return Blob(self.row.checksum, self.row.size)

    @property
    def members(self) -> Sequence[Member]:
        files = VersionContents.objects.filter(version=self.row).values_list("files", flat=True).first() or []
        return [Member(*file) for file in files]

    @cached_property
    def dependencies(self) -> Sequence[DependencyRecord]:
        return [dependency_record(self.row, dependency_rows.columns_of(entry)) for entry in self.row.dependencies]

    @property
    def downloads(self) -> int:
        return total_of(self.crate)

    @property
    def recent_downloads(self) -> int:
        return self.crate.downloads.recent if hasattr(self.crate, "downloads") else 0

    def count_by_day(self) -> list[tuple[date, int]]:
        rows = download_counts.rows_of(self.crate)
        return all_counts.by_day_of_parts(rows, self.version_count, f"crate-{self.crate.pk}")

    def list_versions(self, page: int, per_page: int = VERSIONS_PER_PAGE, *, by_date: bool = False) -> VersionPage:
        start, end = (page - 1) * per_page, page * per_page
        if by_date:
            keys = list(self.crate.versions.values_list("pk", flat=True)[start:end])
        else:
            keys = [self.keys_by_number[number] for number in self.version_numbers[start:end]]
        return VersionPage(listed_records(self.crate, keys), page, has_next=end < self.version_count)


def get_version(crate: Crate, number: str) -> Version:
    """Return the version of this number; raises `NotFound`, and `Gone`."""
    versions = crate.versions.select_related("published_by", "downloads", "crate").only(*SHOWN_COLUMNS)
    version = versions.filter(release=semantic_versions.without_build(number)).first()
    if version is None:
        raise absence_of_version(crate, number)
    return version


def reachable_by_keyboard(readme: str) -> str:
    """Return the HTML of a README whose code can be scrolled without a mouse."""
    return readme.replace("<pre>", '<pre tabindex="0">')


def listed_records(crate: Crate, keys: Sequence[int]) -> list[VersionRecord]:
    """Return versions of a list by their keys, without what is large: their license is that which SPDX knows."""
    rows = {
        row.pk: row for row in crate.versions.filter(pk__in=keys).order_by().values_list(*LISTED_COLUMNS, named=True)
    }
    usernames = {row.published_by: row.published_by__username for row in rows.values()}
    users = {pk: User(pk=pk, username=username) for pk, username in usernames.items()}
    return [
        VersionRecord(
            id=row.pk,
            crate=crate.name,
            num=row.number,
            created_at=row.published_at,
            updated_at=row.yanked_at or row.published_at,
            checksum=row.checksum,
            crate_size=row.size,
            yanked=row.yanked,
            features={},
            downloads=row.downloads__total or 0,
            yank_message=row.yank_message,
            license=row.license_expression or (catalogue.WITHOUT_LICENSE if row.license_file else ""),
            published_by=users[row.published_by],
            rust_version=row.rust_version,
            edition=row.edition,
            published_with=row.published_with,
            yanked_at=row.yanked_at,
        )
        for key in keys
        if (row := rows.get(key))
    ]


def dependency_record(version: Version, columns: dict[str, Any]) -> DependencyRecord:
    """Return a dependency of a page, which shows no id, out of the version itself: the rows would take a query more."""
    return DependencyRecord(
        id=0,
        version_id=version.pk,
        crate_id=columns["name"],
        req=columns["requirement"],
        optional=columns["is_optional"],
        default_features=columns["default_features"],
        features=columns["features"],
        target=columns["target"],
        kind=columns["kind"],
        registry=columns["registry"],
        explicit_name=columns["explicit_name"],
    )


def shown_record(version: Version) -> VersionRecord:
    """Return the version of a page, with all that its row says."""
    return catalogue.version_record(version, total_of(version), [])


# --- What is not there ---------------------------------------------------------------------------------------------


def absence_of_crate(name: str) -> NotFound:
    """Return the error for a crate that is not there: it was removed, for a reason, or never was."""
    removed = Crate.with_removed.named(name).exclude(removed_at=None).first()
    if removed is None:
        return ownership.missing(name)
    return Gone(removal.sentence_about_crate(removed))


def absence_of_version(crate: Crate, number: str) -> NotFound:
    """Return the error for a version that is not there, or for a crate without any that is."""
    removed = Version.with_removed.filter(crate=crate).exclude(removed_at=None).select_related("crate")
    if number:
        removed = removed.filter(release=semantic_versions.without_build(number))
    version = removed.only("number", "removal_reason", "crate__name").first()
    return catalogue.missing_version(crate.name, number) if version is None else Gone(removal.sentence(version))
