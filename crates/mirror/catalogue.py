"""Mirrored crates as crates.io's API shows them, which takes no changes here."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, NoReturn

from django.conf import settings
from django.db import transaction
from django.db.models import Count

from crates import catalogue, cursors, dependents, taxonomy
from crates.catalogue import CrateDetails, VersionList, VersionQuery
from crates.dependents import DependentList
from crates.mirror import crate_facts, download_counts, stored_crates
from crates.mirror.examination import examiner
from crates.mirror.models import CachedCrate, CrateDownloads, CrateFacts, IndexSummary, Topic
from crates.mirror.stored_crates import StoredCrate, StoredVersion
from crates.models import Category, Keyword
from crates.package.dependencies import CRATES_IO
from crates.records import NO_VERSION, CrateRecord, DependencyRecord, VersionRecord
from registry_site import markdown
from registry_site.cargo_config import REGISTRY_NAME
from registry_site.errors import NotFound, PermissionDenied

API_ROOT = "/mirror/api/v1"
SHOWN_VERSIONS = 5  # whose downloads are shown each by itself
KINDS = ("normal", "build", "dev")
NO_FACTS = CrateFacts()


def refuse_change() -> NoReturn:
    """Raise `PermissionDenied` for a publish, a yank, or any other change of a mirrored crate."""
    raise PermissionDenied(
        f"This is a mirror, which takes no crates and no changes. Use the registry itself, sparse+{settings.PUBLIC_URL}"
        f"/index/: `cargo publish --registry {REGISTRY_NAME}`."
    )


# --- One crate ----------------------------------------------------------------------------------------------------


def describe_crate(name: str, parts: frozenset[str]) -> CrateDetails:
    """Return a crate with some of its parts; raises as `stored_crates.get_crate`."""
    crate = stored_crates.get_crate(name)
    facts = facts_of(crate.described_file())
    downloads = CrateDownloads.objects.filter(pk=crate.index_file.name).first() or CrateDownloads()
    record, versions = crate_record(crate.summary, facts, downloads), None
    if "versions" in parts:
        versions = version_records(crate, crate.versions[::-1])
        record = replace(record, versions=[version.id for version in reversed(crate.versions)])
    elif "default_version" in parts:
        versions = version_records(crate, [v for v in crate.versions if v.line.version == record.default_version])
    keywords = categories = None
    if "keywords" in parts:
        counts = count_crates(Topic.Kind.KEYWORD, facts.keywords)
        keywords = [
            Keyword(word=word, created_at=record.created_at, crate_count=counts.get(word, 0)) for word in facts.keywords
        ]
        record = replace(record, keywords=facts.keywords)
    if "categories" in parts:
        counts = count_crates(Topic.Kind.CATEGORY, facts.categories)
        categories = [
            Category(
                slug=slug,
                name=taxonomy.category_name(slug),
                created_at=record.created_at,
                crate_count=counts.get(slug, 0),
            )
            for slug in facts.categories
        ]
        record = replace(record, categories=facts.categories)
    if "downloads" not in parts:
        record = replace(record, recent_downloads=None)
    return CrateDetails(record, versions, keywords, categories)


def count_crates(kind: Topic.Kind, words: Sequence[str]) -> Mapping[str, int]:
    """Return how many mirrored crates have each of some keywords, or categories."""
    rows = Topic.objects.filter(kind=kind, word__in=words)
    return dict(rows.values_list("word").annotate(count=Count("pk")))


def crate_record(
    summary: IndexSummary, facts: CrateFacts, downloads: CrateDownloads, *, is_exact: bool = False
) -> CrateRecord:
    """Return the record of a crate from a summary to which policies are applied."""
    return CrateRecord(
        name=summary.name,
        created_at=summary.created_at,
        updated_at=summary.updated_at,
        default_version=summary.default_version or None,
        max_version=summary.max_version or NO_VERSION,
        newest_version=summary.newest_version or NO_VERSION,
        max_stable_version=summary.max_stable_version or None,
        num_versions=summary.version_count,
        yanked=bool(summary.default_version) and not summary.max_version,
        downloads=downloads.total,
        recent_downloads=downloads.recent,
        description=facts.description,
        homepage=facts.homepage,
        documentation=facts.documentation,
        repository=facts.repository,
        exact_match=is_exact,
        api_root=API_ROOT,
    )


def facts_of(file: CachedCrate | None) -> CrateFacts:
    """Return the facts of a cached file, or empty ones."""
    return getattr(file, "facts", NO_FACTS)


# --- Versions -----------------------------------------------------------------------------------------------------


def require_crate(name: str) -> None:
    """Raise as `stored_crates.get_crate`, for a route that shows nothing of a crate."""
    stored_crates.get_index_file(name)


def locate_version(name: str, number: str) -> tuple[str, str]:
    """Return name and number of a version as upstream spells them; raises as `stored_crates.get_crate`."""
    crate = stored_crates.get_crate(name)
    return crate.name, crate.get_version(number).line.version


def describe_version(name: str, number: str) -> VersionRecord:
    """Return the record of a version; raises as `stored_crates.get_crate`."""
    crate = stored_crates.get_crate(name)
    return next(version_records(crate, [crate.get_version(number)]))


def list_versions(name: str, query: VersionQuery) -> VersionList:
    """Return versions of a crate, the highest or the latest first; raises as `stored_crates.get_crate`."""
    crate = stored_crates.get_crate(name)
    versions = [v for v in crate.versions if not query.numbers or v.line.version in query.numbers]
    if query.by_date:
        versions.sort(key=attrgetter("published_at"))
    else:
        versions.sort(key=attrgetter("rank"))
    versions.reverse()
    tracks = None
    if query.with_tracks:
        tracks = catalogue.release_tracks(v.line.version for v in versions if not v.line.yanked)
    if query.per_page is None:
        return VersionList(version_records(crate, versions), len(versions), None, tracks)
    keys = [version.id for version in versions]
    start = keys.index(last) + 1 if (last := cursors.decode_key(query.seek)) in keys else 0
    page = versions[start : start + query.per_page]
    seek = cursors.encode(page[-1].id) if page and page[-1] is not versions[-1] else None
    return VersionList(version_records(crate, page), len(versions), seek, tracks)


def version_records(crate: StoredCrate, versions: Sequence[StoredVersion]) -> Iterator[VersionRecord]:
    """Yield the records of some versions of a crate, in their order; what belongs to a few is read at once."""
    downloads = download_counts.totals_of_versions(crate.index_file.name)
    for start in range(0, len(versions), catalogue.VERSIONS_AT_ONCE):
        some = versions[start : start + catalogue.VERSIONS_AT_ONCE]
        files = crate.files_of(some)
        for version in some:
            number = version.line.version
            yield version_record(crate, version, files.get(number), downloads.get(number, 0))


def version_record(
    crate: StoredCrate, version: StoredVersion, file: CachedCrate | None, downloads: int
) -> VersionRecord:
    facts, fields = facts_of(file), json.loads(version.line.raw)
    license_ = (file.license if file else "") or (catalogue.WITHOUT_LICENSE if facts.license_file else "")
    return VersionRecord(
        id=version.id,
        crate=crate.name,
        num=version.line.version,
        created_at=version.published_at,
        updated_at=version.published_at,
        checksum=version.line.checksum,
        crate_size=file.size if file else None,
        yanked=version.line.yanked,
        features=features_of(fields),
        downloads=downloads,
        yank_message=version.reason,
        lib_links=text_of(fields.get("links")),
        license=license_,
        rust_version=text_of(fields.get("rust_version")),
        has_lib=facts.has_library,
        bin_names=facts.binary_names,
        edition=facts.edition,
        description=facts.description,
        homepage=facts.homepage,
        documentation=facts.documentation,
        repository=facts.repository,
        line_counts=facts.line_counts,
        api_root=API_ROOT,
    )


def features_of(fields: dict[str, Any]) -> dict[str, list[str]]:
    """Return the features in an index line, which may stand in two tables; whatever is none is left out."""
    tables = [table for key in ("features", "features2") if isinstance(table := fields.get(key), dict)]
    return {text_of(name): texts_of(values) for table in tables for name, values in table.items()}


def text_of(value: Any) -> str:
    """Return a text that UTF-8 can write, which JSON need not be; empty for another value."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else ""


