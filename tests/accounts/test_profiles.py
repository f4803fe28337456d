"""Profiles: limits of the verb that the tests of yapkg's endpoint do not reach."""

import pytest

from accounts import bans, profiles
from accounts.models import User
from accounts.passwords import login
from accounts.principals import Principal
from registry_site.errors import Conflict, TooManyRequests, Unauthenticated
from tests.support.cast import PASSWORD


def rename(user: User, username: str) -> None:
    profiles.update_profile(Principal(user), None, profiles.ProfileChanges(username=username))


def test_number_of_renames_is_limited(alice: User) -> None:
    for number in range(profiles.MAX_FORMER_NAMES):
        rename(alice, f"alice-{number}")
    with pytest.raises(Conflict, match=r"^You have 10 former names already; you can take one of them again.$"):
        rename(alice, "alice-last")
    assert User.objects.get(pk=alice.pk).username == "alice-9"
    rename(alice, "alice-3")
    assert User.objects.get(pk=alice.pk).username == "alice-3"


def test_unproven_addresses_are_limited(alice: User) -> None:
    for number in range(5):
        profiles.update_profile(Principal(alice), None, profiles.ProfileChanges(email=f"x{number}@example.org"))
    with pytest.raises(TooManyRequests, match=r"^You changed your e-mail address 5 times within an hour; wait\.$"):
        profiles.update_profile(Principal(alice), None, profiles.ProfileChanges(email="x5@example.org"))
    assert User.objects.get(pk=alice.pk).email == "x4@example.org"


def test_ban_during_the_change_refuses_it(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def ban_while_hashing(password: str) -> str:
        bans.ban(alice, actor=None)
        return "hash"

    monkeypatch.setattr(profiles, "make_password", ban_while_hashing)
    with pytest.raises(Unauthenticated):
        profiles.update_profile(Principal(alice), None, profiles.ProfileChanges(password="battery staple"))
    bans.unban(alice, actor=None)
    assert login.authenticate("alice", PASSWORD) == alice


def test_former_name_may_be_taken_back(alice: User) -> None:
    rename(alice, "alicia")
    rename(alice, "ALICE")
    assert User.objects.get(pk=alice.pk).username == "ALICE"
    assert [reservation.name for reservation in alice.former_names.all()] == ["alicia"]
