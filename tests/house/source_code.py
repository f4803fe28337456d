"""Source code of the project for the tests of this folder: rooms, modules, syntax trees."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

# The rooms that each room may import.
MAY_IMPORT = {
    "registry_site": set(),
    "accounts": {"registry_site"},
    "crates": {"accounts", "registry_site"},
    "namespaces": {"accounts", "registry_site"},
    "packages": {"accounts", "namespaces", "registry_site"},
    "files": {"registry_site"},
}


def modules(folder: str) -> list[Path]:
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "migrations" not in path.parts)


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Return all nodes of a module: several tests read each of them."""
    return list(ast.walk(parse(path)))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))
