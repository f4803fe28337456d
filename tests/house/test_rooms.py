"""Rules of the house, read off the syntax trees: import directions, private names, places of frameworks."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house.source_code import MAY_IMPORT, ROOT, modules, name_of, nodes, parse

pytestmark = pytest.mark.database_independent

# Inside a room, a sub-folder may import those to the right of it, never those to the left.
INNER_ORDER = {
    "registry_site": (
        "management",
        "admin",
        "templatetags",
        "server",
        "http",
        "storage",
        "archives",
        "markdown",
        "search",
        "sqlite",
        "date_formats",
    ),
    "accounts": ("management", "admin", "pages", "api", "forms", "oidc", "credentials", "passwords", "second_factor"),
    "crates": ("management", "admin", "pages", "api", "mirror", "package"),
    "namespaces": ("admin", "pages", "api", "templatetags"),
    "packages": ("admin", "pages", "api"),
    "files": ("management", "admin", "api"),
}

# Modules outside of `api/` that may know the REST framework.
EDGE = {"api_docs.py", "authentication.py", "dialects.py", "parsers.py", "permissions.py", "shapes.py", "throttling.py"}


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Iterate over all imports of a module as (module, name); the name is empty for `import module`."""
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


ALL = [path for room in MAY_IMPORT for path in modules(room)]


def test_rooms_import_only_lower_rooms() -> None:
    offenders = []
    for path in ALL:
        room = path.relative_to(ROOT).parts[0]
        forbidden = set(MAY_IMPORT) - MAY_IMPORT[room] - {room}
        offenders += [f"{name_of(path)}: {module}" for module, _ in imports(path) if module.split(".")[0] in forbidden]
    assert offenders == []


def test_folders_inside_rooms_keep_their_order() -> None:
    offenders = []
    for path in ALL:
        room, folder = path.relative_to(ROOT).parts[:2]
        order = INNER_ORDER[room]
        if folder not in order:
            continue
        for module, name in imports(path):
            target = f"{module}.{name}".split(".")
            if target[0] == room and target[1] in order and order.index(target[1]) < order.index(folder):
                offenders.append(f"{name_of(path)}: {module}.{name}")
    assert offenders == []


def test_every_folder_has_its_place_in_the_order() -> None:
    folders = {room: {path.parent.name for path in (ROOT / room).glob("*/__init__.py")} for room in MAY_IMPORT}
    assert {room: names - set(INNER_ORDER[room]) - {"migrations"} for room, names in folders.items()} == {
        room: set() for room in MAY_IMPORT
    }


def test_private_names_stay_in_their_module() -> None:
    offenders = []
    for path in [*ALL, *modules("benchmarks"), *modules("tests")]:
        offenders += [
            f"{name_of(path)}: {module}.{name}"
            for module, name in imports(path)
            if module.split(".")[0] in {*MAY_IMPORT, "tests", "benchmarks"} and name.startswith("_")
        ]
    assert offenders == []


def test_rest_framework_stays_at_the_edge() -> None:
    offenders = []
    for path in ALL:
        if "api" not in path.relative_to(ROOT).parts and path.name not in EDGE:
            offenders += [name_of(path) for module, _ in imports(path) if module.split(".")[0] == "rest_framework"]
    assert offenders == []


def test_views_catch_nothing() -> None:
    views = [path for path in ALL if "api" in path.relative_to(ROOT).parts]
    assert [name_of(path) for path in views if any(isinstance(node, ast.Try) for node in nodes(path))] == []


def test_description_of_the_api_is_made_on_demand() -> None:
    """A start of the server does not wait for the libraries that this takes."""
    light = {"drf_spectacular.utils", "drf_spectacular.types", "drf_spectacular.settings", "drf_spectacular"}
    offenders = [
        f"{name_of(path)}: {module}"
        for path in ALL
        if path.name != "openapi.py"
        for module, _ in imports(path)
        if (module.startswith("drf_spectacular") and module not in light) or module.endswith(".openapi")
    ]
    assert offenders == []


def test_every_module_has_a_docstring() -> None:
    assert [name_of(path) for path in ALL if path.stat().st_size and not ast.get_docstring(parse(path))] == []


def test_tests_import_no_other_tests() -> None:
    offenders = []
    for path in modules("tests"):
        for module, name in imports(path):
            full = f"{module}.{name}".split(".")
            if full[0] == "benchmarks" or (full[0] == "tests" and any(part.startswith("test_") for part in full)):
                offenders.append(f"{name_of(path)}: {module}.{name}")
    assert offenders == []


def test_benchmarks_import_only_support_of_tests() -> None:
    offenders = []
    for path in modules("benchmarks"):
        for module, name in imports(path):
            if module.split(".")[0] == "tests" and not f"{module}.{name}".startswith("tests.support."):
                offenders.append(f"{name_of(path)}: {module}.{name}")
    assert offenders == []
