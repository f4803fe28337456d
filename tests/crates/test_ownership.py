"""Owners of a crate: list, add and remove them, all or none; one always stays."""

from collections.abc import Callable
from typing import Any

import pytest

from accounts import bans, registration
from accounts.models import User
from accounts.principals import Principal, lock_accounts
from crates import ownership
from crates.models import Crate
from registry_site.errors import Invalid
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.cast import PASSWORD, CargoClient
from tests.support.concurrency import call_during

OWNERS = "/api/v1/crates/demo/owners"


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())


def owner_names() -> list[str]:
    return [ownership.user.username for ownership in Crate.objects.get().ownerships.all()]


def test_owners_are_listed_in_cargos_shape(as_charlie: CargoClient, alice: User) -> None:
    (owner,) = as_charlie.get(OWNERS).json()["users"]
    expected = {"id": alice.pk, "login": "ktra-secure-auth:alice", "name": "alice", "email": None, "kind": "user"}
    assert {key: owner[key] for key in expected} == expected


def test_address_is_shown_to_oneself_and_co_owners(
    as_alice: CargoClient, as_bob: CargoClient, as_charlie: CargoClient, alice: User, bob: User
) -> None:
    User.objects.filter(pk=alice.pk).update(email="alice@example.org")
    shown = [client.get(OWNERS).json()["users"][0]["email"] for client in (as_alice, as_bob, as_charlie)]
    assert shown == ["alice@example.org", None, None]
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    shown = [client.get(OWNERS).json()["users"][0]["email"] for client in (as_bob, as_charlie)]
    assert shown == ["alice@example.org", None]


def test_longest_login_with_prefix_is_taken(as_alice: CargoClient) -> None:
    longest = registration.register("x" * 255, PASSWORD)
    for change in (as_alice.put_json, as_alice.delete_json):
        assert change(OWNERS, {"users": [longest.login]}).status_code == 200


def test_nobody_sees_an_address_by_adding_its_owner(as_alice: CargoClient, as_bob: CargoClient, bob: User) -> None:
    User.objects.filter(pk=bob.pk).update(email="bob@example.org")

    def seen_by_alice() -> str | None:
        [entry] = [user for user in as_alice.get(OWNERS).json()["users"] if user["name"] == "bob"]
        address: str | None = entry["email"]
        return address

    as_alice.put_json(OWNERS, {"users": ["bob"]})
    assert seen_by_alice() is None
    as_bob.publish(packing.body("demo", "2.0.0"))
    assert seen_by_alice() == "bob@example.org"


@pytest.mark.parametrize("count", [1, 20])
def test_queries_of_a_list_are_constant(
    as_alice: CargoClient, as_charlie: CargoClient, django_assert_num_queries: Any, count: int
) -> None:
    logins = [registration.register(f"user{number}", "correct horse").username for number in range(count)]
    as_alice.put_json(OWNERS, {"users": logins})
    with django_assert_num_queries(7):
        assert as_charlie.get(OWNERS).status_code == 200


def test_unknown_crate_has_no_owners(as_alice: CargoClient) -> None:
    assert as_alice.get("/api/v1/crates/nothing/owners").status_code == 404


def test_owners_are_hidden_without_a_token(db: None) -> None:
    for token in (None, "garbage", "entc_" + "a" * 38):
        assert CargoClient(token=token).get(OWNERS).status_code == 401


@pytest.mark.parametrize("login", ["bob", "BOB", "ktra-secure-auth:bob"])
def test_owner_is_added_by_any_of_their_names(as_alice: CargoClient, bob: User, login: str) -> None:
    assert as_alice.put_json(OWNERS, {"users": [login]}).json() == {
        "ok": True,
        "msg": "user ktra-secure-auth:bob has been added to the owners list of crate demo",
    }
    assert owner_names() == ["alice", "bob"]


def test_owner_can_be_added_twice(as_alice: CargoClient, bob: User) -> None:
    for _ in range(2):
        assert as_alice.put_json(OWNERS, {"users": ["bob", "bob"]}).status_code == 200
    assert owner_names() == ["alice", "bob"]


@pytest.mark.parametrize("count", [1, 20])
def test_number_of_queries_is_constant(as_alice: CargoClient, django_assert_num_queries: Any, count: int) -> None:
    logins = [registration.register(f"user{number}", "correct horse").username for number in range(count)]
    with django_assert_num_queries(12):
        assert as_alice.put_json(OWNERS, {"users": logins}).status_code == 200


def test_several_owners_are_added_at_once(as_alice: CargoClient, bob: User, charlie: User) -> None:
    message = as_alice.put_json(OWNERS, {"users": ["bob", "charlie"]}).json()["msg"]
    assert message.startswith('users ["ktra-secure-auth:bob", "ktra-secure-auth:charlie"] have been added')


BAD_BODIES: list[Any] = [
    {"users": []},
    {"users": "bob"},
    {"users": ["bob", "nobody"]},
    {"users": ["github:org:team"]},
    {"users": [None]},
    {"users": [["bob"]]},
    {"users": ["bob"] * 51},
    {"users": ["bob"] * 10_000},
    {"users": ["bob\0"]},
    {"owners": ["bob"]},
    {},
    [],
    "bob",
    None,
]


