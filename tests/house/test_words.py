"""Words of the house: identifiers are plain, and names of tests are short sentences."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source_code import MAY_IMPORT, modules, name_of, nodes

pytestmark = pytest.mark.database_independent

# Participles and riddles that once stood for several things at a time; none of them tells what it holds.
FORBIDDEN = frozenset(("held", "told", "place", "found", "given", "wanted", "known", "said", "here", "asked", "what"))
FEWEST_WORDS, MOST_WORDS = 3, 8


def identifiers(path: Path) -> Iterator[tuple[int, str]]:
    """Iterate over the names that a module defines, with their lines."""
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_identifiers_are_plain_words() -> None:
    offenders = [
        f"{name_of(path)}:{line} {name}"
        for folder in (*MAY_IMPORT, "tests", "benchmarks", "examples")
        for path in modules(folder)
        for line, name in identifiers(path)
        if name.strip("_").lower() in FORBIDDEN
    ]
    assert offenders == []


def test_names_of_tests_are_short_sentences() -> None:
    offenders = []
    for path in modules("tests"):
        for node in nodes(path):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                words = node.name.removeprefix("test_").split("_")
                if not FEWEST_WORDS <= len(words) <= MOST_WORDS:
                    offenders.append(f"{name_of(path)}:{node.lineno} {node.name}")
    assert offenders == []
