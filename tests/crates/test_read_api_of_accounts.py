"""crates.io's read API for accounts: users, owners, the account of a token, its tokens, and what it follows."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.credentials import cargo_tokens, own_tokens
from accounts.models import Credential, User
from crates import follows, ownership
from crates.models import CrateDownloads, Follow
from registry_site import counters, write_buffers
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.crate_rows import create_crate_of
from tests.support.crates_io_shapes import LIST_ROUTES, TOKEN_ROUTES, offenders

BASE = "/api/v1"
TOKENS = "/api/v1/me/tokens"


@pytest.fixture
def demo(as_alice: CargoClient) -> None:
    toml = packing.manifest(extra='keywords = ["web"]\ncategories = ["web"]')
    assert as_alice.publish(packing.body(toml=toml)).status_code == 200


@pytest.mark.usefixtures("demo")
def test_answers_have_the_shapes(as_alice: CargoClient, alice: User) -> None:
    as_alice.put(f"{BASE}/crates/demo/follow")
    words = {"keyword": "web", "category": "web", "query": "demo", "login": "alice", "user_id": alice.pk}
    get = partial(as_alice.get, headers={"Accept": "application/json"})
    assert offenders(get, BASE, {**LIST_ROUTES, **TOKEN_ROUTES}, name="demo", **words) == []


# --- Users and owners ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("demo")
def test_user_is_shown_by_either_name(anonymous: CargoClient, alice: User) -> None:
    alice.avatar_uri = "https://example.com/a.png"
    alice.email = "alice@secret.example"
    alice.save()
    for login in ("alice", "ALICE", "ktra-secure-auth:alice"):
        assert anonymous.get(f"{BASE}/users/{login}").json()["user"] == {
            "id": alice.pk,
            "login": "ktra-secure-auth:alice",
            "name": "alice",
            "avatar": "https://example.com/a.png",
            "url": "http://testserver/users/alice",
        }


@pytest.mark.usefixtures("demo")
def test_downloads_of_a_user_are_summed_up(anonymous: CargoClient, alice: User, bob: User) -> None:
    CrateDownloads.objects.update(total=5)
    create_crate_of(2, alice, "other")
    totals = [anonymous.get(f"{BASE}/users/{user.pk}/stats").json() for user in (alice, bob)]
    assert totals == [{"total_downloads": 9}, {"total_downloads": 0}]
    for user_id in (4711, 2**63, 10**30):
        assert anonymous.get(f"{BASE}/users/{user_id}/stats").status_code == 404


@pytest.mark.usefixtures("demo")
def test_owners_are_users_and_no_teams(as_bob: CargoClient) -> None:
    (owner,) = as_bob.get(f"{BASE}/crates/demo/owner_user").json()["users"]
    assert (owner["name"], owner["kind"], "email" in owner) == ("alice", "user", False)
    assert as_bob.get(f"{BASE}/crates/demo/owner_team").json() == {"teams": []}
    (owner,) = as_bob.get(f"{BASE}/crates/demo/owners").json()["users"]
    assert (owner["kind"], owner["url"]) == ("user", "http://testserver/users/alice")
    assert as_bob.get(f"{BASE}/crates/nothing/owner_team").status_code == 404


def test_number_of_queries_is_constant_in_owners(
    as_alice: CargoClient, alice: User, bob: User, charlie: User, root: User
) -> None:
    create_crate_of(1, alice)
    counts = []
    for added in ([bob], [charlie, root]):
        ownership.change_as_staff(ownership.get_crate("demo"), added, [], actor=alice)
        with CaptureQueriesContext(connection) as queries:
            assert as_alice.get(f"{BASE}/crates/demo/owners").status_code == 200
            assert as_alice.get(f"{BASE}/crates/demo/owner_user").status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


# --- The account and its tokens -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("demo")
def test_account_is_shown_to_its_token(as_alice: CargoClient, alice: User) -> None:
    alice.email = "alice@example.com"
    alice.save()
    response = as_alice.get(f"{BASE}/me")
    answer = response.json()
    assert (answer["user"]["email"], answer["user"]["email_verified"]) == ("alice@example.com", False)
    assert [crate["name"] for crate in answer["owned_crates"]] == ["demo"]
    assert "no-store" in response.headers["Cache-Control"]


def named(user: User, *scopes: str) -> CargoClient:
    return CargoClient(token=cargo_tokens.create(user, "named", scopes))


def test_named_tokens_reach_no_tokens(alice: User, anonymous: CargoClient) -> None:
    client = named(alice, "publish", "read")
    key = Credential.objects.get(name="named").pk
    assert client.get(TOKENS).status_code == 403
    assert client.put_json(TOKENS, {"api_token": {"name": "x"}}).status_code == 403
    assert client.delete(f"{TOKENS}/{key}").status_code == 403
    assert client.get(f"{BASE}/me").status_code == 200
    assert Credential.objects.filter(name="x").count() == 0
    assert anonymous.get(f"{BASE}/me").status_code == 401


def test_account_needs_a_token_that_reads(alice: User, as_alice: CargoClient) -> None:
    create_crate_of(1, alice)
    client = named(alice, "publish")
    for path in ("me", "me/updates", "crates?following=1", "crates/demo/following"):
        assert client.get(f"{BASE}/{path}").status_code == 403, path
    assert client.put(f"{BASE}/crates/demo/follow").status_code == 403


def test_token_is_created_used_and_revoked(as_alice: CargoClient) -> None:
    expires = (timezone.now() + timedelta(days=1)).isoformat()
    fields = {"name": "ci", "endpoint_scopes": ["publish-update", "publish-new", "read"], "expired_at": expires}
    response = as_alice.put_json(TOKENS, {"api_token": {**fields, "crate_scopes": ["demo", "serde*"]}})
    token = response.json()["api_token"]
    assert (token["crate_scopes"], token["last_used_at"]) == (["demo", "serde*"], None)
    assert "no-store" in response.headers["Cache-Control"]
    assert token["endpoint_scopes"] == ["publish-new", "publish-update", "read"]
    client = CargoClient(token=token["token"])
    assert client.publish(packing.body()).status_code == 200
    assert client.delete("/api/v1/crates/demo/1.0.0/yank").status_code == 403
    listed = as_alice.get(TOKENS).json()["api_tokens"]
    assert [row["name"] for row in listed] == ["ci", "default"]
    assert all("token" not in row for row in listed)
    assert [row["crate_scopes"] for row in listed] == [["demo", "serde*"], None]
    assert [row["last_used_at"] is None for row in listed] == [True, True]
    write_buffers.flush()
    assert [row["last_used_at"] is None for row in as_alice.get(TOKENS).json()["api_tokens"]] == [False, False]
    assert as_alice.delete(f"{TOKENS}/{token['id']}").json() == {}
    assert client.get(f"{BASE}/me").status_code == 401
    assert [row["name"] for row in as_alice.get(TOKENS).json()["api_tokens"]] == ["default"]
    assert as_alice.delete(f"{TOKENS}/{token['id']}").status_code == 404


def test_tokens_of_others_stay(as_alice: CargoClient, bob: User) -> None:
    cargo_tokens.create(bob, "ci")
    for key in (Credential.objects.get(name="ci").pk, 10**30):
        assert as_alice.delete(f"{TOKENS}/{key}").status_code == 404
    assert Credential.objects.get(name="ci").is_live


def test_bad_tokens_are_refused(as_alice: CargoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    past = (timezone.now() - timedelta(days=1)).isoformat()
    bodies: list[Any] = [
        {},
        {"api_token": None},
        {"api_token": {}},
        {"api_token": {"name": ""}},
        {"api_token": {"name": 1}},
        {"api_token": {"name": "default"}},
        {"api_token": {"name": "a" * 65}},
        {"api_token": {"name": "a", "endpoint_scopes": ["owners"]}},
        {"api_token": {"name": "a", "endpoint_scopes": ["everything"]}},
        {"api_token": {"name": "a", "endpoint_scopes": []}},
        {"api_token": {"name": "a", "crate_scopes": ["*demo"]}},
        {"api_token": {"name": "a", "crate_scopes": [""]}},
        {"api_token": {"name": "a", "crate_scopes": "demo"}},
        {"api_token": {"name": "a", "crate_scopes": [f"crate{number}" for number in range(1000)]}},
        {"api_token": {"name": "a", "expired_at": past}},
        {"api_token": {"name": "a", "expired_at": "soon"}},
    ]
    statuses = {str(body): as_alice.put_json(TOKENS, body).status_code for body in bodies}
    assert {body: status for body, status in statuses.items() if status != 400} == {}
    assert as_alice.put_json(TOKENS, {"api_token": {"name": "a"}}).status_code == 200
    assert as_alice.put_json(TOKENS, {"api_token": {"name": "a"}}).status_code == 409
    monkeypatch.setattr(own_tokens, "MAX_TOKENS", 2)
    assert as_alice.put_json(TOKENS, {"api_token": {"name": "b"}}).status_code == 409


def test_expired_tokens_leave_room(as_alice: CargoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_tokens, "MAX_TOKENS", 2)
    assert as_alice.put_json(TOKENS, {"api_token": {"name": "old"}}).status_code == 200
    assert as_alice.put_json(TOKENS, {"api_token": {"name": "new"}}).status_code == 409
    Credential.objects.filter(name="old").update(expires_at=timezone.now())
    assert as_alice.put_json(TOKENS, {"api_token": {"name": "new"}}).status_code == 200
    assert [row["name"] for row in as_alice.get(TOKENS).json()["api_tokens"]] == ["new", "default"]


# --- Follows ------------------------------------------------------------------------------------------------------


def names(client: CargoClient, path: str) -> list[str]:
    return [row.get("num") or row["name"] for row in next(iter(client.get(f"{BASE}/{path}").json().values()))]


def test_followed_crates_and_their_versions_are_listed(as_alice: CargoClient, as_bob: CargoClient, alice: User) -> None:
    create_crate_of(3, alice)
    create_crate_of(1, alice, "other")
    for _ in range(2):
        assert as_bob.put(f"{BASE}/crates/DEMO/follow").json() == {"ok": True}
    assert names(as_bob, "crates?following=yes") == ["demo"]
    assert names(as_bob, "me/updates?per_page=2") == ["0.2.0", "0.1.0"]
    assert as_bob.get(f"{BASE}/me/updates?per_page=2").json()["meta"] == {"more": True}
    assert names(as_bob, "me/updates?per_page=2&page=2") == ["0.0.0"]
    assert as_bob.get(f"{BASE}/crates/demo/following").json() == {"following": True}
    assert as_alice.get(f"{BASE}/crates/demo/following").json() == {"following": False}
    assert names(as_alice, "me/updates") == []
    for _ in range(2):
        assert as_bob.delete(f"{BASE}/crates/demo/follow").json() == {"ok": True}
    assert names(as_bob, "crates?following=yes") == []
    assert as_bob.put(f"{BASE}/crates/nothing/follow").status_code == 404


def test_follows_are_limited(as_bob: CargoClient, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        create_crate_of(1, alice, name)
    monkeypatch.setattr(follows, "MAX_FOLLOWS", 1)
    assert [as_bob.put(f"{BASE}/crates/{name}/follow").status_code for name in ("one", "two")] == [200, 409]
    path = f"{BASE}/crates/one/follow"
    statuses = [request(path).status_code for _ in range(35) for request in (as_bob.delete, as_bob.put)]
    assert statuses[:58] == [200] * 58
    assert 429 in statuses[58:]
    assert Follow.objects.count() <= 1


# --- The registry -------------------------------------------------------------------------------------------------


def test_summary_has_the_first_of_each_order(anonymous: CargoClient, alice: User) -> None:
    for number in range(12):
        crate = create_crate_of(1 + number % 2, alice, f"crate{number:02}")
        CrateDownloads.objects.filter(crate=crate).update(total=number, recent=12 - number)
    counters.recount_all()
    answer = anonymous.get(f"{BASE}/summary").json()
    assert (answer["num_crates"], answer["num_downloads"]) == (12, 66)
    assert [crate["name"] for crate in answer["new_crates"]][:2] == ["crate11", "crate10"]
    assert [crate["name"] for crate in answer["most_downloaded"]][:2] == ["crate11", "crate10"]
    assert [crate["name"] for crate in answer["most_recently_downloaded"]][:2] == ["crate00", "crate01"]
    assert [crate["name"] for crate in answer["just_updated"]] == [f"crate{n:02}" for n in range(11, 0, -2)]
    assert len(answer["new_crates"]) == 10
