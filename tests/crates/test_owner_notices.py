"""Mails to the owners of crates: every version is told to all of them, in few mails."""

from typing import Any

import pytest

from accounts.models import NotificationChoices, User
from registry_site import outbox
from registry_site.models import OutboxEntry
from tests.support import packing
from tests.support.cast import CargoClient
from tests.support.sent_mails import send_all, sent_mails


@pytest.fixture(autouse=True)
def mail_server(db: None, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"  # Django's tests keep the mails


@pytest.fixture
def addresses(alice: User, bob: User, charlie: User) -> None:
    for user in (alice, bob, charlie):
        User.objects.filter(pk=user.pk).update(email=f"{user}@example.org")


@pytest.fixture
def demo(addresses: None, as_alice: CargoClient, bob: User) -> str:
    """A crate of alice and bob, whose first mails are gone."""
    as_alice.publish(packing.body())
    as_alice.put_json("/api/v1/crates/demo/owners", {"users": ["bob"]})
    OutboxEntry.objects.all().delete()
    return "demo"


def deliver() -> list[Any]:
    """Send all mails, also those that wait to be joined, and return those about crates by their recipients."""
    send_all()
    return sorted((mail for mail in sent_mails() if "token" not in mail.subject), key=lambda mail: mail.to)


def test_all_owners_hear_of_a_version(demo: str, as_bob: CargoClient) -> None:
    as_bob.publish(packing.body(version="1.1.0"))
    mails = deliver()
    assert [mail.to for mail in mails] == [["alice@example.org"], ["bob@example.org"]]
    assert {mail.subject for mail in mails} == {"demo 1.1.0 was published"}
    assert "* demo@1.1.0, by bob with token default, " in mails[0].body
    assert "because your account owns the crate" in mails[0].body
    assert "List-Unsubscribe" in mails[0].extra_headers


def test_versions_of_a_minute_are_one_mail(demo: str, as_alice: CargoClient) -> None:
    for number in range(1, 4):
        as_alice.publish(packing.body(version=f"1.{number}.0"))
        outbox.work_off()
    as_alice.publish(packing.body("other"))
    mails = deliver()
    assert sorted((mail.to[0], mail.subject) for mail in mails) == [
        ("alice@example.org", "demo 1.1.0 was published (and 2 more)"),
        ("alice@example.org", "other 1.0.0 was published"),
        ("bob@example.org", "demo 1.1.0 was published (and 2 more)"),
    ]


def test_choice_is_of_each_owner(demo: str, as_alice: CargoClient, bob: User) -> None:
    NotificationChoices.objects.create(user=bob, new_versions=False)
    as_alice.publish(packing.body(version="1.1.0"))
    assert [mail.to for mail in deliver()] == [["alice@example.org"]]


def test_old_and_new_owners_hear_of_changes(demo: str, as_alice: CargoClient) -> None:
    as_alice.put_json("/api/v1/crates/demo/owners", {"users": ["charlie"]})
    as_alice.delete_json("/api/v1/crates/demo/owners", {"users": ["bob"]})
    mails = deliver()
    assert [mail.to[0] for mail in mails] == [f"{name}@example.org" for name in ("alice", "bob", "charlie")]
    assert "* removed: bob, by alice, " in mails[1].body


def test_refused_publish_sends_nothing(demo: str, as_charlie: CargoClient, as_alice: CargoClient) -> None:
    as_charlie.publish(packing.body(version="1.1.0"))
    as_alice.publish(packing.body(version="1.0.0", toml=packing.manifest("demo", extra="edition = 1")))
    assert deliver() == []


def test_publish_costs_one_row(demo: str, as_alice: CargoClient) -> None:
    as_alice.publish(packing.body(version="1.1.0"))
    assert list(OutboxEntry.objects.values_list("kind", flat=True)) == ["notify"]


def test_owners_take_few_queries(demo: str, as_alice: CargoClient, django_assert_max_num_queries: Any) -> None:
    users = [User.objects.create_user(f"owner-{number}", f"owner-{number}@example.org") for number in range(20)]
    as_alice.put_json("/api/v1/crates/demo/owners", {"users": [user.username for user in users]})
    OutboxEntry.objects.all().delete()
    for version in ("1.1.0", "1.2.0"):
        as_alice.publish(packing.body(version=version))
        with django_assert_max_num_queries(16):
            outbox.work_off()
    assert len(deliver()) == 22
