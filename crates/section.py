"""Crates on the home page and in the search."""

from collections.abc import Collection, Sequence
from typing import Any

from accounts.models import User
from crates import counters, listing
from crates.listing import CrateQuery
from crates.models import Crate
from registry_site.counters import read
from registry_site.sections import ENTRIES_AT_HOME, Column, Entry, Results, SearchQuery, Section

# Read as tuples: a list has many rows, and instances of models take several times as long.
ENTRY_COLUMNS = (
    "pk",
    "name",
    "canonical_name",
    "updated_at",
    "default_version__number",
    "default_version__description",
    "default_version__yanked",
    "downloads__total",
)
MAX_CHANGES = 100  # that are looked at for crates which are not new
SORTS = (
    ("relevance", "Relevance"),
    ("recent-downloads", "Recent downloads"),
    ("downloads", "All downloads"),
    ("recent-updates", "Recently updated"),
    ("new", "Newly added"),
    ("alpha", "Name"),
)
FILTERS = ("keyword", "category", "owner")


def find(query: SearchQuery) -> Results:
    """Return a page of the crates that match; raises `Invalid`."""
    user_id = None
    if query.owner:
        user_id = User.objects.named(query.owner).values_list("pk", flat=True).first() or 0  # nobody has 0
    keywords = [query.keyword] if query.keyword else []
    sort = query.sort or SECTION.sort_for(query.text)
    page, keys = listing.page_of_keys(
        CrateQuery(query.text, sort, query.page, query.per_page, "", keywords, query.category, user_id=user_id)
    )
    rows = entries(keys, listing.exact_name(query.text))
    return Results([rows[key] for key in keys if key in rows], page.total, page.next_page is not None)


def columns() -> Sequence[Column]:
    """Return the newest crates, those with a further version, and the most downloaded ones."""
    new = listing.first_keys("new", ENTRIES_AT_HOME)
    changes = listing.first_keys("recent-updates", MAX_CHANGES)
    most = listing.first_keys("downloads", ENTRIES_AT_HOME)
    later = Crate.objects.filter(pk__in=changes, version_count__gt=1).order_by("-updated_at", "-pk")
    updated = list(later.values_list("pk", flat=True)[:ENTRIES_AT_HOME])
    rows = entries({*new, *updated, *most})
    lists = {
        "new": ("New crates", new),
        "recent-updates": ("Just updated", updated),
        "downloads": ("Most downloaded", most),
    }
    return [
        Column(title, [rows[key] for key in keys if key in rows], f"/search?sort={sort}")
        for sort, (title, keys) in lists.items()
        if keys
    ]


def counts() -> Sequence[tuple[int, str]]:
    nouns = {counters.usable_crates: "crate", counters.versions: "version", counters.downloads: "download"}
    numbers = read(*nouns)
    return [(numbers[counter], noun) for counter, noun in nouns.items()]


def entries(keys: Collection[int], exact: str = "") -> dict[int, Entry]:
    """Return the lines of crates by their primary keys, in one query; `exact` is the canonical name to mark."""
    rows = Crate.objects.filter(pk__in=keys).order_by().values_list(*ENTRY_COLUMNS, named=True)
    return {row.pk: entry(row, is_exact=row.canonical_name == exact) for row in rows}


def entry(row: Any, *, is_exact: bool) -> Entry:
    """Return the line of a row of `ENTRY_COLUMNS`."""
    return Entry(
        title=row.name,
        url=f"/crates/{row.name}",
        version=row.default_version__number or "",
        summary=row.default_version__description or "",
        badges=[("bad", "yanked")] if row.default_version__yanked else [],
        downloads=row.downloads__total or 0,
        updated_at=row.updated_at,
        is_exact=is_exact,
    )


SECTION = Section("crates", "Crates", "crate", find, SORTS, FILTERS, columns=columns, counts=counts)
