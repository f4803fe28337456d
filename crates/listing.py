"""Lists of crates: filtered, sorted, page by page.

Each order has an index. The keys of a page are read by that index, or out of few crates that the filters leave; then
the rows of these keys alone.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from operator import itemgetter
from typing import Any

from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from accounts.models import User
from crates import catalogue, counters, cursors, names, search, taxonomy
from crates.models import Category, Crate, CrateDownloads, Follow, Keyword, Ownership
from crates.records import CrateRecord
from registry_site.errors import Invalid
from registry_site.paging import MAX_PAGE

FEW = 1000  # crates that are sorted; if the filters leave more, the index of the order is followed
USABLE: dict[str, Any] = {"max_version__isnull": False}
NOT_REMOVED: dict[str, Any] = {"removed_at": None}
LETTERS = "abcdefghijklmnopqrstuvwxyz"  # every name begins with one


@dataclass(frozen=True)
class CrateQuery:
    """Filters, all of which have to hold, an order, and a page: its number, or the cursor of the page before."""

    text: str = ""
    sort: str = ""
    page: int | None = None
    per_page: int = 10
    seek: str = ""
    keywords: Sequence[str] = ()
    category: str = ""
    letter: str = ""
    user_id: int | None = None
    team_id: int | None = None
    names: Sequence[str] = ()
    follower: User | None = None


@dataclass(frozen=True)
class CrateList:
    """A page of crates, the number of all, and the ways to the pages around it."""

    crates: Sequence[CrateRecord]
    total: int
    seek: str | None = None
    next_page: int | None = None
    prev_page: int | None = None


@dataclass(frozen=True)
class Order:
    """An order of rows by an indexed column and, among equals, by their crate."""

    model: type[Model]
    column: str
    kind: type  # of the column's values in a cursor
    is_descending: bool = True
    is_tie_descending: bool = True

    @property
    def crate(self) -> str:
        """The lookup of the crate's primary key."""
        return "pk" if self.model is Crate else "crate_id"

    def rows(self, lookups: dict[str, Any]) -> QuerySet[Any]:
        """Select the rows of the crates that some lookups select."""
        prefix = "" if self.model is Crate else "crate__"
        return self.model._default_manager.filter(**{prefix + name: value for name, value in lookups.items()})

    def sort(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        column, crate = ("-" * self.is_descending + self.column, "-" * self.is_tie_descending + self.crate)
        return rows.order_by(column) if self.kind is str else rows.order_by(column, crate)  # a name is unique

    def after(self, rows: QuerySet[Any], value: Any, crate: int) -> QuerySet[Any]:
        """Select what follows a row."""
        behind = Q(**{f"{self.column}__{'lt' if self.is_descending else 'gt'}": value})
        equal = Q(**{self.column: value, f"{self.crate}__{'lt' if self.is_tie_descending else 'gt'}": crate})
        # The index begins at the last of these conditions.
        return rows.filter(behind | equal, **{f"{self.column}__{'lte' if self.is_descending else 'gte'}": value})

    def sort_few(self, rows: Iterable[tuple[int, Any]]) -> list[tuple[int, Any]]:
        """Sort pairs of a crate and its value."""
        by_crate = sorted(rows, key=itemgetter(0), reverse=self.is_tie_descending)
        return sorted(by_crate, key=itemgetter(1), reverse=self.is_descending)

    def is_after(self, row: tuple[int, Any], value: Any, crate: int) -> bool:
        """Return whether a pair of a crate and its value follows another one."""
        return row[::-1] != (value, crate) and self.sort_few([(crate, value), row])[0] != row


ORDERS = {
    "alpha": Order(Crate, "canonical_name", str, is_descending=False),
    "downloads": Order(CrateDownloads, "total", int, is_tie_descending=False),
    "recent-downloads": Order(CrateDownloads, "recent", int, is_tie_descending=False),
    "recent-updates": Order(Crate, "updated_at", datetime),
    "new": Order(Crate, "created_at", datetime),
}
SORTS = (*ORDERS, "relevance")


@dataclass(frozen=True)
class CrateTable:
    """Rows of many crates, perhaps several of each; `count` counts the crates."""

    rows: QuerySet[Any]
    count: Callable[[], int]


@dataclass
class Selection:
    """What the filters of a query leave: lookups on crates, few primary keys, tables of which one row each is needed.

    Crates all of whose versions are yanked are in lists of given crates and of users, and in no other.
    """

    lookups: dict[str, Any] = field(default_factory=USABLE.copy)
    keys: set[int] | None = None
    tables: list[CrateTable] = field(default_factory=list)

    def narrow(self, rows: QuerySet[Any], count: Callable[[], int]) -> None:
        """Leave the crates of `rows`, by their keys if they are few; `count` counts them otherwise."""
        keys = list(rows.order_by().values_list("crate_id", flat=True)[: FEW + 1])
        if len(keys) > FEW:
            self.tables.append(CrateTable(rows, count))
        else:
            self.keep(keys)

    def keep(self, keys: Sequence[int]) -> None:
        """Leave the crates with these primary keys."""
        self.keys = set(keys) if self.keys is None else self.keys.intersection(keys)

    def rows(self, order: Order) -> QuerySet[Any]:
        """Return the rows that an order sorts."""
        rows = order.rows(self.lookups)
        for table in self.tables:
            rows = rows.filter(Exists(table.rows.filter(crate=OuterRef(order.crate))))
        return rows if self.keys is None else rows.filter(**{f"{order.crate}__in": self.keys})

    def count(self) -> int:
        """Count the selected crates, if possible without their rows."""
        if self == Selection():
            return counters.usable_crates.value()
        if self.keys is None and len(self.tables) == 1 and self.lookups in (USABLE, NOT_REMOVED):
            unusable = Crate.with_removed.filter(max_version=None).order_by().values_list("pk", flat=True)
            left_out = list((unusable if self.lookups == USABLE else unusable.exclude(removed_at=None))[: FEW + 1])
            if len(left_out) <= FEW:
                table = self.tables[0]
                return table.count() - table.rows.filter(crate__in=left_out).values("crate_id").distinct().count()
        # The lookups leave removed crates out, and the default manager would read each row to do it once more.
        rows = Crate.with_removed.filter(**self.lookups).order_by()
        for table in self.tables:
            rows = rows.filter(pk__in=table.rows.values("crate_id"))
        return (rows if self.keys is None else rows.filter(pk__in=self.keys)).count()


def list_crates(query: CrateQuery) -> CrateList:
    """Return a page of crates; raises `Invalid`."""
    page, keys = page_of_keys(query)
    rows = catalogue.crate_records_of(keys)
    records = [rows[key] for key in keys if key in rows]
    exact = exact_name(query.text)
    return replace(page, crates=[replace(crate, exact_match=names.canonical(crate.name) == exact) for crate in records])


def exact_name(text: str) -> str:
    """Return the canonical name that a text of several words would be."""
    return names.canonical("_".join(text.split()))


def page_of_keys(query: CrateQuery) -> tuple[CrateList, list[int]]:
    """Return a page without its crates, and their primary keys; raises `Invalid`."""
    is_search = bool(query.text.strip())
    matches = search.matching(query.text) if is_search else []
    selection = select(query)
    if is_search:
        selection.keep(matches)
    if is_search and query.sort in ("", "relevance"):
        return _page_of_matches(query, selection, matches)
    return _page_of_order(query, selection, query.sort if query.sort in ORDERS else "alpha")


def numbered_page(crates: Sequence[CrateRecord], total: int, number: int, per_page: int) -> CrateList:
    """Return a page with the numbers of those around it."""
    has_more = number * per_page < total and number < MAX_PAGE
    return CrateList(crates, total, None, number + 1 if has_more else None, number - 1 or None)


def first_keys(sort: str, number: int) -> list[int]:
    """Return the primary keys of the first usable crates in an order."""
    order = ORDERS[sort]
    return list(order.sort(Selection().rows(order)).values_list(order.crate, flat=True)[:number])


def select(query: CrateQuery) -> Selection:
    """Return what the filters of a query leave."""
    selection = Selection()
    if query.names or query.user_id is not None or query.follower is not None:
        selection.lookups = NOT_REMOVED.copy()
    if query.names:
        selection.lookups["canonical_name__in"] = {names.canonical(name) for name in query.names}
    if query.letter:
        selection.lookups |= beginning_with(query.letter[0].lower())
    for word in query.keywords:
        keywords = dict(Keyword.objects.filter(word=taxonomy.normal_word(word)).values_list("pk", "crate_count"))
        narrow_to(selection, Crate.keywords.through.objects.filter(keyword__in=keywords), keywords)
    if query.category:
        slug = query.category.lower()
        rows = Category.objects.filter(Q(slug=slug) | Q(slug__startswith=f"{slug}::"))
        categories = dict(rows.order_by().values_list("pk", "crate_count"))
        narrow_to(selection, Crate.categories.through.objects.filter(category__in=categories), categories)
    if query.user_id is not None:
        owned = Ownership.objects.filter(user=query.user_id)
        selection.narrow(owned, owned.count)
    if query.follower is not None:
        followed = Follow.objects.filter(user=query.follower)
        selection.narrow(followed, followed.count)
    if query.team_id is not None:  # there are no teams
        selection.keep([])
    return selection


def narrow_to(selection: Selection, rows: QuerySet[Any], crate_counts: Mapping[int, int]) -> None:
    """Leave the crates of some keywords or categories, which count their crates, by primary key."""
    one = next(iter(crate_counts.values())) if len(crate_counts) == 1 else None
    # A crate can have several categories, so their counts have no sum.
    selection.narrow(rows, rows.values("crate_id").distinct().count if one is None else lambda: one)


def beginning_with(letter: str) -> dict[str, Any]:
    """Return the range of canonical names that begin with a letter, in any collation."""
    if letter not in LETTERS:
        return {"pk__in": []}
    following = LETTERS.partition(letter)[2][:1]
    return {"canonical_name__gte": letter, **({"canonical_name__lt": following} if following else {})}


def _page_of_matches(query: CrateQuery, selection: Selection, matches: Sequence[int]) -> tuple[CrateList, list[int]]:
    """Return a page of search results, the best first, without its crates, and their primary keys."""
    if query.seek:
        raise Invalid("seek: not for results of a search by relevance; go on with `page`, or give `sort`.")
    if selection == Selection(keys=selection.keys):  # usable crates alone have words
        selected = selection.keys or set()
    else:
        selected = set(selection.rows(ORDERS["alpha"]).order_by().values_list("pk", flat=True))
    keys = [key for key in matches if key in selected]
    number = query.page or 1
    end = number * query.per_page
    return numbered_page([], len(keys), number, query.per_page), keys[end - query.per_page : end]


def _page_of_order(query: CrateQuery, selection: Selection, sort: str) -> tuple[CrateList, list[int]]:
    """Return a page in some order, without its crates, and their primary keys."""
    order = ORDERS[sort]
    rows, cursor = selection.rows(order), _read_cursor(query.seek, sort) if query.seek else None
    start = 0 if query.page is None else (query.page - 1) * query.per_page
    end = start + query.per_page + 1
    if selection.keys is None:
        total = selection.count()
        rows = order.sort(rows if cursor is None else order.after(rows, *cursor))
        fetched = list(rows.values_list(order.crate, order.column)[start:end])
    else:  # few: PostgreSQL would follow the index of the order past all others to find the first of them
        few = order.sort_few(rows.order_by().values_list(order.crate, order.column))
        total = len(few)
        fetched = [row for row in few if cursor is None or order.is_after(row, *cursor)][start:end]
    page, has_more = fetched[: query.per_page], len(fetched) > query.per_page
    keys = [key for key, _ in page]
    if query.page is None:
        return CrateList([], total, _write_cursor(sort, *page[-1]) if has_more else None), keys
    next_page = query.page + 1 if has_more and query.page < MAX_PAGE else None
    return CrateList([], total, None, next_page, query.page - 1 or None), keys


def _write_cursor(sort: str, crate: int, value: Any) -> str:
    return cursors.encode(sort, value.isoformat() if isinstance(value, datetime) else value, crate)


def _read_cursor(text: str, sort: str) -> tuple[Any, int]:
    kind = ORDERS[sort].kind
    own_sort, value, crate = cursors.decode(text, str, str if kind is datetime else kind, int)
    if own_sort != sort:
        raise cursors.refusal()
    if kind is datetime:
        value = cursors.parse_time(value)
    return value, crate
