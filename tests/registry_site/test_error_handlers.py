"""Failures outside of a view are answered in the dialect of the path."""

from typing import Any

import pytest
from django.contrib import admin
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path, re_path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.permissions import AllowAny
from registry_site import urls
from registry_site.errors import TooManyRequests
from registry_site.http import error_handlers
from registry_site.http.dialects import Cargo
from tests.support.cast import CargoClient

CARGO = {"errors"}
BACKUPS = {"status", "error", "message", "code", "data"}
TORRUST = {"error"}
YAPKG = {"error", "message"}
OUTERNET = {"success", "error", "message"}
# The keys of a failure at unknown paths.
KEYS = {
    "/api/v1": CARGO,
    "/api/v1/nope": CARGO,
    "/index": CARGO,
    "/index.git/config.json": CARGO,
    "/dl": CARGO,
    "/dl/a/1.0.0": CARGO,
    "/mirror/x": CARGO,
    "/openapi.json/x": CARGO,
    "/ktra/x": CARGO,
    "/me/x": CARGO,
    "/replace_token/x": CARGO,
    "/api/stable": BACKUPS,
    "/api/stable/auth/nope": BACKUPS,
    "/v1": TORRUST,
    "/v1/user/nope": TORRUST,
    "/register/x": YAPKG,
    "/login/x": YAPKG,
    "/logout/x": YAPKG,
    "/users": YAPKG,
    "/settings/appid": YAPKG,
    "/namespace/a/b": YAPKG,
    "/namespaces/a/b/c": YAPKG,
    "/packages/x": YAPKG,
    "/auth/x": OUTERNET,
    "/auth_verify/x": OUTERNET,
}
OTHERS = "/nope /null,null /api /api/v2/crates /api/v1x /indexes /dlx /mirrors /ktrax /mex /ME /health/x"
NOTHING = "There is nothing at this path."


def refusal(detail: str) -> dict[str, Any]:
    return {"errors": [{"detail": detail}]}


# --- Unknown paths -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_unknown_path_is_answered_by_its_dialect(client: Client, method: str) -> None:
    for path_info, keys in KEYS.items():
        response = client.generic(method, path_info)
        assert (response.status_code, response["Content-Type"]) == (404, "application/json")
        failure = response.json()
        assert set(failure) == keys
        assert failure == refusal(NOTHING) if keys is CARGO else failure["error"] in (NOTHING, "not_found")


def test_every_prefix_is_tested() -> None:
    prefixes = error_handlers.dialect_by_prefix()
    assert [prefix for prefix in prefixes if not any(path_info.startswith(prefix) for path_info in KEYS)] == []


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_other_unknown_paths_get_a_page_on_demand(client: Client, method: str) -> None:
    for path_info in OTHERS.split():
        page = client.generic(method, path_info, headers={"Accept": "text/html,*/*;q=0.8"})
        assert (page.status_code, page["Content-Type"], page["Vary"]) == (
            404,
            "text/html; charset=utf-8",
            "Accept, Cookie",
        )
        assert NOTHING in page.content.decode()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_programs_get_json_at_unknown_paths(client: Client, method: str) -> None:
    for path_info in OTHERS.split():
        for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
            response = client.generic(method, path_info, headers=headers)
            assert (response.status_code, response["Vary"]) == (404, "Accept")
            assert response.json() == {"error": "not_found", "message": NOTHING}


def test_browser_gets_pages_on_shared_paths(client: Client) -> None:
    types = {
        "/me/x": "text/html",
        "/replace_token/x": "text/html",
        "/ktra/api/v1/openid/x": "text/html",
        "/mirror/crates/a/b": "text/html",
        "/mex": "text/html",
        "/ktra/x": "application/json",
        "/mirror/x": "application/json",
        "/users": "application/json",
    }
    responses = {path_info: client.get(path_info, headers={"Accept": "text/html"}) for path_info in types}
    assert {path_info: response["Content-Type"].split(";")[0] for path_info, response in responses.items()} == types
    assert {response.status_code for response in responses.values()} == {404}


def test_page_does_not_repeat_the_path(client: Client) -> None:
    for path_info in ("/nope/<script>alert(1)</script>", "/%3Cscript%3E", "/{{77*77}}", "/a%0d%0ab"):
        text = client.get(path_info, headers={"Accept": "text/html"}).content.decode()
        assert not any(part in text for part in ("<script>", "alert", "5929", "{{", "%0d"))


def test_slash_at_the_end_is_not_ignored(anonymous: CargoClient) -> None:
    for path_info in ("/ktra/api/v1/login/a/", "/api/v1/crates/new/", "/me/", "/index/config.json/"):
        response = anonymous.get(path_info)
        assert response.status_code == 404
        assert set(response.json()) == CARGO


