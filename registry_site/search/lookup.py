"""Lookups in the index of words."""

from typing import Any

from django.db.models import Lookup, TextField

MAX_MATCHES = 500


@TextField.register_lookup
class HasWords(Lookup):
    """The lookup `search_text__has_words=[…]`: each of these is a word in the column, or a prefix of one.

    Words consist of letters and digits, so they need no escape in either query language.
    """

    lookup_name = "has_words"
    prepare_rhs = False

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, tuple[str, ...]]:
        column, _ = self.process_lhs(compiler, connection)
        query = " & ".join(f"'{word}':*" for word in self.rhs)
        # The subquery hides the words from the planner. For common ones it would read the whole table instead of the
        # index.
        return f"array_to_tsvector(string_to_array({column}, ' ')) @@ (SELECT %s::tsquery)", (query,)

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        table = self.lhs.alias
        query = " ".join(f'"{word}"*' for word in self.rhs)
        # The limit stands inside: SQLite would collect all matches of the subquery before the outer limit applies.
        rows = "SELECT rowid FROM packages_words WHERE packages_words MATCH %s LIMIT %s"
        return f'"{table}"."id" IN ({rows})', (f"{{{self.lhs.target.column}}} : ({query})", MAX_MATCHES)
