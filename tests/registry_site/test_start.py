"""`manage.py serve`, started on an empty directory, and then a second time."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest

from accounts import registration
from accounts.models import User
from registry_site.management.commands.serve import Command
from tests.support.cast import PASSWORD
from tests.support.servers import Server, running_from_nothing

pytestmark = pytest.mark.long


@dataclass
class Started:
    """A server on its second start, with the output of both starts."""

    server: Server
    first: str
    second: str

    @property
    def password(self) -> str:
        (password,) = re.findall(r"^  password  (\S+)$", self.first, re.MULTILINE)
        return str(password)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with running_from_nothing(tmp_path_factory.mktemp("start") / "data", REGISTRY_WROKERS="2") as server:
        first = server.log.read_text()
        server.stop()
        stopped = server.log.read_text()
        server.start()
        yield Started(server, first, server.log.read_text().removeprefix(stopped))


# --- Output ------------------------------------------------------------------------------------------------------


def test_first_start_shows_the_administrator(started: Started) -> None:
    assert started.first.count("The first administrator (shown only now):\n  name      admin\n  password  ") == 1
    assert f"  admin     {started.server.url}/admin/\n" in started.first


def test_first_password_cannot_be_guessed(started: Started) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{20}", started.password)


def test_first_start_sets_up_the_database(started: Started) -> None:
    assert started.first.count("Setting up the database …") == 1


def test_second_start_sets_nothing_up(started: Started) -> None:
    output = started.second.casefold()
    assert not any(word in output for word in ("password", "administrator", "setting up", "created"))
    assert started.password not in started.second


def test_each_start_shows_the_configuration_once(started: Started) -> None:
    for output in (started.first, started.second):
        assert output.count("Put this into .cargo/config.toml:") == 1
        assert output.count(f'[registries.entrepot]\nindex = "sparse+{started.server.url}/index/"\n') == 1
        assert output.count(f"Serving {started.server.url} on 127.0.0.1:{started.server.port} …") == 1


def test_each_start_points_out_misspelt_variables(started: Started) -> None:
    for output in (started.first, started.second):
        assert output.count("REGISTRY_WROKERS is no setting of this version and has no effect.") == 1


def test_no_start_logs_errors(started: Started) -> None:
    for output in (started.first, started.second):
        assert not re.search(r"Traceback|\[ERROR\]|Warning", output)


def test_key_is_for_its_owner_alone(started: Started) -> None:
    assert (started.server.data / "secret_key").stat().st_mode & 0o777 == 0o600


# --- Signing in --------------------------------------------------------------------------------------------------


class Browser:
    """Keeps cookies and follows redirects, as a person's does."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.cookies = CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> tuple[str, str]:
        with self.opener.open(self.url + path, timeout=60) as response:
            return response.geturl().removeprefix(self.url), response.read().decode()

    def log_in(self, name: str, password: str) -> tuple[str, str]:
        """Return the path and the page after the log-in."""
        _, form = self.get("/admin/login/?next=/admin/")
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        fields = {"csrfmiddlewaretoken": token, "username": name, "password": password, "next": "/admin/"}
        with self.opener.open(self.url + "/admin/login/", urlencode(fields).encode(), timeout=60) as response:
            return response.geturl().removeprefix(self.url), response.read().decode()


def test_shown_password_opens_the_admin_site(started: Started) -> None:
    path, page = Browser(started.server).log_in("admin", started.password)
    assert path == "/admin/"
    assert "Log out" in page


def test_other_password_does_not_open_the_admin_site(started: Started) -> None:
    path, page = Browser(started.server).log_in("admin", started.password + "x")
    assert path == "/admin/login/"
    assert "Please enter the correct" in page


def test_session_cookie_is_hidden_from_scripts(started: Started) -> None:
    browser = Browser(started.server)
    browser.log_in("admin", started.password)
    (cookie,) = [cookie for cookie in browser.cookies if cookie.name == "registry_session"]
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"


def test_operator_bans_beside_the_running_server(started: Started) -> None:
    token, statuses = started.server.sign_up("guest"), []
    for command in ("banuser", "unbanuser"):
        started.server.manage(command, "guest")
        statuses += [request_owners(started.server, token).status for _ in range(10)]  # both workers
    assert statuses == [401] * 10 + [404] * 10


# --- Headers, as only a real server reads them -------------------------------------------------------------------


def request_owners(server: Server, *authorization: str) -> HTTPResponse:
    """Request the owners of a missing crate with these `Authorization` headers, and read the response."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.putrequest("GET", "/api/v1/crates/none/owners")
        for value in authorization:
            connection.putheader("Authorization", value.encode())
        connection.endheaders()
        response = connection.getresponse()
        response.read()
        return response
    finally:
        connection.close()


@pytest.fixture(scope="module")
def token(started: Started) -> str:
    return started.server.sign_up("token-owner")


def test_one_authorization_header_is_accepted(started: Started, token: str) -> None:
    assert request_owners(started.server, token).status == 404


def test_two_authorization_headers_are_refused(started: Started, token: str) -> None:
    for headers in (("{}", "{}"), ("{}", "x"), ("x", "{}"), ("Bearer {}", "{}"), ("{}", "")):
        assert request_owners(started.server, *(header.format(token) for header in headers)).status == 401


def test_long_authorization_header_is_refused(started: Started, token: str) -> None:
    expected = {9 * 1024: 401, 15 * 1024: 401, 20 * 1024: 431}
    assert {size: request_owners(started.server, token + "a" * size).status for size in expected} == expected


def test_authorization_that_is_not_ascii_is_refused(started: Started, token: str) -> None:
    assert request_owners(started.server, token + "ä€").status == 401


def test_log_holds_no_secret(started: Started, token: str) -> None:
    request_owners(started.server, token)
    request_owners(started.server, token + "a" * 20_000)
    Browser(started.server).log_in("admin", started.password)
    log = started.server.log.read_text().removeprefix(started.first)
    assert not any(secret in log for secret in (token, token[5:], started.password, PASSWORD))


# --- Failing starts ----------------------------------------------------------------------------------------------


def test_broken_database_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.sqlite3").write_text("This is no database. " * 100)
    server = Server(tmp_path / "data", {})
    with pytest.raises(AssertionError, match="The server ended"):
        server.start()
    (line,) = server.log.read_text().splitlines()
    assert line == "CommandError: The database cannot be used: file is not a database"


@pytest.mark.django_db
def test_user_named_admin_is_not_promoted() -> None:
    registration.register("admin", PASSWORD)
    Command().create_first_administrator()
    assert not User.objects.get(username="admin").is_superuser
