"""The page of a user in the admin site: each test is a task of staff."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import bans, ranks, roles
from accounts.credentials import cargo_tokens
from accounts.models import Authenticator, Credential, Identity, LoginFailure, Role, User
from accounts.ranks import Rank
from tests.support.admin import open_action, sign_in_to_admin
from tests.support.authenticator_apps import add_app

MAX_QUERIES = 11
MAX_BYTES = 150_000


def page_of(client: Client, user: User) -> str:
    response = client.get(f"/admin/accounts/user/{user.pk}/")
    assert response.status_code == 200
    return response.content.decode()


def fail_to_log_in(user: User, times: int) -> None:
    LoginFailure.objects.bulk_create(
        LoginFailure(name=user.username, ip_address="192.0.2.7", network="192.0.2.7") for _ in range(times)
    )


def test_find_out_why_a_user_cannot_sign_in(as_root: Client, alice: User, root: User) -> None:
    page = page_of(as_root, alice)
    buttons = ("act/unban/", "act/remove_second_factor/")
    assert ("Can sign in and work." in page, any(button in page for button in buttons)) == (True, False)
    bans.ban(alice, actor=root, reason="spam <b>", until=timezone.now() + timedelta(days=9))
    fail_to_log_in(alice, 12)
    Identity.objects.create(user=alice, issuer="https://id.example.com", subject="7", refused_at=timezone.now())
    User.objects.filter(pk=alice.pk).update(is_active=False, password="")
    page = page_of(as_root, alice)
    reasons = (
        *("by root: spam &lt;b&gt;", "12 log-ins failed from 192.0.2.7", "Its OpenID provider named no group"),
        *("The account is not active", "It has neither a password nor an identity that may sign in."),
    )
    assert [reason for reason in reasons if reason not in page] == []
    assert "Can sign in and work." not in page


def test_see_that_an_address_waits_for_its_link(as_root: Client, alice: User, settings: object) -> None:
    settings.EMAIL_VERIFICATION = True  # type: ignore[attr-defined]
    User.objects.filter(pk=alice.pk).update(email="alice@example.com", email_verified_at=None)
    assert "alice@example.com has to be verified by the link in a mail first." in page_of(as_root, alice)


def test_see_that_a_lock_has_ended(as_root: Client, alice: User) -> None:
    fail_to_log_in(alice, 10)
    LoginFailure.objects.update(at=timezone.now() - timedelta(minutes=16))
    page = page_of(as_root, alice)
    assert ("Can sign in and work." in page, page.count("no: it is long ago")) == (True, 10)


def test_see_who_administers_everything(as_root: Client, alice: User, root: User) -> None:
    roles.grant(alice, Role.SYSTEM_ADMIN, actor=root)
    by_role = "An administrator of everything, by the role systemAdmin, but may not enter this site."
    assert by_role in page_of(as_root, alice)
    assert "An administrator of everything, by being a superuser." in page_of(as_root, root)


def test_facts_count_and_name_in_words(as_root: Client, alice: User) -> None:
    Authenticator.objects.bulk_create(
        Authenticator(user=alice, kind="app", name=f"app {number}") for number in range(3)
    )
    page = page_of(as_root, alice)
    expected = ("<dd>authenticator app; 0 recovery codes left</dd>", "0 B in 0 releases of packages")
    assert [text for text in expected if text not in page] == []


def test_find_tokens_with_scopes_and_last_use(as_root: Client, alice: User) -> None:
    cargo_tokens.rotate_default(alice)
    used_at = timezone.now() - timedelta(days=3)
    Credential.objects.update(crate_patterns=["tide-*"], last_used_at=used_at, last_used_ip="192.0.2.7")
    page = page_of(as_root, alice)
    expected = ("publish-new publish-update", "tide-*", f"{used_at:%Y-%m-%d %H:%M}</time>", "192.0.2.7")
    assert [text for text in expected if text not in page] == []
    assert Credential.objects.get(user=alice).digest not in page


def test_live_tokens_stand_before_revoked_ones(as_root: Client, alice: User) -> None:
    now = timezone.now()
    Credential.objects.bulk_create(
        Credential(user=alice, kind="cargo_token", name=f"old-{number}", digest=f"{number:064}", revoked_at=now)
        for number in range(60)
    )
    cargo_tokens.rotate_default(alice)
    Credential.objects.filter(name="default").update(created_at=now - timedelta(days=400))
    page = page_of(as_root, alice)
    assert (">default</a>" in page, page.count("old-"), "Only the newest 10 are shown." in page) == (True, 9, True)


@pytest.fixture
def crowded(alice: User, root: User) -> User:
    """A user with 2,000 of everything that can be many."""
    now = timezone.now()
    kinds = Credential.Kind.values
    Credential.objects.bulk_create(
        Credential(
            **{"user": alice, "kind": kinds[number % len(kinds)], "name": "n" * 60, "digest": f"{number:064}"},
            **{"revoked_at": now, "crate_patterns": ["x" * 60] * 10},
        )
        for number in range(2000)
    )
    fail_to_log_in(alice, 2000)
    for _ in range(60):
        bans.ban(alice, actor=root, reason="r" * 500)
    return alice


def test_page_of_a_crowded_account_stays_small(as_root: Client, crowded: User) -> None:
    page_of(as_root, crowded)
    with CaptureQueriesContext(connection) as queries:
        page = page_of(as_root, crowded)
    assert (len(queries) <= MAX_QUERIES, len(page.encode()) < MAX_BYTES) == (True, True), (len(queries), len(page))


def actions_on(page: str) -> set[str]:
    return set(re.findall(r"/admin/accounts/user/act/(\w+)/", page))


def test_only_what_can_work_is_offered(as_root: Client, alice: User, root: User) -> None:
    always = {"ban", "close", "set_rank", "make_token"}
    assert actions_on(page_of(as_root, alice)) == always
    cargo_tokens.create(alice, "ci")
    fail_to_log_in(alice, 1)
    add_app(alice)
    User.objects.filter(pk=alice.pk).update(email="alice@example.com")
    more = {"revoke_tokens", "unlock", "remove_second_factor", "send_reset_link"}
    assert actions_on(page_of(as_root, alice)) == always | more
    bans.ban(alice, actor=root)
    assert actions_on(page_of(as_root, alice)) == always - {"make_token"} | more - {"send_reset_link"} | {"unban"}
    assert actions_on(page_of(as_root, root)) == {"revoke_tokens"}


def test_staff_see_no_buttons_on_accounts_above(alice: User, root: User) -> None:
    ranks.set_rank(alice, Rank.SUPPORT, actor=root)
    as_alice = sign_in_to_admin(alice)
    assert actions_on(page_of(as_alice, root)) == set()
    page = open_action(as_alice, "/admin/accounts/user/", "ban", root)
    assert "root administers this registry: only who does so too may do this." in page
    refused = as_alice.get(f"/admin/accounts/user/act/close/?pk={root.pk}")
    assert (refused.status_code, "Close the account: your account lacks this right." in refused.content.decode()) == (
        403,
        True,
    )


def test_page_warns_of_barred_accounts_with_ranks(as_root: Client, alice: User, bob: User, root: User) -> None:
    bans.ban(alice, actor=root)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    page = open_action(as_root, "/admin/accounts/user/", "set_rank", alice, bob)
    assert "alice is banned: its rank counts once the ban ends." in page
    assert "bob is closed: its rank counts once it is opened again." in page
