"""Writes of single rows, whose SQL is written once in a process.

Django writes the SQL of a statement anew each time, which takes many times as long as the database takes for it.
"""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any, cast

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.models import Model
from django.db.models.sql import InsertQuery


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
