"""Sections of the home page and of the search: each room registers what it has to show."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

PER_PAGE = 20
ENTRIES_AT_HOME = 6
PER_SECTION = 5  # results of each other section beside those of the chosen one


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


def no_columns() -> Sequence[tuple[str, Sequence[Entry]]]:
    return ()


def no_counts() -> Sequence[tuple[int, str]]:
    return ()


@dataclass(frozen=True)
class Section:
    """A kind of things: `search` finds them, `columns` are lists with a heading, `counts` numbers with their noun.

    `sorts` and `filters` name the fields of a `SearchQuery` that `search` heeds. Each function costs few queries.
    """

    source: str  # in `?source=`
    title: str
    search: Callable[[SearchQuery], Results]
    sorts: Sequence[tuple[str, str]] = ()
    filters: Sequence[str] = ()
    columns: Callable[[], Sequence[tuple[str, Sequence[Entry]]]] = field(default=no_columns)
    counts: Callable[[], Sequence[tuple[int, str]]] = field(default=no_counts)


registered: dict[str, Section] = {}


def register(section: Section) -> None:
    """Add a section behind those that stand; called in `AppConfig.ready`, so in the order of `INSTALLED_APPS`."""
    registered[section.source] = section
