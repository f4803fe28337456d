"""Access while `REGISTRY_AUTH_REQUIRED` is set: every open route of the URL map, and its reason."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client, override_settings
from pytest_django import DjangoDbBlocker

from registry_site.http import url_map
from tests.house.access_table import TABLE, YAPKG, World, populated
from tests.house.routes import paths_by_route

pytestmark = [pytest.mark.django_db, pytest.mark.database_independent, pytest.mark.long]

SIGN_IN = "signs in"
SIGN_UP = "signs up"
SIGN_OUT = "ends the session of the request, and shows nothing"
AT_PROVIDER = "signs in at the OpenID provider"
OPEN = {
    "": "the home page of browsers, with the way to sign in",
    "health": "health check of a load balancer",
    "ready": "health check of a load balancer",
    "me": "where a person begins to sign in",
    "admin/login/": SIGN_IN,
    "admin/logout/": SIGN_OUT,
    "sign-in": SIGN_IN,
    "login": SIGN_IN,
    "ktra/api/v1/login/<str:user_name>": SIGN_IN,
    "ktra/api/v1/change_password/<str:user_name>": "signs in with the old password",
    "api/stable/auth/login": SIGN_IN,
    "v1/user/login": SIGN_IN,
    "auth": "first step of a file client's log-in",
    "auth_verify": "second step of a file client's log-in",
    "openid/sign-in": AT_PROVIDER,
    "openid/link": AT_PROVIDER,
    "replace_token": AT_PROVIDER,
    "ktra/api/v1/openid/me": AT_PROVIDER,
    "ktra/api/v1/openid/replace": AT_PROVIDER,
    "ktra/api/v1/openid/replace_token": AT_PROVIDER,
    "register": SIGN_UP,
    "sign-up": SIGN_UP,
    "password-reset": "for those who cannot sign in",
    "password-reset/<str:token>": "for those who cannot sign in",
    "ktra/api/v1/new_user/<str:user_name>": SIGN_UP,
    "v1/user/register": SIGN_UP,
    "v1/user/token/verify": "takes the token in its body",
    "v1/user/token/renew": "takes the token in its body",
    "v1/user/email/verify/<str:token>": "the link that verifies an address of a new account",
    "unsubscribe/<str:token>": "the link that switches off a kind of mails",
    "logout": SIGN_OUT,
    "sign-out": SIGN_OUT,
    "index.git/<path:path>": "never served, to nobody",
}
LOG_IN = ("/admin/login/", "/sign-in?next=")
PROGRAM, BROWSER = "*/*", "text/html"
# Browsers send no other methods than GET and POST.
REQUESTS = (
    *(("GET", accept) for accept in (PROGRAM, BROWSER)),
    *(("POST", accept) for accept in (PROGRAM, BROWSER)),
    *((method, PROGRAM) for method in ("HEAD", "PUT", "PATCH", "DELETE")),
)


@pytest.fixture(scope="module")
def world(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    with (
        django_db_blocker.unblock(),
        populated(tmp_path_factory.mktemp("blobs")) as world,
        override_settings(AUTH_REQUIRED=True, METRICS_TOKEN="a token"),  # without a token the metrics are off
    ):
        yield world


@pytest.fixture(autouse=True)
def blob_directory() -> None:
    """No directory of each test: the world has one for the whole module."""


def is_refusal(answer: Any) -> bool:
    """Return whether an answer tells a stranger nothing but that the method does not exist or a log-in is needed."""
    leads_to_log_in = answer.status_code == 302 and answer.headers["Location"].startswith(LOG_IN)
    return answer.status_code in (401, 405) or leads_to_log_in


def test_only_the_listed_routes_are_open(world: World) -> None:
    client = Client(raise_request_exception=False)
    opened = {
        route
        for route, paths in paths_by_route(world).items()
        for path in paths
        for method, accept in REQUESTS
        if not is_refusal(client.generic(method, path, headers={"Accept": accept}))
    }
    assert sorted(opened - set(OPEN)) == []
    assert sorted(set(OPEN) - {route for route, _ in url_map.routes()}) == []


def test_static_files_are_open(settings: Any, client: Client) -> None:
    settings.AUTH_REQUIRED = True
    assert finders.find("admin/css/base.css")
    answer = client.get("/static/admin/css/base.css")
    assert (answer.status_code, len(answer.getvalue()) > 1000) == (200, True)  # reading to the end closes the file


def test_table_holds_with_a_token(world: World) -> None:
    """A credential of the route's dialect reads what it reads without the setting."""
    rows = [row for row in TABLE if row.method == "GET"]
    differences = [
        f"{row} as {name}: {world.status_of(name, row)}"
        for row in rows
        for name in ("user", "owner")
        if world.status_of(name, row) != row.expected[name]
    ]
    assert differences == []


def test_strangers_read_no_accounts_and_packages(world: World) -> None:
    for path in ("/users/owner", "/packages?query=tool", "/namespace/acme", "/namespaces/acme/packages/tool"):
        answer = world.client.get(path)
        message = {"error": "no_credential", "message": "This needs you to log in first."}
        assert (answer.status_code, answer.json()) == (401, message), path


def test_description_needs_a_token_or_a_session(world: World) -> None:
    for path in ("/openapi.json", "/docs/api"):
        cookie = YAPKG.headers(world.secrets["user"]["browser session"])
        token = {"Authorization": world.secrets["user"]["cargo token"]}
        answers = [world.client.get(path, headers=headers).status_code for headers in ({}, cookie, token)]
        assert answers == [401, 200, 200], path
