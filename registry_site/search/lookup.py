"""The lookup in an index of words: `search_text__matches=all_of(["json", "pars"], limit=100)`."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import CharField, Lookup, TextField

from registry_site.search.index import index_name

IN_FTS5 = '"{table}"."id" IN (SELECT rowid FROM {index} WHERE {index} MATCH %s LIMIT %s)'


@dataclass(frozen=True)
class WordQuery:
    """Groups of words: a column matches that has a word of each group; at most `limit` rows match.

    A word with `beginnings_from` letters or more may be the beginning of a longer one; 0 stands for whole words only.
    Words consist of letters and digits, so they need no escape in either query language.
    """

    groups: list[list[str]]
    limit: int
    beginnings_from: int = 0

    def parameters(self, vendor: str) -> tuple[str | int, ...]:
        """Return what the lookup fills into its SQL."""
        return RenderedQuery(self.text(vendor), self.limit).parameters(vendor)

    def text(self, vendor: str) -> str:
        return self.to_postgresql() if vendor == "postgresql" else self.to_fts5()

    def to_postgresql(self) -> str:
        return self.render(whole="'{}'", beginning="'{}':*", either=" | ", both=" & ")

    def to_fts5(self) -> str:
        return self.render(whole='"{}"', beginning='"{}"*', either=" OR ", both=" AND ")

    def render(self, whole: str, beginning: str, either: str, both: str) -> str:
        def form(word: str) -> str:
            return beginning if 0 < self.beginnings_from <= len(word) else whole

        return both.join(f"({either.join(form(word).format(word) for word in group)})" for group in self.groups)


@dataclass(frozen=True)
class RenderedQuery:
    """The text of a `WordQuery` in the language of the database, as a compiled query takes it."""

    text: str
    limit: int

    def parameters(self, vendor: str) -> tuple[str | int, ...]:
        return (self.text,) if vendor == "postgresql" else (self.text, self.limit)


def all_of(words: Iterable[str], *, limit: int, beginnings_from: int = 1) -> WordQuery:
    """Return the query for columns that have all words, or words that begin so."""
    return WordQuery([[word] for word in words], limit, beginnings_from)


def one_of_each(*groups: list[str], limit: int) -> WordQuery:
    """Return the query for columns that have a word of each group."""
    return WordQuery(list(groups), limit)


@CharField.register_lookup
@TextField.register_lookup
class Matches(Lookup):
    """The lookup of a `WordQuery`, or of its text, in a column that has an index of words."""

    lookup_name = "matches"
    prepare_rhs = False
    rhs: WordQuery | RenderedQuery

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str | int, ...]]:
        column, _ = self.process_lhs(compiler, connection)
        # The subquery hides the words from the planner. For common ones it would read the whole table instead of the
        # index.
        return f"array_to_tsvector(string_to_array({column}, ' ')) @@ (SELECT %s::tsquery)", self.rhs.parameters(
            connection.vendor
        )

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        field = self.lhs.target
        index = index_name(field.model._meta.db_table, field.column)
        # The limit stands inside: SQLite would collect all matches of the subquery before the outer limit applies.
        rows = IN_FTS5.format(table=self.lhs.alias, index=index)
        return rows, self.rhs.parameters(connection.vendor)