def texts_of(value: Any) -> list[str]:
    return [text_of(text) for text in value if isinstance(text, str)] if isinstance(value, list) else []


def get_readme(name: str, number: str) -> str:
    """Render the README of a version, for at most half a second; a file that was not examined yet is read for it.

    Raises as `stored_crates.get_crate`, and `NotFound` if its file is not stored or has none.
    """
    crate = stored_crates.get_crate(name)
    version = crate.get_version(number)
    files = crate.index_file.cached_crates().filter(version=number, sha256=version.line.checksum)
    file = files.select_related("facts").first()
    if file is None:
        raise NotFound(
            f"The mirror has not stored the file of {crate.name}@{number} yet; it does so when cargo downloads it."
        )
    facts = facts_of(file)
    if not crate_facts.is_examined(file):
        facts = CrateFacts(**crate_facts.read_stored(file))
        transaction.on_commit(lambda: examiner.submit(file))
    if not facts.readme_text:
        raise NotFound(f"{crate.name}@{number} has no README.")
    return markdown.render_readme(facts.readme_text, facts.readme_path, facts.repository)


# --- Downloads ----------------------------------------------------------------------------------------------------


def downloads_of(name: str) -> dict[str, Any]:
    """Return the downloads of a crate on the recent days, of its highest versions and of all others.

    Raises as `stored_crates.get_crate`.
    """
    crate = stored_crates.get_crate(name)
    highest = sorted(crate.versions, key=attrgetter("rank"), reverse=True)[:SHOWN_VERSIONS]
    keys = {version.line.version: version.id for version in highest}
    by_day = download_counts.by_day(crate.index_file.name, keys)
    return {
        "version_downloads": [
            {"version": keys[number], "date": day, "downloads": count} for number, day, count in by_day.versions
        ],
        "meta": {"extra_downloads": [{"date": day, "downloads": count} for day, count in by_day.others]},
    }


