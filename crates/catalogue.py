"""Crates and versions as crates.io's read API shows them. Nothing large is read but what the record itself has."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import QuerySet

from crates import cursors, download_counts, names, ownership
from crates.models import Category, Crate, CrateDownloads, Dependency, Keyword, Version
from crates.records import NO_VERSION, AuditAction, CrateRecord, DependencyRecord, VersionRecord
from registry_site import semantic_versions
from registry_site.audit import Action
from registry_site.compiled_queries import compiled
from registry_site.errors import Invalid, NotFound
from registry_site.models import AuditEvent

MAX_PER_PAGE = 100
MAX_ACTIONS = 5000  # of the versions that are read at once, the latest ones
VERSIONS_AT_ONCE = 20  # read and written together; each may have features of some 60 kB

PARTS = frozenset(("versions", "keywords", "categories", "badges", "downloads", "default_version"))
WITHOUT_LICENSE = "non-standard"  # crates.io's word for a license that is a file
SHOWN_ACTIONS = {Action.CRATE_YANK: "yank", Action.CRATE_UNYANK: "unyank"}

VERSION_COLUMNS = (
    "crate__name",
    "number",
    "checksum",
    "size",
    "published_at",
    "yanked",
    "yanked_at",
    "yank_message",
    "rust_version",
    "edition",
    "has_library",
    "binary_names",
    "line_counts",
    "license_file",
    "published_with",
    "unpacked_size",
    "file_count",
    "has_build_script",
    "is_proc_macro",
    "vcs_commit",
    "description",
    "homepage",
    "repository",
    "documentation",
    "features",
    "links",
    "license",
    "published_by__username",
    "published_by__avatar_uri",
)


class CrateRow(NamedTuple):
    """The columns of `CrateRecord`. Without a version, those of versions are None."""

    pk: int
    name: str
    created_at: datetime
    updated_at: datetime
    version_count: int
    max_version__number: str | None
    newest_version__number: str | None
    default_version_id: int | None
    default_version__number: str | None
    default_version__yanked: bool | None
    default_version__description: str | None
    default_version__homepage: str | None
    default_version__documentation: str | None
    default_version__repository: str | None
    downloads__total: int | None
    downloads__recent: int | None


@dataclass(frozen=True)
class CrateDetails:
    """A crate with what was requested of it; None stands for the rest."""

    crate: CrateRecord
    versions: Iterable[VersionRecord] | None
    keywords: Sequence[Keyword] | None
    categories: Sequence[Category] | None


@dataclass(frozen=True)
class VersionList:
    """Versions of a crate, and the number of all; `seek` leads to those that follow, if there are any."""

    versions: Iterable[VersionRecord]
    total: int
    seek: str | None
    release_tracks: Mapping[str, str] | None = None


@dataclass(frozen=True)
class VersionQuery:
    """Versions to list: all, or those of some numbers; without `per_page`, all at once."""

    by_date: bool = False
    numbers: Collection[str] = ()
    per_page: int | None = None
    seek: str = ""
    with_tracks: bool = False


# --- One crate ----------------------------------------------------------------------------------------------------


def parse_parts(text: str) -> frozenset[str]:
    """Return the parts of a crate that `include=` names, separated by commas; raises `Invalid`."""
    parts = frozenset(text.split(",")) - {""}
    if unknown := parts - PARTS - {"full"}:
        raise Invalid(
            f"include: there is no {min(unknown)[:80]!r}; there are {', '.join(sorted(PARTS))} and full, with commas "
            "between them."
        )
    return PARTS if "full" in parts else parts


def describe_crate(name: str, parts: frozenset[str]) -> CrateDetails:
    """Return a crate with some of its parts; raises `NotFound`."""
    crate = next(map(CrateRow._make, crate_rows_named(names.canonical(name))), None)
    if crate is None:
        raise ownership.missing(name)
    record, versions, keywords, categories = crate_record(crate), None, None, None
    if "versions" in parts:
        keys = version_keys(crate.pk)
        versions, record = version_records(keys), replace(record, versions=keys)
    elif "default_version" in parts:
        versions = version_records([crate.default_version_id] if crate.default_version_id else [])
    if "keywords" in parts:
        keywords = keywords_of(crate.pk)
        record = replace(record, keywords=[keyword.word for keyword in keywords])
    if "categories" in parts:
        categories = categories_of(crate.pk)
        record = replace(record, categories=[category.slug for category in categories])
    if "downloads" not in parts:
        record = replace(record, recent_downloads=None)
    return CrateDetails(record, versions, keywords, categories)


@compiled
def crate_rows_named(canonical_name: str) -> QuerySet[Crate, tuple[Any, ...]]:
    return Crate.objects.filter(canonical_name=canonical_name).values_list(*CrateRow._fields)


@compiled
def crate_rows(keys: Collection[int]) -> QuerySet[Crate, tuple[Any, ...]]:
    return Crate.objects.filter(pk__in=keys).order_by().values_list(*CrateRow._fields)


@compiled
def version_keys(crate: int) -> QuerySet[Version, int]:
    return Version.objects.filter(crate=crate).order_by("-pk").values_list("pk", flat=True)


@compiled
def keywords_of(crate: int) -> QuerySet[Keyword]:
    return Keyword.objects.filter(crates=crate)


@compiled
def categories_of(crate: int) -> QuerySet[Category]:
    return Category.objects.filter(crates=crate)


def crate_records_of(keys: Collection[int]) -> dict[int, CrateRecord]:
    """Return the records of crates by their primary keys; those that are deleted meanwhile are left out."""
    return {row.pk: crate_record(row) for row in map(CrateRow._make, crate_rows(keys))}


def crate_record(crate: CrateRow) -> CrateRecord:
    number, is_yanked = crate.default_version__number, bool(crate.default_version__yanked)
    return CrateRecord(
        name=crate.name,
        created_at=crate.created_at,
        updated_at=crate.updated_at,
        default_version=number,
        max_version=crate.max_version__number or NO_VERSION,
        newest_version=crate.newest_version__number or NO_VERSION,
        # The default version is the highest stable one, unless all that are stable are yanked.
        max_stable_version=number if number and is_stable(number) and not is_yanked else None,
        num_versions=crate.version_count,
        yanked=is_yanked,
        downloads=crate.downloads__total or 0,
        recent_downloads=crate.downloads__recent or 0,
        description=crate.default_version__description or "",
        homepage=crate.default_version__homepage or "",
        documentation=crate.default_version__documentation or "",
        repository=crate.default_version__repository or "",
    )


def is_stable(number: str) -> bool:
    return semantic_versions.parse(number).prerelease is None


# --- Versions -----------------------------------------------------------------------------------------------------


def get_version(name: str, number: str) -> Version:
    """Return a version without its large columns; raises `NotFound`."""
    release = semantic_versions.without_build(number)  # which is indexed, and the number is not
    version = next(iter(versions_of_number(names.canonical(name), release, number)), None)
    if version is None:
        raise missing_version(name, number)
    return version


@compiled
def versions_of_number(crate: str, release: str, number: str) -> QuerySet[Version]:
    rows = Version.objects.filter(crate__canonical_name=crate, release=release, number=number)
    return rows.select_related("crate").only("number", "crate__name")


def missing_version(name: str, number: str) -> NotFound:
    return NotFound(f"There is no version {number[:80]!r} of a crate {name[:80]!r} here.")


def describe_version(name: str, number: str) -> VersionRecord:
    """Return the record of a version; raises `NotFound`."""
    record = next(version_records([get_version(name, number).pk]), None)
    if record is None:  # deleted meanwhile
        raise missing_version(name, number)
    return record


def list_versions(name: str, query: VersionQuery) -> VersionList:
    """Return versions of a crate, the highest or the latest first; raises `NotFound` and `Invalid`."""
    rows = version_rows(ownership.get_crate(name).pk)
    if query.numbers:
        rows = [row for row in rows if row[1] in query.numbers]
    if query.by_date:
        rows.sort(key=lambda row: (row[2], row[0]), reverse=True)
    else:
        rows.sort(key=lambda row: (semantic_versions.parse(row[1]), row[0]), reverse=True)
    tracks = release_tracks(row[1] for row in rows if not row[3]) if query.with_tracks else None
    keys = [row[0] for row in rows]
    if query.per_page is None:
        return VersionList(version_records(keys), len(keys), None, tracks)
    start = keys.index(last) + 1 if (last := cursors.decode_key(query.seek)) in keys else 0
    page = keys[start : start + query.per_page]
    seek = cursors.encode(page[-1]) if page and page[-1] != keys[-1] else None
    return VersionList(version_records(page), len(keys), seek, tracks)


@compiled
def version_rows(crate: int) -> QuerySet[Version, tuple[int, str, datetime, bool]]:
    """Select few columns of all versions of a crate: a database cannot sort by the rules of SemVer."""
    return Version.objects.filter(crate=crate).order_by().values_list("pk", "number", "published_at", "yanked")


def downloads_of(name: str) -> dict[str, Any]:
    """Return the downloads of a crate on the recent days, of its highest versions and of all others.

    Raises `NotFound`.
    """
    by_day = download_counts.by_day(ownership.get_crate(name))
    return {
        "version_downloads": [
            {"version": version, "date": day, "downloads": count} for version, day, count in by_day.versions
        ],
        "meta": {"extra_downloads": [{"date": day, "downloads": count} for day, count in by_day.others]},
    }


def downloads_of_version(name: str, number: str) -> list[dict[str, Any]]:
    """Return the downloads of a version on each of the recent days; raises `NotFound`."""
    version = get_version(name, number)
    days = download_counts.by_day_of_version(version)
    return [{"version": version.pk, "date": day, "downloads": count} for day, count in days]


def release_tracks(numbers: Iterable[str]) -> dict[str, str]:
    """Return the highest stable version of each track, such as `1` or `0.3`; `numbers` begin with the highest."""
    tracks: dict[str, str] = {}
    for number in numbers:
        version = semantic_versions.parse(number)
        if version.prerelease is None:
            tracks.setdefault(f"{version.major}" if version.major else f"0.{version.minor}", number)
    return tracks


def version_records(keys: Sequence[int]) -> Iterator[VersionRecord]:
    """Yield the records of versions in the order of their primary keys, which are read a few at a time.

    Each few is a query of its own, so a slow client keeps no transaction open. Versions that are deleted meanwhile are
    left out.
    """
    for start in range(0, len(keys), VERSIONS_AT_ONCE):
        some = keys[start : start + VERSIONS_AT_ONCE]
        versions = {version.pk: version for version in shown_versions(some)}
        downloads, actions = download_counts.totals_of_versions(some), actions_of(some)
        for key in some:
            if key in versions:
                yield version_record(versions[key], downloads.get(key, 0), actions[key])


@compiled
def shown_versions(keys: Collection[int]) -> QuerySet[Version]:
    rows = Version.objects.select_related("crate", "published_by").only(*VERSION_COLUMNS)
    return rows.filter(pk__in=keys).order_by()


def version_record(version: Version, downloads: int, actions: Sequence[AuditAction]) -> VersionRecord:
    publish = AuditAction("publish", version.published_by, version.published_at)
    return VersionRecord(
        id=version.pk,
        crate=version.crate.name,
        num=version.number,
        created_at=version.published_at,
        updated_at=max([version.published_at, version.yanked_at or version.published_at, *(a.time for a in actions)]),
        checksum=version.checksum,
        crate_size=version.size,
        yanked=version.yanked,
        features=version.features,
        downloads=downloads,
        yank_message=version.yank_message,
        lib_links=version.links,
        license=version.license or (WITHOUT_LICENSE if version.license_file else ""),
        published_by=version.published_by,
        audit_actions=[publish, *actions],
        rust_version=version.rust_version,
        has_lib=version.has_library,
        bin_names=version.binary_names,
        edition=version.edition,
        description=version.description,
        homepage=version.homepage,
        documentation=version.documentation,
        repository=version.repository,
        line_counts=version.line_counts,
        published_with=version.published_with,
        yanked_at=version.yanked_at,
        unpacked_size=version.unpacked_size,
        file_count=version.file_count,
        has_build_script=version.has_build_script,
        is_proc_macro=version.is_proc_macro,
        license_file=version.license_file,
        vcs_commit=version.vcs_commit,
    )


def actions_of(versions: Collection[int]) -> Mapping[int, list[AuditAction]]:
    """Return how versions were yanked and unyanked, by their primary keys, the earliest first."""
    actions: defaultdict[int, list[AuditAction]] = defaultdict(list)
    for event in reversed(latest_events(versions)):
        if event.actor is not None and event.object_id is not None:  # else an operator at the shell
            action = AuditAction(SHOWN_ACTIONS[Action(event.action)], event.actor, event.at)
            actions[event.object_id].append(action)
    return actions


@compiled
def latest_events(versions: Collection[int]) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.filter(
        object_type=Version._meta.label_lower, object_id__in=versions, action__in=SHOWN_ACTIONS
    )
    columns = ("object_id", "action", "at", "actor__username", "actor__avatar_uri")
    return events.select_related("actor").only(*columns)[:MAX_ACTIONS]


def dependencies_of(name: str, number: str) -> list[DependencyRecord]:
    """Return the dependencies of a version, in the order of its index line; raises `NotFound`."""
    rows = list(Dependency.objects.filter(version=get_version(name, number)).order_by("position"))
    own_names = {row.canonical_name for row in rows if not row.registry}
    totals = CrateDownloads.objects.filter(crate__canonical_name__in=own_names)
    downloads = dict(totals.values_list("crate__canonical_name", "total"))
    return [
        dependency_record(row, row.name, 0 if row.registry else downloads.get(row.canonical_name, 0)) for row in rows
    ]


def dependency_record(row: Dependency, crate_name: str, downloads: int) -> DependencyRecord:
    return DependencyRecord(
        id=row.pk,
        version_id=row.version_id,
        crate_id=crate_name,
        req=row.requirement,
        optional=row.is_optional,
        default_features=row.default_features,
        features=row.features,
        target=row.target,
        kind=row.kind,
        downloads=downloads,
        registry=row.registry,
        explicit_name=row.explicit_name,
    )
