"""Regular expressions of untrusted clients, matched by RE2 in time that is linear in the text. Pure."""

import re
from dataclasses import dataclass
from itertools import accumulate, takewhile

import re2

from registry_site.errors import Invalid

MAX_LENGTH = 512  # characters
MAX_MEMORY = 1024 * 1024  # bytes, for one expression

# One symbol of an expression: an escaped character, a character class, or any other character.
SYMBOL = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|.", re.DOTALL)

# A symbol that stands for one character and no other: RE2 gives `\` a meaning before letters and digits alone.
LITERAL = re.compile(r"[^\\^$.|?*+()\[{]|\\(?![A-Za-z0-9])[\x00-\x7f]")

# A repetition that allows none. RE2 takes flags between a character and its repetition: `a(?i)*` is `a*`.
OPTIONAL = re.compile(r"\+?(?:\(\?[A-Za-z-]*\))*[?*{]")


@dataclass(frozen=True)
class TextRange:
    """The texts from `low` on and before `high`, in the order of their bytes; None for no end."""

    low: str
    high: str | None


class Pattern:
    """A regular expression that matches anywhere in a text, as Python's `re.search` does; raises `Invalid`."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_LENGTH:
            raise Invalid(f"The regular expression for serve_path is longer than {MAX_LENGTH} characters.")
        options = re2.Options()
        options.log_errors = False
        options.max_mem = MAX_MEMORY
        try:
            self._search = re2.compile(text, options=options).search
        except re2.error as error:
            raise Invalid(f"Invalid regular expression for serve_path: {text}") from error
        self.text = text

    def matches(self, text: str) -> bool:
        return self._search(text) is not None

    def prefix_range(self) -> TextRange | None:
        """Return a range that holds every matching text, from the literal characters after `^`; None without any."""
        symbols = SYMBOL.findall(self.text)
        depths = accumulate({"(": 1, ")": -1}.get(symbol, 0) for symbol in symbols)
        has_alternatives = any(symbol == "|" and depth == 0 for symbol, depth in zip(symbols, depths, strict=True))
        # `\Q…\E` quotes what stands between, so none of it is what it looks like.
        if symbols[:1] != ["^"] or r"\Q" in symbols or has_alternatives:
            return None
        literals = list(takewhile(LITERAL.fullmatch, symbols[1:]))
        if OPTIONAL.match("".join(symbols[1 + len(literals) :])):  # the last literal may be absent
            literals = literals[:-1]
        prefix = "".join(symbol[-1] for symbol in literals)
        return TextRange(prefix, _successor(prefix)) if prefix else None


def _successor(prefix: str) -> str | None:
    """Return the first text after all that begin with this prefix, if there is one."""
    for end in range(len(prefix) - 1, -1, -1):
        code = ord(prefix[end]) + 1
        if code <= 0x10FFFF:
            # Surrogates are no characters of UTF-8: after U+D7FF comes U+E000.
            return prefix[:end] + chr(0xE000 if 0xD800 <= code < 0xE000 else code)
    return None
