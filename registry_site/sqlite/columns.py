"""The order of columns in a table of SQLite, as an operation of migrations.

SQLite stores a row as one text of bytes, and a long one as a chain of pages that it follows from the start. So a small
column behind a large one costs as much as the large one, in each row of a list. PostgreSQL keeps large ones elsewhere.
"""

from typing import Any

from django.db.migrations import AddField
from django.db.migrations.operations.base import Operation


class AddColumn(AddField):
    """Add a column that cannot be NULL, for a `PutLast` behind it: without that, SQLite's keeps its default.

    `AddField` copies the whole table for each of them, to be rid of that default. One copy is enough.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "sqlite":
            super().database_forwards(app_label, schema_editor, from_state, to_state)
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        field = model._meta.get_field(self.name)
        table, column = map(schema_editor.quote_name, (model._meta.db_table, field.column))
        # The field of the operation, for that of the state has no default if it is not preserved.
        default = schema_editor.quote_value(schema_editor.effective_default(self.field))
        sql = f"ALTER TABLE {table} ADD COLUMN {column} {field.db_type(schema_editor.connection)} NOT NULL"
        schema_editor.execute(f"{sql} DEFAULT {default}", params=None)


class PutLast(Operation):
    """Put large columns behind all others of their table. Later columns come behind them, and need this once more."""

    reduces_to_sql = False
    reversible = True

    def __init__(self, model_name: str, columns: list[str]) -> None:
        self.model_name = model_name
        self.columns = columns

    def state_forwards(self, app_label: str, state: Any) -> None:
        fields = state.models[app_label, self.model_name.lower()].fields
        for column in self.columns:
            fields[column] = fields.pop(column)
        state.reload_model(app_label, self.model_name.lower(), delay=True)

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        if schema_editor.connection.vendor != "sqlite":
            return
        model = to_state.apps.get_model(app_label, self.model_name)
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [model._meta.db_table]
            )
            triggers = [sql for (sql,) in cursor.fetchall()]
        schema_editor._remake_table(model)  # as for each change of a column; Django has no public name for it
        for trigger in triggers:  # they went with the table
            schema_editor.execute(trigger, params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Leave the order: nothing but time depends on it."""

    def describe(self) -> str:
        return f"Put the large columns of {self.model_name} last"
