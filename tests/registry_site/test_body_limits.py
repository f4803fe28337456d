"""Large bodies: refused unread by every path, except where uploads are taken."""

import io
import re
from typing import Any

import pytest
from django.test import Client

from registry_site.http import url_map
from registry_site.http.parsers import MAX_BODY_BYTES
from tests.support.cast import CargoClient

UPLOAD_ROUTES = {
    "",
    "<int:file_id>",
    "api/v1/crates/new",
    "mirror/api/v1/crates/new",  # which refuses every body, unread
    "packages",
    *(f"{prefix}/<str:namespace>/packages" for prefix in ("namespace", "namespaces")),
    *(f"{prefix}/<str:namespace>/packages/<package_name:name>" for prefix in ("namespace", "namespaces")),
}


class UnreadableBody(io.RawIOBase):
    """A body that must not be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise AssertionError("The body was read.")


def announce(client: Client, method: str, path: str, length: int | str) -> Any:
    """Send a form that cannot be read, with the cookie for which Django looks into it."""
    client.cookies["csrftoken"] = "a" * 32
    announced: Any = {"CONTENT_LENGTH": str(length), "wsgi.input": UnreadableBody()}
    return client.generic(method, path, content_type="multipart/form-data; boundary=x", **announced)


@pytest.mark.database_independent
def test_only_uploads_take_large_bodies(db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    takers = set()
    for route, _ in url_map.routes():
        path = "/" + re.sub(r"<(\w+:)?\w+>", "x", re.sub(r"<int:\w+>", "1", route))
        if "(" in path:  # the last route of the admin site, for unknown paths
            continue
        for method in ("POST", "PUT"):
            if announce(client, method, path, MAX_BODY_BYTES + 1).status_code not in (404, 413):
                takers.add(route)
    assert takers == UPLOAD_ROUTES


def test_large_body_is_refused_by_its_dialect(db: None) -> None:
    message = f"The body has {10**12} bytes; at most {MAX_BODY_BYTES} are taken here."
    refusals: dict[str, dict[str, Any]] = {
        "/me": {"errors": [{"detail": message}]},
        "/api/v1/crates/demo/owners": {"errors": [{"detail": message}]},
        "/api/stable/auth/login": {"status": False, "error": message, "message": message, "code": 413, "data": {}},
        "/v1/user/token/renew": {"error": message},
        "/login": {"error": "too_large", "message": message},
        "/auth": {"success": False, "error": message, "message": message},
    }
    responses = {path: announce(Client(), "POST", path, 10**12) for path in refusals}
    assert {path: response.json() for path, response in responses.items()} == refusals
    assert {response.status_code for response in responses.values()} == {413}
    page = announce(Client(), "POST", "/health", 10**12)
    assert (page.status_code, message in page.content.decode()) == (413, True)


def test_edits_of_packages_take_no_uploads(db: None) -> None:
    path = "/namespaces/alice/packages/demo"
    statuses = [announce(Client(), method, path, MAX_BODY_BYTES + 1).status_code for method in ("PATCH", "PUT")]
    assert statuses == [413, 401]


def test_length_of_400_digits_is_refused(as_alice: CargoClient) -> None:
    for path in ("/api/v1/crates/new", "/login", "/health", "/"):
        assert (path, announce(as_alice, "PUT", path, "9" * 400).status_code) == (path, 400)


@pytest.mark.parametrize("path", ["/admin/files/file/add/", "/admin/files/file/1/change/"])
def test_only_staff_upload_in_the_admin(as_root: Client, path: str) -> None:
    statuses = [announce(client, "POST", path, MAX_BODY_BYTES + 1).status_code for client in (Client(), as_root)]
    assert [status == 413 for status in statuses] == [True, False]
