"""Bodies of requests: read only as far as a limit, and strictly."""

from typing import Any

from rest_framework import exceptions
from rest_framework.parsers import BaseParser, JSONParser

from registry_site import errors, strict_json

MAXIMUM_JSON = 1024 * 1024


class StrictJSONParser(JSONParser):
    """A JSON body of at most 1 MiB with a known length."""

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        length = int(parser_context["request"].META.get("CONTENT_LENGTH") or 0)
        if length > MAXIMUM_JSON:
            raise errors.TooLarge(f"The body has {length} bytes; at most {MAXIMUM_JSON} are taken here.")
        return strict_json.loads(stream.read(length))


class UntypedJSONParser(StrictJSONParser):
    """For clients that send JSON without saying so; a body that says it is something else is still refused."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        if media_type:
            raise exceptions.UnsupportedMediaType(media_type)
        return super().parse(stream, media_type, parser_context)


class RawParser(BaseParser):
    """The body as it comes, whatever it says it is; whoever takes it decides how much of it to read."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        return stream
