"""Platforms of a dependency: a target triple, or a `cfg(…)` expression.

Source: The Cargo Book, "Platform specific dependencies". cargo ignores an index line whose target it cannot read.
"""

import re

from registry_site.errors import Invalid

MAX_BYTES = 16 * 1024  # generated lists of platforms have some hundreds
MAX_DEPTH = 128

_TRIPLE = re.compile(r"[\w.-]+")
_TOKEN = re.compile(r' *(?:(?P<sign>[(),=])|(?P<text>"[^"]*")|(?P<word>(?:r#)?[A-Za-z_][A-Za-z0-9_]*)) *')


def validate(target: str) -> None:
    """Validate a target as cargo reads it; raises `Invalid`."""
    try:
        if not target.isprintable() or len(target.encode()) > MAX_BYTES:
            raise ValueError(target)
        if target.startswith("cfg(") and target.endswith(")"):
            _CfgParser(target[4:-1]).check_expression()
        elif not _TRIPLE.fullmatch(target):
            raise ValueError(target)
    except ValueError as error:
        raise Invalid(
            f"The target {target[:80]!r} of a dependency is not understood: write a target triple or cfg(…)."
        ) from error


def validate_triple(target: str) -> None:
    """Validate the triple for which an artifact is built, or `target` for that of the crate; raises `Invalid`."""
    if not _TRIPLE.fullmatch(target):
        raise Invalid(f"The target {target[:80]!r} of an artifact is not understood: write a target triple.")


class _CfgParser:
    """A recursive descent over `all(…)`, `any(…)`, `not(…)`, `name` and `name = "value"`.

    Every method raises `ValueError` where the text does not follow the grammar.
    """

    def __init__(self, text: str) -> None:
        self.tokens: list[str] = []
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                raise ValueError(text)
            self.tokens.append(match[0].strip(" "))
            position = match.end()

    def check_expression(self) -> None:
        self.skip_predicate(MAX_DEPTH)
        if self.tokens:
            raise ValueError(self.tokens)

    def skip_predicate(self, depth: int) -> None:
        word = self.next()
        if depth == 0 or word[0] in '(),="':
            raise ValueError(word)
        if word == "not":
            self.expect("(")
            self.skip_predicate(depth - 1)
            self.expect(")")
        elif word in ("all", "any"):
            self.expect("(")
            while self.peek() != ")":
                self.skip_predicate(depth - 1)
                if self.peek() != ")":
                    self.expect(",")
            self.expect(")")
        elif self.peek() == "=":
            self.expect("=")
            if not self.next().startswith('"'):
                raise ValueError(word)

    def peek(self) -> str | None:
        return self.tokens[0] if self.tokens else None

    def next(self) -> str:
        if not self.tokens:
            raise ValueError("the expression ends early")
        return self.tokens.pop(0)

    def expect(self, token: str) -> None:
        if self.next() != token:
            raise ValueError(token)
