"""Lists of mirrored crates whose index files are stored, as upstream has them: policies are applied to a crate alone.

Each order has an index, and a search reads few rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from crates import names
from crates.listing import CrateList
from crates.mirror.catalogue import API_ROOT, facts_of
from crates.mirror.models import CANONICAL_NAME, CachedCrate, CachedIndexFile, CrateDownloads, IndexSummary
from crates.records import NO_VERSION, CrateRecord
from registry_site.search import spelling
from registry_site.search.lookup import all_of
from registry_site.search.words import tokenize_query

MAX_MATCHES = 150
ORDERS: dict[str, tuple[str, ...]] = {
    "alpha": ("name",),
    "recent-updates": ("-updated_at", "-pk"),
    "new": ("-created_at", "-pk"),
}
DOWNLOADS = {"downloads": "total", "recent-downloads": "recent"}  # columns of `CrateDownloads`
SORTS = ("alpha", "relevance", *DOWNLOADS, *ORDERS.keys() - {"alpha"})

COLUMNS = (
    "index_file__name",
    *(field.name for field in IndexSummary._meta.concrete_fields if field.name not in ("name_words", "index_file")),
)


@dataclass(frozen=True)
class ListQuery:
    """Filters, all of which have to hold, an order, and the number of a page."""

    text: str = ""
    sort: str = ""
    page: int = 1
    per_page: int = 10
    names: Sequence[str] = ()


def list_crates(query: ListQuery) -> CrateList:
    """Return a page of the crates; those sorted by downloads alone are the ones that have any."""
    rows = IndexSummary.objects.filter(index_file__status=200)
    if query.names:
        rows = rows.filter(index_file__in=named(query.names))
    start, end = (query.page - 1) * query.per_page, query.page * query.per_page
    if query.text.strip():
        matches = matching(rows, query)
        page, total = matches[start:end], len(matches)
    elif query.sort in DOWNLOADS:
        page, total = by_downloads(rows, DOWNLOADS[query.sort], start, end)
    else:
        ordered = rows.order_by(*ORDERS.get(query.sort, ORDERS["alpha"]))
        page, total = list(ordered.select_related("index_file").only(*COLUMNS)[start:end]), rows.count()
    return CrateList(
        records(page, query.text), total, None, query.page + 1 if end < total else None, query.page - 1 or None
    )


def named(some: Sequence[str]) -> QuerySet[CachedIndexFile]:
    """Select index files by any spellings of their names."""
    canonical = {names.canonical(name) for name in some}
    return CachedIndexFile.objects.alias(canonical_name=CANONICAL_NAME).filter(canonical_name__in=canonical)


def matching(rows: QuerySet[IndexSummary], query: ListQuery) -> list[IndexSummary]:
    """Return the crates whose names have all words of a text, or words that begin so, in the order of the query."""
    words = tokenize_query(query.text)
    if not words:
        return []
    shown = rows.select_related("index_file").only(*COLUMNS)
    exact = shown.filter(index_file__in=named(["_".join(query.text.split())]))
    others = shown.filter(name_words__matches=all_of(words, limit=MAX_MATCHES))[:MAX_MATCHES]
    matches = list({row.pk: row for row in (*exact, *others)}.values())
    if query.sort in ORDERS:
        column = ORDERS[query.sort][0]
        return sorted(matches, key=attrgetter(column.lstrip("-")), reverse=column.startswith("-"))
    counts = {row.pk: row for row in CrateDownloads.objects.filter(pk__in=[row.index_file.name for row in matches])}
    joined = spelling.joined(query.text)

    def rank(row: IndexSummary) -> tuple[Any, ...]:
        count = getattr(counts.get(row.index_file.name), DOWNLOADS.get(query.sort, "total"), 0)
        own = spelling.joined(row.name)
        closeness = 0 if query.sort in DOWNLOADS else (own != joined) + (not own.startswith(joined))
        return closeness, -count, row.name

    return sorted(matches, key=rank)


def matching_names(text: str, number: int) -> list[IndexSummary]:
    """Return the first crates with all words of a text in their names, the crate of this very name before them."""
    words = tokenize_query(text)
    if not words:
        return []
    rows = IndexSummary.objects.filter(index_file__status=200).order_by()
    exact = rows.filter(index_file__in=named(["_".join(text.split())]))[:1]
    others = rows.filter(name_words__matches=all_of(words, limit=number))[:number]
    return list({row.pk: row for row in (*exact, *others)}.values())[:number]


def by_downloads(rows: QuerySet[IndexSummary], column: str, start: int, end: int) -> tuple[list[IndexSummary], int]:
    """Return a page of the crates that have downloads, the most first, and the number of all."""
    counts = CrateDownloads.objects.filter(Exists(rows.filter(index_file__name=OuterRef("pk"))))
    keys = list(counts.order_by(f"-{column}", "name").values_list("pk", flat=True)[start:end])
    shown = rows.filter(index_file__name__in=keys).select_related("index_file").only(*COLUMNS)
    by_name = {row.index_file.name: row for row in shown}
    return [by_name[key] for key in keys if key in by_name], counts.count()


def records(page: Sequence[IndexSummary], text: str) -> list[CrateRecord]:
    """Return the records of crates, each described by the file of its default version if that is stored."""
    keys = {(row.index_file.name, row.default_version) for row in page}
    cached = CachedCrate.objects.filter(name__in={name for name, _ in keys}, version__in={key[1] for key in keys})
    files = {(file.name, file.version): file for file in cached.select_related("facts").defer("facts__readme_text")}
    counts = CrateDownloads.objects.in_bulk([name for name, _ in keys])
    exact = names.canonical("_".join(text.split()))
    return [
        record(
            row,
            files.get((row.index_file.name, row.default_version)),
            counts.get(row.index_file.name, CrateDownloads()),
            is_exact=names.canonical(row.name) == exact,
        )
        for row in page
    ]


def record(row: IndexSummary, file: CachedCrate | None, count: CrateDownloads, *, is_exact: bool) -> CrateRecord:
    facts = facts_of(file)
    return CrateRecord(
        name=row.name,
        created_at=row.created_at,
        updated_at=row.updated_at,
        default_version=row.default_version or None,
        max_version=row.max_version or NO_VERSION,
        newest_version=row.newest_version or NO_VERSION,
        max_stable_version=row.max_stable_version or None,
        num_versions=row.version_count,
        yanked=not row.max_version,
        downloads=count.total,
        recent_downloads=count.recent,
        description=facts.description,
        homepage=facts.homepage,
        documentation=facts.documentation,
        repository=facts.repository,
        exact_match=is_exact,
        api_root=API_ROOT,
    )
