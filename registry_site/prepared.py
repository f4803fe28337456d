"""Statements whose SQL is written once in a process.

Django writes the SQL of a query anew each time, which takes many times as long as the database takes for the look-up of
a few rows. Requests that are counted by the thousand have their statements here: they differ in values alone.
"""

from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.models import Expression, Field, Model, QuerySet
from django.db.models.sql import InsertQuery

Row = TypeVar("Row", bound=Model)


class Parameter(Expression):
    """The place of a value in a query, of the kind that a field holds."""

    def __init__(self, name: str, field: "Field[Any, Any]") -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]

    def value_in(self, values: dict[str, Any]) -> Any:
        return self.output_field.get_db_prep_value(values[self.name], connection)


class PreparedQuery:
    """A query of columns (`values_list`) that `build` returns, with `Parameter` where values belong."""

    def __init__(self, build: Callable[[], "QuerySet[Any, Any]"]) -> None:
        self.build = build
        self.statement: tuple[str, Sequence[Any], Callable[[Any], list[tuple[Any, ...]]]] | None = None

    def rows(self, **values: Any) -> list[tuple[Any, ...]]:
        """Return all rows."""
        sql, slots, convert = self.statement or self.prepare()
        parameters = [slot.value_in(values) if isinstance(slot, Parameter) else slot for slot in slots]
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return convert(cursor.fetchall())

    def first(self, **values: Any) -> tuple[Any, ...] | None:
        """Return one row; None if there is none."""
        return next(iter(self.rows(**values)), None)

    def prepare(self) -> tuple[str, Sequence[Any], Callable[[Any], list[tuple[Any, ...]]]]:
        query = self.build().query
        compiler = query.get_compiler(DEFAULT_DB_ALIAS)
        sql, slots = compiler.as_sql()
        converters = compiler.get_converters([expression for expression, *_ in compiler.select])

        def convert(rows: Any) -> list[tuple[Any, ...]]:
            return [tuple(row) for row in compiler.apply_converters(rows, converters)] if converters else rows

        self.statement = sql, slots, convert
        return self.statement


class PreparedRows(PreparedQuery):
    """A query of rows, whole or with some of their columns."""

    def __init__(
        self, model: type[Row], build: Callable[[], "QuerySet[Any, Any]"], columns: Sequence[str] = ()
    ) -> None:
        # `from_db` takes values in the order of the model's fields.
        names = [field.attname for field in model._meta.concrete_fields]
        self.model, self.columns = model, [name for name in names if name in columns or not columns]
        super().__init__(lambda: build().order_by().values_list(*self.columns))

    def get(self, **values: Any) -> Any:
        """Return the first row; None if there is none."""
        return next(iter(self.all(**values)), None)

    def all(self, **values: Any) -> list[Any]:
        """Return all rows."""
        return [self.model.from_db(DEFAULT_DB_ALIAS, self.columns, row) for row in self.rows(**values)]


def insert(row: Model) -> None:
    """Insert a row that is not stored yet, as `row.save(force_insert=True)`, which also sends signals."""
    database = connections[DEFAULT_DB_ALIAS]
    with_key = row.pk is not None
    sql, fields = _insert_statement(type(row), with_key)
    values = [field.get_db_prep_save(field.pre_save(row, True), database) for field in fields]
    with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS), database.cursor() as cursor:
        cursor.execute(sql, values)
        if not with_key:
            (row.pk,) = cursor.fetchone()
            cursor.fetchone()  # SQLite ends the statement when it has no further row
    row._state.adding, row._state.db = False, DEFAULT_DB_ALIAS


def update(row: Model, names: Sequence[str], key: str = "pk") -> bool:
    """Write some fields to the stored row with the same unique `key`; return whether there is one. Sends no signals."""
    database = connections[DEFAULT_DB_ALIAS]
    sql, fields = _update_statement(type(row), tuple(names), key)
    values = [field.get_db_prep_save(field.pre_save(row, False), database) for field in fields]
    with transaction.mark_for_rollback_on_error(DEFAULT_DB_ALIAS), database.cursor() as cursor:
        cursor.execute(sql, values)
        return bool(cursor.rowcount)


@cache
def _insert_statement(model: type[Model], with_key: bool) -> tuple[str, Collection[Any]]:
    key = model._meta.pk
    fields = [field for field in model._meta.local_concrete_fields if with_key or field is not key]
    query = InsertQuery(model)
    query.insert_values(fields, [model()], raw=True)
    compiler = cast(Any, query.get_compiler(DEFAULT_DB_ALIAS))
    compiler.returning_fields = None if with_key else [key]
    ((sql, _),) = compiler.as_sql()
    return sql, fields


@cache
def _update_statement(model: type[Model], names: tuple[str, ...], key: str) -> tuple[str, Collection[Any]]:
    quote, meta = connection.ops.quote_name, cast(Any, model._meta)
    fields = [meta.get_field(name) for name in (*names, meta.pk.name if key == "pk" else key)]
    *assignments, condition = (f"{quote(field.column)} = %s" for field in fields)
    table = quote(meta.db_table)
    return f"UPDATE {table} SET {', '.join(assignments)} WHERE {condition}", fields  # noqa: S608 - of our own models
