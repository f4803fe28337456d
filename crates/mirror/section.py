"""Mirrored crates on the home page and in the search."""

from collections.abc import Sequence
from dataclasses import replace

from crates.listing import CrateQuery
from crates.mirror import listing
from crates.mirror.models import IndexSummary
from crates.records import CrateRecord
from registry_site.sections import ENTRIES_AT_HOME, SUGGESTIONS, Column, Entry, Results, SearchQuery, Section

SORTS = (
    ("relevance", "Relevance"),
    ("recent-updates", "Recently updated"),
    ("recent-downloads", "Recent downloads"),
    ("downloads", "All downloads"),
    ("new", "Newest upstream"),
    ("alpha", "Name"),
)


def find(query: SearchQuery) -> Results:
    """Return a page of the mirrored crates that match."""
    sort = query.sort or SECTION.sort_for(query.text)
    filters = CrateQuery(keywords=[query.keyword] if query.keyword else [], category=query.category)
    page = listing.list_crates(replace(filters, text=query.text, sort=sort, page=query.page, per_page=query.per_page))
    crates = list(page.crates)
    if query.text and query.page == 1 and not any(crate.exact_match for crate in crates):
        # Lists leave out crates of which nothing is offered; whoever gives the name is told about it.
        exact = replace(filters, names=["-".join(query.text.split())])
        crates = [*listing.list_crates(exact).crates, *crates]
    total = page.total + len(crates) - len(page.crates)
    return Results([entry(record) for record in crates], total, page.next_page is not None)


def suggest(text: str) -> Sequence[Entry]:
    rows = listing.matching_names(text, SUGGESTIONS)
    return [Entry(row.name, f"/mirror/crates/{row.name}", row.max_version, source=SECTION.title) for row in rows]


def columns() -> Sequence[Column]:
    """Return the crates that were updated last, and the most downloaded ones."""
    orders = {"recent-updates": "Updated upstream", "downloads": "Most downloaded here"}
    pages = {sort: listing.list_crates(CrateQuery("", sort, 1, ENTRIES_AT_HOME)).crates for sort in orders}
    return [
        Column(orders[sort], [entry(record) for record in crates], f"/search?source={SECTION.source}&sort={sort}")
        for sort, crates in pages.items()
        if crates
    ]


def counts() -> Sequence[tuple[int, str]]:
    return [(IndexSummary.objects.count(), "mirrored crate")]


def entry(record: CrateRecord) -> Entry:
    return Entry(
        title=record.name,
        url=f"/mirror/crates/{record.name}",
        version=record.default_version or "",
        summary=record.description,
        badges=[("warn", "yanked or held back")] if record.yanked else [],
        downloads=record.downloads,
        updated_at=record.updated_at,
        is_exact=record.exact_match,
    )


SECTION = Section(
    "mirror",
    "Mirrored crates",
    "mirrored crate",
    find,
    SORTS,
    ("keyword", "category"),
    suggest=suggest,
    columns=columns,
    counts=counts,
)
