"""Typed reading of untrusted tables, in TOML or JSON."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

from registry_site.errors import Invalid
from registry_site.http import strict_json

MAX_TEXT_LENGTH = 255
MAX_URL_LENGTH = 2000
WEB_SCHEMES = ("http", "https")

_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tabs and ends of lines


class Fields:
    """A table whose values are read with their expected type. Every method raises `Invalid`, with the `label`.

    A missing value and null read as the default.
    """

    def __init__(self, raw: Any, label: str) -> None:
        if not isinstance(raw, dict):
            raise Invalid(f"{label} is not a table.")
        self.raw: Mapping[str, Any] = raw
        self.label = label

    def string(self, key: str, max_length: int = MAX_TEXT_LENGTH) -> str:
        value: str = self._get(key, str, "", "a text")
        strict_json.check_text(value)
        if _CONTROL_CHARACTERS.search(value):
            raise Invalid(f"{self.label}: {key} has control characters.")
        if len(value) > max_length:
            raise Invalid(f"{self.label}: {key} has {len(value)} characters; at most {max_length} are taken.")
        return value

    def text(self, key: str, max_bytes: int) -> str:
        """Read a text of any characters that fits into `max_bytes`."""
        value = self.string(key, max_bytes)
        if (size := len(value.encode())) > max_bytes:
            raise Invalid(f"{self.label}: {key} has {size} bytes; at most {max_bytes} are taken.")
        return value

    def matching_string(self, key: str, pattern: re.Pattern[str], example: str) -> str:
        value = self.string(key)
        if value and not pattern.fullmatch(value):
            raise Invalid(f"{self.label}: {key} is {value[:80]!r}; write it like {example}.")
        return value

    def url(self, key: str) -> str:
        value = self.string(key, MAX_URL_LENGTH)
        # Pages may link to it, and a `javascript:` URL would run in the browser of the reader.
        if value and not is_url(value, WEB_SCHEMES):
            raise Invalid(f"{self.label}: {key} is {value[:80]!r}; give an http or https URL.")
        return value

    def boolean(self, key: str, default: bool) -> bool:
        return bool(self._get(key, bool, default, "true or false"))

    def strings(self, key: str) -> list[str]:
        values: list[Any] = self._get(key, list, [], "a list")
        for value in values:
            if not isinstance(value, str):
                raise Invalid(f"{self.label}: {key} is not a list of texts.")
            strict_json.check_text(value)
        return values

    def table(self, key: str) -> Mapping[str, Any]:
        table: Mapping[str, Any] = self._get(key, dict, {}, "a table")
        return table

    def _get(self, key: str, kind: type, default: Any, expected: str) -> Any:
        value = self.raw.get(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise Invalid(f"{self.label}: {key} is not {expected}.")
        return value


def is_url(value: str, schemes: Collection[str]) -> bool:
    """Return whether a text is an absolute URL of one of the schemes."""
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in schemes and bool(parts.netloc) and value.isprintable() and " " not in value
