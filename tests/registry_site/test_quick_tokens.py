"""Answers from a worker's memory to requests with a token, where reading needs one."""

from http import HTTPStatus
from urllib.request import Request, urlopen

import pytest

from crates.names import index_path
from tests.support.concurrency import wait_until
from tests.support.mirror_store import query
from tests.support.raw_requests import LOCAL, OWN_LINES, SETTINGS, exchange, get, head, publish, quick_answers
from tests.support.servers import Server

pytestmark = pytest.mark.long

SERVER_SETTINGS = {**SETTINGS, "REGISTRY_AUTH_REQUIRED": "1", "REGISTRY_TRUSTED_PROXIES": "127.0.0.1"}
SERDE = f"/index/{index_path('serde')}"


@pytest.fixture(scope="module")
def publisher(server: Server) -> str:
    """The token of an account that has published a crate."""
    token = server.sign_up("alice")
    publish(server, token, "serde")
    return token


@pytest.fixture
def token(server: Server, publisher: str, request: pytest.FixtureRequest) -> str:
    """The token of an account of its own, which has answers from memory."""
    token = server.sign_up(request.node.name.removeprefix("test_").replace("_", "-")[:39].rstrip("-"))
    wait_until(lambda: answers_quickly(server, token))
    return token


def status_of(server: Server, *lines: str) -> HTTPStatus:
    return HTTPStatus(int(get(server, SERDE, *lines)[0].split()[1]))


def answers_quickly(server: Server, *tokens: str) -> bool:
    before = quick_answers(server)
    statuses = [status_of(server, f"Authorization: {token}") for token in tokens]
    return statuses == [HTTPStatus.OK] * len(tokens) and quick_answers(server) - before == len(tokens)


def test_token_gets_the_same_bytes_from_memory(server: Server, token: str) -> None:
    for lines in ([], [f"Authorization: {token}"], [f"Authorization: Bearer {token}"], ["Authorization: "]):
        requests = [head(SERDE, LOCAL, *lines, *more, "Connection: close") for more in ([], [], ["X-Ordinary: 1"])]
        assert len({OWN_LINES.sub(b"", exchange(server, request)) for request in requests}) == 1


def test_answer_serves_every_token_that_was_let_in(server: Server, publisher: str, token: str) -> None:
    wait_until(lambda: answers_quickly(server, publisher))
    assert answers_quickly(server, token, publisher)


def test_revoked_token_is_refused_at_once(server: Server, token: str) -> None:
    url = f"{server.url}/api/v1/me/tokens"
    with urlopen(Request(url, headers={"Authorization": token})) as response:
        key = int(response.read().split(b'"id":')[1].split(b",")[0])
    urlopen(Request(f"{url}/{key}", headers={"Authorization": token}, method="DELETE")).close()
    assert status_of(server, f"Authorization: {token}") == HTTPStatus.UNAUTHORIZED


def test_token_ends_by_time(server: Server, token: str) -> None:
    owner = "(SELECT id FROM accounts_user WHERE username = 'token-ends-by-time')"
    end = (
        "now() + interval '300 ms'"
        if "REGISTRY_DATABASE_URL" in server.environment
        else ("strftime('%Y-%m-%d %H:%M:%f', 'now', '+0.3 seconds')")
    )
    query(server, f"UPDATE accounts_credential SET expires_at = {end} WHERE user_id = {owner}")
    wait_until(lambda: status_of(server, f"Authorization: {token}") == HTTPStatus.UNAUTHORIZED)


def test_token_counts_from_allowed_networks_alone(server: Server, token: str) -> None:
    query(server, "UPDATE accounts_user SET allowed_networks = '192.0.2.0/24' WHERE username LIKE 'token-counts-from%'")
    lines = f"Authorization: {token}", "X-Forwarded-For: 192.0.2.1"
    wait_until(lambda: [status_of(server, *lines) for _ in range(3)] == [HTTPStatus.OK] * 3)
    assert status_of(server, lines[0], "X-Forwarded-For: 198.51.100.1") == HTTPStatus.UNAUTHORIZED
