"""Regular expressions of strangers: matched by RE2, whose time grows with the text and never explodes. Pure."""

import re
from dataclasses import dataclass
from itertools import accumulate, takewhile
from typing import Any

import re2

from registry_site.errors import Invalid

LONGEST = 512  # characters
MEMORY = 1024 * 1024  # bytes, for one expression

_PIECE = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|.", re.DOTALL)

_MAY_BE_NONE = re.compile(r"\+?(?:\(\?[A-Za-z-]*\))*[?*{]")  # RE2 repeats what stands before flags


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
        beginning = _beginning(_PIECE.findall(self.text))
        return Range(beginning, _successor(beginning)) if beginning else None


def _beginning(pieces: list[str]) -> str:
    """What every text begins with in which an expression can be found: the literal characters after `^`."""
    if pieces[:1] != ["^"] or r"\Q" in pieces or _has_a_choice(pieces):
        return ""
    literal = list(takewhile(_is_literal, pieces[1:]))
    if _MAY_BE_NONE.match("".join(pieces[1 + len(literal) :])):  # the last one need not be there
        literal = literal[:-1]
    return "".join(piece[-1] for piece in literal)


def _has_a_choice(pieces: list[str]) -> bool:
    """Outside of all parentheses."""
    depths = accumulate({"(": 1, ")": -1}.get(piece, 0) for piece in pieces)
    return any(piece == "|" and depth == 0 for piece, depth in zip(pieces, depths, strict=True))


def _is_literal(piece: str) -> bool:
    if len(piece) == 1:
        return piece not in r"\^$.|?*+()[{"
    return len(piece) == 2 and piece[0] == "\\" and piece[1].isascii() and not piece[1].isalnum()


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