WITH_NUL = """
    /index/a%00b /index/de/mo/%00 /dl/a%00b/1.0.0/download /dl/demo/1.0%00/download /ktra/%00
    /api/v1/crates/a%00b/owners /api/v1/crates?q=%00 /mirror/index/a%00b /mirror/index/de/mo/%00
    /ktra/api/v1/mirror/a%00b/1.0.0/download /ktra/api/v1/mirror/demo/1.0%00/download
"""


def test_nul_in_a_url_is_refused(as_alice: CargoClient) -> None:
    for url in WITH_NUL.split():
        response = as_alice.get(url)  # PostgreSQL raises an error for a text with NUL
        assert response.status_code == 400
        assert set(response.json()) == CARGO


def test_nul_in_a_cookie_is_refused(client: Client) -> None:
    client.cookies["registry_session"] = "a\0b"
    response = client.get("/index/config.json")
    assert response.status_code == 400
    assert set(response.json()) == CARGO


# --- The admin site ----------------------------------------------------------------------------------------------

ADMIN_HEADER = '<div id="site-name"><a href="/admin/">Entrepot</a></div>'


def test_unknown_page_keeps_the_frame_of_the_admin(as_root: Client) -> None:
    response = as_root.get("/admin/nope/")
    text = response.content.decode()
    assert response.status_code == 404
    assert ADMIN_HEADER in text
    assert NOTHING in text
    assert 'id="user-tools"' in text


@pytest.mark.django_db
def test_csrf_failure_keeps_the_frame_of_the_admin() -> None:
    response = Client(enforce_csrf_checks=True).post("/admin/login/", {"username": "root", "password": "x"})
    text = response.content.decode()
    assert response.status_code == 403
    assert ADMIN_HEADER in text
    assert "load the page again, and send it once more" in text


def test_nul_keeps_the_frame_of_the_admin(client: Client) -> None:
    response = client.get("/admin/?q=%00")
    assert (response.status_code, ADMIN_HEADER in response.content.decode()) == (400, True)


# --- Pages of errors ---------------------------------------------------------------------------------------------


def test_unknown_page_offers_a_search(client: Client) -> None:
    page = client.get("/nothing", headers={"Accept": "text/html"}).content.decode()
    assert "There is nothing here" in page
    assert '<form class="finder" action="/search" role="search">' in page


def test_waiting_times_are_never_too_short() -> None:
    times = {0: "1 second", 1: "1 second", 90: "90 seconds", 91: "2 minutes", 5400: "90 minutes", 5401: "2 hours"}
    assert {seconds: error_handlers.waiting_time(seconds) for seconds in times} == times


def test_rate_limit_says_how_long_to_wait(rf: RequestFactory) -> None:
    request = rf.get("/somewhere", headers={"Accept": "text/html"})
    request.resolver_match = None
    response = error_handlers.domain_error_response(request, TooManyRequests("Too often.", retry_after=600))
    assert (response.status_code, response["Retry-After"]) == (429, "600")
    assert isinstance(response, HttpResponse)
    assert "Try again in <strong>10 minutes</strong>" in response.content.decode()


def test_slash_behind_a_page_is_forgiven(client: Client) -> None:
    forgiven = {
        "/search/?q=a%20b": "/search?q=a%20b",
        "/crates/demo/": "/crates/demo",
        "/crates/d%C3%A9mo//": "/crates/d%C3%A9mo",
        "/mirror/crates/demo/": "/mirror/crates/demo",
        "/me/": "/me",
        "/admin": "/admin/",
    }
    answers = {path_info: client.get(path_info, headers={"Accept": "text/html"}) for path_info in forgiven}
    assert {path_info: answer.get("Location") for path_info, answer in answers.items()} == forgiven


def test_slashes_of_machines_are_not_forgiven(client: Client) -> None:
    for path_info in ("/api/v1/crates/", "/index/config.json/", "/nothing/", "/search/"):
        headers = {"Accept": "*/*" if path_info == "/search/" else "text/html"}
        assert client.get(path_info, headers=headers).status_code == 404, path_info


