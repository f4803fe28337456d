"""Tables of strangers, in TOML or JSON, read with the type that each value should have."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from registry_site.errors import Invalid
from registry_site.http import strict_json

MAX_TEXT_LENGTH = 255
MAX_URL_LENGTH = 2000

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # all but tab and the ends of lines


class Fields:
    """One table; `where` is for the error. A value that is not there, or null, is the reader's default."""

    def __init__(self, table: Any, where: str) -> None:
        if not isinstance(table, dict):
            raise Invalid(f"{where} is not a table.")
        self.table: Mapping[str, Any] = table
        self.where = where

    def _get(self, key: str, kind: type, default: Any, wanted: str) -> Any:
        value = self.table.get(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise Invalid(f"{self.where}: {key} is not {wanted}.")
        return value

    def text(self, key: str, longest: int = MAX_TEXT_LENGTH) -> str:
        value: str = self._get(key, str, "", "a text")
        strict_json.check_text(value)
        if _CONTROL.search(value):
            raise Invalid(f"{self.where}: {key} has control characters.")
        if len(value) > longest:
            raise Invalid(f"{self.where}: {key} has {len(value)} characters; at most {longest} are taken.")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], example: str) -> str:
        value = self.text(key)
        if value and not pattern.fullmatch(value):
            raise Invalid(f"{self.where}: {key} is {value[:80]!r}; write it like {example}.")
        return value

    def flag(self, key: str, default: bool) -> bool:
        return bool(self._get(key, bool, default, "true or false"))

    def texts(self, key: str) -> list[str]:
        values: list[Any] = self._get(key, list, [], "a list")
        for value in values:
            if not isinstance(value, str):
                raise Invalid(f"{self.where}: {key} is not a list of texts.")
            strict_json.check_text(value)
        return values

    def tables(self, key: str) -> Iterator[tuple[str, Any]]:
        yield from self._get(key, dict, {}, "a table").items()

    def url(self, key: str) -> str:
        value = self.text(key, MAX_URL_LENGTH)
        if value and not _is_web_address(value):
            raise Invalid(f"{self.where}: {key} is {value[:80]!r}; give an http or https URL.")
        return value


def _is_web_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc) and value.isprintable() and " " not in value
