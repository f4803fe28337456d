"""Log-in by password: its cost for unknown names, the upgrade of old hashes, and closed accounts."""

from typing import Any

import pytest
from django.contrib.auth import hashers

from accounts import bans
from accounts.models import LoginFailure, User
from accounts.passwords import login
from registry_site import settings as product
from registry_site.errors import WrongPassword
from tests.support.cast import PASSWORD
from tests.support.user_import import argon2id

NEW_PASSWORD = "battery staple"


@pytest.mark.django_db
def test_unknown_name_costs_one_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(login, "make_password", hashed.append)
    with pytest.raises(WrongPassword):
        login.authenticate("nobody", PASSWORD)
    assert hashed == [PASSWORD]


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_huge_password_costs_no_hash(alice: User, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(login, "make_password", hashed.append)
    monkeypatch.setattr(login, "verify_password", lambda password, encoded: hashed.append(password))
    for password in ("x" * 4097, "é" * 2049):
        with pytest.raises(WrongPassword):
            login.authenticate(name, password)
    assert hashed == []
    assert LoginFailure.objects.count() == 2


def test_longest_password_is_checked(alice: User) -> None:
    alice.set_password("x" * 4096)
    alice.save()
    assert login.authenticate("alice", "x" * 4096) == alice


def test_change_during_the_upgrade_wins(alice: User, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    User.objects.filter(pk=alice.pk).update(password="argon2" + argon2id())

    def change_password_meanwhile(password: str) -> str:
        User.objects.filter(pk=alice.pk).update(password=hashers.make_password(NEW_PASSWORD))
        return hashers.make_password(password)

    monkeypatch.setattr(login, "make_password", change_password_meanwhile)
    with pytest.raises(WrongPassword):
        login.authenticate("alice", PASSWORD)
    assert login.authenticate("alice", NEW_PASSWORD) == alice


def test_concurrent_upgrade_lets_both_in(alice: User, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    User.objects.filter(pk=alice.pk).update(password="argon2" + argon2id())

    def upgrade_meanwhile(password: str) -> str:
        User.objects.filter(pk=alice.pk).update(password=hashers.make_password(PASSWORD))
        return hashers.make_password(password)

    monkeypatch.setattr(login, "make_password", upgrade_meanwhile)
    assert login.authenticate("alice", PASSWORD) == alice


def test_log_in_to_a_closed_account_counts(alice: User) -> None:
    bans.ban(alice, actor=None)
    with pytest.raises(WrongPassword):
        login.authenticate("alice", PASSWORD)
    assert LoginFailure.objects.get().name == "alice"
