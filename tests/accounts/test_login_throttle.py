"""The limit of failed log-ins: per account and client, its attempts, and concurrent guesses."""

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
from accounts.passwords import login
from registry_site.http import client_address
from tests.support.cast import PASSWORD
from tests.support.headers import comparable_headers
from tests.support.servers import Server, running

WRONG_PASSWORD = "not the password"
LIMIT = 3
FROZEN_NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
MESSAGE = "Too many failed log-ins; wait 901 seconds before the next."
CLIENT_IP, OTHER_IP = "192.0.2.1", "192.0.2.2"


@pytest.fixture(autouse=True)
def limit(settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = LIMIT


@pytest.fixture
def frozen_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop the clock, so that every `Retry-After` is the same."""
    monkeypatch.setattr(timezone, "now", lambda: FROZEN_NOW)


CLIENT = Client(raise_request_exception=False)
LOGIN_PATHS = {
    "ktra": ("/ktra/api/v1/login/{name}", ("password",)),
    "backups": ("/api/stable/auth/login", ("username", "password")),
    "torrust": ("/v1/user/login", ("login", "password")),
    "yapkg": ("/login", ("username", "password")),
}
TOO_MANY_BODIES = {
    "ktra": {"errors": [{"detail": MESSAGE}]},
    "backups": {"status": False, "error": MESSAGE, "message": MESSAGE, "code": 429, "data": {}},
    "torrust": {"error": MESSAGE},
    "yapkg": {"error": "too_many", "message": MESSAGE},
}
WRONG_STATUS = {"ktra": 401, "backups": 401, "torrust": 403, "yapkg": 401}


def log_in(
    name: str, password: str = WRONG_PASSWORD, dialect: str = "ktra", ip: str = CLIENT_IP, **headers: str
) -> Any:
    path, fields = LOGIN_PATHS[dialect]
    body = {field: password if field == "password" else name for field in fields}
    CLIENT.cookies.clear()
    return CLIENT.post(path.format(name=name), body, content_type="application/json", REMOTE_ADDR=ip, headers=headers)


def statuses(name: str, times: int, **options: str) -> list[int]:
    return [log_in(name, **options).status_code for _ in range(times)]


def fail(name: str, times: int = 1, ip: str = CLIENT_IP, ago: timedelta = timedelta()) -> None:
    """Store failures as log-ins would."""
    network = client_address.network_of(ip)
    LoginFailure.objects.bulk_create(
        [LoginFailure(name=name, ip_address=ip, network=network, at=timezone.now() - ago) for _ in range(times)]
    )


# --- One account and one client -- -------------------------------------------------------------------------------


def test_attempts_after_the_limit_are_refused(alice: User) -> None:
    assert statuses("alice", LIMIT + 2) == [401] * LIMIT + [429] * 2


def test_right_password_is_refused_after_the_limit(alice: User) -> None:
    statuses("alice", LIMIT)
    assert log_in("alice", PASSWORD).status_code == 429
    assert not Credential.objects.exists()


def test_last_attempt_before_the_limit_may_succeed(alice: User) -> None:
    statuses("alice", LIMIT - 1)
    assert log_in("alice", PASSWORD).status_code == 200


@pytest.mark.usefixtures("frozen_time")
@pytest.mark.parametrize("password", [WRONG_PASSWORD, PASSWORD])
@pytest.mark.parametrize("dialect", LOGIN_PATHS)
def test_each_dialect_sends_retry_after(alice: User, dialect: str, password: str) -> None:
    assert statuses("alice", LIMIT, dialect=dialect) == [WRONG_STATUS[dialect]] * LIMIT
    LoginFailure.objects.update(at=FROZEN_NOW)
    response = log_in("alice", password, dialect)
    assert response.status_code == 429
    assert response.json() == TOO_MANY_BODIES[dialect]
    assert response["Retry-After"] == "901"


def test_failures_count_across_dialects(alice: User) -> None:
    for dialect in list(LOGIN_PATHS)[:LIMIT]:
        log_in("alice", dialect=dialect)
    for dialect in LOGIN_PATHS:
        assert log_in("alice", PASSWORD, dialect).status_code == 429, dialect


@pytest.mark.usefixtures("frozen_time")
def test_admin_login_sends_retry_after(root: User) -> None:
    form = {"username": "root", "password": WRONG_PASSWORD}
    responses = [CLIENT.post("/admin/login/", form) for _ in range(LIMIT)]
    LoginFailure.objects.update(at=FROZEN_NOW)
    responses += [
        CLIENT.post("/admin/login/", {**form, "password": password}) for password in (WRONG_PASSWORD, PASSWORD)
    ]
    assert [response.status_code for response in responses] == [200] * LIMIT + [429] * 2
    assert responses[-1]["Retry-After"] == "901"
    assert responses[-1]["Content-Type"].startswith("text/html")
    assert MESSAGE in responses[-1].content.decode()
    assert not Credential.objects.exists()


def test_password_change_counts_as_an_attempt(alice: User) -> None:
    body = {"old_password": WRONG_PASSWORD, "new_password": "battery staple"}
    attempts = [
        CLIENT.post("/ktra/api/v1/change_password/alice", body, content_type="application/json", REMOTE_ADDR=CLIENT_IP)
        for _ in range(LIMIT + 1)
    ]
    assert [response.status_code for response in attempts] == [401] * LIMIT + [429]
    assert log_in("alice", PASSWORD).status_code == 429


def test_all_names_of_an_account_count_together(alice: User) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    statuses("alice", LIMIT)
    for name in ("ALICE", "ktra-secure-auth:alice", "alice@example.org", "Alice@Example.org"):
        assert log_in(name, PASSWORD, "torrust").status_code == 429, name


@pytest.mark.parametrize("password", ["é" * 4000, "", "\t"])
def test_impossible_password_counts(alice: User, password: str) -> None:
    attempts = [log_in("alice", password, "torrust").status_code for _ in range(LIMIT + 1)]
    assert attempts == [403] * LIMIT + [429]


def test_failures_during_the_hashing_count(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def verify_while_others_fail(password: str, encoded: str) -> tuple[bool, bool]:
        fail("alice", LIMIT)
        return True, False

    monkeypatch.setattr(login, "verify_password", verify_while_others_fail)
    assert log_in("alice", PASSWORD).status_code == 429
    assert LoginFailure.objects.filter(forgiven=False).count() == LIMIT


def test_right_password_resets_the_failures(alice: User) -> None:
    for _ in range(3):
        assert statuses("alice", LIMIT - 1) == [401] * (LIMIT - 1)
        assert log_in("alice", PASSWORD).status_code == 200


def test_right_password_resets_its_own_failures_only(alice: User, bob: User) -> None:
    statuses("alice", LIMIT, ip=OTHER_IP)
    statuses("bob", LIMIT)
    assert log_in("alice", PASSWORD).status_code == 200
    assert log_in("alice", PASSWORD, ip=OTHER_IP).status_code == 429
    assert log_in("bob", PASSWORD).status_code == 429


def test_failures_expire_after_fifteen_minutes(alice: User) -> None:
    fail("alice", LIMIT, ago=timedelta(minutes=15))
    assert log_in("alice", PASSWORD).status_code == 200


@pytest.mark.usefixtures("frozen_time")
def test_attempt_after_retry_after_succeeds(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    fail("alice", LIMIT, ago=timedelta(minutes=5))
    wait = timedelta(seconds=int(log_in("alice")["Retry-After"]))
    assert timedelta(minutes=10) <= wait <= timedelta(minutes=10, seconds=1)
    monkeypatch.setattr(timezone, "now", lambda: FROZEN_NOW + wait)
    assert log_in("alice", PASSWORD).status_code == 200


def test_refused_attempts_do_not_extend_the_wait(alice: User) -> None:
    fail("alice", LIMIT, ago=timedelta(minutes=14))
    statuses("alice", 5)
    assert LoginFailure.objects.count() == LIMIT


# --- Several clients and accounts ------------------------------------------------------------------------------


def test_other_client_may_log_in(alice: User) -> None:
    statuses("alice", LIMIT + 1)
    assert log_in("alice", PASSWORD, ip=OTHER_IP).status_code == 200


def test_other_account_may_log_in(alice: User, bob: User) -> None:
    statuses("alice", LIMIT + 1)
    assert log_in("bob", PASSWORD).status_code == 200


def test_client_that_tries_many_accounts_is_refused(alice: User) -> None:
    for number in range(10 * LIMIT - 1):
        fail(f"user{number}")
    assert log_in("nobody").status_code == 401
    assert log_in("somebody").status_code == 429
    assert log_in("alice", PASSWORD).status_code == 429
    assert log_in("alice", PASSWORD, ip=OTHER_IP).status_code == 200


def test_own_log_in_keeps_the_networks_limit(alice: User, bob: User) -> None:
    for _ in range(5 * LIMIT):
        fail("bob", 2)
        log_in("bob", PASSWORD)
    assert log_in("alice").status_code == 429


def fail_everywhere(name: str, times: int) -> None:
    for number in range(times):
        fail(name, ip=f"198.51.100.{number}")


def test_attacked_account_refuses_unknown_clients(alice: User) -> None:
    fail_everywhere("alice", 20 * LIMIT - 1)
    assert log_in("alice").status_code == 401
    assert log_in("alice", PASSWORD, ip=OTHER_IP).status_code == 429


@pytest.mark.parametrize("dialect", LOGIN_PATHS)
def test_attacked_account_admits_its_owners_client(alice: User, dialect: str) -> None:
    log_in("alice", PASSWORD, dialect)
    fail_everywhere("alice", 20 * LIMIT)
    assert log_in("alice", PASSWORD).status_code == 200
    assert log_in("alice", PASSWORD, ip=OTHER_IP).status_code == 429


def test_known_client_is_limited_too(alice: User) -> None:
    log_in("alice", PASSWORD)
    fail_everywhere("alice", 20 * LIMIT)
    assert statuses("alice", LIMIT + 1) == [401] * LIMIT + [429]


def test_client_of_another_account_is_unknown(alice: User, bob: User) -> None:
    log_in("bob", PASSWORD)
    fail_everywhere("alice", 20 * LIMIT)
    assert log_in("alice", PASSWORD).status_code == 429


@pytest.mark.usefixtures("frozen_time")
@pytest.mark.parametrize("dialect", LOGIN_PATHS)
def test_unknown_names_get_the_same_answers(alice: User, dialect: str) -> None:
    def responses_for(name: str) -> list[Any]:
        responses = [log_in(name, dialect=dialect) for _ in range(LIMIT)]
        LoginFailure.objects.update(at=FROZEN_NOW)
        responses.append(log_in(name, dialect=dialect))
        return [(r.status_code, r.content, comparable_headers(r)) for r in responses]

    assert responses_for("alice") == responses_for("nobody")
    fail_everywhere("alice", 20 * LIMIT)
    fail_everywhere("nobody", 20 * LIMIT)
    LoginFailure.objects.filter(ip_address=CLIENT_IP).delete()
    assert responses_for("alice") == responses_for("nobody")


@pytest.mark.django_db
def test_unknown_name_counts_in_any_case() -> None:
    assert [log_in(name).status_code for name in ("nobody", "NOBODY", "Nobody", "noBody")] == [401] * 3 + [429]


@pytest.mark.django_db
def test_odd_name_counts() -> None:
    for name in ("x" * 4096, "é" * 300, "\u200b", "' OR 1=1", "a\nb"):
        assert statuses(name, LIMIT + 1, dialect="yapkg") == [401] * LIMIT + [429], name


# --- Client addresses --------------------------------------------------------------------------------------------


def test_ipv6_network_counts_as_one_client(alice: User) -> None:
    attempts = [log_in("alice", ip=f"2001:db8:1:2::{number}").status_code for number in range(LIMIT)]
    assert attempts == [401] * LIMIT
    assert log_in("alice", PASSWORD, ip="2001:db8:1:2:ffff::1").status_code == 429
    assert log_in("alice", PASSWORD, ip="2001:db8:1:3::1").status_code == 200


def test_owner_is_known_by_the_ipv6_network(alice: User) -> None:
    log_in("alice", PASSWORD, ip="2001:db8:1:2::1")
    fail_everywhere("alice", 20 * LIMIT)
    assert log_in("alice", PASSWORD, ip="2001:db8:1:2::2").status_code == 200


def test_mapped_address_counts_as_ipv4(alice: User) -> None:
    statuses("alice", LIMIT, ip=f"::ffff:{CLIENT_IP}")
    assert log_in("alice", PASSWORD).status_code == 429


def test_untrusted_forwarding_header_is_ignored(alice: User) -> None:
    attempts = [log_in("alice", **{"X-Forwarded-For": f"203.0.113.{n}"}).status_code for n in range(LIMIT + 1)]
    assert attempts == [401] * LIMIT + [429]
    assert set(LoginFailure.objects.values_list("ip_address", flat=True)) == {CLIENT_IP}


@pytest.mark.parametrize("header", ["Forwarded", "X-Real-IP", "X-Forwarded-Host", "X-Client-IP"])
def test_other_forwarding_headers_are_ignored(alice: User, settings: Any, header: str) -> None:
    settings.TRUSTED_PROXIES = CLIENT_IP
    attempts = [log_in("alice", **{header: f"203.0.113.{n}"}).status_code for n in range(LIMIT + 1)]
    assert attempts == [401] * LIMIT + [429]


def test_trusted_proxy_names_the_client(alice: User, settings: Any) -> None:
    settings.TRUSTED_PROXIES = "192.0.2.0/31"
    for number in range(LIMIT):
        log_in("alice", **{"X-Forwarded-For": f"203.0.113.{number}, 198.51.100.7, 192.0.2.0"})
    assert log_in("alice", PASSWORD, **{"X-Forwarded-For": "198.51.100.7"}).status_code == 429
    assert log_in("alice", PASSWORD, **{"X-Forwarded-For": "198.51.100.8"}).status_code == 200


def test_unix_socket_counts_as_one_client(alice: User) -> None:
    assert statuses("alice", LIMIT + 1, ip="") == [401] * LIMIT + [429]


# --- The admin site ----------------------------------------------------------------------------------------------


def test_admin_site_lists_failures_without_passwords(alice: User, root: User) -> None:
    log_in("alice", "a secret of alice's")
    log_in("nobody", "a secret of nobody's", ip="2001:db8::1")
    staff = Client()
    staff.force_login(root)
    page = staff.get("/admin/accounts/loginfailure/").content.decode()
    for text in ("alice", "nobody", CLIENT_IP, "2001:db8::1"):
        assert text in page
    assert "secret of" not in page + repr(list(LoginFailure.objects.values()))


def test_admin_site_changes_no_failure(root: User) -> None:
    fail("alice")
    row = LoginFailure.objects.get()
    staff = Client()
    staff.force_login(root)
    paths = ["add/", f"{row.pk}/delete/", f"{row.pk}/change/"]
    attempts = [staff.post(f"/admin/accounts/loginfailure/{path}", {"post": "yes"}).status_code for path in paths]
    assert attempts == [403] * 3


def test_names_are_escaped_in_the_admin_site(root: User) -> None:
    fail("<script>alert(1)</script>")
    staff = Client()
    staff.force_login(root)
    assert "<script>alert" not in staff.get("/admin/accounts/loginfailure/").content.decode()


# --- Concurrent guesses, live ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("guessing") / "data"
    # With so many threads, no guess is refused because too many threads hash already.
    with running(data, REGISTRY_THREADS="256", REGISTRY_MAX_LOGIN_FAILURES="10") as server:
        server.sign_up("alice")
        yield server


def guess(server: Server, name: str, password: str) -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        body = json.dumps({"username": name, "password": password})
        connection.request("POST", "/login", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader("Retry-After")
    finally:
        connection.close()


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_concurrent_guesses_stay_under_the_limit(server: Server, name: str) -> None:
    barrier = Barrier(60)

    def race(number: int) -> int:
        barrier.wait()
        return guess(server, name, f"guess {number}")[0]

    with ThreadPoolExecutor(60) as pool:
        statuses = Counter(pool.map(race, range(60)))
    assert set(statuses) <= {401, 429}
    assert statuses[401] <= 10
    status, retry_after = guess(server, name, PASSWORD)
    assert status == 429
    assert 0 < int(retry_after) <= 901
