"""The index of the words in a column, as an operation of migrations; the database maintains it.

PostgreSQL has a GIN index over the words. SQLite has an FTS5 table for each column, which triggers fill: one for all
columns would read the matches in long texts to find those in names.
"""

from typing import Any

from django.db import connection
from django.db.migrations.operations.base import Operation

POSTGRESQL = [
    "CREATE INDEX {index} ON {table} USING gin (array_to_tsvector(string_to_array({column}, ' '))) "
    "WITH (fastupdate = off)",
]
# The words are folded and separated already. So each one is a token, whatever SQLite thinks of its letters; and neither
# their positions nor the lengths of texts are needed.
SQLITE = [
    "CREATE VIRTUAL TABLE {index} USING fts5 ({column}, content='{table}', content_rowid='id', "
    "tokenize='ascii', detail=none, columnsize=0, prefix='{prefixes}')",
    "CREATE TRIGGER {index}_insert AFTER INSERT ON {table} BEGIN "
    "INSERT INTO {index} (rowid, {column}) VALUES (new.id, new.{column}); END",
    "CREATE TRIGGER {index}_delete AFTER DELETE ON {table} BEGIN "
    "INSERT INTO {index} ({index}, rowid, {column}) VALUES ('delete', old.id, old.{column}); END",
    "CREATE TRIGGER {index}_update AFTER UPDATE OF {column} ON {table} WHEN old.{column} <> new.{column} BEGIN "
    "INSERT INTO {index} ({index}, rowid, {column}) VALUES ('delete', old.id, old.{column}); "
    "INSERT INTO {index} (rowid, {column}) VALUES (new.id, new.{column}); END",
    "INSERT INTO {index} ({index}) VALUES ('rebuild')",  # indexes the present rows
]

INDEXES_OF_SQLITE = "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%fts5%'"


def index_name(table: str, column: str) -> str:
    """Return the name of the index, which is a table in SQLite."""
    return f"{table}_{column}_words"


class CreateWordIndex(Operation):
    """Create the index of a column of words, separated by blanks; `prefixes` are lengths of quick beginnings."""

    reduces_to_sql = True
    reversible = True

    def __init__(self, model_name: str, column: str, prefixes: str = "1 2 3") -> None:
        self.model_name = model_name
        self.column = column
        self.prefixes = prefixes

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Leave the models: Django knows nothing of the index."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        values = {"index": index_name(table, self.column), "table": table, "column": self.column}
        for statement in POSTGRESQL if schema_editor.connection.vendor == "postgresql" else SQLITE:
            schema_editor.execute(statement.format(**values, prefixes=self.prefixes), params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        name = index_name(from_state.apps.get_model(app_label, self.model_name)._meta.db_table, self.column)
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP INDEX {name}")
            return
        for event in ("insert", "delete", "update"):
            schema_editor.execute(f"DROP TRIGGER {name}_{event}")
        schema_editor.execute(f"DROP TABLE {name}")

    def describe(self) -> str:
        return f"Create the index of words in {self.column} of {self.model_name}"

    @property
    def migration_name_fragment(self) -> str:
        return f"{self.model_name.lower()}_{self.column}_words"


class RestoreTriggers(CreateWordIndex):
    """Create the triggers of SQLite again: they went with a table that Django wrote anew to change its columns."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "sqlite":
            return
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        values = {"index": index_name(table, self.column), "table": table, "column": self.column}
        for statement in SQLITE:
            if statement.startswith("CREATE TRIGGER"):
                statement = statement.replace("CREATE TRIGGER", "CREATE TRIGGER IF NOT EXISTS")
                schema_editor.execute(statement.format(**values), params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self.database_forwards(app_label, schema_editor, from_state, to_state)

    def describe(self) -> str:
        return f"Restore the triggers of the index of words in {self.column} of {self.model_name}"


def rewrite_indexes() -> None:
    """Write all indexes of words in SQLite anew, which keeps deleted words until it merges parts of an index."""
    with connection.cursor() as cursor:
        cursor.execute(INDEXES_OF_SQLITE)
        for (index,) in cursor.fetchall():
            cursor.execute(f"INSERT INTO {index} ({index}) VALUES ('optimize')")  # noqa: S608 - a name of our own
