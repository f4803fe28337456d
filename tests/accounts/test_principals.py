"""Principals: authentication on every request, and revalidation before a commit."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import bans
from accounts.credentials import cargo_tokens, revocation
from accounts.models import Credential, User
from accounts.principals import NOT_GOOD, Principal
from crates import publishing
from crates.models import Crate
from registry_site.errors import Unauthenticated
from tests.support import packing


def ban(user: User) -> None:
    bans.ban(user, actor=None)


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def revoke(user: User) -> None:
    revocation.revoke(user.credentials.get(), actor=None)


def expire(user: User) -> None:
    user.credentials.update(expires_at=timezone.now() - timedelta(seconds=1))


def rotate(user: User) -> None:
    cargo_tokens.rotate_default(user)


ENDINGS = [ban, deactivate, revoke, expire, rotate]


@pytest.fixture
def principal(alice: User) -> Principal:
    return cargo_tokens.authenticate(cargo_tokens.rotate_default(alice).text)


def test_revalidation_passes_a_valid_token(principal: Principal) -> None:
    with transaction.atomic():
        principal.revalidate_and_lock()


@pytest.mark.parametrize("end", ENDINGS)
def test_revalidation_refuses_a_token_ended_meanwhile(principal: Principal, end: Callable[[User], None]) -> None:
    end(principal.user)
    with transaction.atomic(), pytest.raises(Unauthenticated, match=NOT_GOOD):
        principal.revalidate_and_lock()


@pytest.mark.parametrize("end", [ban, deactivate])
def test_revalidation_refuses_closed_staff(root: User, end: Callable[[User], None]) -> None:
    end(root)
    with transaction.atomic(), pytest.raises(Unauthenticated, match="The account is closed"):
        Principal(root).revalidate_and_lock()


def test_revalidation_refuses_a_deleted_account(principal: Principal) -> None:
    User.objects.filter(pk=principal.user.pk).delete()
    with transaction.atomic(), pytest.raises(Unauthenticated):
        principal.revalidate_and_lock()


def test_revalidation_passes_after_the_ban(principal: Principal) -> None:
    bans.ban(principal.user, actor=None)
    bans.unban(principal.user, actor=None)
    with transaction.atomic():
        principal.revalidate_and_lock()


@pytest.mark.parametrize("end", ENDINGS)
def test_publish_is_refused_if_the_token_ends_meanwhile(principal: Principal, end: Callable[[User], None]) -> None:
    body = packing.body()
    upload = packing.InterruptedUpload(body, lambda: end(principal.user))
    with pytest.raises(Unauthenticated):
        publishing.publish(principal, upload, len(body))
    assert upload.event is None
    assert not Crate.objects.exists()


def test_authentication_takes_one_query(alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    token = cargo_tokens.rotate_default(alice).text
    with django_assert_num_queries(1):
        cargo_tokens.authenticate(token)


def test_old_bans_and_tokens_add_no_queries(alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    for number in range(20):
        bans.ban(alice, actor=None)
        bans.unban(alice, actor=None)
        cargo_tokens.create(alice, f"token {number}")
    token = cargo_tokens.rotate_default(alice).text
    with django_assert_num_queries(1):
        cargo_tokens.authenticate(token)


def test_revalidation_takes_a_query_and_a_lock(
    principal: Principal, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    # SQLite has no locks of rows.
    with transaction.atomic(), django_assert_num_queries(1 + connection.features.has_select_for_update):
        principal.revalidate_and_lock()


@pytest.mark.only_postgresql  # SQLite locks the whole database instead
def test_user_row_is_locked_until_the_commit(principal: Principal) -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as revalidation:
        principal.revalidate_and_lock()
    with CaptureQueriesContext(connection) as revocation_of_token:
        revocation.revoke(principal.user.credentials.get(), actor=None)
    for queries in (revalidation, revocation_of_token):
        assert any("FOR NO KEY UPDATE" in query["sql"] for query in queries)


def test_credential_ends_exactly_at_its_date(principal: Principal, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timezone.now()
    monkeypatch.setattr(timezone, "now", lambda: now)
    ends = [now - timedelta(seconds=1), now, now + timedelta(seconds=1), None]
    assert [Credential(expires_at=end).is_live for end in ends] == [False, False, True, True]


def test_authentication_writes_nothing(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    before = list(Credential.objects.values()), list(User.objects.values())
    cargo_tokens.authenticate(token)
    assert (list(Credential.objects.values()), list(User.objects.values())) == before
