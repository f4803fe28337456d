"""The change log: a row for each change of what workers keep in memory, written by triggers of the database.

So raw SQL, bulk updates, the admin, commands and migrations all count, each in the transaction of the change: a
rollback leaves nothing. No row is changed by all writers: on PostgreSQL each would wait for the commit before.
`registry_site.change_feed` reads the log.

A deletion of old rows leaves a row of its own, of the kind `DELETION`, with the last position that is gone. So a reader
that has not read them finds that out, whatever the clocks of the machines say.

What it adds to a change of an index file, by `python -m benchmarks.change_log`: 4 µs on SQLite, 67 µs on PostgreSQL.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.dispatch import receiver
from django.utils import timezone

from registry_site.models import Change
from registry_site.signals import hour_passed

DELETION = "deletion"
KEPT = timedelta(hours=1)
BATCH_SIZE = 1000  # rows of one transaction, so that other writers of SQLite come between

SQLITE_INSERT = (
    "INSERT INTO registry_site_change (kind, key, at) SELECT '{kind}', {key}, strftime('%Y-%m-%d %H:%M:%f', 'now')"
)
SQLITE_TRIGGERS = {
    "insert": "CREATE TRIGGER {name}_insert AFTER INSERT ON {table} BEGIN {insert_new}; END",
    "update": "CREATE TRIGGER {name}_update AFTER UPDATE{columns} ON {table}{condition} BEGIN {insert_old}; "
    "{insert_new} WHERE {new} IS NOT {old}; END",
    "delete": "CREATE TRIGGER {name}_delete AFTER DELETE ON {table} BEGIN {insert_old}; END",
}
POSTGRESQL_FUNCTION = """
CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO registry_site_change (kind, key, at, transaction)
        VALUES ('{kind}', '', now(), pg_current_xact_id()::text::bigint);
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        INSERT INTO registry_site_change (kind, key, at, transaction)
        VALUES ('{kind}', {old}, now(), pg_current_xact_id()::text::bigint);
    END IF;
    IF TG_OP = 'INSERT' OR TG_OP = 'UPDATE' AND {new} IS DISTINCT FROM {old} THEN
        INSERT INTO registry_site_change (kind, key, at, transaction)
        VALUES ('{kind}', {new}, now(), pg_current_xact_id()::text::bigint);
    END IF;
    RETURN NULL;
