"""Texts of publishers that stand in names, versions and paths: their normal form, and what would deceive readers."""

import re
import unicodedata

# Characters that Unicode counts as letters or marks, although they are not visible.
INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def normalize(text: str) -> str:
    """Return the one spelling (Unicode NFC) of a text: letters with accents have several."""
    return unicodedata.normalize("NFC", text)


def is_visible_line(text: str) -> bool:
    """Return whether a text is one line without control and invisible characters, and without blanks at its ends."""
    return bool(text) and text == text.strip() and text.isprintable() and not INVISIBLE.search(text)
