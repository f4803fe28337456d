"""Passwords in the form in which RFC 8265 compares them, its profile OpaqueString.

One password can be typed as different characters: `é` is one on Windows and two on a Mac, and a blank has 17 kinds.
"""

import unicodedata


def prepare(password: str) -> str:
    """Return the password with plain blanks for all others, and composed letters (NFC)."""
    blanks = (" " if unicodedata.category(character) == "Zs" else character for character in password)
    return unicodedata.normalize("NFC", "".join(blanks))


def spellings(password: str) -> list[str]:
    """Return the texts that a hash may be of: the prepared form, and the raw one, of which older hashes were made."""
    return list(dict.fromkeys([prepare(password), password]))
