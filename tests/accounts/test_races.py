"""Many at once, against a real server: every answer is one, and what is left is one of the answers."""

import json
from functools import partial

from tests.support.concurrency import count_statuses, post_to_ktra, run_concurrently, send_json
from tests.support.servers import Server

RACERS = 50
PASSWORD = "correct horse"


def good(server: Server, tokens: list[str]) -> list[str]:
    """Those that are good now."""
    path = "/api/v1/crates/none/owners"
    return [token for token in tokens if send_json(server, "GET", path, token=token).status == 404]


def test_many_logins_leave_one_token(server: Server) -> None:
    post_to_ktra(server, "new_user", "alice", password=PASSWORD)
    answers = run_concurrently([partial(post_to_ktra, server, "login", "alice", password=PASSWORD)] * RACERS)
    assert count_statuses(answers) == {200: RACERS}
    assert len(good(server, [answer.token for answer in answers])) == 1


def test_many_changes_of_a_password_are_one(server: Server) -> None:
    before = post_to_ktra(server, "new_user", "bob", password=PASSWORD).token
    change = partial(post_to_ktra, server, "change_password", "bob", old_password=PASSWORD)
    answers = run_concurrently([partial(change, new_password=f"secret {n}") for n in range(RACERS)])
    assert count_statuses(answers)[200] == 1
    assert set(count_statuses(answers)) <= {200, 401, 429}  # too many that are wrong by then are guesses
    (winner,) = [n for n, answer in enumerate(answers) if answer.status == 200]
    assert good(server, [before, answers[winner].token]) == [answers[winner].token]


def test_logins_beside_a_change_of_password_leave_one_token(server: Server) -> None:
    post_to_ktra(server, "new_user", "charlie", password=PASSWORD)
    change = partial(post_to_ktra, server, "change_password", "charlie", old_password=PASSWORD, new_password="secret")
    answers = run_concurrently([change, *[partial(post_to_ktra, server, "login", "charlie", password=PASSWORD)] * 19])
    assert answers[0].status == 200
    assert set(count_statuses(answers)) <= {200, 401, 429}
    # A login that was proven by the old password must not outlive it.
    assert good(server, [answer.token for answer in answers if answer.status == 200]) == [answers[0].token]


def test_one_of_many_takes_a_new_name(server: Server) -> None:
    names = ["dora", "DORA", "Dora", "dORA", "doRa"] * (RACERS // 5)
    answers = run_concurrently([partial(post_to_ktra, server, "new_user", name, password=PASSWORD) for name in names])
    assert count_statuses(answers) == {200: 1, 409: RACERS - 1}
    told = {json.dumps(answer.body) for answer in answers if answer.status == 409}
    assert told == {
        json.dumps({"errors": [{"detail": f"the user identified 'ktra-secure-auth:{name}' already exists"}]})
        for name in set(names)
    }


def test_new_names_at_once_are_all_taken(server: Server) -> None:
    answers = run_concurrently(
        [partial(post_to_ktra, server, "new_user", f"user-{n}", password=PASSWORD) for n in range(20)]
    )
    assert count_statuses(answers) == {200: 20}
    assert len({answer.token for answer in answers}) == 20
