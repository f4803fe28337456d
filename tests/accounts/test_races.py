"""Concurrent log-ins, registrations and changes of passwords on a real server."""

from functools import partial

import pytest

from tests.support.authenticator_apps import PhoneApp
from tests.support.concurrency import count_statuses, post_to_ktra, run_concurrently, send_json
from tests.support.servers import Server

pytestmark = pytest.mark.long

RACERS = 20
# Three eighths of a worker's threads may hash for one address: enough for all racers at one worker.
SERVER_SETTINGS = {"REGISTRY_THREADS": "256"}
PASSWORD = "correct horse"


def list_valid(server: Server, tokens: list[str]) -> list[str]:
    path = "/api/v1/crates/none/owners"
    return [token for token in tokens if send_json(server, "GET", path, token=token).status == 404]


def test_many_logins_leave_one_token(server: Server) -> None:
    post_to_ktra(server, "new_user", "alice", password=PASSWORD)
    responses = run_concurrently([partial(post_to_ktra, server, "login", "alice", password=PASSWORD)] * RACERS)
    assert count_statuses(responses) == {200: RACERS}
    assert len(list_valid(server, [response.token for response in responses])) == 1


def test_one_of_many_password_changes_succeeds(server: Server) -> None:
    before = post_to_ktra(server, "new_user", "bob", password=PASSWORD).token
    change = partial(post_to_ktra, server, "change_password", "bob", old_password=PASSWORD)
    responses = run_concurrently([partial(change, new_password=f"secret {n}") for n in range(RACERS)])
    assert count_statuses(responses)[200] == 1
    assert set(count_statuses(responses)) <= {200, 401, 429}  # too many that are wrong by then are guesses
    (winner,) = [n for n, response in enumerate(responses) if response.status == 200]
    assert list_valid(server, [before, responses[winner].token]) == [responses[winner].token]


def test_logins_beside_a_password_change_leave_one_token(server: Server) -> None:
    post_to_ktra(server, "new_user", "charlie", password=PASSWORD)
    change = partial(post_to_ktra, server, "change_password", "charlie", old_password=PASSWORD, new_password="secret")
    responses = run_concurrently([change, *[partial(post_to_ktra, server, "login", "charlie", password=PASSWORD)] * 19])
    assert responses[0].status == 200
    assert set(count_statuses(responses)) <= {200, 401, 429}
    # A login that was proven by the old password must not outlive it.
    tokens = [response.token for response in responses if response.status == 200]
    assert list_valid(server, tokens) == [responses[0].token]


def test_one_of_many_registrations_gets_a_name(server: Server) -> None:
    names = ["dora", "DORA", "Dora", "dORA", "doRa"] * (RACERS // 5)
    responses = run_concurrently([partial(post_to_ktra, server, "new_user", name, password=PASSWORD) for name in names])
    assert count_statuses(responses) == {200: 1, 409: RACERS - 1}
    refusals = {response.body["errors"][0]["detail"] for response in responses if response.status == 409}
    # The second sentence is for those who looked before the winner's commit, and came after it.
    sentences = (
        "the user identified 'ktra-secure-auth:{}' already exists",
        "The name '{}' is taken by a namespace or a user.",
    )
    assert refusals <= {sentence.format(name) for sentence in sentences for name in names}


def test_one_of_many_look_alikes_gets_a_name(server: Server) -> None:
    names = ["erin.lo", "erin-lo", "ERIN_LO", "er1n.1o", "erin--l0"] * (RACERS // 5)
    responses = run_concurrently([partial(post_to_ktra, server, "new_user", name, password=PASSWORD) for name in names])
    assert count_statuses(responses) == {200: 1, 409: RACERS - 1}


def test_concurrent_registrations_all_succeed(server: Server) -> None:
    responses = run_concurrently(
        [partial(post_to_ktra, server, "new_user", f"user-{n}", password=PASSWORD) for n in range(20)]
    )
    assert count_statuses(responses) == {200: 20}
    assert len({response.token for response in responses}) == 20


ADD_APP = """
from accounts.models import Authenticator, User
from tests.support.authenticator_apps import add_app
app, codes = add_app(User.objects.get(username={name!r}))
print(app.secret, codes[0])
"""


def test_one_of_many_uses_of_a_code_succeeds(server: Server) -> None:
    post_to_ktra(server, "new_user", "gina", password=PASSWORD)
    secret, recovery_code = server.manage("shell", "--no-imports", "-c", ADD_APP.format(name="gina")).split()
    # Each wrong code counts as a failed log-in: after the fifth racer the others may wait.
    for code in (recovery_code, PhoneApp(secret).code()):
        log_in = partial(
            send_json, server, "POST", "/ktra/api/v1/login/gina", {"password": PASSWORD}, headers={"X-OTP": code}
        )
        responses = run_concurrently([log_in] * 5)
        assert count_statuses(responses) == {200: 1, 401: 4}


def test_guesses_at_once_get_no_more_answers(server: Server) -> None:
    post_to_ktra(server, "new_user", "hugo", password=PASSWORD)
    secret, _ = server.manage("shell", "--no-imports", "-c", ADD_APP.format(name="hugo")).split()
    guess = partial(
        send_json,
        server,
        "POST",
        "/ktra/api/v1/login/hugo",
        {"password": PASSWORD},
        headers={"X-OTP": PhoneApp(secret).wrong_code()},
    )
    statuses = count_statuses(run_concurrently([guess] * RACERS))
    assert set(statuses) <= {401, 429}
    assert statuses[401] <= 10  # REGISTRY_MAX_LOGIN_FAILURES
