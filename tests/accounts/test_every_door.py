"""One account through all doors of a live server: banned, it is refused at each; unbanned, it is let in again."""

import base64
import hashlib
import hmac
import http.cookiejar
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from tests.support.servers import PASSWORD, Server, running

JSON = {"Content-Type": "application/json"}
Door = Callable[[], int]  # gives the status of a request that only who is let in may make


class Visitor:
    """alice, who has logged in at every door of one server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.browser = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.cargo_token = self.json("POST", "/ktra/api/v1/login/alice", {"password": PASSWORD})["token"]
        self.backups = self.json("POST", "/api/stable/auth/login", {"username": "alice", "password": PASSWORD})["data"]
        self.torrust = self.json("POST", "/v1/user/login", {"login": "alice", "password": PASSWORD})["data"]["token"]
        self.json("POST", "/login", {"username": "alice", "password": PASSWORD}, browser=self.browser)
        self.key = self.json("POST", "/settings/appids", {"type": "ALL"}, browser=self.browser)
        self.staff = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
        self.log_in_to_the_admin_site()

    def doors(self) -> dict[str, Door]:
        bearer = {"Authorization": f"Bearer {self.backups['token']}"}
        token = {"token": self.torrust}
        profile: dict[str, Any] = {"avatar_uri": ""}
        return {
            "cargo token": lambda: self.status("GET", "/api/v1/crates/x/owners", {"Authorization": self.cargo_token}),
            "backups session": lambda: self.status("GET", "/api/stable/auth/whoami", bearer),
            "torrust session": lambda: self.status("POST", "/v1/user/token/verify", {}, token),
            "torrust renewal": lambda: self.status("POST", "/v1/user/token/renew", {}, token),
            "cookie": lambda: self.status("PATCH", "/settings/profile", {}, profile, self.browser),
            "app key": lambda: self.status("GET", "/settings/appids", {"Token": self.signed(b"")}),
            "admin site": lambda: self.status("GET", "/admin/password_change/", {}, None, self.staff),
        }

    def passwords(self) -> dict[str, Door]:
        """What only a password opens. Ktra's is not among them while alice is let in: it would end her token."""
        named = {"username": "alice", "password": PASSWORD}
        fresh = build_opener(HTTPCookieProcessor(http.cookiejar.CookieJar()))
        return {
            "backups": lambda: self.status("POST", "/api/stable/auth/login", {}, named),
            "torrust": lambda: self.status("POST", "/v1/user/login", {}, {"login": "alice", "password": PASSWORD}),
            "yapkg": lambda: self.status("POST", "/login", {}, named, fresh),
        }

    def signed(self, body: bytes) -> str:
        parts = [base64.urlsafe_b64encode(part).decode() for part in (str(int(time.time())).encode(),)]
        parts += [base64.urlsafe_b64encode(part).decode() for part in (secrets.token_bytes(16), body)]
        signature = hmac.digest(self.key["appsecret"].encode(), ":".join(parts).encode(), hashlib.sha1)
        return ":".join([self.key["appid"], base64.urlsafe_b64encode(signature).decode(), *parts])

    def log_in_to_the_admin_site(self) -> None:
        page = f"{self.server.url}/admin/login/"
        text = self.staff.open(page).read().decode()
        csrf = text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        form = {"username": "alice", "password": PASSWORD, "csrfmiddlewaretoken": csrf, "next": "/admin/"}
        self.staff.open(Request(page, urlencode(form).encode(), {"Referer": page}))

    def status(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        body: Any = None,
        browser: OpenerDirector | None = None,
    ) -> int:
        """302 is the admin's way to say that one has to log in."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.server.url + path, data, {**JSON, "Origin": self.server.url, **headers}, method=method)
        try:
            with (browser or build_opener()).open(request) as answer:
                return int(answer.status) if answer.url == request.full_url else 302
        except HTTPError as error:
            with error:
                return error.code

    def json(self, method: str, path: str, body: Any, browser: OpenerDirector | None = None) -> Any:
        headers = {**JSON, "Origin": self.server.url}
        request = Request(self.server.url + path, json.dumps(body).encode(), headers, method=method)
        with (browser or build_opener()).open(request) as answer:
            return json.load(answer)


OPEN = {
    "cargo token": 404,  # let in, and there is no such crate
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
LET_IN = {"backups": 200, "torrust": 200, "yapkg": 200}
KEPT_OUT = {"backups": 401, "torrust": 403, "yapkg": 401}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("doors") / "data") as server:
        server.manage("createuser", "alice", "--admin", "--password-stdin", given=PASSWORD)
        server.manage("createuser", "boss", "--admin", "--password-stdin", given=PASSWORD)
        yield server


@pytest.fixture(scope="module")
def alice(server: Server) -> Visitor:
    return Visitor(server)


def statuses(doors: dict[str, Door]) -> dict[str, int]:
    """At each door twice, so that most likely both workers have been asked."""
    answers = {name: {door() for _ in range(2)} for name, door in doors.items()}
    return {name: answer.pop() if len(answer) == 1 else -1 for name, answer in answers.items()}


def test_ban_closes_every_door_and_its_end_opens_them(server: Server, alice: Visitor) -> None:
    assert statuses(alice.doors()) == OPEN
    boss = alice.json("POST", "/v1/user/login", {"login": "boss", "password": PASSWORD})["data"]["token"]
    assert alice.status("DELETE", "/v1/user/ban/alice", {"Authorization": f"Bearer {boss}"}) == 200
    assert statuses(alice.doors()) == CLOSED
    assert statuses(alice.passwords()) == KEPT_OUT
    assert alice.status("POST", "/ktra/api/v1/login/alice", {}, {"password": PASSWORD}) == 401
    server.manage("unbanuser", "alice")
    assert (statuses(alice.doors()), statuses(alice.passwords())) == (OPEN, LET_IN)


def test_deactivation_closes_every_door(server: Server, alice: Visitor) -> None:
    switch = "from accounts.models import User; User.objects.filter(username='alice').update(is_active={})"
    server.manage("shell", "-c", switch.format(False))
    assert statuses(alice.doors()) == CLOSED
    server.manage("shell", "-c", switch.format(True))
    assert statuses(alice.doors()) == OPEN


def test_network_that_is_not_allowed_closes_every_door(server: Server, alice: Visitor) -> None:
    switch = "from accounts.models import User; User.objects.filter(username='alice').update(allowed_networks='{}')"
    server.manage("shell", "-c", switch.format("192.0.2.0/24"))
    assert statuses(alice.doors()) == CLOSED
    server.manage("shell", "-c", switch.format("127.0.0.0/8"))
    assert statuses(alice.doors()) == OPEN
