"""What more than one file of views reads or answers."""

from typing import Any

from rest_framework import serializers


class Text(serializers.CharField):
    """A text as it is: not trimmed, and not made of a number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "max_length": 4096, **options})

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Status(serializers.Serializer[Any]):
    """yapkg's answer to a deed that has nothing else to show."""

    status = serializers.CharField()


DONE = {"status": "ok"}
NO_STORE = {"Cache-Control": "no-store"}  # for what carries a secret
