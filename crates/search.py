"""Finding crates by words."""

from dataclasses import dataclass

from crates.models import Crate
from registry_site.errors import Invalid

LONGEST_QUERY = 200
MOST_WORDS = 10


@dataclass(frozen=True)
class Found:
    """A crate in a list, with what its highest usable version says of it."""

    name: str
    max_version: str
    description: str


@dataclass(frozen=True)
class Results:
    """The crates of one page, and how many there are on all pages."""

    crates: list[Found]
    total: int


def search(text: str, page: int, per_page: int) -> Results:
    """Crates that can be used and have every word of `text`, the best first; raises `Invalid`."""
    if len(text) > LONGEST_QUERY or len(text.split()) > MOST_WORDS:
        raise Invalid(f"Search for at most {MOST_WORDS} words and {LONGEST_QUERY} characters.")
    matching = Crate.objects.usable().matching(text)
    start = (page - 1) * per_page
    rows = matching.values_list("name", "newest__number", "newest__description")[start : start + per_page]
    return Results([Found(*row) for row in rows], matching.count())
