"""Cargo tokens: their form, their scopes, and their end."""

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.credentials import cargo_tokens, revocation
from accounts.models import Credential, User
from accounts.passwords import login
from accounts.principals import NOT_GOOD
from accounts.scopes import CARGO_SCOPES, Scope
from registry_site.encoding import token_digest
from registry_site.errors import Conflict, Invalid, PermissionDenied, Unauthenticated
from registry_site.models import AuditEvent
from tests.support.cast import PASSWORD, CargoClient
from tests.support.responses import answer_of

OWNERS = "/api/v1/crates/none/owners"


def is_valid(token: str) -> bool:
    try:
        cargo_tokens.authenticate(token)
    except Unauthenticated:
        return False
    return True


@pytest.fixture
def openid_login(settings: Any) -> None:
    settings.OIDC_LOGIN = True


# --- Their form --------------------------------------------------------------------------------------------------


def test_token_has_its_prefix_and_190_random_bits(alice: User) -> None:
    assert re.fullmatch(r"entc_[A-Za-z0-9]{32}[A-Za-z0-9]{6}", cargo_tokens.rotate_default(alice).text)


def test_tokens_share_no_beginning(alice: User) -> None:
    tokens = {cargo_tokens.create(alice, f"token {number}") for number in range(200)}
    assert len({token[:16] for token in tokens}) == 200


