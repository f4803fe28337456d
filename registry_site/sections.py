"""Sections of the home page and of the search: each room registers what it has to show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.core.cache import cache

PER_PAGE = 20
ENTRIES_AT_HOME = 6
COUNTS_SECONDS = 10  # for which the numbers of the home page are kept, in each worker
SUGGESTIONS = 3  # of each other section, beside the results of the chosen one


@dataclass(frozen=True)
class Entry:
    """A line of a list: a crate, a package, a namespace."""

    title: str
    url: str
    version: str = ""
    summary: str = ""
    badges: Sequence[tuple[str, str]] = ()  # (kind: good, warn, bad or empty; text)
    downloads: int | None = None
    updated_at: datetime | None = None
    is_exact: bool = False
    source: str = ""


@dataclass(frozen=True)
class SearchQuery:
    """Words with an order and filters, and the number of a page."""

    text: str = ""
    sort: str = ""
    keyword: str = ""
    category: str = ""
    owner: str = ""
    page: int = 1
    per_page: int = PER_PAGE


@dataclass(frozen=True)
class Results:
    """A page of entries, the number of all, and whether more follow."""

    entries: Sequence[Entry]
    total: int
    has_more: bool = False


@dataclass(frozen=True)
class Column:
    """A list of the home page, and the search that goes on with it."""

    title: str
    entries: Sequence[Entry]
    url: str


@dataclass(frozen=True)
class Overview:
    """The numbers and the lists of the home page."""

    counts: Sequence[tuple[int, str]]
    columns: Sequence[Column]


def no_suggestions(text: str) -> Sequence[Entry]:
    return ()


def no_columns() -> Sequence[Column]:
    return ()


def no_counts() -> Sequence[tuple[int, str]]:
    return ()


@dataclass(frozen=True)
class Section:
    """A kind of things: `search` finds them, `columns` are lists with a heading, `counts` numbers with a noun.

    `suggest` finds the first few by their names, in one query. `sorts` are the orders that `search` has, each with its
    label, and `filters` the fields of a `SearchQuery` that it heeds beside the text.
    """

    source: str  # in `?source=`
    title: str
    noun: str  # for one of them
    search: Callable[[SearchQuery], Results]
    sorts: Sequence[tuple[str, str]] = ()
    filters: Sequence[str] = ()  # of keyword, category and owner
    suggest: Callable[[str], Sequence[Entry]] = field(default=no_suggestions)
    columns: Callable[[], Sequence[Column]] = field(default=no_columns)
    counts: Callable[[], Sequence[tuple[int, str]]] = field(default=no_counts)

    def sort_for(self, text: str) -> str:
        """Return the order without a choice: the first, which is relevance, or the second if there are no words."""
        return next((sort for sort, _ in self.sorts if text.strip() or sort != "relevance"), "")


registered: dict[str, Section] = {}


def register(section: Section) -> None:
    """Add a section behind those that stand; called in `AppConfig.ready`, so in the order of `INSTALLED_APPS`."""
    registered[section.source] = section


def section_of(source: str) -> Section:
    """Return a section, or the first one for an unknown name."""
    return registered.get(source) or next(iter(registered.values()))


def overview() -> Overview:
    """Return what the home page shows: the numbers of all sections, the lists of the first that has any."""
    counts = cache.get_or_set("home_counts", count_all, COUNTS_SECONDS) or ()
    columns = next((columns for section in registered.values() if (columns := section.columns())), ())
    return Overview(counts, columns)


def count_all() -> list[tuple[int, str]]:
    return [count for section in registered.values() for count in section.counts()]
