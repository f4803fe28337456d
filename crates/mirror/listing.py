"""Lists of mirrored crates whose index files are stored.

Each order has an index. Policies are applied to the crates of a page, which leaves those out that have no usable
version then; crates that are blocked or too young in all versions are left out, and not counted, before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from crates import names, taxonomy
from crates.listing import FEW, CrateList, CrateQuery, beginning_with, numbered_page
from crates.mirror import catalogue, overrides, policies, stored_crates
from crates.mirror.models import CrateDownloads, CrateFacts, IndexSummary, Topic
from crates.records import CrateRecord
from registry_site.search import spelling
from registry_site.search.lookup import all_of
from registry_site.search.words import tokenize_query

MAX_MATCHES = 150
MAX_NAME_MATCHES = 10  # of which the first usable ones are suggested
ORDERS: dict[str, tuple[str, ...]] = {
    "alpha": ("canonical_name", "pk"),
    "recent-updates": ("-updated_at", "-pk"),
    "new": ("-created_at", "-pk"),
}
DOWNLOADS = {"downloads": "total", "recent-downloads": "recent"}  # columns of `CrateDownloads`

COLUMNS = (
    *(field.name for field in IndexSummary._meta.concrete_fields if field.name not in ("name_words", "lines")),
    "index_file__name",
    "index_file__changed_at",
    *(f"described_by__facts__{column}" for column in ("description", "homepage", "documentation", "repository")),
)


@dataclass
class Selection:
    """What the filters of a query leave: rows by their own columns, few primary keys, and topics that have too many."""

    rows: QuerySet[IndexSummary]
    unusable: Q | None = None  # what alone `rows` lack, if no other filter is on columns of theirs
    keys: set[int] | None = None
    topics: list[QuerySet[Topic]] = field(default_factory=list)

    def narrow(self, topics: QuerySet[Topic]) -> None:
        """Leave the crates of some topics, by their keys if they are few."""
        keys = set(topics.values_list("summary_id", flat=True)[: FEW + 1])
        if len(keys) > FEW:
            self.topics.append(topics)
        else:
            self.keys = keys if self.keys is None else self.keys & keys

    def all(self) -> QuerySet[IndexSummary]:
        """Select all of these crates, in no order."""
        rows = self.rows if self.keys is None else self.rows.filter(pk__in=self.keys)
        for topics in self.topics:
            rows = rows.filter(Exists(topics.filter(summary=OuterRef("pk"))))
        return rows

    def count(self) -> int:
        """Count the crates, those of a single topic by its rows alone, if hardly any of them can be unusable."""
        if len(self.topics) == 1 and self.keys is None and self.unusable is not None:
            left_out = list(IndexSummary.objects.filter(self.unusable).order_by().values_list("pk", flat=True)[:FEW])
            if len(left_out) < FEW:
                crates = self.topics[0].values("summary").distinct()
                return crates.count() - crates.filter(summary__in=left_out).count()
        return self.all().count()


def list_crates(query: CrateQuery) -> CrateList:
    """Return a page of the crates."""
    selection, number = select(query), query.page or 1
    start, end = (number - 1) * query.per_page, number * query.per_page
    if query.text.strip():
        matches = usable(matching(selection.all(), query), query)
        page, total = matches[start:end], len(matches)
    else:
        if query.sort in DOWNLOADS:
            page = by_downloads(selection, DOWNLOADS[query.sort], start, end)
        else:
            order = ORDERS.get(query.sort, ORDERS["alpha"])
            keys = list(selection.all().order_by(*order).values_list("pk", flat=True)[start:end])
            rows = {row.pk: row for row in with_columns(IndexSummary.objects.filter(pk__in=keys))}
            page = [rows[key] for key in keys if key in rows]
        page, total = usable(page, query), selection.count()
    return numbered_page(records(page, query.text), total, number, query.per_page)


def select(query: CrateQuery) -> Selection:
    """Return what the filters of a query leave: no crate that is yanked, blocked or too young as a whole.

    Of crates that are asked for by their names, these are listed, too.
    """
    rows, unusable = IndexSummary.objects.order_by(), None
    if query.names:
        rows = rows.filter(canonical_name__in={names.canonical(name) for name in query.names})
    else:
        unusable = is_unusable()
        rows = rows.exclude(unusable)
    if query.letter:
        rows, unusable = rows.filter(**beginning_with(query.letter[0].lower())), None
    if query.user_id is not None or query.team_id is not None:  # an index names no owners
        rows, unusable = rows.none(), None
    selection = Selection(rows, unusable)
    for word in query.keywords:
        selection.narrow(Topic.objects.filter(kind=Topic.Kind.KEYWORD, word=taxonomy.normal_word(word)))
    if query.category:
        kinds = (Topic.Kind.CATEGORY, Topic.Kind.PARENT)
        selection.narrow(Topic.objects.filter(kind__in=kinds, word=query.category.lower()))
    return selection


def is_unusable() -> Q:
    """Return the condition of crates that are yanked, blocked or too young as a whole, as far as columns tell."""
    condition = Q(first_usable_at=None) | Q(canonical_name__in=overrides.wholly_blocked())
    if youngest := policies.youngest_allowed():
        condition |= Q(first_usable_at__gt=youngest) & ~Q(canonical_name__in=overrides.exempt())
    return condition


def with_columns(rows: QuerySet[IndexSummary]) -> QuerySet[IndexSummary]:
    """Select what a record needs, and nothing large."""
    return rows.select_related("index_file", "described_by__facts").only(*COLUMNS)


def usable(rows: Sequence[IndexSummary], query: CrateQuery) -> list[IndexSummary]:
    """Return the crates as policies leave them, without those that have no usable version, unless they were named."""
    return [row for row in stored_crates.apply_policies(rows) if row.max_version or query.names]


def matching(rows: QuerySet[IndexSummary], query: CrateQuery) -> list[IndexSummary]:
    """Return the crates whose names have all words of a text, or words that begin so, in the order of the query."""
    words = tokenize_query(query.text)
    if not words:
        return []
    shown = with_columns(rows)
    exact = shown.filter(canonical_name=names.canonical("_".join(query.text.split())))
    others = shown.filter(name_words__matches=all_of(words, limit=MAX_MATCHES))[:MAX_MATCHES]
    matches = list({row.pk: row for row in (*exact, *others)}.values())
    if query.sort in ORDERS:
        column = ORDERS[query.sort][0]
        return sorted(matches, key=attrgetter(column.lstrip("-")), reverse=column.startswith("-"))
    counts = {row.pk: row for row in CrateDownloads.objects.filter(pk__in=[row.index_file.name for row in matches])}
    joined = spelling.joined(query.text)

    def rank(row: IndexSummary) -> tuple[Any, ...]:
        count = getattr(counts.get(row.index_file.name), DOWNLOADS.get(query.sort, "total"), 0)
        own = spelling.joined(row.name)
        closeness = 0 if query.sort in DOWNLOADS else (own != joined) + (not own.startswith(joined))
        return closeness, -count, row.name

    return sorted(matches, key=rank)


def matching_names(text: str, number: int) -> list[IndexSummary]:
    """Return the first crates with all words of a text in their names, the crate of this very name before them."""
    words = tokenize_query(text)
    if not words:
        return []
    summaries, name = IndexSummary.objects.order_by(), names.canonical("_".join(text.split()))
    exact = summaries.filter(canonical_name=name).values_list("pk", flat=True)
    others = summaries.filter(name_words__matches=all_of(words, limit=MAX_NAME_MATCHES)).values_list("pk", flat=True)
    keys = list(exact.union(others, all=True)[: MAX_NAME_MATCHES + 1])
    if not keys:  # as for most searches; the query for all that a record needs takes much longer
        return []
    rows = with_columns(select(CrateQuery()).all()).in_bulk(keys)
    return usable([rows[key] for key in dict.fromkeys(keys) if key in rows], CrateQuery())[:number]


def by_downloads(selection: Selection, column: str, start: int, end: int) -> list[IndexSummary]:
    """Return a page of the crates, the most downloaded first."""
    rows, counts = selection.all(), CrateDownloads.objects.order_by(f"-{column}", "pk")
    if selection.keys is None:
        counts = counts.filter(Exists(rows.filter(index_file__name=OuterRef("pk"))))
    else:
        counts = counts.filter(pk__in=list(rows.values_list("index_file__name", flat=True)))
    keys = list(counts.values_list("pk", flat=True)[start:end])
    by_name = {row.index_file.name: row for row in with_columns(rows.filter(index_file__name__in=keys))}
    return [by_name[key] for key in keys if key in by_name]


def records(page: Sequence[IndexSummary], text: str) -> list[CrateRecord]:
    counts = CrateDownloads.objects.in_bulk([row.index_file.name for row in page])
    exact = names.canonical("_".join(text.split()))
    return [
        catalogue.crate_record(
            row,
            getattr(row.described_by, "facts", CrateFacts()),
            counts.get(row.index_file.name, CrateDownloads()),
            is_exact=row.canonical_name == exact,
        )
        for row in page
    ]
