"""What caches may do with the answers of each route: nothing is used again without asking, but for immutable bytes."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client, override_settings
from pytest_django import DjangoDbBlocker

from tests.house.access_table import World, populated
from tests.house.routes import paths_by_route

pytestmark = [pytest.mark.django_db, pytest.mark.database_independent, pytest.mark.long]

IMMUTABLE = "public, max-age=31536000, immutable"
CREDENTIALS: dict[str, dict[str, Any]] = {
    "token": {"headers": {"Authorization": "nonsense"}},
    "yapkg's token": {"headers": {"Token": "nonsense"}},
    "cookie": {"headers": {"Cookie": "any=thing"}},
    "parameter": {"query_params": {"session_token": "nonsense"}},
    "provider's code": {"query_params": {"code": "nonsense", "state": "nonsense"}},
    "body": {"data": "session_token=nonsense", "content_type": "application/x-www-form-urlencoded"},
}


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with (
        django_db_blocker.unblock(),
        populated(tmp_path_factory.mktemp("blobs")) as world,
        override_settings(METRICS_TOKEN="a token"),
    ):
        yield world


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """No directory of each test: the world has one for the whole module."""


def answers(world: World, method: str = "GET", **options: Any) -> Iterator[tuple[str, str]]:
    """Yield the path of each route, also of existing things, with the `Cache-Control` of its answer."""
    client = Client(raise_request_exception=False)  # one for all: creating a client is slow
    for paths in paths_by_route(world).values():
        for path in paths:
            client.cookies.clear()
            response = client.generic(method, path, **options)
            yield path, response.get("Cache-Control", "")
            list(response)  # closes a file; `close` would close the database's connection, and end the world with it


def may_be_used_again(path: str, cache_control: str) -> bool:
    """Return whether a cache may use an answer again without asking, apart from immutable bytes."""
    is_download = path.startswith(("/dl/", "/ktra/")) and cache_control == IMMUTABLE
    return not (is_download or "no-cache" in cache_control or "no-store" in cache_control)


def test_caches_ask_again_for_each_route(world: World) -> None:
    assert [(path, value) for path, value in answers(world) if may_be_used_again(path, value)] == []


def test_caches_keep_nothing_for_credentials(world: World) -> None:
    for name, options in CREDENTIALS.items():
        kept = [(path, value) for path, value in answers(world, **options) if "no-store" not in value]
        assert [(path, value) for path, value in kept if value != IMMUTABLE] == [], name


def test_caches_keep_no_answers_to_changes(world: World) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert [(path, value) for path, value in answers(world, method) if "no-store" not in value] == [], method


def test_token_of_a_link_is_not_kept(client: Client) -> None:
    assert "no-store" in client.get("/v1/user/email/verify/nonsense").headers["Cache-Control"]


def test_refused_part_does_not_stand_for_the_whole(world: World) -> None:
    for headers, status in ({"Range": "bytes=99999999-"}, 416), ({"If-Match": '"x"'}, 412):
        response = Client().get("/dl/demo/1.0.0/download", headers=headers)
        assert (response.status_code, response.headers["Cache-Control"]) == (status, "no-cache")


def test_unknown_path_is_asked_for_again(client: Client) -> None:
    for path in ("/nothing", "/index/no/th/nothing", "/dl/nothing/1.0.0/download", "/\0"):
        assert client.get(path).headers["Cache-Control"] == "no-cache", path


def test_static_files_may_be_kept(client: Client) -> None:
    response = client.get("/static/admin/css/base.css", headers={"Cookie": "any=thing"})
    assert "public" in response.headers["Cache-Control"]
    list(response)
    headers = {"If-None-Match": f"W/{response.headers['ETag']}"}  # a server in front has compressed it
    assert client.get("/static/admin/css/base.css", headers=headers).status_code == 304


def test_cookie_of_an_answer_is_not_kept(client: Client) -> None:
    response = client.get("/admin/login/")
    assert response.cookies
    assert "no-store" in response.headers["Cache-Control"]
