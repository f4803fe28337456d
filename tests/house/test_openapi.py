"""`GET /openapi.json` describes every operation of the map and no other, and the registry answers as it says."""

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator
from pytest_django import DjangoDbBlocker

from tests.house.access_table import TABLE, Row, World, api_routes, populated

pytestmark = pytest.mark.django_db

# The keys of a refusal, in the dialect of whoever speaks below a path.
REFUSALS = {
    "/api/v1/": {"errors"},
    "/index/": {"errors"},
    "/dl/": {"errors"},
    "/mirror/": {"errors"},
    "/ktra/": {"errors"},
    "/me": {"errors"},
    "/api/stable/": {"status", "error", "message", "code", "data"},
    "/v1/user/token/verify": {"error", "data"},
    "/v1/": {"error"},
    "/register": {"error", "message"},
    "/login": {"error", "message"},
    "/logout": {"error", "message"},
    "/users/": {"error", "message"},
    "/settings/": {"error", "message"},
    "/namespace": {"error", "message"},
    "/packages": {"error", "message"},
    "/": {"success", "error", "message"},
}
DESCRIBED = [row for row in TABLE if row.route not in ("openapi.json", "docs/api")]
OPERATIONS = {(row.route, row.method): row for row in reversed(DESCRIBED)}.values()
ANSWERS = [
    (row, principal, status)
    for row in DESCRIBED
    for status, principal in {status: principal for principal, status in row.expected.items()}.items()
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


@pytest.fixture(scope="module")
def document() -> Any:
    response = Client().get("/openapi.json")
    assert response.status_code == 200
    return response.json()


def path_of(route: str) -> str:
    """As OpenAPI writes it: `users/<str:name>` → `/users/{name}`."""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)


def operations(document: Any) -> dict[tuple[str, str], Any]:
    return {
        (path, method.upper()): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def operation_of(document: Any, row: Row) -> Any:
    return document["paths"][path_of(row.route)][row.method.lower()]


def resolved(document: Any, schema: Any) -> Any:
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def closed(schema: Any) -> Any:
    """The same description, but an object has the keys that it names and no other."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: closed(part) for key, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        parts.setdefault("additionalProperties", False)
    return parts


def test_document_is_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_of_the_map_is_described_and_nothing_else(document: Any) -> None:
    mapped = {(path_of(route), method) for route, method in api_routes() if route not in ("openapi.json", "docs/api")}
    assert sorted(operations(document)) == sorted(mapped)


def test_operation_ids_are_unique(document: Any) -> None:
    ids = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(ids)) == len(ids)


def test_description_is_made_without_a_warning(tmp_path: Path) -> None:
    place = tmp_path / "openapi.json"
    with warnings.catch_warnings(action="error"):
        call_command("spectacular", validate=True, fail_on_warn=True, format="openapi-json", file=str(place))
    assert place.read_text().startswith("{")


@pytest.mark.parametrize("row", OPERATIONS, ids=str)
def test_refusals_are_described_in_the_shape_of_the_dialect(document: Any, row: Row) -> None:
    refusal = operation_of(document, row)["responses"]["4XX"]["content"]["application/json"]["schema"]
    keys = next(keys for prefix, keys in REFUSALS.items() if path_of(row.route).startswith(prefix))
    described = resolved(document, refusal)
    assert set(described["properties"]) == set(described["required"]) == keys


@pytest.mark.parametrize("row", [row for row in OPERATIONS if not row.door.in_body], ids=str)
def test_credential_is_described_as_needed_where_it_is(document: Any, row: Row) -> None:
    security = operation_of(document, row).get("security", [{}])
    assert ({} in security) == (row.expected["anonymous"] != 401)


@pytest.mark.parametrize(("row", "principal", "status"), ANSWERS, ids=[f"{row} {status}" for row, _, status in ANSWERS])
def test_answer_is_as_described(world: World, document: Any, row: Row, principal: str, status: int) -> None:
    answer = world.ask(principal, row)
    described = operation_of(document, row)["responses"]["4XX" if status >= 400 else str(status)]
    assert answer.status_code == status
    if status == 204:
        assert "content" not in described
        return
    content = described["content"]
    schema = content.get(answer["Content-Type"].partition(";")[0], content.get("*/*"))["schema"]
    if answer["Content-Type"].startswith("application/json"):
        differences = Draft202012Validator(closed({**document, **schema})).iter_errors(json.loads(answer.content))
        assert [f"{difference.json_path}: {difference.message}" for difference in differences] == []
