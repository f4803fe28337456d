"""Packages, and the namespaces with public ones, on the home page and in the search."""

from collections.abc import Iterator, Sequence

from django.db.models import Exists, OuterRef, QuerySet

from accounts import names
from namespaces.models import Namespace
from packages import counters, listing, search
from packages.models import Package, Status, Type
from registry_site.search.prefixes import begins
from registry_site.sections import SUGGESTIONS, Entry, Results, SearchQuery, Section

SORTS = (
    (listing.BY_RELEVANCE, "Relevance"),
    ("recent-downloads", "Recent downloads"),
    ("downloads", "All downloads"),
    ("updated", "Recently updated"),
    ("new", "Newly added"),
    ("name", "Name"),
)


def find_packages(query: SearchQuery) -> Results:
    """Return a page of the public packages that match; raises `Invalid`."""
    page = listing.search_page(query.text, query.page, query.sort or PACKAGES.sort_for(query.text))
    exact = names.canonical(query.text.strip())
    entries = [package_entry(package, exact) for package in page.packages]
    return Results(entries if page.number == query.page else [], page.total, page.number < page.last)


def suggest_packages(text: str) -> Sequence[Entry]:
    return [
        Entry(str(package), package.page_path, package.newest.version if package.newest else "", source=PACKAGES.title)
        for package in search.matching_names(text, SUGGESTIONS)
    ]


def package_entry(package: Package, exact: str = "", title: str = "") -> Entry:
    return Entry(
        title=title or str(package),
        url=package.page_path,
        version=package.newest.version if package.newest else "",
        summary=package.newest.description if package.newest else "",
        badges=[("", package.field), *badges_of_state(package)],
        downloads=getattr(package, "download_count", None),
        updated_at=package.updated_at,
        is_exact=exact
        in (package.canonical_name, f"{names.canonical(package.namespace.name)}/{package.canonical_name}"),
        source=PACKAGES.title,
    )


def badges_of_state(package: Package) -> Iterator[tuple[str, str]]:
    if package.type == Type.PRIVATE:
        yield "warn", "private"
    if package.newest is not None and package.newest.status == Status.DEPRECATED:
        yield "bad", "deprecated"


def package_counts() -> Sequence[tuple[int, str]]:
    return [(counters.listed_packages.value(), "package")]


def find_namespaces(query: SearchQuery) -> Results:
    """Return a page of the namespaces that have public packages and whose names begin with a text, by name."""
    public = Package.objects.listed().filter(namespace=OuterRef("pk"))
    rows = beginning_with(names.canonical(query.text.strip())).filter(Exists(public))
    start, end = (query.page - 1) * query.per_page, query.page * query.per_page
    fetched = list(rows.order_by("reservation__name")[start : end + 1])
    entries = [Entry(row.name, row.page_path) for row in fetched[: query.per_page]]
    return Results(entries, rows.count(), len(fetched) > query.per_page)


def beginning_with(name: str) -> QuerySet[Namespace]:
    """Select the namespaces whose names begin so, by the index of names in either database."""
    return Namespace.objects.present().filter(begins("reservation__name", name))


PACKAGES = Section(
    "packages", "Packages", "package", find_packages, SORTS, suggest=suggest_packages, counts=package_counts
)
NAMESPACES = Section("namespaces", "Namespaces", "namespace", find_namespaces)