def downloads_of_version(name: str, number: str) -> list[dict[str, Any]]:
    """Return the downloads of a version on each of the recent days; raises as `stored_crates.get_crate`."""
    crate = stored_crates.get_crate(name)
    version = crate.get_version(number)
    days = download_counts.by_day_of_version(crate.index_file.name, number)
    return [{"version": version.id, "date": day, "downloads": count} for day, count in days]


# --- Dependencies -------------------------------------------------------------------------------------------------


def dependencies_of(name: str, number: str) -> list[DependencyRecord]:
    """Return the dependencies of a version, in the order of its index line; raises as `stored_crates.get_crate`."""
    crate = stored_crates.get_crate(name)
    version = crate.get_version(number)
    records = list(dependency_records(crate.index_file.name, version))
    rows = CrateDownloads.objects.filter(pk__in={record.crate_id.lower() for record in records})
    downloads = dict(rows.values_list("pk", "total"))
    return [replace(record, downloads=downloads.get(record.crate_id.lower(), 0)) for record in records]


def list_dependents(name: str, page: int, per_page: int) -> DependentList:
    """Return a page of the crates of this registry that need a mirrored crate; raises as `stored_crates.get_crate`."""
    crate = stored_crates.get_crate(name)
    return dependents.list_dependents_on(CRATES_IO, crate.name, page, per_page)


def dependency_records(name: str, version: StoredVersion) -> Iterator[DependencyRecord]:
    """Iterate over the dependencies in an index line; whatever is none is left out."""
    entries = json.loads(version.line.raw).get("deps")
    for position, entry in enumerate(entries if isinstance(entries, list) else []):
        if isinstance(entry, dict) and (needed := text_of(entry.get("package")) or text_of(entry.get("name"))):
            yield DependencyRecord(
                id=stored_crates.stable_id(name, version.line.version, str(position)),
                version_id=version.id,
                crate_id=needed,
                req=text_of(entry.get("req")) or "*",
                optional=entry.get("optional") is True,
                default_features=entry.get("default_features") is not False,
                features=texts_of(entry.get("features")),
                target=text_of(entry.get("target")),
                kind=entry["kind"] if entry.get("kind") in KINDS else "normal",
                registry=text_of(entry.get("registry")),
                explicit_name=text_of(entry.get("name")) if entry.get("package") else "",
            )