def test_slash_of_an_admin_page_is_forgiven(as_root: Client) -> None:
    answer = as_root.get("/admin/accounts/user", headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Location"]) == (301, "/admin/accounts/user/")


def test_two_slashes_lead_to_no_other_host(rf: RequestFactory) -> None:
    request = rf.get("/", headers={"Accept": "text/html"})
    request.path_info = "//evil.example/"
    assert error_handlers.misspelt_page(request) == ""


# --- Wrong methods -----------------------------------------------------------------------------------------------


def test_wrong_method_is_answered_by_its_dialect(anonymous: CargoClient) -> None:
    methods = {
        "/api/v1/crates": "POST",
        "/index/config.json": "DELETE",
        "/index/de/mo/demo": "PUT",
        "/dl/demo/1.0.0/download": "POST",
        "/mirror/index/config.json": "POST",
        "/mirror/index/de/mo/demo": "PUT",
        "/ktra/api/v1/mirror/demo/1.0.0/download": "DELETE",
        "/ktra/api/v1/new_user/alice": "GET",
        "/me": "PATCH",
    }
    for path_info, method in methods.items():
        response = anonymous.generic(method, path_info)
        assert response.status_code == 405
        assert response.json() == refusal(f'Method "{method}" not allowed.')
        assert method not in response["Allow"]


def test_wrong_method_elsewhere_is_not_json(client: Client) -> None:
    response = client.post("/health")
    assert response.status_code == 405
    assert response["Allow"] == "GET, HEAD"
    assert response["Content-Type"] == "text/html; charset=utf-8"


# --- Foreign hosts -----------------------------------------------------------------------------------------------


def test_foreign_host_is_refused_in_json(client: Client) -> None:
    response = client.get("/index/config.json", headers={"Host": "evil.example"})
    assert response.status_code == 400
    assert response.json() == refusal("This registry answers as http://testserver only (REGISTRY_PUBLIC_URL).")


def test_foreign_host_is_refused_with_a_page(client: Client) -> None:
    for host in ("evil.example", "testserver.evil.example", "testserver,evil", "testserver@evil", ""):
        response = client.get("/", headers={"Host": host, "Accept": "text/html"})
        assert response.status_code == 400
        assert "This registry answers as http://testserver only" in response.content.decode()
        assert "evil" not in response.content.decode()


def test_forwarded_host_changes_no_url(anonymous: CargoClient) -> None:
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


# This module is the URL map of the tests below.
urlpatterns = [
    path("api/v1/crash", Views.as_view({"get": "crash"})),
    path("api/v1/database", Views.as_view({"get": "lose_database"})),
    path("page/database", lose_database),
    path("admin/", crash),
    path("admin/database", lose_database),
    path("admin/", admin.site.urls),  # the frame links to it
    re_path("", crash),
]
handler500 = urls.handler500

with_crashes = override_settings(ROOT_URLCONF=__name__)


@with_crashes
def test_crash_is_answered_by_its_dialect() -> None:
    for path_info in ("/api/v1/crash", "/api/v1/x", "/index/x", "/dl/x", "/ktra/x", "/me", "/replace_token"):
        response = CargoClient().get(path_info)
        assert (response.status_code, response["Content-Type"]) == (500, "application/json")
        assert response.json() == refusal("The registry failed on this request; the cause is in its log.")


@with_crashes
def test_crash_of_the_catalogue_is_answered_as_outernet() -> None:
    for path_info in ("/", "/17"):
        response = CargoClient().get(path_info)
        assert (response.status_code, set(response.json())) == (500, OUTERNET)


@with_crashes
def test_crash_elsewhere_hides_the_stack() -> None:
    for path_info in ("/", "/admin/", "/nope"):
        response = CargoClient().get(path_info, headers={"Accept": "text/html"})
        text = response.content.decode()
        assert (response.status_code, response["Content-Type"]) == (500, "text/html; charset=utf-8")
        assert "the cause is in its log" in text
        assert not any(part in text for part in ("secret", "ZeroDivisionError", "Traceback", ".py"))


@with_crashes
def test_crash_keeps_the_frame_of_the_admin() -> None:
    """Without the menu of the user, which needs the session and the database."""
    for path_info, status in (("/admin/", 500), ("/admin/database", 503)):
        response = CargoClient().get(path_info)
        text = response.content.decode()
        assert response.status_code == status
        assert ADMIN_HEADER in text
        assert "user-tools" not in text


@with_crashes
def test_cause_of_a_crash_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    CargoClient().get("/api/v1/crash")
    assert "ZeroDivisionError: a secret of this stack" in caplog.text


@with_crashes
def test_lost_database_sends_retry_after() -> None:
    response = CargoClient().get("/api/v1/database")
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert response.json() == refusal("The registry's database does not answer at present.")


@with_crashes
def test_page_without_database_sends_retry_after() -> None:
    response = CargoClient().get("/page/database", headers={"Accept": "text/html"})
    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert "database does not answer" in response.content.decode()


def test_thousands_of_parameters_are_no_crash(client: Client) -> None:
    query = "&".join(["a=1"] * 2000)
    response = client.get(f"/index/config.json?{query}", content_type="text/plain; charset=utf-8")
    assert response.status_code == 200
