"""Last uses of credentials: kept in memory, stored at most once an hour, by all workers together."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import bans
from accounts.credentials import cargo_tokens, last_uses, revocation
from accounts.models import Credential, User
from accounts.readers import CredentialReader
from registry_site import write_buffers
from registry_site.last_uses import LastUse
from tests.support.app_keys import KeyPair, issue_key, sign_request
from tests.support.browser import Browser
from tests.support.cast import CargoClient

PATH = "/api/v1/me"
NOW = timezone.now()
OTHER_ADDRESS = "2001:db8::1"


def last_use(**filters: Any) -> tuple[datetime | None, str | None]:
    return Credential.objects.values_list("last_used_at", "last_used_ip").get(**filters)


def use(client: Client, address: str = "192.0.2.7") -> None:
    assert client.get(PATH, REMOTE_ADDR=address).status_code == 200


def test_answer_without_a_thread_is_a_use(as_alice: CargoClient) -> None:
    credential = Credential.objects.select_related("user").get()
    reader = CredentialReader("", credential.user, credential)
    for _ in range(2):
        reader.record_use("192.0.2.9", b"")
    write_buffers.flush()
    assert last_use()[1] == "192.0.2.9"


# --- In memory ----------------------------------------------------------------------------------------------------


def test_request_writes_no_use(as_alice: CargoClient, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with CaptureQueriesContext(connection) as queries:
        use(as_alice)
    assert {query["sql"].split()[0] for query in queries.captured_queries} == {"SELECT"}
    assert last_use() == (None, None)
    write_buffers.flush()
    used_at, address = last_use()
    assert used_at is not None
    assert (timezone.now() - used_at < timedelta(minutes=1), address) == (True, "192.0.2.7")
    with django_assert_num_queries(0):
        write_buffers.flush()


def test_use_is_stored_once_an_hour(as_alice: CargoClient) -> None:
    use(as_alice)
    write_buffers.flush()
    first = last_use()
    use(as_alice, OTHER_ADDRESS)
    assert last_uses.pending.pending == {}
    Credential.objects.update(last_used_at=timezone.now() - timedelta(hours=1))
    use(as_alice, OTHER_ADDRESS)
    write_buffers.flush()
    used_at, address = last_use()
    assert first[0] is not None
    assert used_at is not None
    assert (used_at > first[0], address) == (True, OTHER_ADDRESS)


def test_newest_use_before_the_flush_counts(as_alice: CargoClient) -> None:
    for address in ("192.0.2.1", "192.0.2.2", OTHER_ADDRESS):
        use(as_alice, address)
    write_buffers.flush()
    assert last_use()[1] == OTHER_ADDRESS


def test_memory_for_uses_is_bounded(as_alice: CargoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_uses.pending, "max_keys", 1)
    last_uses.pending.add({4711: LastUse(NOW, None)})
    use(as_alice)
    assert list(last_uses.pending.pending) == [4711]
    write_buffers.flush()  # of a credential that is gone
    use(as_alice)
    write_buffers.flush()
    assert last_use()[1] == "192.0.2.7"


def test_failing_database_loses_no_use(as_alice: CargoClient) -> None:
    def fail(execute: Any, sql: str, *arguments: Any) -> Any:
        if sql.startswith("UPDATE"):
            raise OperationalError("server closed the connection")
        return execute(sql, *arguments)

    use(as_alice)
    with connection.execute_wrapper(fail):
        write_buffers.flush()
        use(as_alice, OTHER_ADDRESS)
    write_buffers.flush()
    assert last_use()[1] == OTHER_ADDRESS


# --- What counts as a use -----------------------------------------------------------------------------------------


def test_refused_token_is_not_used(alice: User, anonymous: CargoClient) -> None:
    token = cargo_tokens.rotate_default(alice).text
    endings: list[Callable[[], Any]] = [
        lambda: User.objects.update(allowed_networks="10.0.0.0/8"),
        lambda: bans.ban(alice, actor=None),
        lambda: revocation.revoke(Credential.objects.get(), actor=alice),
    ]
    for end in endings:
        end()
        assert anonymous.get(PATH, headers={"Authorization": token}).status_code == 401
    assert last_uses.pending.pending == {}


def test_token_without_the_scope_is_used(alice: User) -> None:
    """Whoever has the token tried it: its owner wants to know."""
    client = CargoClient(token=cargo_tokens.create(alice, "ci", ["yank"]))
    assert client.get(PATH).status_code == 403
    write_buffers.flush()
    assert last_use()[0] is not None


def test_sessions_and_app_keys_are_used(alice: User, browser: Browser) -> None:
    key = issue_key(alice, "ALL")
    forged = sign_request(KeyPair(key.appid, "another secret"))
    assert browser.get("/settings/appids", headers={"Token": forged}).status_code == 401
    assert last_uses.pending.pending == {}
    assert browser.get("/settings/appids").status_code == 200
    assert Client().get("/settings/appids", headers={"Token": sign_request(key)}).status_code == 200
    write_buffers.flush()
    unused = Credential.objects.filter(last_used_at=None)
    assert (Credential.objects.count(), unused.count()) == (2, 0)


# --- In rows ------------------------------------------------------------------------------------------------------


@pytest.fixture
def tokens(alice: User) -> list[int]:
    for number in range(20):
        cargo_tokens.create(alice, f"token {number}")
    return list(Credential.objects.values_list("pk", flat=True))


def test_all_uses_are_one_statement(tokens: list[int]) -> None:
    uses = {key: LastUse(NOW, f"192.0.2.{number}") for number, key in enumerate(tokens)}
    with CaptureQueriesContext(connection) as queries:
        last_uses.pending.store(uses)
    assert [query["sql"].split()[0] for query in queries.captured_queries] == ["UPDATE"]
    stored = Credential.objects.values_list("pk", "last_used_at", "last_used_ip")
    assert {key: (at, address) for key, at, address in stored} == uses


def test_no_worker_stores_within_the_hour_of_another(tokens: list[int]) -> None:
    ages = {0: False, 59: False, 60: True, 600: True, -5: False}
    for key, minutes in zip(tokens, ages, strict=False):
        Credential.objects.filter(pk=key).update(last_used_at=NOW - timedelta(minutes=minutes), last_used_ip="::1")
    last_uses.pending.store(dict.fromkeys(tokens, LastUse(NOW, "192.0.2.1")))
    addresses = dict(Credential.objects.values_list("pk", "last_used_ip"))
    is_stored = [addresses[key] == "192.0.2.1" for key in tokens]
    assert is_stored == [*ages.values(), *[True] * 15]


@pytest.mark.only_postgresql  # SQLite has one writer at a time
@pytest.mark.django_db(transaction=True)
def test_flush_waits_for_no_lock() -> None:
    """A revocation that holds rows could wait for those of the flush, and both would wait for ever."""
    user = User.objects.create_user("alice")
    for name in ("locked", "free"):
        cargo_tokens.create(user, name)
    keys = list(Credential.objects.values_list("pk", flat=True))

    def flush() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        last_uses.pending.store(dict.fromkeys(keys, LastUse(NOW, "192.0.2.1")))
        connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        Credential.objects.filter(name="locked").mark_revoked()
        pool.submit(flush).result()
    assert dict(Credential.objects.values_list("name", "last_used_ip")) == {"locked": None, "free": "192.0.2.1"}
