"""Regular expressions of strangers: matched by RE2, whose time grows with the text and never explodes. Pure."""

import re
from dataclasses import dataclass
from typing import Any

import re2

from registry_site.errors import Invalid

LONGEST = 512  # characters
MEMORY = 1024 * 1024  # bytes, for one expression
PREFIX = 100  # bytes of a range that are looked at

_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|.", re.DOTALL)


@dataclass(frozen=True)
class Range:
    """Texts from `low` on and before `high`, byte by byte; None for no end."""

    low: str
    high: str | None


class Pattern:
    """An expression that is looked for anywhere in a text, as Python's `re.search` does; raises `Invalid`."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise Invalid(f"The regular expression for serve_path is longer than {LONGEST} characters.")
        self.text = text
        self._search = _compiled(text, text).search

    def is_in(self, text: str) -> bool:
        return self._search(text) is not None

    def range(self) -> Range | None:
        """Where all texts are in which it can be found; None for anywhere."""
        if not self._begins_the_text():
            return None
        low, high = _compiled(f"(?:{self.text})(?s:.*)", self.text).possiblematchrange(PREFIX)
        found = Range(low.decode("utf-8", "ignore"), _successor(high.decode("utf-8", "ignore")))
        return found if found.low or found.high else None

    def _begins_the_text(self) -> bool:
        """Is it `^` and more, without a second choice that need not begin there?"""
        depth = 0
        for piece in _PIECE.findall(self.text):
            depth += {"(": 1, ")": -1}.get(piece, 0)
            if piece == r"\Q" or (piece == "|" and depth == 0):
                return False
        return self.text.startswith("^")


def _compiled(text: str, shown: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY
    try:
        return re2.compile(text, options=options)
    except re2.error as error:
        raise Invalid(f"Invalid regular expression for serve_path: {shown}") from error


def _successor(text: str) -> str | None:
    """The first text after all that begin with this one."""
    for end in range(len(text) - 1, -1, -1):
        code = ord(text[end]) + 1
        if code <= 0x10FFFF:
            return text[:end] + chr(0xE000 if 0xD800 <= code < 0xE000 else code)
    return None
