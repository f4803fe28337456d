"""Every route answers every method to everybody as its documents say: the table is in `access_table`."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from pytest_django import DjangoDbBlocker

from tests.house.access_table import TABLE, WRONG, YAPKG, Row, World, standing

pytestmark = pytest.mark.django_db

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def doors(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each route of the map that is answered by DRF, with each method that is mapped."""
    for entry in (resolver or get_resolver()).url_patterns:
        path = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from doors(entry, path)
        elif isinstance(entry, URLPattern) and hasattr(entry.callback, "cls"):
            yield from ((path, method) for method in METHODS if method in mapped(entry.callback))


def mapped(view: Any) -> set[str]:
    """The methods that a view says it has; HEAD goes with GET, and no view of ours answers OPTIONS."""
    actions = getattr(view, "actions", None) or {name for name in view.cls.http_method_names if hasattr(view.cls, name)}
    return {method.upper() for method in actions} - {"HEAD", "OPTIONS"}


DOCUMENTED = {(row.route, row.method) for row in TABLE}
# What they do is done once, and its answer matters: asking for the head of it is no way to ask.
WITHOUT_HEAD = {"api/stable/auth/refresh_token", "api/stable/auth/logout", "logout"}
READ = [row for row in TABLE if row.method == "GET" and row.route not in WITHOUT_HEAD]
FIRST = {row.route: row for row in reversed(TABLE)}.values()
OTHERS = [
    (method, row)
    for row in FIRST
    for method in METHODS
    if (row.route, "GET" if method == "HEAD" and row.route not in WITHOUT_HEAD else method) not in DOCUMENTED
]


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with django_db_blocker.unblock(), standing(tmp_path_factory.mktemp("blobs")) as world:
        yield world


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """The world has its own, for as long as it stands."""


def test_every_route_and_method_of_the_map_has_a_row() -> None:
    assert sorted(set(doors()) - DOCUMENTED) == []


def test_every_row_has_a_route_and_a_method_of_the_map() -> None:
    assert sorted(DOCUMENTED - set(doors())) == []


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_documented_method_is_for_whom_it_should_be(world: World, row: Row) -> None:
    assert {principal: world.told(principal, row) for principal in row.expected} == row.expected


@pytest.mark.parametrize("row", READ, ids=str)
def test_head_is_told_what_get_is_told(world: World, row: Row) -> None:
    assert {principal: world.told(principal, row, "HEAD") for principal in row.expected} == row.expected


@pytest.mark.parametrize(("method", "row"), OTHERS, ids=[f"{method} {row.path}" for method, row in OTHERS])
def test_other_methods_are_for_nobody(world: World, method: str, row: Row) -> None:
    told = {principal: world.told(principal, row, method) for principal in row.expected}
    assert told == row.expected_of_other_methods(method)


def test_credential_of_another_door_is_no_cookie(world: World) -> None:
    row = Row(replace(YAPKG, wrong_headers=None), "GET", "/settings/appids", 200)
    wrong = [kind for kind in WRONG if kind in row.expected]
    assert {kind: world.told(kind, row) for kind in wrong} == dict.fromkeys(wrong, 401)
