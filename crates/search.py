"""Search for crates by words."""

from dataclasses import dataclass

from django.db.models import Case, IntegerField, Q, Value, When

from crates import names
from crates.models import Crate
from registry_site.errors import Invalid

MAX_QUERY_LENGTH = 200
MAX_WORDS = 10  # each word is a condition of the query


@dataclass(frozen=True)
class CrateSummary:
    """A crate in a list, described by its highest usable version."""

    name: str
    max_version: str
    description: str


@dataclass(frozen=True)
class SearchResults:
    """The crates of one page, and the number of crates on all pages."""

    crates: list[CrateSummary]
    total: int


def search(text: str, page: int, per_page: int) -> SearchResults:
    """Return the usable crates that contain every word of `text`, the best matches first; raises `Invalid`."""
    words = [names.canonical(word) for word in text.split()]
    if len(text) > MAX_QUERY_LENGTH or len(words) > MAX_WORDS:
        raise Invalid(f"Search for at most {MAX_WORDS} words and {MAX_QUERY_LENGTH} characters.")
    # `search_text` is canonical too, so that case, `-` and `_` do not count.
    matches = Crate.objects.usable().filter(*(Q(search_text__contains=word) for word in words))
    start = (page - 1) * per_page
    rows = matches.order_by(rank("_".join(words)), "canonical_name").values_list(
        "name", "max_version__number", "max_version__description"
    )[start : start + per_page]
    return SearchResults([CrateSummary(*row) for row in rows], matches.count())


def rank(phrase: str) -> Case:
    """Rank the crate of this name first, then names that begin with it, names that contain it, and all others."""
    return Case(
        When(canonical_name=phrase, then=Value(0)),
        When(canonical_name__startswith=phrase, then=Value(1)),
        When(canonical_name__contains=phrase, then=Value(2)),
        default=Value(3),
        output_field=IntegerField(),
    )
