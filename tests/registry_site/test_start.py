"""`manage.py serve`, as a user starts it: once on nothing, and then again on what it left."""

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


@dataclass
class Started:
    """A server on its second start, and what each of the two starts said."""

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


# --- What is said ------------------------------------------------------------------------------------------------


def test_first_start_shows_the_administrator(started: Started) -> None:
    assert started.first.count("The first administrator (shown only now):\n  name      admin\n  password  ") == 1
    assert f"  admin     {started.server.url}/admin/\n" in started.first


def test_first_password_cannot_be_guessed(started: Started) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{20}", started.password)


def test_first_start_sets_the_database_up(started: Started) -> None:
    assert started.first.count("Setting up the database …") == 1


def test_second_start_sets_nothing_up(started: Started) -> None:
    said = started.second.casefold()
    assert not any(word in said for word in ("password", "administrator", "setting up", "created"))
    assert started.password not in started.second


@pytest.mark.parametrize("which", ["first", "second"])
def test_each_start_shows_what_to_paste_once(started: Started, which: str) -> None:
    said: str = getattr(started, which)
    assert said.count("Put this into .cargo/config.toml:") == 1
    assert said.count(f'[registries.entrepot]\nindex = "sparse+{started.server.url}/index/"\n') == 1
    assert said.count(f"Serving {started.server.url} on 127.0.0.1:{started.server.port} …") == 1


@pytest.mark.parametrize("which", ["first", "second"])
def test_each_start_points_out_a_misspelt_variable(started: Started, which: str) -> None:
    said: str = getattr(started, which)
    assert said.count("REGISTRY_WROKERS is no setting of this version and has no effect.") == 1


@pytest.mark.parametrize("which", ["first", "second"])
def test_start_is_quiet_about_errors(started: Started, which: str) -> None:
    said: str = getattr(started, which)
    assert not re.search(r"Traceback|\[ERROR\]|Warning", said)


def test_key_is_kept_for_its_owner_alone(started: Started) -> None:
    assert (started.server.data / "secret_key").stat().st_mode & 0o777 == 0o600


# --- Who gets in -------------------------------------------------------------------------------------------------


class Browser:
    """Keeps cookies and follows redirects, as a person's does."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.cookies = CookieJar()
        self.opener = build_opener(HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> tuple[str, str]:
        with self.opener.open(self.url + path, timeout=10) as answer:
            return answer.geturl().removeprefix(self.url), answer.read().decode()

    def log_in(self, name: str, password: str) -> tuple[str, str]:
        """Where the person is afterwards, and what they see."""
        _, form = self.get("/admin/login/?next=/admin/")
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        fields = {"csrfmiddlewaretoken": token, "username": name, "password": password, "next": "/admin/"}
        with self.opener.open(self.url + "/admin/login/", urlencode(fields).encode(), timeout=10) as answer:
            return answer.geturl().removeprefix(self.url), answer.read().decode()


def test_shown_password_opens_the_admin_site(started: Started) -> None:
    path, page = Browser(started.server).log_in("admin", started.password)
    assert path == "/admin/"
    assert "Log out" in page


def test_other_password_does_not_open_the_admin_site(started: Started) -> None:
    path, page = Browser(started.server).log_in("admin", started.password + "x")
    assert path == "/admin/login/"
    assert "Please enter the correct" in page


def test_session_cookie_is_out_of_the_reach_of_scripts(started: Started) -> None:
    browser = Browser(started.server)
    browser.log_in("admin", started.password)
    (cookie,) = [cookie for cookie in browser.cookies if cookie.name == "registry_session"]
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "Lax"


def test_operator_bans_and_unbans_beside_the_running_server(started: Started) -> None:
    token, statuses = started.server.sign_up("guest"), []
    for command in ("banuser", "unbanuser"):
        started.server.manage(command, "guest")
        statuses += [ask(started.server, token).status for _ in range(10)]  # both workers
    assert statuses == [401] * 10 + [404] * 10


# --- What only a real server can show ----------------------------------------------------------------------------


def ask(server: Server, *authorization: str) -> HTTPResponse:
    """Ask for the owners of no crate, with so many `Authorization` headers; the answer is read."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.putrequest("GET", "/api/v1/crates/none/owners")
        for value in authorization:
            connection.putheader("Authorization", value.encode())
        connection.endheaders()
        answer = connection.getresponse()
        answer.read()
        return answer
    finally:
        connection.close()


@pytest.fixture(scope="module")
def token(started: Started) -> str:
    return started.server.sign_up("holder")


def test_one_authorization_is_taken(started: Started, token: str) -> None:
    assert ask(started.server, token).status == 404


@pytest.mark.parametrize("headers", [("{}", "{}"), ("{}", "x"), ("x", "{}"), ("Bearer {}", "{}"), ("{}", "")])
def test_neither_of_two_authorizations_is_taken(started: Started, token: str, headers: tuple[str, ...]) -> None:
    assert ask(started.server, *(header.format(token) for header in headers)).status == 401


@pytest.mark.parametrize(("length", "status"), [(9 * 1024, 401), (15 * 1024, 401), (20 * 1024, 431)])
def test_long_authorization_is_refused(started: Started, token: str, length: int, status: int) -> None:
    assert ask(started.server, token + "a" * length).status == status


def test_authorization_that_is_not_ascii_is_refused(started: Started, token: str) -> None:
    assert ask(started.server, token + "ä€").status == 401


def test_log_holds_no_secret(started: Started, token: str) -> None:
    ask(started.server, token)
    ask(started.server, token + "a" * 20_000)
    Browser(started.server).log_in("admin", started.password)
    log = started.server.log.read_text().removeprefix(started.first)
    assert not any(secret in log for secret in (token, token[5:], started.password, PASSWORD))


# --- A start that fails ------------------------------------------------------------------------------------------


def test_database_that_is_none_stops_the_start_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "registry.sqlite3").write_text("This is no database. " * 100)
    server = Server(tmp_path / "data", {})
    with pytest.raises(AssertionError, match="The server ended"):
        server.start()
    (line,) = server.log.read_text().splitlines()
    assert line == "CommandError: The database cannot be used: file is not a database"


@pytest.mark.django_db
def test_user_of_the_administrators_name_does_not_stop_the_start() -> None:
    registration.register("admin", PASSWORD)
    Command().create_first_administrator()
    assert not User.objects.get(username="admin").is_superuser
