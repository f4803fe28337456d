"""Mails to the invited."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts import registration
from accounts.models import NotificationChoices, User
from accounts.principals import Principal
from namespaces import invitations, membership
from namespaces.invitations import NAMESPACE
from namespaces.models import MemberInvitation, Role
from packages import release_input, releasing
from packages.invitations import PACKAGE
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD
from tests.support.sent_mails import send_all, sent_mails


@pytest.fixture
def acme(alice: User, bob: User, settings: Any) -> Principal:
    """Alice, who owns a namespace with a private package; bob has an address."""
    settings.EMAIL_HOST = "mail.example.org"  # Django's tests keep the mails
    User.objects.filter(pk=bob.pk).update(email="bob@example.org")
    membership.create_namespace(Principal(alice), "acme")
    content = release_input.ReleaseInput(version="1.0.0", type="PRIVATE")
    releasing.create_package(Principal(alice), "acme", "secret", "java", content)
    return Principal(alice)


def invite(inviter: Principal) -> None:
    invitations.invite(NAMESPACE, inviter, ["acme"], "bob", Role.MEMBER)


def deliver() -> list[Any]:
    """Send all mails, also those that wait to be joined."""
    send_all()
    return sent_mails()


def test_invited_gets_one_mail_about_all(acme: Principal) -> None:
    invite(acme)
    invitations.invite(PACKAGE, acme, ["acme", "secret"], "bob", Role.READ_ONLY)
    [mail] = deliver()
    assert (mail.to, mail.subject) == (["bob@example.org"], "alice invites you to acme (and 1 more)")
    assert "* to the namespace acme, as member, by alice, " in mail.body
    assert "* to the package acme/secret, as read only, by alice, " in mail.body
    assert "/account/invitations" in mail.body
    assert "List-Unsubscribe" in mail.extra_headers


def test_second_invitation_of_a_day_is_silent(acme: Principal) -> None:
    invite(acme)
    assert len(deliver()) == 1
    invitations.withdraw(NAMESPACE, acme, ["acme"], MemberInvitation.objects.get().pk)
    invite(acme)
    assert len(deliver()) == 1
    AuditEvent.objects.update(at=timezone.now() - timedelta(days=2))
    registration.register("dora", PASSWORD, email="dora@example.org")
    invite(acme)
    invitations.invite(NAMESPACE, acme, ["acme"], "dora", Role.MEMBER)
    assert [mail.to[0] for mail in deliver()[1:]] == ["bob@example.org", "dora@example.org"]


def test_withdrawn_and_unwanted_invitations_send_nothing(acme: Principal, bob: User) -> None:
    invite(acme)
    MemberInvitation.objects.all().delete()
    assert deliver() == []
    NotificationChoices.objects.create(user=bob, invitations=False)
    AuditEvent.objects.all().delete()
    invite(acme)
    assert deliver() == []
