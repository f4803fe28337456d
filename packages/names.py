"""Names of packages: the rules for new ones, and the forms in which they are unique."""

import re
import unicodedata

from packages import ecosystems, texts
from packages.look_alikes import skeleton
from registry_site.errors import Invalid

MAX_LENGTH = 214  # bytes of UTF-8, as at npm
MAX_MARKS = 4  # in a row: more of them cover the lines above and below
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
# A name of any letters by the classes of its characters: letters and digits (a) with their marks (m), and separators.
# `g++` ends with a plus sign.
CLASSES = re.compile(rf"(?:am{{0,{MAX_MARKS}}})+(?:[._+-]+(?:am{{0,{MAX_MARKS}}})+)*\+{{0,2}}")


def canonical(name: str) -> str:
    """Return the form in which a name is found and unique in its namespace: without regard to case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def columns(name: str) -> dict[str, str]:
    """Return the columns of a package that hold its name and the forms in which it is unique."""
    return {"name": name, "canonical_name": canonical(name), "skeleton": skeleton(name)}


def split_qualified(text: str) -> tuple[str, str]:
    """Return namespace and name: `acme/@scope/core` → (`acme`, `@scope/core`). `@scope/core` has no namespace."""
    namespace, slash, name = text.partition("/")
    return (namespace, name) if slash and not namespace.startswith("@") else ("", text)


def validate(name: str, ecosystem: str) -> None:
    """Raise `Invalid` unless `name` is allowed for a package of an ecosystem."""
    longest = max(len(name.encode(errors="replace")), *map(len, columns(name).values()))
    if longest > MAX_LENGTH:
        raise Invalid(f"The package name is longer than {MAX_LENGTH} bytes.", code="name_invalid")
    if ecosystems.follows_semver(ecosystem):
        parts = split_scope(name) if ecosystems.has_scopes(ecosystem) else [name]
        allowed = all(map(has_plain_letters, parts))
        rule = "Latin, Chinese, Japanese or Korean letters and digits, with -, _ and . between them"
    else:
        allowed = has_any_letters(name) and has_any_letters(canonical(name))
        rule = "letters and digits, with -, _, . and + between them"
    if not allowed:
        scopes = " A scope, as in @scope/name, is for npm." if name.startswith("@") else ""
        raise Invalid(f"The package name {name[:80]!r} is not allowed: use {rule}.{scopes}", code="name_invalid")


def split_scope(name: str) -> list[str]:
    """Return scope and name of `@scope/name`, or the whole name alone."""
    scope, slash, name_in_scope = name.partition("/")
    return [scope[1:], name_in_scope] if slash and scope.startswith("@") else [name]


def has_plain_letters(name: str) -> bool:
    """Return whether a name has ASCII letters, digits and those of `SCRIPTS` only, with separators between them."""
    allowed = all(character in SEPARATORS or is_letter_or_digit(character) for character in name)
    return bool(name) and allowed and set(SEPARATORS).isdisjoint(name[:1] + name[-1:])


def is_letter_or_digit(character: str) -> bool:
    """Return whether a character is an ASCII letter or digit, or belongs to one of `SCRIPTS`."""
    if character.isascii():
        return ASCII.match(character) is not None
    return unicodedata.name(character, "").startswith(SCRIPTS)


def has_any_letters(name: str) -> bool:
    """Return whether a name has letters and digits of any script only, with separators between them."""
    return CLASSES.fullmatch("".join(map(class_of, name))) is not None and not texts.INVISIBLE.search(name)


def class_of(character: str) -> str:
    """Return `a` for a letter or a digit, `m` for a mark on one, and every ASCII character of other kinds itself."""
    category = unicodedata.category(character)
    if category.startswith("L") or category in ("Nd", "Nl"):
        return "a"
    if category.startswith("M"):
        return "m"
    return character if character.isascii() else " "
