"""Finding crates by words."""

from dataclasses import dataclass

from crates.models import Crate, Version
from registry_site.errors import Invalid

LONGEST_QUERY = 200
MOST_WORDS = 10


@dataclass(frozen=True)
class Results:
    """The newest usable version of each crate on one page, and how many crates there are on all pages."""

    versions: list[Version]
    total: int


def search(text: str, page: int, per_page: int) -> Results:
    """Crates that can be used and have every word of `text`, the best first; raises `Invalid`."""
    if len(text) > LONGEST_QUERY or len(text.split()) > MOST_WORDS:
        raise Invalid(f"Search for at most {MOST_WORDS} words and {LONGEST_QUERY} characters.")
    found = Crate.objects.usable().matching(text)
    start = (page - 1) * per_page
    listed = found.select_related("newest").defer("index_text", "search_text")[start : start + per_page]
    return Results([crate.newest for crate in listed if crate.newest is not None], found.count())
