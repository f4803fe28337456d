"""Log-in by password: its cost for unknown names, spellings, the upgrade of old hashes, and closed accounts."""

import base64
import hashlib
import unicodedata
from collections.abc import Callable
from typing import Any

import argon2
import pytest
from django.contrib.auth import hashers
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts import bans, registration
from accounts.models import Identity, LoginFailure, User
from accounts.passwords import login
from registry_site import settings as product
from registry_site.errors import WrongPassword
from tests.support.cast import PASSWORD
from tests.support.responses import answer_of
from tests.support.user_import import argon2id

NEW_PASSWORD = "battery staple"


PBKDF2 = "pbkdf2-sha256$i=1000,l=32$c2l4dGVlbiBieXRlcyA6LSk$" + "A" * 43


@pytest.fixture
def computed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The costs of each hash that is computed to check a password, in the order of the checks."""
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    cache.clear()
    costs: list[str] = []
    verify, derive = argon2.PasswordHasher.verify, hashlib.pbkdf2_hmac

    def record_argon2(self: argon2.PasswordHasher, encoded: str, password: str) -> Any:
        costs.append(encoded.rsplit("$", 2)[0])
        return verify(self, encoded, password)

    def record_pbkdf2(name: str, password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
        costs.append(f"pbkdf2 {iterations}")
        return derive(name, password, salt, iterations, length)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", record_argon2)
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", record_pbkdf2)
    return costs


def fail(name: str, password: str, computed: list[str]) -> list[str]:
    """Log in with a wrong password, and return the costs of the hashes that it took."""
    computed.clear()
    with pytest.raises(WrongPassword):
        login.authenticate(name, password)
    return sorted(computed)


def test_every_account_costs_the_same_hashes(db: None, computed: list[str]) -> None:
    for name, encoded in (("ours", ""), ("oidc", "!"), ("backups", "argon2" + argon2id()), ("torrust", PBKDF2)):
        user = registration.register(name, PASSWORD)
        if encoded:
            User.objects.filter(pk=user.pk).update(password=encoded)
    own = "$argon2id$v=19$m=19456,t=2,p=1"
    each_kind = sorted([own, "$argon2id$v=19$m=64,t=1,p=1", "pbkdf2 1000"])
    names = ("nobody", "ours", "oidc", "backups", "torrust")
    assert {name: fail(name, NEW_PASSWORD, computed) for name in names} == dict.fromkeys(names, each_kind)
    raw = "caf\u0065\u0301 au lait"  # a check takes both spellings of it
    assert {name: fail(name, raw, computed) for name in names} == dict.fromkeys(names, sorted(each_kind * 2))


def test_unknown_name_costs_one_hash(alice: User, computed: list[str]) -> None:
    User.objects.update(password=hashers.make_password(PASSWORD))
    assert len(fail("nobody", NEW_PASSWORD, computed)) == len(fail("alice", NEW_PASSWORD, computed)) == 1


def test_kinds_of_hashes_are_bounded(db: None, computed: list[str]) -> None:
    for number in range(1, 6):
        user = registration.register(f"user-{number}", PASSWORD)
        User.objects.filter(pk=user.pk).update(password="argon2" + argon2id(time_cost=number))
    assert len(fail("nobody", NEW_PASSWORD, computed)) == 3


@pytest.mark.parametrize("name", ["alice", "nobody"])
def test_huge_password_costs_no_hash(alice: User, name: str, computed: list[str]) -> None:
    for password in ("x" * 4097, "é" * 2049):
        assert fail(name, password, computed) == []
    assert LoginFailure.objects.count() == 2


def test_longest_password_is_checked(alice: User) -> None:
    alice.set_password("x" * 4096)
    alice.save()
    assert login.authenticate("alice", "x" * 4096) == alice


SPELLINGS = ("caf\u00e9 au lait", "cafe\u0301 au lait", "caf\u00e9\u00a0au\u3000lait", "cafe\u0301\u2003au\u202flait")


def test_all_spellings_of_a_password_are_equal(db: None, settings: Any) -> None:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    for number, spelling in enumerate(SPELLINGS):
        user = registration.register(f"user-{number}", spelling)
        assert [login.authenticate(user.username, other) for other in SPELLINGS] == [user] * 4
        for other in ("cafe au lait", "CAF\u00c9 au lait", "caf\u00e9  au lait", " caf\u00e9 au lait"):
            with pytest.raises(WrongPassword):
                login.authenticate(user.username, other)


@pytest.mark.parametrize("imported", [False, True])
def test_hash_of_a_raw_password_is_replaced(alice: User, settings: Any, imported: bool) -> None:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    raw = SPELLINGS[1]
    costs = {} if imported else {"time_cost": 2, "memory_cost": 19 * 1024}
    User.objects.filter(pk=alice.pk).update(password="argon2" + argon2id(raw, salt_len=22, **costs))
    with pytest.raises(WrongPassword):
        login.authenticate("alice", unicodedata.normalize("NFC", raw))
    assert login.authenticate("alice", raw) == alice
    assert [login.authenticate("alice", spelling) for spelling in SPELLINGS] == [alice] * 4


def test_pbkdf2_takes_the_raw_password(alice: User, settings: Any) -> None:
    settings.PASSWORD_HASHERS = product.PASSWORD_HASHERS
    digest = hashlib.pbkdf2_hmac("sha256", SPELLINGS[1].encode(), b"sixteen bytes :-)", 1000)
    encoded = PBKDF2.rpartition("$")[0] + "$" + base64.b64encode(digest).decode().rstrip("=")
    User.objects.filter(pk=alice.pk).update(password=encoded)
    assert login.authenticate("alice", SPELLINGS[1]) == login.authenticate("alice", SPELLINGS[0]) == alice


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


def change_password(user: User) -> None:
    user.set_password(NEW_PASSWORD)
    user.save()


def ban(user: User) -> None:
    bans.ban(user, actor=None)


def close(user: User) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)


def refuse_by_provider(user: User) -> None:
    Identity.objects.create(user=user, issuer="https://id.example.com", subject="7", refused_at=timezone.now())


def restrict_networks(user: User) -> None:
    User.objects.filter(pk=user.pk).update(allowed_networks="192.0.2.0/24")


CAUSES: dict[str, Callable[[User], None]] = {
    "wrong name or password": change_password,
    "the account is banned": ban,
    "the account is closed": close,
    "its OpenID provider refuses the account": refuse_by_provider,
    "the account is for other addresses": restrict_networks,
}


@pytest.mark.parametrize("cause", CAUSES)
def test_staff_see_what_a_log_in_failed_for(as_root: Client, alice: User, cause: str) -> None:
    CAUSES[cause](alice)
    body = {"username": "alice", "password": PASSWORD}
    response = Client().post("/login", body, content_type="application/json")
    answer = {"error": "wrong_password", "message": "The user name or the password is wrong."}
    assert answer_of(response) == (401, answer)
    pages = ("/admin/accounts/loginfailure/", f"/admin/accounts/user/{alice.pk}/", "/admin/address/?of=127.0.0.1")
    assert [path for path in pages if f">{cause}</td>" not in as_root.get(path).content.decode()] == []
