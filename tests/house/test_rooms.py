"""The rules of the house, read off the syntax trees: who may import whom, and where what belongs."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

# What each room may import of the others; `registry_site` is the ground floor.
MAY_IMPORT = {
    "registry_site": set(),
    "accounts": {"registry_site"},
    "crates": {"accounts", "registry_site"},
    "namespaces": {"accounts", "registry_site"},
    "packages": {"accounts", "namespaces", "registry_site"},
    "files": {"registry_site"},
}
EDGE = {"authentication.py", "dialects.py", "parsers.py", "permissions.py", "throttling.py"}


def modules(room: str) -> list[Path]:
    return sorted(path for path in (ROOT / room).rglob("*.py") if "migrations" not in path.parts)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imported(path: Path) -> Iterator[str]:
    """The top-level packages that a module imports, anywhere in it."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)


ALL = [path for room in MAY_IMPORT for path in modules(room)]
NAMES = [str(path.relative_to(ROOT)) for path in ALL]


@pytest.mark.parametrize("path", ALL, ids=NAMES)
def test_imports_point_downwards(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[room] - {room}
    assert forbidden.isdisjoint(imported(path))


@pytest.mark.parametrize("path", ALL, ids=NAMES)
def test_rest_framework_stays_at_the_edge(path: Path) -> None:
    at_the_edge = "api" in path.parts or path.name in EDGE
    assert at_the_edge or "rest_framework" not in set(imported(path))


@pytest.mark.parametrize("path", [path for path in ALL if "api" in path.parts], ids=str)
def test_views_catch_nothing(path: Path) -> None:
    assert not any(isinstance(node, ast.Try) for node in ast.walk(tree(path)))


@pytest.mark.parametrize("path", ALL, ids=NAMES)
def test_modules_say_what_they_are(path: Path) -> None:
    assert path.name == "__init__.py" or ast.get_docstring(tree(path))
