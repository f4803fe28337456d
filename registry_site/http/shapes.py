"""Shapes of answers: serializers that write values, and that the OpenAPI description reads.

DRF makes the fields of a serializer anew for each answer, and asks each field how to read its value. The fields of a
shape are made once for all answers and threads, and a value that has the type of its field already is written as it is.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC
from functools import cache, cached_property
from types import MethodType
from typing import Any, NamedTuple, TypeVar

from rest_framework import serializers
from rest_framework.fields import SkipField

Serializer = TypeVar("Serializer", bound=serializers.Serializer[Any])

TYPES: dict[type, type] = {
    serializers.CharField: str,
    serializers.IntegerField: int,
    serializers.BooleanField: bool,
    serializers.FloatField: float,
}


class Writer(NamedTuple):
    """How to write a field."""

    name: str
    path: Sequence[str]  # of attributes or keys; empty for the whole value
    plain_type: type | None
    to_representation: Callable[[Any], Any]
    field: Any


class Shape(serializers.Serializer[Any]):
    """Base class of shapes."""

    @classmethod
    def write(cls, value: Any) -> dict[str, Any]:
        """Return a value in this shape, for a renderer."""
        written: dict[str, Any] = instance_of(cls).to_representation(value)
        return written

    @classmethod
    def write_all(cls, values: Iterable[Any]) -> list[dict[str, Any]]:
        shape = instance_of(cls)
        return [shape.to_representation(value) for value in values]

    @cached_property
    def writers(self) -> list[Writer]:
        return [
            Writer(field.field_name or "", field.source_attrs, TYPES.get(type(field)), representation_of(field), field)
            for field in self._readable_fields
        ]

    def to_representation(self, instance: Any) -> dict[str, Any]:
        written: dict[str, Any] = {}
        for name, path, plain_type, to_representation, field in self.writers:
            value = instance
            try:
                for key in path:
                    value = value[key] if isinstance(value, dict) else getattr(value, key)
                    if isinstance(value, MethodType):
                        value = value()
            except (KeyError, AttributeError):
                try:
                    value = field.get_attribute(instance)  # its default, or null
                except SkipField:
                    continue
            written[name] = value if value is None or type(value) is plain_type else to_representation(value)
        return written


def representation_of(field: Any) -> Callable[[Any], Any]:
    """Return what writes the value of a field."""
    own: Callable[[Any], Any] = field.to_representation

    def time(value: Any) -> Any:
        # The database returns times in UTC, which DRF would convert to the time zone of the settings.
        return f"{value.isoformat()[:-6]}Z" if value.tzinfo is UTC else own(value)

    return time if type(field) is serializers.DateTimeField and not hasattr(field, "format") else own


@cache
def instance_of(kind: type[Serializer]) -> Serializer:
    """Return the one instance of a serializer, without data of its own, which all threads may use."""
    return kind()
