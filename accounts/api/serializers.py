"""Fields, serializers and headers that several dialects share."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from accounts.second_factor import header
from registry_site.http.shapes import Shape


class Text(serializers.CharField):
    """A text, kept as it was sent: without trimming, and never a number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "max_length": 4096, **options})

    def to_internal_value(self, data: object) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Status(Shape):
    """yapkg's answer when there is nothing else to show."""

    status = serializers.CharField()


DONE = {"status": "ok"}
ONE_TIME_CODE = OpenApiParameter(
    header.NAME,
    location=OpenApiParameter.HEADER,
    description="A code of the account's second factor, or a recovery code, if the account has one.",
)
NO_STORE = {"Cache-Control": "no-store"}  # for answers with a secret
