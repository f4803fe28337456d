"""Guessing passwords: how often one may be wrong, from where, at which account, and what one is told then."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from threading import Barrier
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import Credential, LoginFailure, User
from registry_site.http import client_address
from tests.support.cast import PASSWORD
from tests.support.servers import Server, running

WRONG = "not the password"
LIMIT = 3
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MESSAGE = "Too many failed log-ins; wait 901 seconds before the next."
HERE, THERE = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = LIMIT


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that it takes as long to wait for each."""
    monkeypatch.setattr(timezone, "now", lambda: NOW)


CLIENT = Client(raise_request_exception=False)
DOORS = {
    "ktra": ("/ktra/api/v1/login/{name}", ("password",)),
    "backups": ("/api/stable/auth/login", ("username", "password")),
    "torrust": ("/v1/user/login", ("login", "password")),
    "yapkg": ("/login", ("username", "password")),
}
REFUSALS = {
    "ktra": {"errors": [{"detail": MESSAGE}]},
    "backups": {"status": False, "error": MESSAGE, "message": MESSAGE, "code": 429, "data": {}},
    "torrust": {"error": MESSAGE},
    "yapkg": {"error": "too_many", "message": MESSAGE},
}
REFUSED = {"ktra": 401, "backups": 401, "torrust": 403, "yapkg": 401}


def log_in(name: str, password: str = WRONG, door: str = "ktra", peer: str = HERE, **headers: str) -> Any:
    path, fields = DOORS[door]
    body = {field: password if field == "password" else name for field in fields}
    CLIENT.cookies.clear()
    return CLIENT.post(path.format(name=name), body, content_type="application/json", REMOTE_ADDR=peer, headers=headers)


def statuses(name: str, times: int, **options: str) -> list[int]:
    return [log_in(name, **options).status_code for _ in range(times)]


def fail(name: str, times: int = 1, peer: str = HERE, ago: timedelta = timedelta()) -> None:
    """As if it had been tried."""
    network = client_address.network_of(peer)
    LoginFailure.objects.bulk_create(
        [LoginFailure(name=name, peer=peer, network=network, at=timezone.now() - ago) for _ in range(times)]
    )


# --- At one account, from one peer -------------------------------------------------------------------------------


def test_so_many_failures_are_told_and_no_more(alice: User) -> None:
    assert statuses("alice", LIMIT + 2) == [401] * LIMIT + [429] * 2


def test_right_password_is_not_told_among_guesses(alice: User) -> None:
    statuses("alice", LIMIT)
    assert log_in("alice", PASSWORD).status_code == 429
    assert not Credential.objects.exists()


def test_last_failure_but_one_leaves_a_try(alice: User) -> None:
    statuses("alice", LIMIT - 1)
    assert log_in("alice", PASSWORD).status_code == 200


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("password", [WRONG, PASSWORD])
@pytest.mark.parametrize("door", DOORS)
def test_each_door_says_when_to_come_back(alice: User, door: str, password: str) -> None:
    assert statuses("alice", LIMIT, door=door) == [REFUSED[door]] * LIMIT
    LoginFailure.objects.update(at=NOW)
    response = log_in("alice", password, door)
    assert response.status_code == 429
    assert response.json() == REFUSALS[door]
    assert response["Retry-After"] == "901"


@pytest.mark.parametrize("door", DOORS)
def test_failures_at_one_door_count_at_all(alice: User, door: str) -> None:
    for other in list(DOORS)[:LIMIT]:
        log_in("alice", door=other)
    assert log_in("alice", PASSWORD, door).status_code == 429


@pytest.mark.usefixtures("frozen")
def test_page_of_the_admin_site_says_when_to_come_back(root: User) -> None:
    form = {"username": "root", "password": WRONG}
    responses = [CLIENT.post("/admin/login/", form) for _ in range(LIMIT)]
    LoginFailure.objects.update(at=NOW)
    responses += [CLIENT.post("/admin/login/", {**form, "password": password}) for password in (WRONG, PASSWORD)]
    assert [response.status_code for response in responses] == [200] * LIMIT + [429] * 2
    assert responses[-1]["Retry-After"] == "901"
    assert responses[-1]["Content-Type"].startswith("text/html")
    assert MESSAGE in responses[-1].content.decode()
    assert not Credential.objects.exists()


def test_change_of_the_password_is_a_guess_too(alice: User) -> None:
    body = {"old_password": WRONG, "new_password": "battery staple"}
    answers = [
        CLIENT.post("/ktra/api/v1/change_password/alice", body, content_type="application/json", REMOTE_ADDR=HERE)
        for _ in range(LIMIT + 1)
    ]
    assert [answer.status_code for answer in answers] == [401] * LIMIT + [429]
    assert log_in("alice", PASSWORD).status_code == 429


@pytest.mark.parametrize("name", ["ALICE", "ktra-secure-auth:alice", "alice@example.org", "Alice@Example.org"])
def test_account_is_counted_once_under_all_its_names(alice: User, name: str) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    statuses("alice", LIMIT)
    assert log_in(name, PASSWORD, "torrust").status_code == 429


