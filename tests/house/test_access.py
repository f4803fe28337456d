"""Access to every route by every method: the expected statuses stand in `access_table`."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import cycle

import pytest
from pytest_django import DjangoDbBlocker

from accounts.models import Role
from tests.house.access_table import CLOSED, METHODS, TABLE, WRONG, YAPKG, Row, World, api_routes, populated

pytestmark = [pytest.mark.django_db, pytest.mark.long]

DOCUMENTED = {(row.route, row.method) for row in TABLE}
TAKING_TURNS = {
    **dict.fromkeys((role for role in Role.values if role != Role.SYSTEM_ADMIN), "role"),
    **dict.fromkeys(CLOSED, "closed"),
    **dict.fromkeys(WRONG, "wrong"),
}
# These GETs change something, so a HEAD of them would not be safe and has no answer.
WITHOUT_HEAD = {"api/stable/auth/refresh_token", "api/stable/auth/logout", "logout", "replace_token"}


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with django_db_blocker.unblock(), populated(tmp_path_factory.mktemp("blobs")) as world:
        yield world


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """No directory of each test: the world has one for the whole module."""


def differences(
    world: World, row: Row, method: str | None, expected: dict[str, int], principals: Iterable[str]
) -> Iterator[str]:
    """Describe each principal whose status is not the expected one."""
    for principal in principals:
        status = world.status_of(principal, row, method)
        if status != expected[principal]:
            yield f"{method or row.method} {row.path} as {principal}: {status}, not {expected[principal]}"


def test_every_route_and_method_has_a_row() -> None:
    assert sorted(set(api_routes()) - DOCUMENTED) == []


def test_every_row_has_a_route_and_method() -> None:
    assert sorted(DOCUMENTED - set(api_routes())) == []


def tried(row: Row, turn: int) -> Iterator[str]:
    """Yield who tries a row: all that may do different things, and by turns those that other rows try.

    Of the lesser roles, the closed accounts and the credentials of other dialects, those with one status take turns.
    Rows of log-ins are too few for that.
    """
    if row.scheme.kind == "password":
        yield from row.expected
        return
    alike: dict[tuple[str, int], list[str]] = defaultdict(list)
    for principal, status in row.expected.items():
        alike[TAKING_TURNS.get(principal, principal), status].append(principal)
    for names in alike.values():
        yield names[turn % len(names)]


def test_each_principal_tries_each_dialect() -> None:
    missing: dict[str, set[str]] = defaultdict(set)
    for row in TABLE:
        missing[row.scheme.kind] |= row.expected.keys()
    for turn, row in enumerate(TABLE):
        missing[row.scheme.kind] -= set(tried(row, turn))
    assert {kind: names for kind, names in missing.items() if names} == {}


def test_documented_methods_answer_as_the_table_says(world: World) -> None:
    offenders = [
        line for turn, row in enumerate(TABLE) for line in differences(world, row, None, row.expected, tried(row, turn))
    ]
    assert offenders == []


@pytest.mark.database_independent
def test_head_answers_as_get(world: World) -> None:
    """One principal for each status that a row can have."""
    offenders: list[str] = []
    for row in TABLE:
        if row.method == "GET" and row.route not in WITHOUT_HEAD:
            principals = {status: principal for principal, status in row.expected.items()}.values()
            offenders += differences(world, row, "HEAD", row.expected, principals)
    assert offenders == []


@pytest.mark.database_independent
def test_other_methods_are_refused(world: World) -> None:
    """Three principals take turns: without a credential, with a good one, and with all rights."""
    turns = cycle(("anonymous", "user", "administrator"))
    offenders: list[str] = []
    for row in {row.route: row for row in reversed(TABLE)}.values():
        for method in METHODS:
            as_documented = "GET" if method == "HEAD" and row.route not in WITHOUT_HEAD else method
            if (row.route, as_documented) not in DOCUMENTED:
                offenders += differences(world, row, method, row.expected_of_other_methods(method), [next(turns)])
    assert offenders == []


def test_credential_of_another_dialect_is_no_cookie(world: World) -> None:
    row = Row(replace(YAPKG, wrong_headers=None), "GET", "/settings/appids", 200)
    kinds = [kind for kind in WRONG if kind in row.expected]
    assert {kind: world.status_of(kind, row) for kind in kinds} == dict.fromkeys(kinds, 401)