def test_bad_body_adds_no_owner(as_alice: CargoClient, bob: User) -> None:
    for body in BAD_BODIES:
        response = as_alice.put_json(OWNERS, body)
        assert (response.status_code, set(response.json())) == (400, {"errors"}), str(body)[:100]
    assert owner_names() == ["alice"]


def test_fifty_logins_are_accepted(as_alice: CargoClient, bob: User) -> None:
    assert as_alice.put_json(OWNERS, {"users": ["bob"] * 50}).status_code == 200


def test_banned_account_cannot_become_an_owner(as_alice: CargoClient, bob: User) -> None:
    bans.ban(bob, actor=None)
    assert as_alice.put_json(OWNERS, {"users": ["bob"]}).status_code == 400


def test_stranger_cannot_change_owners(as_charlie: CargoClient) -> None:
    assert as_charlie.put_json(OWNERS, {"users": ["charlie"]}).status_code == 403
    assert as_charlie.delete_json(OWNERS, {"users": ["alice"]}).status_code == 403
    assert owner_names() == ["alice"]


def test_owner_can_leave_when_another_stays(as_alice: CargoClient, bob: User) -> None:
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    assert as_alice.delete_json(OWNERS, {"users": ["alice"]}).json() == {"ok": True, "msg": ""}
    assert owner_names() == ["bob"]


def test_last_owners_stay(as_alice: CargoClient, bob: User) -> None:
    for logins in (["alice"], ["alice", "alice"], ["ALICE"]):
        assert as_alice.delete_json(OWNERS, {"users": logins}).status_code == 409
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    assert as_alice.delete_json(OWNERS, {"users": ["alice", "bob"]}).status_code == 409
    assert owner_names() == ["alice", "bob"]


def test_banned_owner_does_not_count_as_owner(as_alice: CargoClient, bob: User) -> None:
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    bans.ban(bob, actor=None)
    assert as_alice.delete_json(OWNERS, {"users": ["alice"]}).status_code == 409


def test_owners_are_removed_all_or_none(as_alice: CargoClient, bob: User, charlie: User) -> None:
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    assert as_alice.delete_json(OWNERS, {"users": ["bob", "charlie"]}).status_code == 400
    assert owner_names() == ["alice", "bob"]


def test_removed_owner_loses_all_rights_at_once(as_alice: CargoClient, as_bob: CargoClient) -> None:
    as_alice.put_json(OWNERS, {"users": ["bob"]})
    assert as_bob.publish(packing.body(version="1.0.1")).status_code == 200
    as_alice.delete_json(OWNERS, {"users": ["bob"]})
    assert as_bob.publish(packing.body(version="1.0.2")).status_code == 403


def test_staff_make_no_banned_account_an_owner(bob: User, root: User) -> None:
    bans.ban(bob, actor=root)
    crate = Crate.objects.get()
    verbs: list[Callable[[], object]] = [
        lambda: ownership.change_as_staff(crate, [bob], [], actor=root),
        lambda: ownership.transfer_as_staff(crate, bob, actor=root),
    ]
    for verb in verbs:
        with pytest.raises(Invalid, match="closed or banned"):
            verb()
    assert owner_names() == ["alice"]


@pytest.mark.only_postgresql  # SQLite has one writer at a time
@pytest.mark.django_db(transaction=True)
def test_account_banned_meanwhile_owns_nothing(alice: User, bob: User, root: User) -> None:
    crate = Crate.objects.get()
    verbs: dict[str, Callable[[], object]] = {
        "owner": lambda: ownership.add(Principal(alice), "demo", ["bob"]),
        "staff": lambda: ownership.change_as_staff(crate, [bob], [], actor=root),
        "transfer": lambda: ownership.transfer_as_staff(crate, bob, actor=root),
    }
    for name, verb in verbs.items():
        assert isinstance(call_during(lambda: bans.ban(bob, actor=root), verb), Invalid), name
        assert owner_names() == ["alice"], name
        bans.unban(bob, actor=root)


@pytest.mark.only_postgresql  # SQLite has one writer at a time
@pytest.mark.django_db(transaction=True)
def test_undoing_locks_accounts_before_the_crate(alice: User, bob: User, root: User) -> None:
    crate = Crate.objects.get()
    ownership.transfer_as_staff(crate, bob, actor=root)
    events = list(AuditEvent.objects.filter(actor=root, action__startswith="crate."))
    raised = call_during(
        lambda: lock_accounts(alice),
        lambda: ownership.undo_as_staff(crate, events=events, actor=root),
        lambda: ownership.lock_for_update(crate),
    )
    assert (raised, owner_names()) == (None, ["alice"])


def test_staff_change_owners_once(alice: User, bob: User, root: User) -> None:
    crate = Crate.objects.get()
    verbs: list[Callable[[], bool]] = [
        lambda: ownership.change_as_staff(crate, [bob], [], actor=root),
        lambda: ownership.change_as_staff(crate, [], [alice], actor=root),
        lambda: ownership.transfer_as_staff(crate, alice, actor=root),
    ]
    assert [(verb(), verb()) for verb in verbs] == [(True, False)] * 3
    events = AuditEvent.objects.filter(actor=root, action__startswith="crate.").order_by("pk")
    assert [(event.action, event.detail["users"]) for event in events] == [
        ("crate.add_owners", ["bob"]),
        ("crate.remove_owners", ["alice"]),
        ("crate.add_owners", ["alice"]),
        ("crate.remove_owners", ["bob"]),
    ]
