"""The share of a worker's threads that may hash passwords at the same time, and their turns."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import pytest
from django.test import Client

from accounts.models import User
from accounts.passwords import hash_turns
from accounts.passwords.hash_turns import HashTurns
from registry_site import settings as product
from registry_site.errors import TooManyRequests
from registry_site.http import client_address
from tests.support.cast import PASSWORD
from tests.support.concurrency import count_statuses, post_to_ktra, run_concurrently
from tests.support.servers import Server

SERVER_SETTINGS = {"REGISTRY_WORKERS": "1", "REGISTRY_THREADS": "4"}
THREADS = 8
LOGIN_PATHS = {
    "/ktra/api/v1/login/alice": {},
    "/api/stable/auth/login": {"username": "alice"},
    "/v1/user/login": {"login": "alice"},
    "/login": {"username": "alice"},
}


@pytest.fixture(autouse=True)
def eight_threads(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.THREADS = THREADS
    # One thread takes all turns here, so no processor may be waited for.
    monkeypatch.setattr(hash_turns, "turns", HashTurns(processors=THREADS))


@contextmanager
def hashing(*addresses: str) -> Iterator[None]:
    """Hash passwords for clients of these addresses during the block."""
    with ExitStack() as turns:
        for address in addresses:
            token = client_address._client_ip.set(address)
            turns.enter_context(hash_turns.turns.turn())
            client_address._client_ip.reset(token)
        yield


def log_in(path: str, ip: str = "192.0.2.1") -> Any:
    body = {**LOGIN_PATHS[path], "password": PASSWORD}
    return Client(raise_request_exception=False).post(path, body, "application/json", REMOTE_ADDR=ip)


@pytest.fixture
def dora(settings: Any, alice: User) -> User:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    alice.set_password(PASSWORD)
    alice.save()
    return alice


@pytest.mark.usefixtures("dora")
@pytest.mark.parametrize("path", LOGIN_PATHS)
def test_half_of_the_threads_hash(path: str) -> None:
    assert log_in(path).status_code == 200
    with hashing(*(f"198.51.100.{number}" for number in range(THREADS // 2))):
        response = log_in(path)
        assert (response.status_code, response["Retry-After"]) == (503, "1")
        assert Client().get("/health").status_code == 200
    assert log_in(path).status_code == 200


@pytest.mark.usefixtures("dora")
@pytest.mark.parametrize("path", LOGIN_PATHS)
def test_one_network_leaves_turns_to_others(path: str) -> None:
    with hashing(*["198.51.100.1"] * (THREADS * 3 // 8)):
        response = log_in(path, "198.51.100.1")
        assert (response.status_code, response["Retry-After"]) == (429, "1")
        assert log_in(path, "192.0.2.1").status_code == 200


@pytest.mark.usefixtures("db")
def test_sign_up_takes_a_turn(settings: Any) -> None:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    with hashing(*(f"198.51.100.{number}" for number in range(THREADS // 2))):
        response = Client().post("/ktra/api/v1/new_user/dora", {"password": PASSWORD}, "application/json")
    assert (response.status_code, response["Retry-After"], User.objects.count()) == (503, "1", 0)


def test_turns_leave_no_counters_behind() -> None:
    with hashing("198.51.100.1", "198.51.100.2"):
        pass
    assert not hash_turns.turns.threads
    assert not hash_turns.turns.last_turns


# --- Order of the turns --------------------------------------------------------------------------------------------


CROWD, OTHER = "198.51.100.1", "192.0.2.1"


def hash_behind_another(*addresses: str) -> tuple[list[str], int]:
    """Let one thread for each address wait behind a hash → (the order of their turns, how many were refused)."""
    turns = HashTurns(processors=1)
    order: list[str] = []

    def take_turn(address: str) -> None:
        client_address._client_ip.set(address)
        with turns.turn():
            order.append(address)

    with ThreadPoolExecutor(len(addresses)) as pool, turns.turn():
        attempts: list[Future[None]] = []
        for address in addresses:
            attempts.append(pool.submit(take_turn, address))
            wait_until_queued(turns, attempts)
    refusals = [attempt.exception() for attempt in attempts if attempt.exception()]
    assert all(isinstance(refusal, TooManyRequests) for refusal in refusals)
    return order, len(refusals)


def wait_until_queued(turns: HashTurns, attempts: list[Future[None]]) -> None:
    deadline = time.monotonic() + 60
    while len(turns.waiting) + sum(attempt.done() for attempt in attempts) < len(attempts):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_networks_take_turns() -> None:
    assert hash_behind_another(CROWD, CROWD, OTHER) == ([CROWD, OTHER, CROWD], 0)


def test_crowd_makes_room_for_others() -> None:
    assert hash_behind_another(CROWD, CROWD, CROWD, OTHER) == ([CROWD, OTHER, CROWD], 1)


# --- A running server ----------------------------------------------------------------------------------------------


def test_refused_sign_ups_succeed_later(server: Server) -> None:
    sign_ups = [partial(post_to_ktra, server, "new_user", f"user-{n}", password=PASSWORD) for n in range(20)]
    responses = run_concurrently(sign_ups)
    assert {200} <= set(count_statuses(responses)) <= {200, 429}  # one thread of two may hash for one address
    refused = [call for call, response in zip(sign_ups, responses, strict=True) if response.status == 429]
    assert [call().status for call in refused] == [200] * len(refused)