@pytest.mark.parametrize("password", ["é" * 4000, "", "\t"])
def test_impossible_password_counts_too(alice: User, password: str) -> None:
    answers = [log_in("alice", password, "torrust").status_code for _ in range(LIMIT + 1)]
    assert answers == [403] * LIMIT + [429]


def test_right_password_forgives_what_was_mistyped(alice: User) -> None:
    for _ in range(3):
        assert statuses("alice", LIMIT - 1) == [401] * (LIMIT - 1)
        assert log_in("alice", PASSWORD).status_code == 200


def test_right_password_forgives_nobody_else(alice: User, bob: User) -> None:
    statuses("alice", LIMIT, peer=THERE)
    statuses("bob", LIMIT)
    assert log_in("alice", PASSWORD).status_code == 200
    assert log_in("alice", PASSWORD, peer=THERE).status_code == 429
    assert log_in("bob", PASSWORD).status_code == 429


def test_failures_of_a_quarter_of_an_hour_ago_do_not_count(alice: User) -> None:
    fail("alice", LIMIT, ago=timedelta(minutes=15))
    assert log_in("alice", PASSWORD).status_code == 200


@pytest.mark.usefixtures("frozen")
def test_wait_is_over_when_it_was_said_to_be(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    fail("alice", LIMIT, ago=timedelta(minutes=5))
    wait = timedelta(seconds=int(log_in("alice")["Retry-After"]))
    assert timedelta(minutes=10) <= wait <= timedelta(minutes=10, seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: NOW + wait)
    assert log_in("alice", PASSWORD).status_code == 200


def test_refused_attempts_make_nobody_wait_longer(alice: User) -> None:
    fail("alice", LIMIT, ago=timedelta(minutes=14))
    statuses("alice", 5)
    assert LoginFailure.objects.count() == LIMIT


# --- From elsewhere, and at other accounts -----------------------------------------------------------------------


def test_another_peer_still_gets_in(alice: User) -> None:
    statuses("alice", LIMIT + 1)
    assert log_in("alice", PASSWORD, peer=THERE).status_code == 200


def test_another_account_still_gets_in(alice: User, bob: User) -> None:
    statuses("alice", LIMIT + 1)
    assert log_in("bob", PASSWORD).status_code == 200


def test_peer_that_tries_many_accounts_is_stopped(alice: User) -> None:
    for number in range(10 * LIMIT - 1):
        fail(f"user{number}")
    assert log_in("nobody").status_code == 401
    assert log_in("somebody").status_code == 429
    assert log_in("alice", PASSWORD).status_code == 429
    assert log_in("alice", PASSWORD, peer=THERE).status_code == 200


def test_right_password_of_ones_own_does_not_free_a_peer_that_guesses(alice: User, bob: User) -> None:
    for _ in range(5 * LIMIT):
        fail("bob", 2)
        log_in("bob", PASSWORD)
    assert log_in("alice").status_code == 429


def fail_everywhere(name: str, times: int) -> None:
    for number in range(times):
        fail(name, peer=f"198.51.100.{number}")


def test_account_that_many_guess_at_refuses_strangers(alice: User) -> None:
    fail_everywhere("alice", 20 * LIMIT - 1)
    assert log_in("alice").status_code == 401
    assert log_in("alice", PASSWORD, peer=THERE).status_code == 429


@pytest.mark.parametrize("door", DOORS)
def test_account_that_many_guess_at_knows_its_owner(alice: User, door: str) -> None:
    log_in("alice", PASSWORD, door)
    fail_everywhere("alice", 20 * LIMIT)
    assert log_in("alice", PASSWORD).status_code == 200
    assert log_in("alice", PASSWORD, peer=THERE).status_code == 429


def test_known_peer_may_not_guess_either(alice: User) -> None:
    log_in("alice", PASSWORD)
    fail_everywhere("alice", 20 * LIMIT)
    assert statuses("alice", LIMIT + 1) == [401] * LIMIT + [429]


def test_peer_that_another_account_knows_is_a_stranger(alice: User, bob: User) -> None:
    log_in("bob", PASSWORD)
    fail_everywhere("alice", 20 * LIMIT)
    assert log_in("alice", PASSWORD).status_code == 429


@pytest.mark.usefixtures("frozen")
@pytest.mark.parametrize("door", DOORS)
def test_unknown_names_are_answered_as_known_ones(alice: User, door: str) -> None:
    def told(name: str) -> list[Any]:
        responses = [log_in(name, door=door) for _ in range(LIMIT)]
        LoginFailure.objects.update(at=NOW)
        responses.append(log_in(name, door=door))
        return [(r.status_code, r.content, sorted(r.headers.items())) for r in responses]

    assert told("alice") == told("nobody")
    fail_everywhere("alice", 20 * LIMIT)
    fail_everywhere("nobody", 20 * LIMIT)
    LoginFailure.objects.filter(peer=HERE).delete()
    assert told("alice") == told("nobody")


@pytest.mark.django_db
def test_unknown_name_is_counted_in_any_case() -> None:
    assert [log_in(name).status_code for name in ("nobody", "NOBODY", "Nobody", "noBody")] == [401] * 3 + [429]


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["x" * 4096, "é" * 300, "\u200b", "' OR 1=1", "a\nb"])
def test_odd_name_is_counted_too(name: str) -> None:
    assert statuses(name, LIMIT + 1, door="yapkg") == [401] * LIMIT + [429]


