"""The lookup in an index of words: `search_text__matches=all_of(["json", "pars"], limit=100)`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import CharField, Lookup, TextField

from registry_site.search.index import index_name

IN_FTS5 = '"{table}"."id" IN (SELECT rowid FROM {index} WHERE {index} MATCH %s LIMIT %s)'


@dataclass(frozen=True)
class WordQuery:
    """Groups of words: a column matches that has a word of each group, or only its beginning with `by_prefix`.

    Words consist of letters and digits, so they need no escape in either query language. At most `limit` rows match.
    """

    groups: list[list[str]]
    limit: int
    by_prefix: bool = False

    def to_postgresql(self) -> str:
        form = "'{}':*" if self.by_prefix else "'{}'"
        return " & ".join(f"({' | '.join(map(form.format, group))})" for group in self.groups)

    def to_fts5(self) -> str:
        form = '"{}"*' if self.by_prefix else '"{}"'
        return " AND ".join(f"({' OR '.join(map(form.format, group))})" for group in self.groups)


def all_of(words: Iterable[str], *, limit: int) -> WordQuery:
    """Return the query for columns that have all words, or words that begin so."""
    return WordQuery([[word] for word in words], limit, by_prefix=True)


def one_of_each(*groups: list[str], limit: int) -> WordQuery:
    """Return the query for columns that have a word of each group."""
    return WordQuery(list(groups), limit)


@CharField.register_lookup
@TextField.register_lookup
class Matches(Lookup):
    """The lookup of a `WordQuery` in a column that has an index of words."""

    lookup_name = "matches"
    prepare_rhs = False
    rhs: WordQuery

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str, ...]]:
        column, _ = self.process_lhs(compiler, connection)
        # The subquery hides the words from the planner. For common ones it would read the whole table instead of the
        # index.
        return f"array_to_tsvector(string_to_array({column}, ' ')) @@ (SELECT %s::tsquery)", (self.rhs.to_postgresql(),)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        field = self.lhs.target
        index = index_name(field.model._meta.db_table, field.column)
        # The limit stands inside: SQLite would collect all matches of the subquery before the outer limit applies.
        rows = IN_FTS5.format(table=self.lhs.alias, index=index)
        return rows, (self.rhs.to_fts5(), self.rhs.limit)
