"""Names of packages: what is allowed, and when two of them are the same."""

import re
import unicodedata

from registry_site.errors import Invalid

LONGEST = 63
INSIDE = "._-"
# Scripts whose letters nobody takes for Latin ones.
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
    """The form under which a name is unique in its namespace: without case."""
    return name.lower()


def validate(name: str) -> None:
    """Raises `Invalid` unless `name` can be a package's."""
    ends = name[:1] + name[-1:]
    allowed = all(character in INSIDE or _is_letter(character) for character in name)
    if not 0 < len(name) <= LONGEST or not allowed or not set(INSIDE).isdisjoint(ends):
        raise Invalid(
            f"The package name {name[:80]!r} is not allowed: use 1 to {LONGEST} Latin, Chinese, Japanese or Korean "
            "letters and digits, with -, _ and . between them.",
            code="name_invalid",
        )


def _is_letter(character: str) -> bool:
    if character.isascii():
        return ASCII.match(character) is not None
    return unicodedata.name(character, "").startswith(SCRIPTS)
