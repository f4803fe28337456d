"""Shapes of answers, beside what DRF makes of the same fields."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers

from registry_site.http.shapes import Shape


@dataclass
class Inner:
    name: str

    def shout(self) -> str:
        return self.name.upper()


@dataclass
class Value:
    number: Any
    text: Any
    flag: Any
    inner: Inner | None
    at: datetime
    some: list[Any]


class InnerFields(serializers.Serializer[Any]):
    name = serializers.CharField()
    shout = serializers.CharField()
    absent = serializers.BooleanField(default=False)
    optional = serializers.CharField(required=False)


class InnerShape(InnerFields, Shape):
    pass


class Fields(serializers.Serializer[Any]):
    number = serializers.IntegerField()
    text = serializers.CharField()
    flag = serializers.BooleanField()
    inner = InnerFields(allow_null=True)
    name = serializers.CharField(source="inner.name", allow_null=True)
    same = serializers.SerializerMethodField()
    at = serializers.DateTimeField()
    some = InnerFields(many=True)

    def get_same(self, value: Any) -> str:
        return "same"


class Written(Fields, Shape):
    inner = InnerShape(allow_null=True)
    some = InnerShape(many=True)


AT = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)
VALUES: list[Any] = [
    Value(1, "text", True, Inner("one"), AT, [Inner("two"), {"name": "three", "shout": "!", "optional": "here"}]),
    Value("2", 3, "false", None, AT, []),
    {"number": 4, "text": None, "flag": False, "inner": {"name": "five", "shout": "?"}, "at": AT, "some": ()},
]


def test_shapes_write_as_serializers_do() -> None:
    assert Written.write_all(VALUES) == [dict(Fields(value).data) for value in VALUES]
