"""Rate limits, counted in rows, in memory and in Redis."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import requests
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import RequestFactory
from django.utils import timezone

from accounts import email_verification
from accounts.models import User
from accounts.oidc import flow
from registry_site.environment import parse_cache_url
from registry_site.errors import TooManyRequests
from registry_site.models import AuditEvent
from registry_site.rate_limits import RateLimit, TokenBucket
from tests.support.bad_provider import CLIENT_ID, CLIENT_SECRET, running_provider
from tests.support.redis import redis_server
from tests.support.sent_mails import sent_mails
from tests.support.servers import free_port, running

pytestmark = pytest.mark.long

LIMIT = RateLimit("tests", 3, timedelta(minutes=1), "Wait {seconds} seconds.", is_exact=True)


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(params=["memory", "redis"])
def counters(request: pytest.FixtureRequest, settings: Any) -> Any:
    """Both kinds of caches in turn, each of them empty."""
    if request.param == "redis":
        use_cache(settings, request.getfixturevalue("redis_url"))
        caches["rate_limits"].clear()
    return caches["rate_limits"]


def use_cache(settings: Any, url: str) -> None:
    settings.CACHES = {**settings.CACHES, "rate_limits": parse_cache_url(url)}


def refusal(key: str = "192.0.2.1", limit: RateLimit = LIMIT) -> TooManyRequests | None:
    """Count one event, and return its refusal."""
    try:
        limit.count(key)
    except TooManyRequests as error:
        return error
    return None


# --- In the cache ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("counters")
def test_events_over_the_limit_are_refused() -> None:
    assert [refusal() is None for _ in range(5)] == [True, True, True, False, False]


@pytest.mark.usefixtures("counters")
def test_refusal_says_when_to_retry() -> None:
    errors = [refusal() for _ in range(4)]
    error = errors[-1]
    assert error is not None
    assert 55 <= error.retry_after <= 61
    assert error.message == f"Wait {error.retry_after} seconds."


@pytest.mark.usefixtures("counters")
def test_inexact_limit_asks_for_whole_window() -> None:
    limit = RateLimit("tests", 0, timedelta(minutes=1), "Wait a minute.")
    error = refusal(limit=limit)
    assert error is not None
    assert (error.message, error.retry_after) == ("Wait a minute.", 60)


@pytest.mark.usefixtures("counters")
def test_keys_and_limits_count_apart() -> None:
    other = RateLimit("other", 3, timedelta(minutes=1), "Wait.")
    for _ in range(4):
        refusal()
    assert (refusal("192.0.2.2"), refusal(limit=other)) == (None, None)


@pytest.mark.usefixtures("counters")
def test_events_are_allowed_after_the_window() -> None:
    limit = RateLimit("tests", 1, timedelta(seconds=2), "Wait.")  # no busy machine takes so long for two events
    assert [refusal(limit=limit) is None for _ in range(2)] == [True, False]
    time.sleep(2.1)
    assert refusal(limit=limit) is None


@pytest.mark.usefixtures("counters")
def test_no_event_is_lost_among_threads() -> None:
    limit = RateLimit("tests", 25, timedelta(minutes=1), "Wait.")
    with ThreadPoolExecutor(10) as pool:
        refusals = list(pool.map(lambda _: refusal(limit=limit), range(100)))
    assert refusals.count(None) == 25


def test_evicted_counter_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> int:
        raise ValueError("Key not found")

    monkeypatch.setattr(LocMemCache, "incr", fail)
    assert [refusal() for _ in range(5)] == [None] * 5


def test_counters_share_no_cache_with_others() -> None:
    for name in ("default", "mirror"):
        caches[name].set("key", name)
    assert (caches["local_rate_limits"].get("key"), caches["rate_limits"].get("key")) == (None, None)
    caches["mirror"].clear()


def test_counter_in_redis_is_a_plain_number(settings: Any, redis_url: str) -> None:
    use_cache(settings, redis_url)
    caches["rate_limits"].set("number", 7)
    client: Any = caches["rate_limits"]
    assert client._cache.get_client().get("entrepot:1:number") == b"7"


def test_pickle_in_redis_is_not_loaded(settings: Any, redis_url: str) -> None:
    use_cache(settings, redis_url)
    client: Any = caches["rate_limits"]
    client._cache.get_client().set("entrepot:1:number", b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(ValueError, match="invalid literal"):
        caches["rate_limits"].get("number")


def test_worker_counts_alone_without_redis(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    use_cache(settings, f"redis://127.0.0.1:{free_port()}/0")
    assert [refusal() is None for _ in range(4)] == [True, True, True, False]
    assert "The rate limit of tests counts for this worker alone" in caplog.text


def handshake(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/auth", "client_name=box", {"Content-Type": "application/x-www-form-urlencoded"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_limit_counts_across_workers_and_nodes(tmp_path: Path, redis_url: str) -> None:
    common = {"REGISTRY_CACHE_URL": redis_url, "REGISTRY_FILE_HANDSHAKES_PER_MINUTE": "20", "REGISTRY_WORKERS": "2"}
    with running(tmp_path / "one", **common) as one, running(tmp_path / "two", **common) as two:
        statuses = Counter(handshake(server.port) for _ in range(20) for server in (one, two))
    assert statuses == {200: 20, 429: 20}


def test_sign_ins_have_one_count_in_redis(tmp_path: Path, redis_url: str) -> None:
    with (
        running_provider() as provider,
        running(
            tmp_path / "data",
            REGISTRY_CACHE_URL=redis_url,
            REGISTRY_WORKERS="3",
            REGISTRY_OIDC_ISSUER=provider.issuer,
            REGISTRY_OIDC_CLIENT_ID=CLIENT_ID,
            REGISTRY_OIDC_CLIENT_SECRET=CLIENT_SECRET,
        ) as server,
    ):
        statuses = Counter(
            requests.get(f"{server.url}/me", allow_redirects=False, timeout=30).status_code for _ in range(70)
        )
    assert statuses == {302: 60, 429: 10}


# --- Where they apply --------------------------------------------------------------------------------------------


def test_sign_ins_at_the_provider_are_limited(rf: RequestFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (flow.SIGN_IN_LIMIT.limit, flow.SIGN_IN_LIMIT.window) == (60, timedelta(minutes=1))
    monkeypatch.setattr(flow, "SIGN_IN_LIMIT", replace(flow.SIGN_IN_LIMIT, limit=0))
    monkeypatch.setattr(flow.SignInView, "get_settings", staticmethod(lambda *args: "https://provider.example"))
    with pytest.raises(TooManyRequests, match="Too many sign-ins from your address; wait a minute"):
        flow.begin_sign_in(rf.get("/me"), "me")


def test_links_to_new_addresses_are_limited(alice: User) -> None:
    for number in range(5):
        email_verification.send_for_change(alice, f"alice{number}@example.com")
    with pytest.raises(TooManyRequests, match="5 links were sent within an hour") as raised:
        email_verification.send_for_change(alice, "victim@example.com")
    assert raised.value.retry_after == 3600
    assert len(sent_mails()) == 5


# --- In rows -----------------------------------------------------------------------------------------------------


def add_rows(*ages: float) -> None:
    now = timezone.now()
    AuditEvent.objects.bulk_create(AuditEvent(at=now - timedelta(seconds=age)) for age in ages)


def check_rows(*, includes_own: bool = False) -> TooManyRequests | None:
    try:
        LIMIT.check_rows(AuditEvent.objects.all(), includes_own=includes_own)
    except TooManyRequests as error:
        return error
    return None


@pytest.mark.django_db
def test_rows_at_the_limit_refuse() -> None:
    add_rows(1, 2)
    assert check_rows() is None
    add_rows(3)
    assert check_rows() is not None
    assert check_rows(includes_own=True) is None
    add_rows(4)
    assert check_rows(includes_own=True) is not None


@pytest.mark.django_db
def test_rows_before_the_window_do_not_count() -> None:
    add_rows(1, 2, 60)
    assert check_rows() is None


@pytest.mark.django_db
def test_row_at_the_window_edge_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    add_rows(1, 2, 60)
    assert check_rows() is None


@pytest.mark.django_db
def test_wait_ends_when_a_row_leaves_the_window() -> None:
    add_rows(1, 2, 50, 55)
    error = check_rows()
    assert error is not None
    assert 9 <= error.retry_after <= 11


@pytest.mark.django_db
def test_check_of_rows_takes_one_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        check_rows()


def test_bucket_allows_a_few_at_once() -> None:
    bucket = TokenBucket(size=3, seconds=100)
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
    bucket.filled_at -= 100
    assert [bucket.take() for _ in range(2)] == [True, False]
    bucket.filled_at -= 10_000
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]