# --- Who the peer is ---------------------------------------------------------------------------------------------


def test_neighbours_in_a_network_of_ipv6_are_one_peer(alice: User) -> None:
    tries = [log_in("alice", peer=f"2001:db8:1:2::{number}").status_code for number in range(LIMIT)]
    assert tries == [401] * LIMIT
    assert log_in("alice", PASSWORD, peer="2001:db8:1:2:ffff::1").status_code == 429
    assert log_in("alice", PASSWORD, peer="2001:db8:1:3::1").status_code == 200


def test_owner_is_known_in_a_network_of_ipv6(alice: User) -> None:
    log_in("alice", PASSWORD, peer="2001:db8:1:2::1")
    fail_everywhere("alice", 20 * LIMIT)
    assert log_in("alice", PASSWORD, peer="2001:db8:1:2::2").status_code == 200


def test_mapped_address_is_the_address(alice: User) -> None:
    statuses("alice", LIMIT, peer=f"::ffff:{HERE}")
    assert log_in("alice", PASSWORD).status_code == 429


def test_stranger_cannot_pretend_to_be_many(alice: User) -> None:
    tries = [log_in("alice", **{"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(LIMIT + 1)]
    assert tries == [401] * LIMIT + [429]
    assert set(LoginFailure.objects.values_list("peer", flat=True)) == {HERE}


@pytest.mark.parametrize("header", ["Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Client-IP"])
def test_other_headers_count_for_nothing(alice: User, settings: Any, header: str) -> None:
    settings.TRUSTED_PROXIES = HERE
    tries = [log_in("alice", **{header: f"203.0.113.{n}"}).status_code for n in range(LIMIT + 1)]
    assert tries == [401] * LIMIT + [429]


def test_trusted_proxy_says_for_whom_it_asks(alice: User, settings: Any) -> None:
    settings.TRUSTED_PROXIES = "192.0.2.0/31"
    for number in range(LIMIT):
        log_in("alice", **{"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.7, 192.0.2.0"})
    assert log_in("alice", PASSWORD, **{"X-Forwarded-For": "198.51.100.7"}).status_code == 429
    assert log_in("alice", PASSWORD, **{"X-Forwarded-For": "198.51.100.8"}).status_code == 200


def test_socket_without_addresses_is_one_peer(alice: User) -> None:
    assert statuses("alice", LIMIT + 1, peer="") == [401] * LIMIT + [429]


# --- What staff see ----------------------------------------------------------------------------------------------


def test_failures_are_listed_without_passwords(alice: User, root: User) -> None:
    log_in("alice", "a secret of alice's")
    log_in("nobody", "a secret of nobody's", peer="2001:db8::1")
    staff = Client()
    staff.force_login(root)
    shown = staff.get("/admin/accounts/loginfailure/").content.decode()
    for text in ("alice", "nobody", HERE, "2001:db8::1"):
        assert text in shown
    assert "secret of" not in shown + repr(list(LoginFailure.objects.values()))


def test_failures_are_neither_changed_nor_deleted(root: User) -> None:
    fail("alice")
    row = LoginFailure.objects.get()
    staff = Client()
    staff.force_login(root)
    paths = ["add/", f"{row.pk}/delete/", f"{row.pk}/change/"]
    answers = [staff.post(f"/admin/accounts/loginfailure/{path}", {"post": "yes"}).status_code for path in paths]
    assert answers == [403] * 3


def test_strangers_words_are_escaped(root: User) -> None:
    fail("<script>alert(1)</script>")
    staff = Client()
    staff.force_login(root)
    assert "<script>alert" not in staff.get("/admin/accounts/loginfailure/").content.decode()


# --- At once, against a real server ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("guessing") / "data"
    with running(data, REGISTRY_WORKERS="2", REGISTRY_MAX_LOGIN_FAILURES="10") as server:
        server.sign_up("alice")
        yield server


def guess(server: Server, name: str, password: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        body = json.dumps({"username": name, "password": password})
        connection.request("POST", "/login", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Retry-After")
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_guesses_at_once_are_no_more_than_one_after_another(server: Server, name: str) -> None:
    barrier = Barrier(60)

    def race(number: int) -> int:
        barrier.wait()
        return guess(server, name, f"guess {number}")[0]

    with ThreadPoolExecutor(60) as pool:
        told = Counter(pool.map(race, range(60)))
    assert set(told) <= {401, 429}
    assert told[401] <= 10
    status, retry_after = guess(server, name, PASSWORD)
    assert status == 429
    assert 0 < int(retry_after) <= 901