def test_typing_error_is_refused_without_a_query(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token = cargo_tokens.rotate_default(alice).text
    with django_assert_num_queries(0):
        for position, character in enumerate(token):
            other = "x" if character != "x" else "y"
            assert not is_valid(token[:position] + other + token[position + 1 :])


def test_swapped_characters_are_refused_without_a_query(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    token = cargo_tokens.rotate_default(alice).text
    swapped = {token[:n] + token[n + 1] + token[n] + token[n + 2 :] for n in range(len(token) - 1)} - {token}
    with django_assert_num_queries(0):
        assert not any(is_valid(text) for text in swapped)


def test_malformed_token_is_refused_without_a_database() -> None:
    bodies = ["", "x", *(character * 38 for character in "aä٣\0")]
    for text in [*bodies, *(cargo_tokens.PREFIX + body for body in bodies)]:
        with pytest.raises(Unauthenticated):  # pytest forbids every query here
            cargo_tokens.authenticate(text)


def test_lost_or_added_character_is_refused(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    assert not any(is_valid(text) for text in (token[:-1], token[1:], token + "a", token + "\n", "a" + token))


@pytest.mark.django_db
def test_well_formed_token_of_nobody_is_refused(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    body = "A" * cargo_tokens.RANDOM_LENGTH
    with django_assert_num_queries(1), pytest.raises(Unauthenticated, match="unknown, expired, revoked"):
        cargo_tokens.authenticate(cargo_tokens.PREFIX + body + cargo_tokens.checksum_of(body))


def test_only_the_digest_is_stored(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    rows = [*Credential.objects.values(), *AuditEvent.objects.values()]
    stored = json.dumps(rows, default=str)
    assert token_digest(token) in stored
    assert not any(part in stored for part in (token, token[5:], token[5:37]))
    assert Credential.objects.get().secret == ""


@pytest.mark.usefixtures("openid_login")
def test_default_token_alone_is_encrypted_with_openid(alice: User) -> None:
    cargo_tokens.create(alice, "ci")
    assert Credential.objects.get().secret == ""
    token = cargo_tokens.rotate_default(alice)
    assert (token.previous, cargo_tokens.rotate_default(alice).previous) == (None, token.text)


def test_repeated_scope_is_stored_once(alice: User) -> None:
    cargo_tokens.create(alice, "ci", (Scope.READ, Scope.YANK, Scope.READ))
    assert Credential.objects.get().scopes == ["read", "yank"]


# --- Default and named tokens ------------------------------------------------------------------------------------


def test_new_default_token_ends_the_one_before(alice: User) -> None:
    first, second = cargo_tokens.rotate_default(alice).text, cargo_tokens.rotate_default(alice).text
    assert (is_valid(first), is_valid(second)) == (False, True)


def test_new_default_token_leaves_the_named_ones(alice: User) -> None:
    named = cargo_tokens.create(alice, "ci")
    cargo_tokens.rotate_default(alice)
    assert is_valid(named)


def test_new_default_token_leaves_tokens_of_others(alice: User, bob: User) -> None:
    of_bob = cargo_tokens.rotate_default(bob).text
    cargo_tokens.rotate_default(alice)
    assert is_valid(of_bob)


def test_password_changed_meanwhile_gets_no_token(alice: User) -> None:
    proven = login.authenticate("alice", PASSWORD)
    token = cargo_tokens.change_password("alice", PASSWORD, "battery staple")
    with pytest.raises(Unauthenticated):
        cargo_tokens.rotate_default(proven)
    assert is_valid(token)


def test_account_can_have_many_tokens(alice: User) -> None:
    assert all(is_valid(token) for token in [cargo_tokens.create(alice, "ci"), cargo_tokens.create(alice, "laptop")])


def test_name_in_use_is_refused(alice: User) -> None:
    cargo_tokens.create(alice, "ci")
    with pytest.raises(Conflict, match="has a token named 'ci' already"):
        cargo_tokens.create(alice, "ci")


def test_two_users_can_use_one_name(alice: User, bob: User) -> None:
    assert cargo_tokens.create(alice, "ci") != cargo_tokens.create(bob, "ci")


def test_name_of_a_revoked_token_is_free(alice: User) -> None:
    cargo_tokens.create(alice, "ci")
    revocation.revoke(Credential.objects.get(), actor=alice)
    assert is_valid(cargo_tokens.create(alice, "ci"))


def test_token_needs_a_name(alice: User) -> None:
    for name in ("", "   ", "x" * 65, "default"):
        with pytest.raises(Invalid, match="1 to 64 characters"):
            cargo_tokens.create(alice, name)
    for name in ("a\0b", "a\nb", "\x1b[31mred", "\u202eevil", "zero\u200bwidth"):
        with pytest.raises(Invalid, match="control characters"):
            cargo_tokens.create(alice, name)
    assert is_valid(cargo_tokens.create(alice, "x" * 64))


def test_issue_is_recorded(alice: User) -> None:
    cargo_tokens.create(alice, "ci", (Scope.READ,))
    event = AuditEvent.objects.get(action="token.issue")
    assert (event.actor_name, event.target, event.detail) == ("alice", "alice", {"token": "ci", "scopes": ["read"]})


# --- Their scopes -------------------------------------------------------------------------------------------------


def test_token_allows_only_its_scope(alice: User) -> None:
    for scope in CARGO_SCOPES:
        principal = cargo_tokens.authenticate(cargo_tokens.create(alice, scope, (scope,)))
        principal.require(scope)
        for other in set(Scope) - {scope}:
            message = f"The cargo token '{scope}' lacks the scope {other}; it has: {scope}."
            with pytest.raises(PermissionDenied, match=message):
                principal.require(other)


def test_token_without_scopes_allows_nothing(alice: User) -> None:
    principal = cargo_tokens.authenticate(cargo_tokens.create(alice, "ci", ()))
    with pytest.raises(PermissionDenied, match="lacks the scope read; it has: none"):
        principal.require(Scope.READ)


def test_admin_site_shows_scopes_as_words(as_root: Client, alice: User) -> None:
    cargo_tokens.create(alice, "ci", (Scope.YANK, Scope.READ))
    page = as_root.get(f"/admin/accounts/credential/{Credential.objects.get(name='ci').pk}/change/")
    assert '<div class="readonly">yank read</div>' in page.content.decode()


def test_refusal_lists_the_scopes(alice: User) -> None:
    principal = cargo_tokens.authenticate(cargo_tokens.create(alice, "ci", (Scope.YANK, Scope.READ)))
    with pytest.raises(PermissionDenied, match="lacks the scope publish-new; it has: yank read") as refusal:
        principal.require(Scope.PUBLISH_NEW, crate="demo")
    assert refusal.value.code == "scope_missing"


def test_default_token_allows_everything(alice: User) -> None:
    principal = cargo_tokens.authenticate(cargo_tokens.rotate_default(alice).text)
    for scope in CARGO_SCOPES:
        principal.require(scope)


def test_unknown_scope_is_refused(alice: User) -> None:
    with pytest.raises(Invalid, match="no scope delete; there are: publish-new, publish-update, yank, change"):
        cargo_tokens.create(alice, "ci", ("read", "delete"))


def test_request_beyond_the_scope_is_refused(alice: User) -> None:
    reader = CargoClient(token=cargo_tokens.create(alice, "reader", (Scope.READ,)))
    for method, path, scope in (
        ("DELETE", "/api/v1/crates/demo/1.0.0/yank", "yank"),
        ("PUT", "/api/v1/crates/demo/1.0.0/unyank", "yank"),
        ("PUT", "/api/v1/crates/demo/owners", "change-owners"),
        ("DELETE", "/api/v1/crates/demo/owners", "change-owners"),
        ("PUT", "/api/v1/crates/new", "publish-new or publish-update"),
        ("DELETE", "/api/v1/crates/demo", "change-owners"),
    ):
        response = reader.generic(method, path, b'{"users": ["bob"]}', "application/json")
        detail = f"The cargo token 'reader' lacks the scope {scope}; it has: read."
        assert answer_of(response) == (403, {"errors": [{"detail": detail}]})


# --- Their end ----------------------------------------------------------------------------------------------------


def test_token_ends_at_its_date(alice: User) -> None:
    token = cargo_tokens.create(alice, "ci", expires_at=timezone.now() + timedelta(hours=1))
    assert is_valid(token)
    Credential.objects.update(expires_at=timezone.now() - timedelta(microseconds=1))
    assert not is_valid(token)


def test_token_cannot_start_expired(alice: User) -> None:
    with pytest.raises(Invalid, match="expired from the start"):
        cargo_tokens.create(alice, "ci", expires_at=timezone.now())


def test_revoked_token_is_dead_at_once(alice: User) -> None:
    client = CargoClient(alice)
    assert client.get(OWNERS).status_code == 404
    assert revocation.revoke(Credential.objects.get(), actor=alice)
    assert client.get(OWNERS).status_code == 401


def test_token_is_revoked_once(alice: User) -> None:
    cargo_tokens.create(alice, "ci")
    credential = Credential.objects.get()
    assert [revocation.revoke(credential, actor=None), revocation.revoke(credential, actor=None)] == [True, False]
    assert AuditEvent.objects.filter(action="credential.revoke").count() == 1


def test_revocation_is_recorded(alice: User, root: User) -> None:
    cargo_tokens.create(alice, "ci")
    revocation.revoke(Credential.objects.get(), actor=root)
    event = AuditEvent.objects.get(action="credential.revoke")
    assert (event.actor_name, event.target, event.detail) == ("root", "alice", {"kind": "cargo token", "name": "ci"})


def test_revocation_leaves_the_other_tokens(alice: User) -> None:
    other = cargo_tokens.create(alice, "laptop")
    cargo_tokens.create(alice, "ci")
    revocation.revoke(Credential.objects.get(name="ci"), actor=alice)
    assert is_valid(other)


def test_token_of_a_closed_account_is_dead(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    User.objects.update(is_active=False)
    assert not is_valid(token)


# --- The header `Authorization` ----------------------------------------------------------------------------------


def test_token_stands_alone_or_behind_a_scheme(alice: User) -> None:
    token = cargo_tokens.rotate_default(alice).text
    headers = ["{}", "Bearer {}", "bearer {}", "BEARER {}", "Bearer   {}", " {} ", "Token {}", "token {}"]
    statuses = {header: CargoClient(token=header.format(token)).get(OWNERS).status_code for header in headers}
    assert statuses == dict.fromkeys(headers, 404)


BAD_HEADERS = {
    "empty": "",
    "blank": "   ",
    "scheme alone": "Bearer",
    "scheme and blank": "Bearer ",
    "garbage": "garbage",
    "basic": "Basic YWxpY2U6Y29ycmVjdCBob3JzZQ==",
    "other scheme": "Cargo {}",
    "two schemes": "Bearer Bearer {}",
    "two other schemes": "Bearer Token {}",
    "no blank": "Bearer{}",
    "quoted": '"{}"',
    "nine kilobytes": "entc_" + "a" * 9000,
    "nine kilobytes after a good one": "{}" + "a" * 9000,
    "latin-1": "entc_ä{}",
    "bytes of utf-8": "{}\xe2\x80\x8b",
    "other digits": "{}\xb2",
    "two headers joined": "{0}, {0}",
    "two headers joined tightly": "{0},{0}",
    "good and bad joined": "{0}, Bearer nonsense",
    "bad and good joined": "nonsense, {0}",
    "two bearers": "Bearer {0}, Bearer {0}",
}


def test_any_other_header_is_refused(alice: User, anonymous: CargoClient) -> None:
    token = cargo_tokens.rotate_default(alice).text
    offenders = []
    for name, header in BAD_HEADERS.items():
        response = anonymous.get(OWNERS, headers={"Authorization": header.format(token)})
        is_challenged = response["WWW-Authenticate"] == 'Cargo login_url="http://testserver/me"'
        if answer_of(response) != (401, {"errors": [{"detail": NOT_GOOD}]}) or not is_challenged:
            offenders.append(name)
    assert offenders == []


def test_bad_token_is_refused_where_none_is_needed(anonymous: CargoClient) -> None:
    for path in ("/index/config.json", "/api/v1/crates?q=a", "/dl/demo/1.0.0/download"):
        response = anonymous.get(path, headers={"Authorization": "garbage"})
        assert answer_of(response) == (401, {"errors": [{"detail": NOT_GOOD}]}), path


def test_refusal_without_token_says_how_to_log_in(anonymous: CargoClient) -> None:
    response = anonymous.get(OWNERS)
    assert response.status_code == 401
    detail = "This needs a token: get one at http://testserver/me, and hand it to `cargo login`."
    assert response.json() == {"errors": [{"detail": detail}]}
    assert response["WWW-Authenticate"] == 'Cargo login_url="http://testserver/me"'


def test_token_outside_the_header_is_ignored(alice: User, anonymous: CargoClient) -> None:
    token = cargo_tokens.rotate_default(alice).text
    anonymous.cookies["Authorization"] = anonymous.cookies["token"] = token
    headers = {"X-Auth-Token": token, "Token": token, "Proxy-Authorization": token}
    assert anonymous.get(f"{OWNERS}?token={token}", headers=headers).status_code == 401


def test_admin_session_is_no_token(root: User, anonymous: CargoClient) -> None:
    anonymous.force_login(root)
    assert anonymous.get(OWNERS).status_code == 401
