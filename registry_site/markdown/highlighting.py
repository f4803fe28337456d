"""Highlighted code: spans with the classes of Pygments, no styles."""

import html as entities
import re
import time
from collections.abc import Iterator
from functools import cache
from itertools import groupby, starmap
from operator import itemgetter
from typing import Any

from pygments.lexer import Lexer
from pygments.lexers import find_lexer_class_by_name
from pygments.token import STANDARD_TYPES

# Languages, by the names that authors write: those of crates.io, and others that stand in READMEs of crates.
# Each lexer was tried with pairs of signs, repeated over the largest block: some take quadratic time, but none takes
# long for one token, so that the deadline cuts it off.
LANGUAGES = {
    name: language
    for language, names in {
        "bash": "bash sh shell zsh",
        "c": "c clike h",
        "console": "console shell-session terminal",
        "cpp": "cpp c++ cc hpp cxx",
        "css": "css",
        "diff": "diff patch",
        "docker": "docker dockerfile",
        "glsl": "glsl",
        "go": "go golang",
        "html": "html markup",
        "ini": "ini cfg",
        "javascript": "javascript js",
        "json": "json json5 jsonc",
        "make": "make makefile",
        "protobuf": "protobuf proto",
        "python": "python py python3",
        "ruby": "ruby rb",
        # A code block of a doc comment is Rust, whatever attributes of rustdoc stand there.
        "rust": "rust rs ignore no_run should_panic compile_fail edition2015 edition2018 edition2021 edition2024",
        "scss": "scss",
        "sql": "sql",
        "toml": "toml",
        "typescript": "typescript ts",
        "xml": "xml svg",
        "yaml": "yaml yml",
    }.items()
    for name in names.split()
}

MAX_BLOCK_CHARACTERS = 16 * 1024
MAX_LINE_CHARACTERS = 1024
MAX_CHARACTERS = 32 * 1024  # of all blocks of a README
# Of a file in these languages, whose lexers were tried with such pairs over all of it.
MAX_FILE_CHARACTERS = {"rust": 96 * 1024, "toml": 96 * 1024}
TOKENS_AT_ONCE = 20  # between two looks at the clock, which costs as much as a token

lexer_class = cache(find_lexer_class_by_name)

CODE_BLOCK = re.compile(r'<pre><code class="language-([^"<>]*+)">([^<]*+)</code></pre>')


def highlight(html: str, deadline: float) -> str:
    """Return the HTML with its code blocks highlighted, as many of them as there is time for."""
    left = MAX_CHARACTERS

    def replace(block: re.Match[str]) -> str:
        nonlocal left
        # "rust,no_run" and "rust {1,3}" are Rust.
        language = re.split(r"[\s,{]", block[1].lower(), maxsplit=1)[0]
        code = entities.unescape(block[2])
        if language in LANGUAGES and is_small(code) and len(code) <= left and time.thread_time() < deadline:
            left -= len(code)
            spans = highlighted(code, lexer_class(LANGUAGES[language])(stripnl=False), deadline)
        else:
            spans = block[2]
        return f'<pre><code class="language-{entities.escape(language)}">{spans}</code></pre>'

    return CODE_BLOCK.sub(replace, html)


def highlight_lines(code: str, language: str, deadline: float) -> list[str]:
    """Return each line of code as spans; what is large or comes after the deadline as plain text."""
    if not is_small(code, MAX_FILE_CHARACTERS.get(language, MAX_BLOCK_CHARACTERS)):
        return entities.escape(code).split("\n")
    lexer = lexer_class(language)(stripnl=False, ensurenl=False)
    lines, position = [""], 0
    for name, value in merged_tokens(code, lexer, deadline):
        position += len(value)
        first, *others = value.split("\n")
        lines[-1] += span(name, first)
        lines += [span(name, line) for line in others]
    first, *others = entities.escape(code[position:]).split("\n")
    return [*lines[:-1], lines[-1] + first, *others]


def is_small(code: str, limit: int = MAX_BLOCK_CHARACTERS) -> bool:
    return len(code) <= limit and max(map(len, code.split("\n"))) <= MAX_LINE_CHARACTERS


def highlighted(code: str, lexer: Lexer, deadline: float) -> str:
    """Return code as spans; what comes after the deadline as plain text."""
    tokens = list(merged_tokens(code, lexer, deadline))
    return "".join(starmap(span, tokens)) + entities.escape(code[sum(len(value) for _, value in tokens) :])


def merged_tokens(code: str, lexer: Lexer, deadline: float) -> Iterator[tuple[str, str]]:
    """Yield the class and the text of each run of tokens that look alike, until the deadline."""
    tokens = ((class_of(kind), value) for kind, value in tokens_before(deadline, code, lexer))
    for name, same in groupby(tokens, itemgetter(0)):
        yield name, "".join(value for _, value in same)


def tokens_before(deadline: float, code: str, lexer: Lexer) -> Iterator[tuple[Any, str]]:
    for number, token in enumerate(lexer.get_tokens(code)):
        if not number % TOKENS_AT_ONCE and time.thread_time() > deadline:
            return
        yield token


@cache
def class_of(kind: Any) -> str:
    """Return the class of a kind of tokens, empty for plain text."""
    while kind not in STANDARD_TYPES:
        kind = kind.parent
    return str(STANDARD_TYPES[kind])


def span(name: str, value: str) -> str:
    text = entities.escape(value)
    return f'<span class="{name}">{text}</span>' if name and value.strip() else text
