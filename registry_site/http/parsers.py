"""Bodies of requests: read only as far as a limit, and strictly."""

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


class StrictJSONParser(JSONParser):
    """A JSON body of at most 1 MiB with a known length."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return strict_json.loads(read_body(stream, parser_context))


class UntypedJSONParser(StrictJSONParser):
    """For clients that send JSON without saying so; a body that says it is something else is still refused."""

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
    """A form of at most 1 MiB, whatever the request says that it is → a dict, as of `form`."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return parse_form(read_body(stream, parser_context))


def parse_form(encoded: bytes) -> dict[str, str]:
    """The last value of each name in a form or a query; raises `Malformed`.

    Bytes that are no UTF-8 become lone surrogates, from which `raw` has them back.
    """
    text = encoded.decode("utf-8", "surrogateescape")
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise errors.Malformed(f"There are more than {MAX_FIELDS} fields.") from error
    return dict(pairs)


def form_value_bytes(value: str) -> bytes:
    """The bytes of a value of a form, be they UTF-8 or not."""
    return value.encode("utf-8", "surrogateescape")


class StrictMultiPartParser(MultiPartParser):
    """A form with a file, which is written to the disk as it comes; a body over `maximum` bytes is not read."""

    maximum = MAX_BODY_BYTES

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        request = parser_context["request"]
        length = int(request.META.get("CONTENT_LENGTH") or 0)
        if length > self.maximum:
            raise errors.TooLarge(f"The body has {length} bytes; at most {self.maximum} are taken here.")
        try:
            return super().parse(stream, media_type, parser_context)
        except Exception as error:
            for handler in request.upload_handlers:  # Django closes only what came to its end
                if unfinished := getattr(handler, "file", None):
                    unfinished.close()
            if isinstance(error, OSError) and not isinstance(error, UnreadablePostError):
                raise errors.Unavailable(f"The registry cannot store files now: {error.strerror}.") from error
            raise


class RawParser(BaseParser):
    """The body as it comes, whatever it says it is; whoever takes it decides how much of it to read."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return stream


def read_body(stream: Any, parser_context: Any) -> bytes:
    length = int(parser_context["request"].META.get("CONTENT_LENGTH") or 0)
    if length > MAX_BODY_BYTES:
        raise errors.TooLarge(f"The body has {length} bytes; at most {MAX_BODY_BYTES} are taken here.")
    body: bytes = stream.read(length)
    return body
