"""Every route answers every method to everybody as its documents say: the table is in `access_table`."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from pytest_django import DjangoDbBlocker

from tests.house.access_table import METHODS, TABLE, WRONG, YAPKG, Row, World, api_routes, populated

pytestmark = pytest.mark.django_db


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
    with django_db_blocker.unblock(), populated(tmp_path_factory.mktemp("blobs")) as world:
        yield world


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """The world has its own, for as long as it stands."""


def test_every_route_and_method_of_the_map_has_a_row() -> None:
    assert sorted(set(api_routes()) - DOCUMENTED) == []


def test_every_row_has_a_route_and_a_method_of_the_map() -> None:
    assert sorted(DOCUMENTED - set(api_routes())) == []


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
