"""Compiled queries: Django writes the SQL of a query once, and each call runs it with other values.

To build a `QuerySet` and to compile it takes several times as long as SQLite takes to answer it. A function that
returns a `QuerySet` for its arguments, which are texts, whole numbers, times, or lists of one of these, becomes one
that returns the rows, as the `QuerySet` would have them:

    @compiled
    def crates_named(canonical_name: str) -> QuerySet[Crate]:
        return Crate.objects.filter(canonical_name=canonical_name)

The arguments have to reach the database as they are: the function may not look at them, nor change them. For
`startswith`, put a text into a `Value`: then the database escapes it instead of Django.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import cache, wraps
from typing import Any, NamedTuple, TypeVar, TypeVarTuple

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import QuerySet
from django.db.models.query import FlatValuesListIterable, ModelIterable, get_related_populators

Arguments = TypeVarTuple("Arguments")
Row = TypeVar("Row")

Kind = tuple[type, int | None]  # of an argument: text, number or time, and how many there are in a list
FIRST_NUMBER = 2_000_000_000  # of those that stand for arguments; a column of 32 bits can have it


class Statement(NamedTuple):
    """SQL with its parameters, some of which are replaced by values of the arguments, and the way to read its rows."""

    sql: str
    parameters: Sequence[Any]
    positions: Sequence[tuple[int, int]]  # of parameters, and of the values that replace them
    read: Callable[[Iterable[Sequence[Any]]], Iterable[Any]]


def compiled(build: Callable[[*Arguments], QuerySet[Any, Row]]) -> Callable[[*Arguments], list[Row]]:
    """Return a function that runs the query of `build`."""

    @cache
    def statement(*kinds: Kind) -> Statement | None:
        return compile_query(build, kinds)

    @wraps(build)
    def run(*arguments: *Arguments) -> list[Row]:
        kinds: list[Kind] = []
        values: list[Any] = []
        for argument in arguments:
            if isinstance(argument, str | int | datetime):
                kinds.append((kind_of(argument), None))
                values.append(parameter_of(argument))
            else:
                some = padded(argument)  # type: ignore[arg-type]  # else it is a list
                kinds.append((kind_of(*some[:1]), len(some)))
                values += map(parameter_of, some)
        query = statement(*kinds)
        if query is None:
            return []
        parameters = list(query.parameters)
        for position, number in query.positions:
            parameters[position] = values[number]
        with connection.cursor() as cursor:
            cursor.execute(query.sql, parameters)
            rows = cursor.fetchall()
        return list(query.read(rows))

    return run


def kind_of(value: Any = 0) -> type:
    return next((kind for kind in (str, datetime) if isinstance(value, kind)), int)


def parameter_of(value: Any) -> Any:
    """Return a value as Django gives it to the database: to SQLite, times are texts."""
    return connection.ops.adapt_datetimefield_value(value) if isinstance(value, datetime) else value


def padded(values: Iterable[Any]) -> list[Any]:
    """Return the values of a list, some of them twice, so that few lengths need a statement of their own."""
    some = list(values)
    return some + some[-1:] * ((1 << (len(some) - 1).bit_length()) - len(some)) if some else some


def compile_query(build: Callable[..., QuerySet[Any, Any]], kinds: Sequence[Kind]) -> Statement | None:
    """Return the statement for arguments of some kinds, or None if it has no rows for an empty list."""
    stand_ins: list[Any] = []

    def stand_in(kind: type) -> Any:
        number = FIRST_NUMBER + len(stand_ins)
        value: Any = number
        if kind is str:
            value = f"argument {number}"
        elif kind is datetime:
            value = datetime.fromtimestamp(number, UTC)
        stand_ins.append(parameter_of(value))
        return value

    arguments = [
        stand_in(kind) if length is None else [stand_in(kind) for _ in range(length)] for kind, length in kinds
    ]
    queryset = build(*arguments)
    compiler = queryset.query.get_compiler(DEFAULT_DB_ALIAS)
    try:
        sql, parameters = compiler.as_sql()
    except EmptyResultSet:
        if any(length == 0 for _, length in kinds):
            return None
        raise
    positions = [(position, stand_ins.index(value)) for position, value in enumerate(parameters) if value in stand_ins]
    if len({number for _, number in positions}) < len(stand_ins):
        raise TypeError(f"{build.__qualname__} changes an argument, or leaves it out")
    return Statement(sql, tuple(parameters), positions, reader(queryset, compiler))


def reader(queryset: QuerySet[Any, Any], compiler: Any) -> Callable[[Iterable[Sequence[Any]]], Iterable[Any]]:
    """Return what makes the rows of a `QuerySet` of rows of the database, as Django's own iterables do."""
    select, kinds_of_rows = compiler.select, compiler.klass_info
    converters = compiler.get_converters([expression for expression, _, _ in select])

    def convert(rows: Iterable[Sequence[Any]]) -> Iterable[Sequence[Any]]:
        return compiler.apply_converters(rows, converters) if converters else rows

    if issubclass(queryset._iterable_class, FlatValuesListIterable):
        return lambda rows: (row[0] for row in convert(rows))
    if not issubclass(queryset._iterable_class, ModelIterable):
        return convert
    start, end = kinds_of_rows["select_fields"][0], kinds_of_rows["select_fields"][-1] + 1
    names = [expression.target.attname for expression, _, _ in select[start:end]]
    populators = get_related_populators(kinds_of_rows, select, DEFAULT_DB_ALIAS)  # type: ignore[call-arg]  # stubs

    def instances(rows: Iterable[Sequence[Any]]) -> Iterable[Any]:
        for row in convert(rows):
            instance = queryset.model.from_db(DEFAULT_DB_ALIAS, names, row[start:end])
            for populator in populators:
                populator.populate(row, instance)
            for name, position in compiler.annotation_col_map.items():
                setattr(instance, name, row[position])
            yield instance

    return instances
