"""Changes of passwords: races between two changes, and outdated hashes."""

from typing import Any

import pytest
from django.contrib.auth.hashers import make_password

from accounts import bans
from accounts.models import User
from accounts.passwords import change, login
from accounts.principals import Principal
from registry_site import settings as product
from registry_site.errors import Unauthenticated, WrongPassword
from tests.support.cast import PASSWORD
from tests.support.user_import import argon2id

NEW_PASSWORD = "battery staple"


def change_own_password(user: User, new_password: str = NEW_PASSWORD) -> User:
    return change.change_password(Principal(user), user.username, PASSWORD, new_password, new_password)


def test_second_of_two_changes_is_refused(alice: User) -> None:
    other_instance = User.objects.get(pk=alice.pk)
    change.store_password(alice, NEW_PASSWORD, make_password(NEW_PASSWORD), actor=alice)
    with pytest.raises(WrongPassword, match="The password has changed meanwhile"):
        change.store_password(other_instance, "third password", make_password("third password"), actor=alice)
    assert login.authenticate("alice", NEW_PASSWORD) == alice


def test_ban_during_the_change_refuses_it(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def ban_while_hashing(user: User, password: str) -> str:
        bans.ban(alice, actor=None)
        return "hash"

    monkeypatch.setattr(change, "encode_password", ban_while_hashing)
    with pytest.raises(Unauthenticated):
        change_own_password(alice)
    assert User.objects.get(pk=alice.pk).check_password(PASSWORD)


def test_imported_hash_can_be_changed(alice: User, settings: Any) -> None:
    # The check of the current password replaces an outdated hash: the change must not take that for another change.
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    User.objects.filter(pk=alice.pk).update(password="argon2" + argon2id())
    alice.refresh_from_db()
    change_own_password(alice)
    assert login.authenticate("alice", NEW_PASSWORD) == alice
