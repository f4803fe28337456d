"""Principals in memory: each change of a credential or of its user counts from the next request on, on each worker."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts import bans, closing, ranks, registration, roles
from accounts.credentials import cargo_tokens, jwt_sessions, revocation
from accounts.models import Identity, Role, User
from accounts.passwords import change
from accounts.principals import Principal, live_credentials
from accounts.scopes import Scope
from registry_site.errors import PermissionDenied, Revoked
from registry_site.http import client_address
from tests.support.cast import PASSWORD
from tests.support.change_feed import feeding
from tests.support.concurrency import send_json, wait_until
from tests.support.servers import running

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    """Keep principals in memory, as a worker does."""
    with feeding(live_credentials):
        yield


class Warm:
    """A user whose token is in memory."""

    def __init__(self, name: str) -> None:
        self.user = registration.register(name, PASSWORD)
        self.text = cargo_tokens.rotate_default(self.user).text
        self.principal = self.authenticate()
        assert self.is_kept

    def authenticate(self) -> Principal:
        return cargo_tokens.authenticate(self.text)

    @property
    def is_kept(self) -> bool:
        credential = self.principal.credential
        assert credential is not None
        return (credential.kind, credential.digest) in live_credentials.entries


@pytest.fixture
def warm() -> Warm:
    return Warm("alice")


def ban(user: User) -> None:
    bans.ban(user, actor=None)


def ban_in_sql(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_ban (user_id, reason, created_at) VALUES (%s, '', %s)", [user.pk, timezone.now()]
        )


def revoke(user: User) -> None:
    revocation.revoke(user.credentials.get(), actor=None)


def delete_token(user: User) -> None:
    user.credentials.all().delete()


def rotate(user: User) -> None:
    cargo_tokens.rotate_default(user)


def close(user: User) -> None:
    closing.close_account(Principal(user), PASSWORD)


def deactivate(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def change_password(user: User) -> None:
    change.store_password(user, "other horse", change.encode_password(user, "other horse"), actor=None)


def refuse_identity(user: User) -> None:
    Identity.objects.create(user=user, issuer="https://id", subject=user.username, refused_at=timezone.now())


ENDINGS = [ban, ban_in_sql, revoke, delete_token, rotate, close, deactivate, change_password, refuse_identity]


def test_each_ending_counts_at_once() -> None:
    offenders = []
    for number, end in enumerate(ENDINGS):
        warm = Warm(f"user{number}")
        end(warm.user)
        try:
            warm.authenticate()
        except Revoked:
            continue
        offenders.append(end.__name__)
    assert offenders == []


def test_warm_token_takes_no_query(warm: Warm, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(0):
        assert warm.authenticate() == warm.principal


def test_end_by_time_counts_at_once(warm: Warm) -> None:
    end = timezone.now() + timedelta(seconds=0.2)
    warm.user.credentials.update(expires_at=end)
    warm.authenticate()
    assert warm.is_kept
    wait_until(lambda: timezone.now() >= end)
    with pytest.raises(Revoked):
        warm.authenticate()


def test_lifted_ban_counts_at_once(warm: Warm) -> None:
    ban(warm.user)
    with pytest.raises(Revoked):
        warm.authenticate()
    bans.unban(warm.user, actor=None)
    warm.authenticate()
    assert warm.is_kept


def test_changed_scopes_count_at_once(warm: Warm) -> None:
    warm.principal.require(Scope.PUBLISH_NEW)
    warm.user.credentials.update(scopes=[Scope.READ])
    with pytest.raises(PermissionDenied):
        warm.authenticate().require(Scope.PUBLISH_NEW)


def test_roles_and_ranks_count_at_once(warm: Warm) -> None:
    roles.grant(warm.user, Role.USERS_MANAGER, actor=None)
    assert roles.may_manage_users(warm.authenticate().user)
    roles.revoke(warm.user, Role.USERS_MANAGER, actor=None)
    assert not roles.may_manage_users(warm.authenticate().user)
    ranks.set_rank(warm.user, ranks.Rank.SUPPORT, actor=None)
    assert warm.authenticate().user.is_staff


def test_changed_networks_count_at_once(warm: Warm) -> None:
    User.objects.filter(pk=warm.user.pk).update(allowed_networks="10.0.0.0/8")
    warm.authenticate()
    token = client_address._client_ip.set("192.0.2.1")
    try:
        with pytest.raises(Revoked):
            warm.authenticate()
    finally:
        client_address._client_ip.reset(token)
    assert warm.is_kept


def test_password_change_ends_other_sessions(warm: Warm) -> None:
    issued = jwt_sessions.create_backups_session(warm.user)
    jwt_sessions.authenticate(jwt_sessions.BackupsToken, issued.token)
    change_password(warm.user)
    with pytest.raises(Revoked):
        jwt_sessions.authenticate(jwt_sessions.BackupsToken, issued.token)


def test_requests_share_no_rows(warm: Warm) -> None:
    first = warm.authenticate()
    assert first.credential is not None
    first.user.username = "changed"
    first.credential.scopes.append("changed")
    second = warm.authenticate()
    assert second.credential is not None
    assert second.user.username == "alice"
    assert "changed" not in second.credential.scopes


def test_transaction_reads_the_rows(warm: Warm, django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with transaction.atomic(), django_assert_num_queries(1):
        warm.authenticate()


def test_last_use_is_known_after_it_is_stored(warm: Warm) -> None:
    warm.user.credentials.update(last_used_at=timezone.now())
    credential = warm.authenticate().credential
    assert credential is not None
    assert credential.last_used_at is not None


def test_ban_counts_on_each_worker_of_a_server(tmp_path: Path) -> None:
    with running(tmp_path / "data", REGISTRY_WORKERS="2") as server:
        token = server.sign_up("alice")

        def statuses(count: int) -> set[int]:
            return {send_json(server, "GET", "/api/v1/me/tokens", token=token).status for _ in range(count)}

        assert statuses(8) == {200}
        server.manage("banuser", "alice")
        assert statuses(8) == {401}
        server.manage("unbanuser", "alice")
        assert statuses(8) == {200}
