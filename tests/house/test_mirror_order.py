"""The order of the mirror's modules, as the docstring of `crates.mirror` draws it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import crates.mirror

FOLDER = Path(crates.mirror.__file__).parent
PACKAGE = "crates.mirror"


def levels() -> dict[str, int]:
    """The line of the drawing in which each module stands, counted from the top."""
    drawing = [line.split() for line in str(crates.mirror.__doc__).splitlines() if line[:4] == " " * 4]
    return {module: level for level, modules in enumerate(drawing) for module in modules}


def imported_modules(path: Path) -> Iterator[str]:
    """The modules of the mirror that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            yield str(node.module).split(".")[2]
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[2] for alias in node.names if alias.name.startswith(f"{PACKAGE}."))


def module_files() -> Iterator[tuple[str, Path]]:
    for path in sorted(FOLDER.rglob("*.py")):
        module = path.relative_to(FOLDER).parts[0].removesuffix(".py")
        if module not in ("__init__", "migrations"):
            yield module, path


def test_every_module_has_a_level() -> None:
    assert {module for module, _ in module_files()} == set(levels())


def test_modules_import_only_lower_levels() -> None:
    level_of = levels()
    offenders = [
        f"{module} imports {imported}"
        for module, path in module_files()
        for imported in imported_modules(path)
        if level_of[imported] >= level_of[module]
    ]
    assert offenders == []


def test_caches_and_policies_do_not_know_each_other() -> None:
    policies = {"policies", "overrides", "licenses", "advisories"}
    imports = {module: set(imported_modules(path)) for module, path in module_files()}
    assert imports["index_cache"].isdisjoint(policies)
    assert imports["crate_cache"].isdisjoint(policies - {"licenses"})  # it notes the license of what it stores
    assert imports["policies"].isdisjoint({"index_cache", "crate_cache"})
