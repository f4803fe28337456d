"""The choke point: every request passes it, and a commit passes it once more."""

from collections.abc import Callable
from datetime import timedelta
from io import BytesIO

import pytest
from django.db import transaction
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


def replace(user: User) -> None:
    cargo_tokens.rotate_default(user)


ENDS = [ban, deactivate, revoke, expire, replace]


@pytest.fixture
def holder(alice: User) -> Principal:
    return cargo_tokens.authenticate(cargo_tokens.rotate_default(alice).text)


def test_hold_lets_a_good_token_pass(holder: Principal) -> None:
    with transaction.atomic():
        holder.revalidate_and_lock()


@pytest.mark.parametrize("end", ENDS)
def test_hold_refuses_what_ended_meanwhile(holder: Principal, end: Callable[[User], None]) -> None:
    end(holder.user)
    with transaction.atomic(), pytest.raises(Unauthenticated, match=NOT_GOOD):
        holder.revalidate_and_lock()


@pytest.mark.parametrize("end", [ban, deactivate])
def test_hold_refuses_staff_whose_account_was_closed(root: User, end: Callable[[User], None]) -> None:
    end(root)
    with transaction.atomic(), pytest.raises(Unauthenticated, match="The account is closed"):
        Principal(root).revalidate_and_lock()


def test_hold_refuses_an_account_that_is_gone(holder: Principal) -> None:
    User.objects.filter(pk=holder.user.pk).delete()
    with transaction.atomic(), pytest.raises(Unauthenticated):
        holder.revalidate_and_lock()


def test_hold_passes_again_after_the_ban(holder: Principal) -> None:
    bans.ban(holder.user, actor=None)
    bans.unban(holder.user, actor=None)
    with transaction.atomic():
        holder.revalidate_and_lock()


class Interrupted(BytesIO):
    """An upload during which something happens: just before its last byte is read."""

    def __init__(self, body: bytes, event: Callable[[], None]) -> None:
        super().__init__(body)
        self.event: Callable[[], None] | None = event

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = super().read(size)
        if self.event and self.tell() == len(self.getbuffer()):
            event, self.event = self.event, None
            event()
        return chunk


@pytest.mark.parametrize("end", ENDS)
def test_publish_is_refused_when_the_token_ended_during_the_upload(
    holder: Principal, end: Callable[[User], None]
) -> None:
    body = packing.body()
    upload = Interrupted(body, lambda: end(holder.user))
    with pytest.raises(Unauthenticated):
        publishing.publish(holder, upload, len(body))
    assert upload.event is None
    assert not Crate.objects.exists()


def test_authentication_takes_one_query(alice: User, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    token = cargo_tokens.rotate_default(alice).text
    with django_assert_num_queries(1):
        cargo_tokens.authenticate(token)


def test_old_bans_and_tokens_do_not_slow_authentication_down(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(20):
        bans.ban(alice, actor=None)
        bans.unban(alice, actor=None)
        cargo_tokens.create(alice, f"token {number}")
    token = cargo_tokens.rotate_default(alice).text
    with django_assert_num_queries(1):
        cargo_tokens.authenticate(token)


def test_hold_takes_two_queries(holder: Principal, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with transaction.atomic(), django_assert_num_queries(2):
        holder.revalidate_and_lock()


def test_authentication_writes_nothing(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    before = list(Credential.objects.values()), list(User.objects.values())
    cargo_tokens.authenticate(token)
    assert (list(Credential.objects.values()), list(User.objects.values())) == before
