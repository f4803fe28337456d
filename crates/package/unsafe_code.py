"""The `unsafe` tokens of Rust code, outside of comments and texts. Pure; the time grows as the code does."""

import re

WORD = b"unsafe"
MAX_TOKENS = 200_000  # of a file, which take a tenth of a second

# Where a token begins that can hide the word, or the word itself. A letter before it would make it another word;
# `r#unsafe` is a name.
_TOKEN = re.compile(
    rb"""
    (?<![\w\x80-\xff])(?P<word>unsafe)(?![\w\x80-\xff])
    | //[^\n]*+
    | (?P<block>/\*)
    | (?<![\w\x80-\xff])(?:[bc]?r(?P<hashes>\#*+)"|r\#[\w\x80-\xff]++)
    | "(?:[^"\\]++|\\.)*+"?
    | '(?:[^'\\\n\x80-\xff]|[\xc0-\xff][\x80-\xbf]{1,3}|\\(?:u\{[^}\n]{0,16}\}|x[^'\n]{2}|[^'\n]|'))'
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCK_END = re.compile(rb"/\*|\*/")


def count(code: bytes) -> int | None:
    """Return how often the keyword stands in the code, also as the attribute `#[unsafe(…)]`.

    Return None for code that has more comments and texts than people write.
    """
    number, position, left = 0, 0, MAX_TOKENS
    while token := _TOKEN.search(code, position):
        position = token.end()
        left -= 1
        if not left:
            return None
        if token["word"]:
            number += 1
        elif token["block"]:
            position = end_of_block(code, position)
        elif token["hashes"] is not None:
            end = code.find(b'"' + token["hashes"], position)
            position = len(code) if end < 0 else end + 1 + len(token["hashes"])
    return number


def end_of_block(code: bytes, position: int) -> int:
    """Return where a block of comments ends whose `/*` ends at a position; such blocks can be nested."""
    depth = 1
    for sign in _BLOCK_END.finditer(code, position):
        depth += 1 if sign[0] == b"/*" else -1
        if not depth:
            return sign.end()
    return len(code)
