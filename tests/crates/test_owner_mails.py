"""Mails of staff to the owners of chosen crates."""

from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import bans
from accounts.models import NotificationChoices, User
from crates import owner_mails
from crates.models import Crate, OwnerMail, Ownership
from registry_site.errors import Conflict, Invalid, TooManyRequests
from registry_site.models import AuditEvent, OutboxEntry, StaffRun
from tests.support import packing
from tests.support.admin import FormFields, open_action, run_action
from tests.support.cast import CargoClient
from tests.support.sent_mails import sent_mails

CRATES = "/admin/crates/crate/"
SUBJECT = "A flaw in what you publish"
TEXT = "Version 1.0.0 reads beyond its buffer.\n\nYank it, please."


@pytest.fixture(autouse=True)
def mail_server(db: None, settings: Any) -> None:
    settings.EMAIL_HOST = "mail.example.org"  # Django's tests keep the mails


@pytest.fixture
def crates(as_alice: CargoClient, alice: User, bob: User, charlie: User, mail_server: None) -> list[Crate]:
    """Two crates of alice, of which bob and charlie own one, too."""
    for name in ("demo", "other"):
        as_alice.publish(packing.body(name))
    rows = list(Crate.objects.order_by("name"))
    for user in (alice, bob, charlie):
        User.objects.filter(pk=user.pk).update(email=f"{user}@example.org", email_verified_at=timezone.now())
    Ownership.objects.create(crate=rows[0], user=bob)
    Ownership.objects.create(crate=rows[1], user=charlie)
    OutboxEntry.objects.all().delete()
    return rows


def recipients() -> list[str]:
    return sorted(OutboxEntry.objects.filter(kind="owner_mail").values_list("recipient", flat=True))


def test_each_owner_gets_one_mail(crates: list[Crate], root: User) -> None:
    sent = owner_mails.send(crates, f" {SUBJECT} ", f"{TEXT}\r\n", actor=root)
    assert (sent.crates, sent.recipients, sent.sent_by) == (2, 3, root)
    mails = sorted(sent_mails(), key=lambda message: message.to)
    assert [message.to for message in mails] == [[f"{name}@example.org"] for name in ("alice", "bob", "charlie")]
    assert {message.subject for message in mails} == {SUBJECT}
    assert "write to the owners of demo, other:\n\n" + TEXT in mails[0].body
    assert "write to the owners of other:\n\n" + TEXT in mails[2].body
    assert "&" not in mails[0].body
    events = AuditEvent.objects.filter(action="crate.mail_owners").order_by("pk")
    assert [(event.target, event.detail["recipients"], event.detail["mail"]) for event in events] == [
        ("demo", 3, sent.pk),
        ("other", 3, sent.pk),
    ]


def test_only_addresses_that_count_are_used(crates: list[Crate], root: User, bob: User, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = True
    User.objects.filter(username="alice").update(email_verified_at=None)
    NotificationChoices.objects.create(user=User.objects.get(username="charlie"), owners_changed=False)
    assert owner_mails.send(crates, SUBJECT, TEXT, actor=root).recipients == 2
    assert recipients() == ["bob@example.org", "charlie@example.org"]
    bans.ban(bob, actor=None)  # before his mail is sent
    assert [message.to for message in sent_mails() if message.subject == SUBJECT] == [["charlie@example.org"]]
    mail.outbox.clear()


def test_refusals_queue_nothing(
    crates: list[Crate], root: User, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for subject, text in (("", TEXT), ("a\nb", TEXT), (SUBJECT, " "), (SUBJECT, "x" * 4001), (SUBJECT, "\x1b[31m")):
        with pytest.raises(Invalid):
            owner_mails.send(crates, subject, text, actor=root)
    monkeypatch.setattr(owner_mails, "MAX_RECIPIENTS", 2)
    with pytest.raises(Invalid, match="3 owners; write to at most 2"):
        owner_mails.send(crates, SUBJECT, TEXT, actor=root)
    User.objects.update(email="")
    with pytest.raises(Invalid, match="No owner of these crates has an address"):
        owner_mails.send(crates, SUBJECT, TEXT, actor=root)
    settings.EMAIL_HOST = ""
    with pytest.raises(Conflict, match="no mail server"):
        owner_mails.send(crates, SUBJECT, TEXT, actor=root)
    assert (recipients(), OwnerMail.objects.count()) == ([], 0)


def test_mails_of_a_day_are_limited(crates: list[Crate], root: User, alice: User) -> None:
    for _ in range(10):
        owner_mails.send(crates[:1], SUBJECT, TEXT, actor=root)
    with pytest.raises(TooManyRequests, match="10 times within a day"):
        owner_mails.send(crates[:1], SUBJECT, TEXT, actor=root)
    owner_mails.send(crates[:1], SUBJECT, TEXT, actor=alice)
    assert len(recipients()) == 22


def test_queries_do_not_grow(
    crates: list[Crate], root: User, alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    users = [User.objects.create_user(f"owner-{number}", f"owner-{number}@example.org") for number in range(30)]
    Ownership.objects.bulk_create(Ownership(crate=crate, user=user) for crate in crates for user in users)
    many = Crate.objects.bulk_create(
        Crate(name=f"many-{number}", canonical_name=f"many_{number}", index_path=f"ma/ny/many-{number}")
        for number in range(30)
    )
    Ownership.objects.bulk_create(Ownership(crate=crate, user=alice) for crate in many)
    with django_assert_max_num_queries(10):
        owner_mails.send([*crates, *many], SUBJECT, TEXT, actor=root)
    message = next(message for message in sent_mails() if message.to == ["alice@example.org"])
    assert "many-25 and 12 more:" in message.body


def test_staff_mail_owners_by_the_action(crates: list[Crate], as_root: Client, root: User) -> None:
    page = open_action(as_root, CRATES, "mail_owners", *crates)
    assert [name for name in ("demo", "other") if name not in page] == []
    form = FormFields(page).values
    refused = as_root.post(f"{CRATES}act/mail_owners/", {**form, "subject": "a\x07", "text": TEXT})
    assert (refused.status_code, FormFields(refused.content.decode()).values["text"]) == (400, TEXT)
    User.objects.exclude(pk=root.pk).update(email="")
    refused = as_root.post(f"{CRATES}act/mail_owners/", {**form, "subject": SUBJECT, "text": TEXT})
    assert "No owner of these crates has an address" in refused.content.decode()
    assert not StaffRun.objects.exists()
    User.objects.filter(username="alice").update(email="alice@example.org")
    page = run_action(as_root, CRATES, "mail_owners", *crates, subject=SUBJECT, text=TEXT)
    assert "2 whose owners get the mail." in page
    assert recipients() == ["alice@example.org"]
    run = StaffRun.objects.get()
    assert AuditEvent.objects.filter(run=run.pk, action="crate.mail_owners").count() == 2
    assert SUBJECT in as_root.get("/admin/crates/ownermail/").content.decode()
    page = as_root.get(f"/admin/crates/ownermail/{OwnerMail.objects.get().pk}/").content.decode()
    assert ("to 1 owner of 2 crates" in page, TEXT.replace("\n", "<br>") in page) == (True, True)
