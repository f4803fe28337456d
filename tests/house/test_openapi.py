"""Description of the API: `GET /openapi.json` has exactly the operations of the URL map, and answers match it."""

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

pytestmark = [pytest.mark.django_db, pytest.mark.database_independent, pytest.mark.long]

# The keys of a refusal in the dialect of each path.
REFUSALS = {
    "/api/v1/": {"errors"},
    "/index/": {"errors"},
    "/dl/": {"errors"},
    "/mirror/": {"errors"},
    "/ktra/": {"errors"},
    "/me": {"errors"},
    "/replace_token": {"errors"},
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
TEXTS = "/v1/user/email/verify/"  # its refusals are text
DESCRIBED = [row for row in TABLE if row.route not in ("openapi.json", "docs/api")]
OPERATIONS = {(row.route, row.method): row for row in reversed(DESCRIBED)}.values()


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with django_db_blocker.unblock(), populated(tmp_path_factory.mktemp("blobs")) as world:
        yield world


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """No directory of each test: the world has one for the whole module."""


@pytest.fixture(scope="module")
def document() -> Any:
    response = Client().get("/openapi.json")
    assert response.status_code == 200
    return response.json()


@pytest.fixture(scope="module")
def strict_document(document: Any) -> Any:
    return forbid_other_keys(document)


def path_of(route: str) -> str:
    """Write a route as OpenAPI does: `users/<str:name>` → `/users/{name}`."""
    return "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route)


def operations(document: Any) -> dict[tuple[str, str], Any]:
    return {
        (path, method.upper()): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def operation_of(document: Any, row: Row) -> Any:
    return document["paths"][path_of(row.route)][row.method.lower()]


def resolve_reference(document: Any, schema: Any) -> Any:
    return document["components"]["schemas"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def forbid_other_keys(schema: Any) -> Any:
    """Copy a schema in which objects have the named keys and no others."""
    if isinstance(schema, list):
        return [forbid_other_keys(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {key: forbid_other_keys(part) for key, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        parts.setdefault("additionalProperties", False)
    return parts


def test_document_is_openapi_3_1(document: Any) -> None:
    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()


def test_exactly_the_routes_are_described(document: Any) -> None:
    mapped = {(path_of(route), method) for route, method in api_routes() if route not in ("openapi.json", "docs/api")}
    assert sorted(operations(document)) == sorted(mapped)


def test_operation_ids_are_unique(document: Any) -> None:
    ids = [operation["operationId"] for operation in operations(document).values()]
    assert len(set(ids)) == len(ids)


def test_description_has_no_warnings(tmp_path: Path) -> None:
    path = tmp_path / "openapi.json"
    with warnings.catch_warnings(action="error"):
        call_command("spectacular", fail_on_warn=True, format="openapi-json", file=str(path))
    assert path.read_text().startswith("{")


def test_refusals_have_the_shape_of_the_dialect(document: Any) -> None:
    offenders = []
    for row in OPERATIONS:
        content = operation_of(document, row)["responses"]["4XX"]["content"]
        if path_of(row.route).startswith(TEXTS):
            assert content == {"text/plain": {"schema": {"type": "string"}}}
            continue
        refusal = content["application/json"]["schema"]
        keys = next(keys for prefix, keys in REFUSALS.items() if path_of(row.route).startswith(prefix))
        schema = resolve_reference(document, refusal)
        if not set(schema["properties"]) == set(schema["required"]) == keys:
            offenders.append(str(row))
    assert offenders == []


def test_credential_is_described_where_it_is_needed(document: Any) -> None:
    offenders = []
    for row in OPERATIONS:
        is_open = {} in operation_of(document, row).get("security", [{}])
        if not row.scheme.in_body and is_open != (row.expected["anonymous"] != 401):
            offenders.append(str(row))
    assert offenders == []


def test_answers_are_as_described(world: World, strict_document: Any) -> None:
    """One principal for each status that a row can have."""
    offenders = []
    for row in DESCRIBED:
        for status, principal in {status: principal for principal, status in row.expected.items()}.items():
            answer = world.ask(principal, row)
            description = operation_of(strict_document, row)["responses"]["4XX" if status >= 400 else str(status)]
            for difference in differences_to(strict_document, description, answer, status):
                offenders.append(f"{row} {status}: {difference}")
    assert offenders == []


def differences_to(document: Any, description: Any, answer: Any, status: int) -> Iterator[str]:
    """Describe where an answer differs from its description."""
    if answer.status_code != status:
        yield f"status {answer.status_code}"
    elif "content" not in description or status == 204:
        if answer.content or "content" in description:
            yield "has content"
    else:
        content = description["content"]
        schema = content.get(answer["Content-Type"].partition(";")[0], content.get("*/*"))["schema"]
        if answer["Content-Type"].startswith("application/json"):
            validator = Draft202012Validator({**document, **schema})
            for error in validator.iter_errors(json.loads(answer.content)):
                yield f"{error.json_path}: {error.message}"
