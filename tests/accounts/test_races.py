"""Many at once, against a real server: every answer is one, and what is left is one of the answers."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection
from threading import Barrier
from typing import Any

import pytest

from tests.support.servers import Server, running

RACERS = 50
PASSWORD = "correct horse"


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any]

    @property
    def token(self) -> str:
        return str(self.body["token"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("races") / "data") as server:
        yield server


def request(server: Server, method: str, path: str, body: Any = None, token: str = "") -> Answer:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
    try:
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return Answer(answer.status, json.loads(answer.read()))
    finally:
        connection.close()


def ktra(server: Server, action: str, name: str, **body: str) -> Answer:
    return request(server, "POST", f"/ktra/api/v1/{action}/{name}", body)


def at_once(racers: list[partial[Answer]]) -> list[Answer]:
    """All start when the last is ready."""
    barrier = Barrier(len(racers))

    def race(racer: partial[Answer]) -> Answer:
        barrier.wait()
        return racer()

    with ThreadPoolExecutor(len(racers)) as pool:
        return list(pool.map(race, racers))


def statuses(answers: list[Answer]) -> dict[int, int]:
    return dict(Counter(answer.status for answer in answers))


def good(server: Server, tokens: list[str]) -> list[str]:
    """Those that are good now."""
    path = "/api/v1/crates/none/owners"
    return [token for token in tokens if request(server, "GET", path, token=token).status == 404]


def test_many_logins_leave_one_token(server: Server) -> None:
    ktra(server, "new_user", "alice", password=PASSWORD)
    answers = at_once([partial(ktra, server, "login", "alice", password=PASSWORD)] * RACERS)
    assert statuses(answers) == {200: RACERS}
    assert len(good(server, [answer.token for answer in answers])) == 1


def test_many_changes_of_a_password_are_one(server: Server) -> None:
    before = ktra(server, "new_user", "bob", password=PASSWORD).token
    change = partial(ktra, server, "change_password", "bob", old_password=PASSWORD)
    answers = at_once([partial(change, new_password=f"secret {n}") for n in range(RACERS)])
    assert statuses(answers)[200] == 1
    assert set(statuses(answers)) <= {200, 401, 429}  # too many that are wrong by then are guesses
    (winner,) = [n for n, answer in enumerate(answers) if answer.status == 200]
    assert good(server, [before, answers[winner].token]) == [answers[winner].token]


def test_logins_beside_a_change_of_password_leave_one_token(server: Server) -> None:
    ktra(server, "new_user", "charlie", password=PASSWORD)
    change = partial(ktra, server, "change_password", "charlie", old_password=PASSWORD, new_password="secret")
    answers = at_once([change, *[partial(ktra, server, "login", "charlie", password=PASSWORD)] * 19])
    assert answers[0].status == 200
    assert set(statuses(answers)) <= {200, 401, 429}
    # A login that was proven by the old password must not outlive it.
    assert good(server, [answer.token for answer in answers if answer.status == 200]) == [answers[0].token]


def test_one_of_many_takes_a_new_name(server: Server) -> None:
    names = ["dora", "DORA", "Dora", "dORA", "doRa"] * (RACERS // 5)
    answers = at_once([partial(ktra, server, "new_user", name, password=PASSWORD) for name in names])
    assert statuses(answers) == {200: 1, 409: RACERS - 1}
    told = {json.dumps(answer.body) for answer in answers if answer.status == 409}
    assert told == {
        json.dumps({"errors": [{"detail": f"the user identified 'ktra-secure-auth:{name}' already exists"}]})
        for name in set(names)
    }


def test_new_names_at_once_are_all_taken(server: Server) -> None:
    answers = at_once([partial(ktra, server, "new_user", f"user-{n}", password=PASSWORD) for n in range(20)])
    assert statuses(answers) == {200: 20}
    assert len({answer.token for answer in answers}) == 20
