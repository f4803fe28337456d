"""One account in all dialects of a real server: a closed account is refused in each, and an open one is not."""

import http.cookiejar
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from tests.support.app_keys import sign_empty_request
from tests.support.mirror_store import query
from tests.support.servers import PASSWORD, Server, running

pytestmark = pytest.mark.long

JSON = {"Content-Type": "application/json"}
Calls = dict[str, Callable[[], int]]  # each sends a request and returns its status


class Visitor:
    """Alice, who has logged in to one server in every dialect."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.browser = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.cargo_token = self.json("POST", "/ktra/api/v1/login/alice", {"password": PASSWORD})["token"]
        self.backups = self.json("POST", "/api/stable/auth/login", {"username": "alice", "password": PASSWORD})["data"]
        self.torrust = self.json("POST", "/v1/user/login", {"login": "alice", "password": PASSWORD})["data"]["token"]
        self.json("POST", "/login", {"username": "alice", "password": PASSWORD}, browser=self.browser)
        self.key = self.json("POST", "/settings/appids", {"type": "ALL"}, browser=self.browser)
        self.admin = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.log_in_to_admin()

    def calls(self) -> Calls:
        """Requests that need a credential, by its kind."""
        bearer = {"Authorization": f"Bearer {self.backups['token']}"}
        token = {"token": self.torrust}
        profile: dict[str, Any] = {"avatar_uri": ""}
        return {
            "cargo token": lambda: self.status("GET", "/api/v1/crates/x/owners", {"Authorization": self.cargo_token}),
            "backups session": lambda: self.status("GET", "/api/stable/auth/whoami", bearer),
            "torrust session": lambda: self.status("POST", "/v1/user/token/verify", {}, token),
            "torrust renewal": lambda: self.status("POST", "/v1/user/token/renew", {}, token),
            "cookie": lambda: self.status("PATCH", "/settings/profile", {}, profile, self.browser),
            "app key": lambda: self.status("GET", "/settings/appids", {"Token": sign_empty_request(self.key)}),
            "admin site": lambda: self.status("GET", "/admin/password_change/", {}, None, self.admin),
        }

    def logins(self) -> Calls:
        """Log-ins with the password. Ktra's is left out: it would end the cargo token."""
        body = {"username": "alice", "password": PASSWORD}
        browser = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
        return {
            "backups": lambda: self.status("POST", "/api/stable/auth/login", {}, body),
            "torrust": lambda: self.status("POST", "/v1/user/login", {}, {"login": "alice", "password": PASSWORD}),
            "yapkg": lambda: self.status("POST", "/login", {}, body, browser),
        }

    def log_in_to_admin(self) -> None:
        page = f"{self.server.url}/admin/login/"
        text = self.admin.open(page).read().decode()
        csrf = text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        form = {"username": "alice", "password": PASSWORD, "csrfmiddlewaretoken": csrf, "next": "/admin/"}
        self.admin.open(Request(page, urlencode(form).encode(), {"Referer": page}))

    def status(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Any = None,
        browser: OpenerDirector | None = None,
    ) -> int:
        """Send a request, and return its status; 302 stands for a redirect to the log-in of the admin site."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.server.url + path, data, {**JSON, "Origin": self.server.url, **headers}, method=method)
        try:
            with (browser or build_opener()).open(request) as response:
                return int(response.status) if response.url == request.full_url else 302
        except HTTPError as error:
            with error:
                return error.code

    def json(self, method: str, path: str, body: Any, browser: OpenerDirector | None = None) -> Any:
        headers = {**JSON, "Origin": self.server.url}
        request = Request(self.server.url + path, json.dumps(body).encode(), headers, method=method)
        with (browser or build_opener()).open(request) as response:
            return json.load(response)


OPEN = {
    "cargo token": 404,  # authenticated, but there is no such crate
    "backups session": 200,
    "torrust session": 200,
    "torrust renewal": 200,
    "cookie": 200,
    "app key": 200,
    "admin site": 200,
}
CLOSED = {
    "cargo token": 401,
    "backups session": 403,
    "torrust session": 401,
    "torrust renewal": 401,
    "cookie": 401,
    "app key": 401,
    "admin site": 302,
}
LOGINS_WHILE_OPEN = {"backups": 200, "torrust": 200, "yapkg": 200}
LOGINS_WHILE_CLOSED = {"backups": 401, "torrust": 403, "yapkg": 401}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("dialects") / "data") as server:
        server.manage("createuser", "alice", "--admin", "--password-stdin", text=PASSWORD)
        server.manage("createuser", "boss", "--admin", "--password-stdin", text=PASSWORD)
        yield server


@pytest.fixture(scope="module")
def alice(server: Server) -> Visitor:
    return Visitor(server)


def statuses(calls: Calls) -> dict[str, int]:
    """Make each call twice, so that most likely both workers answer; -1 stands for two different statuses."""
    results = {name: {call() for _ in range(2)} for name, call in calls.items()}
    return {name: result.pop() if len(result) == 1 else -1 for name, result in results.items()}


def update_alice(server: Server, assignment: str) -> None:
    query(server, f"UPDATE accounts_user SET {assignment} WHERE username = 'alice'")


def test_ban_is_enforced_in_every_dialect(server: Server, alice: Visitor) -> None:
    assert statuses(alice.calls()) == OPEN
    boss = alice.json("POST", "/v1/user/login", {"login": "boss", "password": PASSWORD})["data"]["token"]
    assert alice.status("DELETE", "/v1/user/ban/alice", {"Authorization": f"Bearer {boss}"}) == 200
    assert statuses(alice.calls()) == CLOSED
    assert statuses(alice.logins()) == LOGINS_WHILE_CLOSED
    assert alice.status("POST", "/ktra/api/v1/login/alice", {}, {"password": PASSWORD}) == 401
    server.manage("unbanuser", "alice")
    assert (statuses(alice.calls()), statuses(alice.logins())) == (OPEN, LOGINS_WHILE_OPEN)


def test_deactivation_is_enforced_in_every_dialect(server: Server, alice: Visitor) -> None:
    update_alice(server, "is_active = False")
    assert statuses(alice.calls()) == CLOSED
    update_alice(server, "is_active = True")
    assert statuses(alice.calls()) == OPEN


def test_networks_are_enforced_in_every_dialect(server: Server, alice: Visitor) -> None:
    update_alice(server, "allowed_networks = '192.0.2.0/24'")
    assert statuses(alice.calls()) == CLOSED
    update_alice(server, "allowed_networks = '127.0.0.0/8'")
    assert statuses(alice.calls()) == OPEN
