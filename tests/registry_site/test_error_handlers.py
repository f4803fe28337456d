"""Refusals outside of any view wear the coat of the dialect that owns the path."""

from typing import Any

import pytest
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.urls import path, re_path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.permissions import AllowAny
from registry_site import urls
from registry_site.http import error_handlers
from registry_site.http.dialects import Cargo
from tests.support.cast import CargoClient

OURS = [
    "/api/v1",
    "/api/v1/nope",
    "/index",
    "/dl",
    "/dl/a/1.0.0",
    "/mirror/x",
    "/ktra/x",
    "/me/x",
    "/replace_token/x",
]
DIALECTS = {
    "/api/stable": {"status", "error", "message", "code", "data"},
    "/api/stable/auth/nope": {"status", "error", "message", "code", "data"},
    "/v1": {"error"},
    "/v1/user/nope": {"error"},
    "/register/x": {"error", "message"},
    "/login/x": {"error", "message"},
    "/logout/x": {"error", "message"},
    "/users": {"error", "message"},
    "/settings/appid": {"error", "message"},
    "/namespace/a/b": {"error", "message"},
    "/namespaces/a/b/c": {"error", "message"},
    "/packages/x": {"error", "message"},
    "/auth/x": {"success", "error", "message"},
    "/auth_verify/x": {"success", "error", "message"},
}
OTHERS = [
    "/nope",
    "/api",
    "/api/v2/crates",
    "/api/v1x",
    "/indexes",
    "/dlx",
    "/mirrors",
    "/ktrax",
    "/mex",
    "/ME",
    "/health/x",
]


def refusal(detail: str) -> dict[str, Any]:
    return {"errors": [{"detail": detail}]}


# --- Unknown paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize("address", OURS)
def test_unknown_path_of_cargo_is_told_in_json(client: Client, method: str, address: str) -> None:
    response = client.generic(method, address)
    assert response.status_code == 404
    assert response["Content-Type"] == "application/json"
    assert response.json() == refusal("There is nothing at this path.")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
@pytest.mark.parametrize(("address", "keys"), DIALECTS.items())
def test_unknown_path_of_another_dialect_is_told_in_its_shape(
    client: Client, method: str, address: str, keys: set[str]
) -> None:
    response = client.generic(method, address)
    assert (response.status_code, response["Content-Type"]) == (404, "application/json")
    assert set(response.json()) == keys
    assert response.json()["error"] in ("There is nothing at this path.", "not_found")


@pytest.mark.parametrize("address", OTHERS)
def test_unknown_path_elsewhere_is_a_page(client: Client, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 404
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert "There is nothing at this path." in response.content.decode()


@pytest.mark.parametrize("address", ["/nope/<script>alert(1)</script>", "/%3Cscript%3E", "/{{7*7}}", "/a%0d%0ab"])
def test_page_does_not_repeat_the_path(client: Client, address: str) -> None:
    text = client.get(address).content.decode()
    assert not any(part in text for part in ("script", "49", "{{", "%0d"))


@pytest.mark.parametrize("address", ["/ktra/api/v1/login/a/", "/api/v1/crates/new/", "/me/", "/index/config.json/"])
def test_slash_at_the_end_is_another_path(anonymous: CargoClient, address: str) -> None:
    response = anonymous.get(address)
    assert response.status_code == 404
    assert set(response.json()) == {"errors"}


WITH_NUL = """
    /index/a%00b /index/de/mo/%00 /dl/a%00b/1.0.0/download /dl/demo/1.0%00/download /ktra/%00
    /api/v1/crates/a%00b/owners /api/v1/crates?q=%00 /mirror/index/a%00b /mirror/index/de/mo/%00
    /ktra/api/v1/mirror/a%00b/1.0.0/download /ktra/api/v1/mirror/demo/1.0%00/download
"""


@pytest.mark.parametrize("address", WITH_NUL.split())
def test_nul_is_refused_in_json(as_alice: CargoClient, address: str) -> None:
    response = as_alice.get(address)  # PostgreSQL cannot even look for it
    assert response.status_code in (400, 404)
    assert set(response.json()) == {"errors"}


# --- Wrong methods -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "address"),
    [
        ("POST", "/api/v1/crates"),
        ("DELETE", "/index/config.json"),
        ("PUT", "/index/de/mo/demo"),
        ("POST", "/dl/demo/1.0.0/download"),
        ("POST", "/mirror/index/config.json"),
        ("PUT", "/mirror/index/de/mo/demo"),
        ("DELETE", "/ktra/api/v1/mirror/demo/1.0.0/download"),
        ("GET", "/ktra/api/v1/new_user/alice"),
        ("PATCH", "/me"),
    ],
)
def test_wrong_method_at_cargo_is_told_in_json(anonymous: CargoClient, method: str, address: str) -> None:
    response = anonymous.generic(method, address)
    assert response.status_code == 405
    assert response.json() == refusal(f'Method "{method}" not allowed.')
    assert method not in response["Allow"]


