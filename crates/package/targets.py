"""For which platforms a dependency is: a target triple, or a `cfg(…)` expression.

Source: The Cargo Book, "Platform specific dependencies"; cargo ignores an index line whose target it cannot read.
"""

import re

from registry_site.errors import Invalid

MAX_LENGTH = 500
MAX_DEPTH = 32

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TOKEN = re.compile(r' *(?:(?P<sign>[(),=])|(?P<text>"[^"]*")|(?P<word>(?:r#)?[A-Za-z_][A-Za-z0-9_]*)) *')


def validate(target: str) -> None:
    """Raises `Invalid` for what cargo cannot read."""
    if len(target) > MAX_LENGTH or not target.isprintable():
        raise _not_understood(target)
    if target.startswith("cfg(") and target.endswith(")"):
        _Expression(target).read()
    elif not _NAME.fullmatch(target):
        raise _not_understood(target)


def _not_understood(target: str) -> Invalid:
    return Invalid(f"The target {target[:80]!r} of a dependency is not understood: write a target triple or cfg(…).")


class _Expression:
    """`all(…)`, `any(…)`, `not(…)`, `name`, `name = "value"`, read from left to right."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.tokens: list[str] = []
        inner, position = target[4:-1], 0
        while position < len(inner):
            match = _TOKEN.match(inner, position)
            if match is None:
                raise _not_understood(target)
            self.tokens.append(match[0].strip(" "))
            position = match.end()

    def read(self) -> None:
        self._one(MAX_DEPTH)
        if self.tokens:
            raise _not_understood(self.target)

    def _next(self) -> str:
        if not self.tokens:
            raise _not_understood(self.target)
        return self.tokens.pop(0)

    def _expect(self, token: str) -> None:
        if self._next() != token:
            raise _not_understood(self.target)

    def _is_next(self, token: str) -> bool:
        return bool(self.tokens) and self.tokens[0] == token

    def _one(self, depth: int) -> None:
        word = self._next()
        if depth == 0 or word[0] in '(),="':
            raise _not_understood(self.target)
        if word == "not":
            self._expect("(")
            self._one(depth - 1)
            self._expect(")")
        elif word in ("all", "any"):
            self._expect("(")
            self._list(depth - 1)
        elif self._is_next("="):
            self._next()
            if not self._next().startswith('"'):
                raise _not_understood(self.target)

    def _list(self, depth: int) -> None:
        while not self._is_next(")"):
            self._one(depth)
            if not self._is_next(")"):
                self._expect(",")
        self._next()
