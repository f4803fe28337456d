"""Crates and versions as crates.io's read API shows them. Nothing large is read but what the record itself has."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import QuerySet

from crates import cursors, download_counts, names, ownership
from crates.models import Category, Crate, CrateDownloads, Dependency, Keyword, Version
from crates.records import NO_VERSION, AuditAction, CrateRecord, DependencyRecord, VersionRecord
from registry_site import semantic_versions
from registry_site.audit import Action
from registry_site.errors import Invalid, NotFound
from registry_site.models import AuditEvent

MAX_PER_PAGE = 100
MAX_ACTIONS = 5000  # of the versions that are read at once, the latest ones
VERSIONS_AT_ONCE = 20  # read and written together; each may have features of some 60 kB

PARTS = frozenset(("versions", "keywords", "categories", "badges", "downloads", "default_version"))
WITHOUT_LICENSE = "non-standard"  # crates.io's word for a license that is a file
SHOWN_ACTIONS = {Action.CRATE_YANK: "yank", Action.CRATE_UNYANK: "unyank"}

CRATE_COLUMNS = (
    "name",
    "canonical_name",
    "created_at",
    "updated_at",
    "version_count",
    "max_version__number",
    "newest_version__number",
    *(
        f"default_version__{column}"
        for column in ("number", "yanked", "description", "homepage", "documentation", "repository")
    ),
)
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
    crate = with_columns(Crate.objects.named(name)).first()
    if crate is None:
        raise ownership.missing(name)
    (record,) = crate_records([crate])
    versions = keywords = categories = None
    if "versions" in parts:
        keys = list(crate.versions.order_by("-pk").values_list("pk", flat=True))
        versions, record = version_records(keys), replace(record, versions=keys)
    elif "default_version" in parts:
        versions = version_records([crate.default_version_id] if crate.default_version_id else [])
    if "keywords" in parts:
        keywords = list(crate.keywords.all())
        record = replace(record, keywords=[keyword.word for keyword in keywords])
    if "categories" in parts:
        categories = list(crate.categories.all())
        record = replace(record, categories=[category.slug for category in categories])
    if "downloads" not in parts:
        record = replace(record, recent_downloads=None)
    return CrateDetails(record, versions, keywords, categories)


def with_columns(crates: QuerySet[Crate]) -> QuerySet[Crate]:
    """Select what `crate_records` needs, and nothing large."""
    return crates.select_related("max_version", "newest_version", "default_version").only(*CRATE_COLUMNS)


def crate_records(crates: Sequence[Crate]) -> list[CrateRecord]:
    """Return the records of crates that were selected `with_columns`."""
    rows = CrateDownloads.objects.filter(pk__in=[crate.pk for crate in crates])
    downloads = {pk: (total, recent) for pk, total, recent in rows.values_list("pk", "total", "recent")}
    return [crate_record(crate, *downloads.get(crate.pk, (0, 0))) for crate in crates]


def crate_records_of(keys: Collection[int]) -> dict[int, CrateRecord]:
    """Return the records of crates by their primary keys; those that are deleted meanwhile are left out."""
    crates = list(with_columns(Crate.objects.filter(pk__in=keys).order_by()))
    return dict(zip([crate.pk for crate in crates], crate_records(crates), strict=True))


def crate_record(crate: Crate, downloads: int, recent_downloads: int) -> CrateRecord:
    default = crate.default_version
    return CrateRecord(
        name=crate.name,
        created_at=crate.created_at,
        updated_at=crate.updated_at,
        default_version=default.number if default else None,
        max_version=crate.max_version.number if crate.max_version else NO_VERSION,
        newest_version=crate.newest_version.number if crate.newest_version else NO_VERSION,
        # The default version is the highest stable one, unless all that are stable are yanked.
        max_stable_version=default.number if default and is_stable(default) and not default.yanked else None,
        num_versions=crate.version_count,
        yanked=default is not None and default.yanked,
        downloads=downloads,
        recent_downloads=recent_downloads,
        description=default.description if default else "",
        homepage=default.homepage if default else "",
        documentation=default.documentation if default else "",
        repository=default.repository if default else "",
    )


def is_stable(version: Version) -> bool:
    return semantic_versions.parse(version.number).prerelease is None


# --- Versions -----------------------------------------------------------------------------------------------------


def get_version(name: str, number: str) -> Version:
    """Return a version without its large columns; raises `NotFound`."""
    release = semantic_versions.without_build(number)  # which is indexed, and the number is not
    versions = Version.objects.filter(crate__canonical_name=names.canonical(name), release=release, number=number)
    version = versions.select_related("crate").only("number", "crate__name").first()
    if version is None:
        raise missing_version(name, number)
    return version


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
    crate = ownership.get_crate(name)
    versions = crate.versions.order_by()
    if query.numbers:
        versions = versions.filter(number__in=query.numbers)
    # Only these few columns are read of all versions: a database cannot sort by the rules of SemVer.
    rows = list(versions.values_list("pk", "number", "published_at", "yanked"))
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
    rows = Version.objects.select_related("crate", "published_by").only(*VERSION_COLUMNS)
    for start in range(0, len(keys), VERSIONS_AT_ONCE):
        some = keys[start : start + VERSIONS_AT_ONCE]
        versions, downloads, actions = rows.in_bulk(some), download_counts.totals_of_versions(some), actions_of(some)
        for key in some:
            if key in versions:
                yield version_record(versions[key], downloads.get(key, 0), actions[key])


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
    events = AuditEvent.objects.filter(
        object_type=Version._meta.label_lower, object_id__in=versions, action__in=SHOWN_ACTIONS
    )
    columns = ("object_id", "action", "at", "actor__username", "actor__avatar_uri")
    actions: defaultdict[int, list[AuditAction]] = defaultdict(list)
    for event in reversed(events.select_related("actor").only(*columns)[:MAX_ACTIONS]):
        if event.actor is not None and event.object_id is not None:  # else an operator at the shell
            action = AuditAction(SHOWN_ACTIONS[Action(event.action)], event.actor, event.at)
            actions[event.object_id].append(action)
    return actions


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
