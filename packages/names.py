"""Names of packages: the rules for new ones, and the form in which they are unique."""

import re
import unicodedata

from registry_site.errors import Invalid

MAX_LENGTH = 63
SEPARATORS = "._-"
# Prefixes of Unicode names. Cyrillic, Greek and others are missing: their letters look like Latin ones.
SCRIPTS = (
    "CJK UNIFIED IDEOGRAPH",
    "IDEOGRAPHIC ITERATION MARK",
    "HIRAGANA LETTER",
    "KATAKANA LETTER",
    "KATAKANA-HIRAGANA PROLONGED SOUND MARK",
    "HANGUL SYLLABLE",
    "BOPOMOFO LETTER",
)
ASCII = re.compile(r"[A-Za-z0-9]")


def canonical(name: str) -> str:
    """Return the form in which a name is unique in its namespace: in lower case."""
    # Only ASCII letters have case among the allowed ones, so `casefold` would add nothing.
    return name.lower()


def validate(name: str) -> None:
    """Raise `Invalid` unless `name` is allowed for a package."""
    ends = name[:1] + name[-1:]
    allowed = all(character in SEPARATORS or is_letter_or_digit(character) for character in name)
    if not 0 < len(name) <= MAX_LENGTH or not allowed or not set(SEPARATORS).isdisjoint(ends):
        raise Invalid(
            f"The package name {name[:80]!r} is not allowed: use 1 to {MAX_LENGTH} Latin, Chinese, Japanese or Korean "
            "letters and digits, with -, _ and . between them.",
            code="name_invalid",
        )


def is_letter_or_digit(character: str) -> bool:
    """Return whether a character is an ASCII letter or digit, or belongs to one of `SCRIPTS`."""
    if character.isascii():
        return ASCII.match(character) is not None
    return unicodedata.name(character, "").startswith(SCRIPTS)
