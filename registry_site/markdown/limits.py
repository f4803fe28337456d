"""Limits of a README: within them, each step of its rendering takes a bounded time and memory."""

import re
import time

MAX_TEXT_BYTES = 256 * 1024
MAX_HTML_CHARACTERS = 1024 * 1024
MAX_TABLE_COLUMNS = 500  # the parser compares them with each other
MAX_TABLE_CELLS = 100_000
MAX_BLOCK_CHARACTERS = 64 * 1024  # between empty lines; text inside a line is never parsed across these
MAX_EMPHASIS_OF_A_BLOCK = 5000  # signs of emphasis; the parser pairs them
MAX_TURNS_OF_A_WORD = 200
MAX_ADDRESSES_OF_A_LINE = 200
MAX_UNUSUAL_FOOTNOTES = 200
MAX_DEPTH = 100

# Quotes, list items and footnotes that begin on one line, each inside the one before.
DEEP_LINE = re.compile(
    rf"^[ \t]*+(?:>[ \t]*+|(?:[-+*]|[0-9]{{1,9}}[.)])[ \t]++|\[\^[^\]\n]*+\]:[ \t]*+){{{MAX_DEPTH}}}", re.MULTILINE
)


# The beginning of a footnote's reference that does not end at the next sign which could end it.
UNUSUAL_FOOTNOTE = re.compile(r"\[\^(?![^][\\`<\n]{1,200}\])")

BLANK_LINES = re.compile(r"\n[ \t>]*+\n")


class TooComplex(Exception):
    """A README that would take too long to render."""


def check_text(text: str) -> None:
    """Refuse Markdown on which the parser takes more than linear time or memory."""
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise TooComplex
    if DEEP_LINE.search(text):
        raise TooComplex
    check_tables(text)
    if len(text) > MAX_BLOCK_CHARACTERS or emphasis_signs(text) > MAX_EMPHASIS_OF_A_BLOCK:
        for block in BLANK_LINES.split(text):
            if len(block) > MAX_BLOCK_CHARACTERS or emphasis_signs(block) > MAX_EMPHASIS_OF_A_BLOCK:
                raise TooComplex
    for line in text.encode().split(b"\n"):
        # The parser calls itself for each e-mail address of a line; a few ten thousand would overflow its stack.
        if line.count(b"@") > MAX_ADDRESSES_OF_A_LINE:
            raise TooComplex
        # The parser looks for the end of a bare URL from each beginning, and counts its parentheses from each at its
        # end.
        if turns(line) > MAX_TURNS_OF_A_WORD and any(turns(word) > MAX_TURNS_OF_A_WORD for word in line.split()):
            raise TooComplex
    # The parser collects the text of each reference that could be a footnote's, also of one around all others.
    if sum(1 for _ in UNUSUAL_FOOTNOTE.finditer(text)) > MAX_UNUSUAL_FOOTNOTES:
        raise TooComplex


def emphasis_signs(text: str) -> int:
    return sum(map(text.count, "*_~"))


def turns(text: bytes) -> int:
    return text.count(b")") + text.count(b"www.")


def check_html(html: str) -> None:
    """Refuse HTML that has grown out of proportion."""
    if len(html) > MAX_HTML_CHARACTERS:
        raise TooComplex


def check_time(deadline: float) -> None:
    """Refuse what took too long, in seconds of this thread's processor time."""
    if time.thread_time() > deadline:
        raise TooComplex


def check_tables(text: str) -> None:
    """Refuse tables that are too wide, or that have too many cells.

    Markdown fills each row up to the width of its table. A table ends at the latest at an empty line.
    """
    cells = columns = 0
    for line in text.split("\n"):
        content = line.strip(" \t>")
        if not content:
            columns = 0
        elif not content.strip("|-: \t\v\f"):
            columns = max(columns, content.count("|") + 1)
        cells += columns
        if columns > MAX_TABLE_COLUMNS or cells > MAX_TABLE_CELLS:
            raise TooComplex