def test_wrong_method_elsewhere_is_no_json(client: Client) -> None:
    response = client.post("/health")
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
    assert response["Content-Type"] == "text/html; charset=utf-8"


# --- Hosts of others ---------------------------------------------------------------------------------------------


def test_other_host_is_refused_in_json_at_cargo(client: Client) -> None:
    response = client.get("/index/config.json", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert response.json() == refusal("This registry answers as http://testserver only (REGISTRY_PUBLIC_URL).")


@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "testserver,evil", "testserver@evil", ""])
def test_other_host_is_refused_with_a_page_elsewhere(client: Client, host: str) -> None:
    response = client.get("/", headers={"Host": host, "Accept": "text/html"})
    assert response.status_code == 400
    assert "This registry answers as http://testserver only" in response.content.decode()
    assert "evil" not in response.content.decode()


def test_other_host_forwarded_changes_no_address(anonymous: CargoClient) -> None:
    response = anonymous.get("/index/config.json", headers={"X-Forwarded-Host": "evil.example"})
    assert response.json() == {"dl": "http://testserver/dl", "api": "http://testserver"}


# --- Crashes -----------------------------------------------------------------------------------------------------


def crash(request: HttpRequest) -> HttpResponse:
    raise ZeroDivisionError("a secret of this stack")


class Views(Cargo, ViewSet):
    permission_classes = [AllowAny]

    def crash(self, request: Request) -> Response:
        raise ZeroDivisionError("a secret of this stack")

    def lose_database(self, request: Request) -> Response:
        raise OperationalError("a secret of this database")


def lose_database(request: HttpRequest) -> HttpResponse:
    raise OperationalError("a secret of this database")


# The module is its own map of addresses, for the tests below.
urlpatterns = [
    path("api/v1/crash", Views.as_view({"get": "crash"})),
    path("api/v1/database", Views.as_view({"get": "lose_database"})),
    path("page/database", lose_database),
    re_path("", crash),
]
handler500 = urls.handler500

with_crashes = override_settings(ROOT_URLCONF=__name__)


@with_crashes
@pytest.mark.parametrize(
    "address", ["/api/v1/crash", "/api/v1/x", "/index/x", "/dl/x", "/ktra/x", "/me", "/replace_token"]
)
def test_crash_at_cargo_is_told_in_json(address: str) -> None:
    response = CargoClient().get(address)
    assert response.status_code == 500
    assert response["Content-Type"] == "application/json"
    assert response.json() == refusal("The registry failed on this request; the cause is in its log.")


@with_crashes
@pytest.mark.parametrize("address", ["/", "/admin/", "/nope"])
def test_crash_elsewhere_is_a_page_without_the_stack(address: str) -> None:
    response = CargoClient().get(address, headers={"Accept": "text/html"})
    text = response.content.decode()
    assert (response.status_code, response["Content-Type"]) == (500, "text/html; charset=utf-8")
    assert "the cause is in its log" in text
    assert not any(part in text for part in ("secret", "ZeroDivisionError", "Traceback", ".py"))


@with_crashes
def test_cause_of_a_crash_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    CargoClient().get("/api/v1/crash")
    assert "ZeroDivisionError: a secret of this stack" in caplog.text


@with_crashes
def test_lost_database_is_told_when_to_come_again() -> None:
    response = CargoClient().get("/api/v1/database")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json() == refusal("The registry's database does not answer at present.")


@with_crashes
def test_lost_database_of_a_page_is_told_when_to_come_again() -> None:
    response = CargoClient().get("/page/database")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "database does not answer" in response.content.decode()


def test_every_prefix_of_a_dialect_is_tested() -> None:
    assert all(
        any(address.startswith(prefix) for address in (*OURS, *DIALECTS))
        for prefix in error_handlers.dialect_by_prefix()
    )


def test_thousands_of_parameters_are_no_crash(client: Client) -> None:
    query = "&".join(["a=1"] * 2000)
    response = client.get(f"/index/config.json?{query}", content_type="text/plain; charset=utf-8")
    assert response.status_code == 200