END $$
"""
POSTGRESQL_TRIGGERS = {
    "insert": "CREATE TRIGGER {name}_insert AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
    "update": "CREATE TRIGGER {name}_update AFTER UPDATE{columns} ON {table} FOR EACH ROW{condition} "
    "EXECUTE FUNCTION {name}()",
    "delete": "CREATE TRIGGER {name}_delete AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()",
    "truncate": "CREATE TRIGGER {name}_truncate AFTER TRUNCATE ON {table} EXECUTE FUNCTION {name}()",
}
MARK_IN_POSTGRESQL = """
INSERT INTO registry_site_change (kind, key, at, transaction) VALUES (%s, %s, %s, pg_current_xact_id()::text::bigint)
"""
MARK_IN_SQLITE = "INSERT INTO registry_site_change (kind, key, at) VALUES (%s, %s, %s)"


class LogChanges(Operation):
    """Log the changes of a table's rows as a kind, with what the SQL `key` makes of `{row}`.

    An UPDATE counts if one of `columns` gets another value; large ones come last, since the comparison ends at the
    first that differs. Without `inserts`, new rows do not count: nothing is kept of a row that does not exist.

    Operations that change columns in SQLite write the table anew and drop its triggers: repeat this one behind them.
    """

    reduces_to_sql = True
    reversible = True

    def __init__(
        self, model_name: str, kind: str, *, key: str, columns: Sequence[str] = (), inserts: bool = True
    ) -> None:
        self.model_name, self.kind, self.key, self.columns, self.inserts = model_name, kind, key, columns, inserts

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Leave the models: Django knows nothing of triggers."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        table = to_state.apps.get_model(app_label, self.model_name)._meta.db_table
        is_postgresql = schema_editor.connection.vendor == "postgresql"
        triggers = POSTGRESQL_TRIGGERS if is_postgresql else SQLITE_TRIGGERS
        self.drop(table, schema_editor)
        old, new = self.key.format(row="old"), self.key.format(row="new")
        differs = "IS DISTINCT FROM" if is_postgresql else "IS NOT"
        comparisons = " OR ".join(f"old.{column} {differs} new.{column}" for column in self.columns)
        values = {
            "name": trigger_name(table, self.kind),
            "table": table,
            "kind": self.kind,
            "old": old,
            "new": new,
            "columns": f" OF {', '.join(self.columns)}" if self.columns else "",
            "condition": f" WHEN ({comparisons})" if comparisons else "",
            "insert_old": SQLITE_INSERT.format(kind=self.kind, key=old),
            "insert_new": SQLITE_INSERT.format(kind=self.kind, key=new),
        }
        if is_postgresql:
            schema_editor.execute(POSTGRESQL_FUNCTION.format(**values), params=None)
        for event, statement in triggers.items():
            if event != "insert" or self.inserts:
                schema_editor.execute(statement.format(**values), params=None)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        self.drop(from_state.apps.get_model(app_label, self.model_name)._meta.db_table, schema_editor)

    def drop(self, table: str, schema_editor: Any) -> None:
        name = trigger_name(table, self.kind)
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name} CASCADE")  # and its triggers
            return
        for event in SQLITE_TRIGGERS:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}_{event}")

    def describe(self) -> str:
        return f"Log changes of {self.model_name} as {self.kind}"

    @property
    def migration_name_fragment(self) -> str:
        return f"log_{self.model_name.lower()}"


def trigger_name(table: str, kind: str) -> str:
    """Return how the names of the triggers begin; the event follows."""
    return f"{table}_{kind}_change"


def missing_triggers(connection: BaseDatabaseWrapper, tables_by_kind: Mapping[str, Collection[str]]) -> list[str]:
    """Return the triggers for changes and deletions of these tables that the database lacks, or does not fire."""
    needed = {
        f"{trigger_name(table, kind)}_{event}"
        for kind, tables in tables_by_kind.items()
        for table in tables
        for event in ("update", "delete")
    }
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')")
        else:
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        return sorted(needed.difference(name for (name,) in cursor.fetchall()))


@receiver(hour_passed)
def delete_old(**kwargs: Any) -> None:
    """Delete the rows that are older than an hour."""
    while delete_batch() == BATCH_SIZE:
        pass


def delete_batch() -> int:
    """Delete the oldest changes, if they are old enough, and return their number.

    The marks before them go as well, as the new mark stands for them. Marks alone stay, or they would follow one
    another for ever. So do those of a later position, as old transactions of PostgreSQL may leave changes behind them.
    """
    oldest = list(Change.objects.exclude(kind=DELETION).order_by("pk")[:BATCH_SIZE])
    expired = [change for change in oldest if change.at < timezone.now() - KEPT]
    if not expired:
        return 0
    is_postgresql = connection.vendor == "postgresql"
    last = max((change.transaction or 0) if is_postgresql else change.pk for change in expired)
    with transaction.atomic(), connection.cursor() as cursor:
        deleted, _ = Change.objects.filter(pk__in=[change.pk for change in expired]).delete()
        if not deleted:  # another worker was quicker
            return 0
        marks = Change.objects.filter(kind=DELETION, pk__lt=expired[-1].pk).order_by("-pk")
        replaced = [pk for pk, key in marks.values_list("pk", "key")[:BATCH_SIZE] if int(key) <= last]
        Change.objects.filter(pk__in=replaced).delete()
        cursor.execute(MARK_IN_POSTGRESQL if is_postgresql else MARK_IN_SQLITE, [DELETION, str(last), timezone.now()])
    return deleted
