"""Cargo tokens that end soon: each is announced once, to whoever writes the mails."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.utils import timezone

from accounts import bans
from accounts.credentials import cargo_tokens
from accounts.credentials.ending_tokens import announce_ending_tokens
from accounts.models import Credential, User
from accounts.signals import token_ending


@pytest.fixture
def announced() -> Iterator[list[str]]:
    """The names of the tokens that were announced."""
    names: list[str] = []

    def receive(sender: Any, token: Credential, **kwargs: Any) -> None:
        names.append(token.name)

    token_ending.connect(receive)
    yield names
    token_ending.disconnect(receive)


def create(user: User, name: str, *, left: timedelta, age: timedelta = timedelta(days=30)) -> None:
    now = timezone.now()
    cargo_tokens.create(user, name, expires_at=now + timedelta(days=300))
    Credential.objects.filter(name=name).update(created_at=now - age, expires_at=now + left)


def test_each_end_is_announced_once(alice: User, announced: list[str]) -> None:
    create(alice, "soon", left=timedelta(days=6, hours=23))
    create(alice, "later", left=timedelta(days=7, hours=1))
    create(alice, "over", left=timedelta(seconds=-1))
    create(alice, "short", left=timedelta(days=2), age=timedelta(days=1))
    create(alice, "revoked", left=timedelta(days=2))
    Credential.objects.filter(name="revoked").mark_revoked()
    cargo_tokens.create(alice, "endless")
    assert [announce_ending_tokens(), announce_ending_tokens()] == [1, 0]
    assert announced == ["soon"]


def test_closed_accounts_get_no_word(alice: User, bob: User, announced: list[str]) -> None:
    create(alice, "of alice", left=timedelta(days=2))
    create(bob, "of bob", left=timedelta(days=2))
    bans.ban(alice, actor=None)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert (announce_ending_tokens(), announced) == (0, [])


def test_purge_announces_ends(alice: User, announced: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    create(alice, "soon", left=timedelta(days=2))
    call_command("purge")
    assert announced == ["soon"]
    assert "1 tokens end soon, of which their users get word now." in capsys.readouterr().out


def test_failing_receiver_leaves_it_for_later(alice: User, announced: list[str]) -> None:
    def fail(**kwargs: Any) -> None:
        raise OSError("no mail")

    create(alice, "soon", left=timedelta(days=2))
    token_ending.connect(fail)
    try:
        with pytest.raises(OSError, match="no mail"):
            announce_ending_tokens()
    finally:
        token_ending.disconnect(fail)
    assert announce_ending_tokens() == 1


@pytest.mark.only_postgresql  # SQLite has one writer at a time
@pytest.mark.django_db(transaction=True)
def test_two_threads_announce_each_end_once(announced: list[str]) -> None:
    user = User.objects.create_user("alice")
    for name in ("locked", "free"):
        create(user, name, left=timedelta(days=2))

    def announce_elsewhere() -> int:
        try:
            return announce_ending_tokens()
        finally:
            connection.close()

    with transaction.atomic(), ThreadPoolExecutor(1) as pool:
        Credential.objects.select_for_update().get(name="locked")
        assert pool.submit(announce_elsewhere).result() == 1
    assert announced == ["free"]
