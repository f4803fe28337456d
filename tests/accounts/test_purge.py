"""`manage.py purge` in accounts: ended sessions, failed log-ins, nonces and Django's sessions."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone

from accounts import email_verification, registration
from accounts.credentials import app_keys
from accounts.models import Credential, LoginFailure, Nonce, Role, RoleGrant, User
from accounts.principals import Principal
from accounts.scopes import ALL_SCOPES
from crates.models import Crate, Ownership
from namespaces import membership
from namespaces.models import Role as NamespaceRole
from namespaces.role_assignments import NewRole
from packages import releasing
from packages.collaboration import add_collaborators
from packages.release_input import ReleaseInput
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD

LONG_AGO, RECENTLY = timedelta(days=91), timedelta(days=89)


def purge() -> str:
    out = StringIO()
    call_command("purge", stdout=out)
    return out.getvalue()


def create_credential(user: User, name: str, kind: str = Credential.Kind.BROWSER_SESSION, **times: timedelta) -> None:
    """Insert a credential; `times` date its fields back."""
    fields = {field: timezone.now() - age for field, age in times.items()}
    Credential.objects.create(user=user, name=name, kind=kind, digest=name, scopes=ALL_SCOPES, **fields)


def test_sessions_are_deleted_90_days_after_their_end(alice: User) -> None:
    for kind in (Credential.Kind.BROWSER_SESSION, Credential.Kind.BACKUPS_SESSION, Credential.Kind.TORRUST_SESSION):
        create_credential(alice, f"revoked long ago, {kind}", kind, revoked_at=LONG_AGO)
        create_credential(alice, f"expired long ago, {kind}", kind, expires_at=LONG_AGO)
    create_credential(alice, "revoked recently", revoked_at=RECENTLY)
    create_credential(alice, "expired recently", expires_at=RECENTLY)
    create_credential(alice, "live", expires_at=timedelta(hours=-1))
    assert "6 ended sessions and 0 failed log-ins deleted." in purge()
    names = Credential.objects.values_list("name", flat=True)
    assert set(names) == {"revoked recently", "expired recently", "live"}


def test_ended_tokens_and_keys_stay(alice: User) -> None:
    for kind in (Credential.Kind.CARGO_TOKEN, Credential.Kind.APP_KEY):
        create_credential(alice, kind, kind, revoked_at=LONG_AGO, expires_at=LONG_AGO)
    purge()
    assert Credential.objects.count() == 2


@pytest.mark.django_db
def test_login_failures_are_deleted_after_90_days() -> None:
    for name, age in (("old", LONG_AGO), ("recent", RECENTLY)):
        LoginFailure.objects.create(name=name, at=timezone.now() - age)
    assert "0 ended sessions and 1 failed log-ins deleted." in purge()
    assert LoginFailure.objects.get().name == "recent"


def test_nonces_are_deleted_after_their_lifetime(alice: User) -> None:
    app_keys.issue(Principal(alice), "READ_ONLY")
    key = Credential.objects.get(kind=Credential.Kind.APP_KEY)
    second = timedelta(seconds=1)
    Nonce.objects.create(credential=key, digest="old", used_at=timezone.now() - app_keys.NONCE_LIFETIME - second)
    Nonce.objects.create(
        credential=key, digest="recent", used_at=timezone.now() - app_keys.NONCE_LIFETIME + 60 * second
    )
    purge()
    assert Nonce.objects.get().digest == "recent"


@pytest.mark.django_db
def test_expired_sessions_of_django_are_deleted() -> None:
    for key, age in (("old", timedelta(seconds=1)), ("live", timedelta(hours=-1))):
        Session.objects.create(session_key=key, session_data="", expire_date=timezone.now() - age)
    purge()
    assert Session.objects.get().session_key == "live"


# --- Accounts that were never verified -----------------------------------------------------------------------------


@pytest.fixture
def unverified(db: None, settings: Any) -> User:
    """An account whose last link was sent 15 days ago."""
    settings.EMAIL_VERIFICATION = True
    return sign_up_long_ago("dora")


def sign_up_long_ago(name: str, days: int = 15) -> User:
    user = registration.sign_up(name, PASSWORD, f"{name}@example.org")
    user.verification_sent_at = timezone.now() - timedelta(days=days)
    user.save()
    return user


def test_unverified_account_ends_after_14_days(unverified: User) -> None:
    email_verification.resend(unverified)
    User.objects.update(verification_sent_at=unverified.verification_sent_at)
    sign_up_long_ago("emil", days=13)
    assert "1 unverified accounts deleted." in purge()
    assert list(User.objects.values_list("username", flat=True)) == ["emil"]
    event = AuditEvent.objects.get(action="user.expire")
    assert (event.actor_name, event.target) == ("manage.py purge", "dora")
    assert registration.sign_up("Dora", PASSWORD).username == "Dora"  # the name is free again


def test_verified_account_does_not_end(unverified: User) -> None:
    User.objects.update(email_verified_at=timezone.now())
    purge()
    assert User.objects.get() == unverified


def test_account_does_not_end_without_verification(unverified: User, settings: Any) -> None:
    settings.EMAIL_VERIFICATION = False
    purge()
    assert User.objects.get() == unverified


def test_account_with_belongings_does_not_end(unverified: User, alice: User) -> None:
    names = ("member", "collaborator", "heir", "owner", "holder", "manager", "imported")
    users = {name: sign_up_long_ago(name) for name in names}
    acme = membership.create_namespace(Principal(alice), "acme")
    membership.add_members(Principal(alice), "acme", [NewRole("member", NamespaceRole.OWNER)])
    content = ReleaseInput(version="1.0.0")
    releasing.create_package(Principal(alice), "acme", "tool", "java", content)
    add_collaborators(Principal(alice), "acme", "tool", [NewRole("collaborator", NamespaceRole.MEMBER)])
    gift = releasing.create_package(Principal(alice), acme.name, "gift", "java", content).package
    releasing.transfer_package(gift, users["heir"].namespace, actor=alice)
    Ownership.objects.create(crate=Crate.objects.create(name="demo", canonical_name="demo"), user=users["owner"])
    create_credential(users["holder"], "key")
    RoleGrant.objects.create(user=users["manager"], role=Role.USERS_MANAGER)
    AuditEvent.objects.filter(actor=users["imported"]).delete()
    assert "1 unverified accounts deleted." in purge()
    assert set(User.objects.values_list("username", flat=True)) == {"alice", *names}
