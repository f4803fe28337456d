"""Parsers of request bodies: strict, and only up to a limit."""

from typing import Any
from urllib.parse import parse_qsl

from django.http import QueryDict
from django.http.request import UnreadablePostError
from rest_framework import exceptions
from rest_framework.parsers import BaseParser, FormParser, JSONParser, MultiPartParser

from registry_site import errors
from registry_site.http import strict_json

MAX_BODY_BYTES = 1024 * 1024  # of JSON or a form
MAX_FIELDS = 1000
EXTEND_DEADLINE = "registry.extend_deadline"  # in the WSGI environment: gives a body of this length its time


class StrictJSONParser(JSONParser):
    """A JSON body of at most 1 MiB with a known length."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return strict_json.loads(read_body(stream, parser_context))


class UntypedJSONParser(StrictJSONParser):
    """A JSON body without a Content-Type, as some clients send it. Any other Content-Type is refused."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        if media_type:
            raise exceptions.UnsupportedMediaType(media_type)
        return super().parse(stream, media_type, parser_context)


class StrictFormParser(FormParser):
    """A form of at most 1 MiB with a known length."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return QueryDict(read_body(stream, parser_context), encoding="utf-8")


class AnyFormParser(BaseParser):
    """A form of at most 1 MiB, whatever its Content-Type → a dict, as of `parse_form`."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return parse_form(read_body(stream, parser_context))


def parse_form(encoded: bytes) -> dict[str, str]:
    """Return the last value of each name in a form or a query. Raises `Malformed` for too many fields.

    Bytes that are not UTF-8 become lone surrogates; `form_value_bytes` restores them.
    """
    text = encoded.decode("utf-8", "surrogateescape")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise errors.Malformed(f"There are more than {MAX_FIELDS} fields.") from error
    return dict(pairs)


def form_value_bytes(value: str) -> bytes:
    """Return the bytes of a form's value, UTF-8 or not."""
    return value.encode("utf-8", "surrogateescape")


class StrictMultiPartParser(MultiPartParser):
    """A form with a file, which is written to disk while it comes. A body over `maximum` bytes is not read."""

    maximum = MAX_BODY_BYTES

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        request = parser_context["request"]
        check_length(int(request.META.get("CONTENT_LENGTH") or 0), self.maximum)
        try:
            return super().parse(stream, media_type, parser_context)
        except Exception as error:
            for handler in request.upload_handlers:  # Django closes only files that are complete
                if unfinished := getattr(handler, "file", None):
                    unfinished.close()
            if isinstance(error, OSError) and not isinstance(error, UnreadablePostError):
                raise errors.Unavailable(f"The registry cannot store files now: {error.strerror}.") from error
            raise


class RawParser(BaseParser):
    """The stream of a body of any Content-Type; the view limits how much it reads."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return stream


def read_body(stream: Any, parser_context: Any) -> bytes:
    length = int(parser_context["request"].META.get("CONTENT_LENGTH") or 0)
    check_length(length)
    body: bytes = stream.read(length)
    return body


def check_length(length: int, maximum: int = MAX_BODY_BYTES) -> None:
    """Check the announced length of a body; raises `TooLarge`."""
    if length > maximum:
        raise errors.TooLarge(f"The body has {length} bytes; at most {maximum} are taken here.")
