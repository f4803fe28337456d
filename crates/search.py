"""Finding crates by words."""

from dataclasses import dataclass

from crates.models import Crate
from registry_site.errors import Invalid

MAX_QUERY_LENGTH = 200
MAX_WORDS = 10


@dataclass(frozen=True)
class CrateSummary:
    """A crate in a list, with what its highest usable version says of it."""

    name: str
    max_version: str
    description: str


@dataclass(frozen=True)
class SearchResults:
    """The crates of one page, and how many there are on all pages."""

    crates: list[CrateSummary]
    total: int


def search(text: str, page: int, per_page: int) -> SearchResults:
    """Crates that can be used and have every word of `text`, the best first; raises `Invalid`."""
    if len(text) > MAX_QUERY_LENGTH or len(text.split()) > MAX_WORDS:
        raise Invalid(f"Search for at most {MAX_WORDS} words and {MAX_QUERY_LENGTH} characters.")
    matching = Crate.objects.usable().matching(text)
    start = (page - 1) * per_page
    rows = matching.values_list("name", "newest__number", "newest__description")[start : start + per_page]
    return SearchResults([CrateSummary(*row) for row in rows], matching.count())
