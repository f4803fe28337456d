"""Owners: listed, added and removed, all or none, and never none left."""

from typing import Any

import pytest

from accounts import bans, registration
from accounts.models import User
from crates.models import Crate
from tests.support import packing
from tests.support.cast import CargoClient

OWNERS = "/api/v1/crates/demo/owners"


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())


def owners() -> list[str]:
    return [ownership.user.username for ownership in Crate.objects.get().ownerships.all()]


def test_owners_are_listed_as_cargo_and_ktra_show_them(as_charlie: CargoClient, alice: User) -> None:
    assert as_charlie.get(OWNERS).json() == {
        "users": [{"id": alice.pk, "login": "ktra-secure-auth:alice", "name": "alice", "email": None}]
    }


def test_owners_of_an_unknown_crate_are_missing(as_alice: CargoClient) -> None:
    assert as_alice.get("/api/v1/crates/nothing/owners").status_code == 404


@pytest.mark.parametrize("token", [None, "garbage", "entc_" + "a" * 38])
def test_owners_are_listed_for_nobody_without_a_token(db: None, token: str | None) -> None:
    assert CargoClient(token=token).get(OWNERS).status_code == 401


@pytest.mark.parametrize("login", ["bob", "BOB", "ktra-secure-auth:bob"])
def test_owner_is_added_by_any_of_their_names(as_alice: CargoClient, bob: User, login: str) -> None:
    assert as_alice.put_json(OWNERS, {"users": [login]}).json() == {
        "ok": True,
        "msg": "user ktra-secure-auth:bob has been added to the owners list of crate demo",
    }
    assert owners() == ["alice", "bob"]


def test_owner_who_is_added_again_stays_one(as_alice: CargoClient, bob: User) -> None:
    for _ in range(2):
        assert as_alice.put_json(OWNERS, {"users": ["bob", "bob"]}).status_code == 200
    assert owners() == ["alice", "bob"]


@pytest.mark.parametrize("count", [1, 20])
def test_number_of_queries_is_constant(as_alice: CargoClient, django_assert_num_queries: Any, count: int) -> None:
    logins = [registration.register(f"user{number}", "correct horse").username for number in range(count)]
    with django_assert_num_queries(11):
        assert as_alice.put_json(OWNERS, {"users": logins}).status_code == 200


def test_several_owners_are_added_at_once(as_alice: CargoClient, bob: User, charlie: User) -> None:
    message = as_alice.put_json(OWNERS, {"users": ["bob", "charlie"]}).json()["msg"]
    assert message.startswith('users ["ktra-secure-auth:bob", "ktra-secure-auth:charlie"] have been added')


@pytest.mark.parametrize(
    "body",
    [
        {"users": []},
        {"users": "bob"},
        {"users": ["bob", "nobody"]},
        {"users": ["github:org:team"]},
        {"users": [None]},
        {"users": [["bob"]]},
        {"users": ["bob"] * 10_000},
        {"users": ["bob\0"]},
        {"owners": ["bob"]},
        {},
        [],
        "bob",
        None,
    ],
    ids=lambda body: str(body)[:40],
)
def test_wrong_bodies_add_nobody(as_alice: CargoClient, bob: User, body: Any) -> None:
    response = as_alice.put_json(OWNERS, body)
    assert response.status_code == 400
    assert set(response.json()) == {"errors"}
    assert owners() == ["alice"]


def test_banned_account_cannot_become_an_owner(as_alice: CargoClient, bob: User) -> None:
    bans.ban(bob, actor=None)
    assert as_alice.put_json(OWNERS, {"users": ["bob"]}).status_code == 400


@pytest.mark.parametrize("method", ["put_json", "delete_json"])
def test_stranger_cannot_change_owners(as_charlie: CargoClient, charlie: User, method: str) -> None:
    assert getattr(as_charlie, method)(OWNERS, {"users": ["charlie"]}).status_code in (400, 403)
    assert as_charlie.put_json(OWNERS, {"users": ["charlie"]}).status_code == 403
    assert owners() == ["alice"]


def test_owner_can_leave_when_another_stays(as_alice: CargoClient, bob: User) -> None:
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    assert as_alice.delete_json(OWNERS, {"users": ["alice"]}).json() == {"ok": True, "msg": ""}
    assert owners() == ["bob"]


@pytest.mark.parametrize("logins", [["alice"], ["alice", "alice"], ["ALICE"], ["alice", "bob"]])
def test_last_owners_stay(as_alice: CargoClient, bob: User, logins: list[str]) -> None:
    if "bob" in logins:
        as_alice.put_json(OWNERS, {"users": ["bob"]})
    before = owners()
    assert as_alice.delete_json(OWNERS, {"users": logins}).status_code == 409
    assert owners() == before


def test_banned_owner_does_not_count_as_one_who_stays(as_alice: CargoClient, bob: User) -> None:
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    bans.ban(bob, actor=None)
    assert as_alice.delete_json(OWNERS, {"users": ["alice"]}).status_code == 409


def test_nobody_is_removed_when_one_is_no_owner(as_alice: CargoClient, bob: User, charlie: User) -> None:
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    assert as_alice.delete_json(OWNERS, {"users": ["bob", "charlie"]}).status_code == 400
    assert owners() == ["alice", "bob"]


def test_removed_owner_has_no_rights_at_once(as_alice: CargoClient, as_bob: CargoClient) -> None:
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    assert as_bob.publish(packing.body(version="1.0.1")).status_code == 200
    as_alice.delete_json(OWNERS, {"users": ["bob"]})
    assert as_bob.publish(packing.body(version="1.0.2")).status_code == 403
