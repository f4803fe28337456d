"""Cargo tokens with fewer scopes or crate patterns: what each door of the registry lets them do."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from accounts import bans
from accounts.credentials import cargo_tokens
from accounts.models import Credential, User
from accounts.scopes import CARGO_SCOPES, Scope
from crates import publishing
from crates.models import Crate
from registry_site.errors import PermissionDenied
from tests.support import packing
from tests.support.cast import CargoClient

CRATE = "/api/v1/crates/{}"

CHANGES: dict[str, tuple[Scope, Callable[[CargoClient, str], Any]]] = {
    "publish": (Scope.PUBLISH_UPDATE, lambda client, name: client.publish(packing.body(name, "2.0.0"))),
    "yank": (Scope.YANK, lambda client, name: client.delete(f"/api/v1/crates/{name}/1.0.0/yank")),
    "unyank": (Scope.YANK, lambda client, name: client.put(f"/api/v1/crates/{name}/1.0.0/unyank")),
    "patch": (
        Scope.YANK,
        lambda client, name: client.patch(
            f"/api/v1/crates/{name}/1.0.0", {"version": {"yanked": True}}, content_type="application/json"
        ),
    ),
    "add owners": (
        Scope.CHANGE_OWNERS,
        lambda client, name: client.put_json(f"/api/v1/crates/{name}/owners", {"users": ["bob"]}),
    ),
    "remove owners": (
        Scope.CHANGE_OWNERS,
        lambda client, name: client.delete_json(f"/api/v1/crates/{name}/owners", {"users": ["bob"]}),
    ),
    "delete": (Scope.CHANGE_OWNERS, lambda client, name: client.delete(f"/api/v1/crates/{name}")),
}


def limited(user: User, *scopes: str, patterns: tuple[str, ...] = ()) -> CargoClient:
    return CargoClient(token=cargo_tokens.create(user, "limited", scopes or CARGO_SCOPES, patterns=patterns))


@pytest.fixture
def crates(as_alice: CargoClient) -> None:
    """Crates of alice's, whose names resemble each other."""
    for name in ("serde_json", "serdes", "other"):
        assert as_alice.publish(packing.body(name)).status_code == 200


# --- Scopes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", CARGO_SCOPES)
@pytest.mark.usefixtures("crates")
def test_scope_allows_its_changes_alone(alice: User, bob: User, scope: Scope) -> None:
    client = limited(alice, scope)
    statuses = {change: act(client, "other").status_code for change, (_, act) in CHANGES.items()}
    allowed = {change for change, status in statuses.items() if status < 300}
    assert allowed == {change for change, (needed, _) in CHANGES.items() if needed == scope}
    assert {statuses[change] for change in set(CHANGES) - allowed} == {403}


def test_new_crates_need_a_scope_of_their_own(alice: User, as_alice: CargoClient) -> None:
    client = limited(alice, Scope.PUBLISH_NEW)
    assert client.publish(packing.body("first")).status_code == 200
    response = client.publish(packing.body("first", "2.0.0"))
    detail = "The cargo token 'limited' lacks the scope publish-update; it has: publish-new."
    assert (response.status_code, response.json()) == (403, {"errors": [{"detail": detail}]})
    Credential.objects.filter(name="limited").update(scopes=[Scope.PUBLISH_UPDATE])
    assert client.publish(packing.body("first", "2.0.0")).status_code == 200
    response = client.publish(packing.body("second"))
    detail = "The cargo token 'limited' lacks the scope publish-new; it has: publish-update."
    assert (response.status_code, response.json()) == (403, {"errors": [{"detail": detail}]})
    assert as_alice.delete(CRATE.format("first")).status_code == 204
    assert client.publish(packing.body("first", "3.0.0")).status_code == 403  # a removed crate begins anew
    assert [crate.name for crate in Crate.objects.all()] == []


def test_scope_is_checked_again_under_the_lock(alice: User, as_alice: CargoClient) -> None:
    """Another publisher can create the crate, or one of its owners remove it, while a body is on its way."""
    as_alice.publish(packing.body("racer"))
    for scope, upstream in ((Scope.PUBLISH_NEW, Crate.Upstream.LACKS), (Scope.YANK, None)):
        principal = cargo_tokens.authenticate(cargo_tokens.create(alice, scope, [scope]))
        with transaction.atomic(), pytest.raises(PermissionDenied, match="lacks the scope publish-update"):
            publishing.lock_or_create_crate(principal, "racer", upstream)
    as_alice.delete(CRATE.format("racer"))
    principal = cargo_tokens.authenticate(cargo_tokens.create(alice, "update", [Scope.PUBLISH_UPDATE]))
    for name in ("racer", "other"):
        with transaction.atomic(), pytest.raises(PermissionDenied, match="lacks the scope publish-new"):
            publishing.lock_or_create_crate(principal, name, Crate.Upstream.LACKS)


# --- Crate patterns -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("crates")
def test_patterns_limit_every_change(alice: User, bob: User) -> None:
    client = limited(alice, patterns=("serde-*",))
    offenders = {}
    for change, (scope, act) in CHANGES.items():
        for name in ("serdes", "other"):
            response = act(client, name)
            detail = f"The cargo token 'limited' allows {scope} for serde-* alone, and '{name}' is not among these."
            if (response.status_code, response.json()) != (403, {"errors": [{"detail": detail}]}):
                offenders[change, name] = response.status_code
    assert offenders == {}
    assert {act(client, "serde_json").status_code for _, act in CHANGES.values()} == {200, 204}


@pytest.mark.usefixtures("crates")
def test_other_spellings_reach_no_other_crate(alice: User) -> None:
    client = limited(alice, patterns=("serde_json",))
    for name in ("SERDE-JSON", "serde-json"):
        assert client.delete(f"/api/v1/crates/{name}/1.0.0/yank").status_code == 200
    for name in ("serdes", "%6fther", "serde_json%2f..%2fother", "other%00", "serde_json%0aother"):
        assert client.delete(f"/api/v1/crates/{name}/1.0.0/yank").status_code in (400, 403, 404), name
    assert not Crate.objects.get(name="other").versions.get().yanked


def test_patterns_limit_new_crates(alice: User) -> None:
    client = limited(alice, patterns=("acme-*",))
    assert client.publish(packing.body("other")).status_code == 403
    assert client.publish(packing.body("acme_one")).status_code == 200
    assert [crate.name for crate in Crate.objects.all()] == ["acme_one"]


@pytest.mark.usefixtures("crates")
def test_patterns_give_no_rights_to_crates_of_others(bob: User) -> None:
    client = limited(bob, patterns=("*",))
    response = client.publish(packing.body("other", "2.0.0"))
    assert "does not own the crate other" in response.json()["errors"][0]["detail"]


@pytest.mark.usefixtures("crates")
def test_limited_tokens_read_all_crates(alice: User, settings: Any) -> None:
    """cargo reads the dependencies of a crate with the token that publishes it."""
    settings.AUTH_REQUIRED = True
    client = limited(alice, Scope.READ, patterns=("serde_json",))
    reads = ("/index/config.json", "/index/ot/he/other", "/dl/other/1.0.0/download", "/api/v1/crates/other/owners")
    for path in (*reads, "/api/v1/crates?q=other", "/api/v1/me"):
        response = client.get(path)
        assert response.status_code == 200, path
        response.getvalue()


@pytest.mark.usefixtures("crates")
def test_reading_takes_its_scope_when_required(alice: User, settings: Any) -> None:
    client = limited(alice, *(set(CARGO_SCOPES) - {Scope.READ}))
    assert client.get("/api/v1/crates/other/owners").status_code == 200
    settings.AUTH_REQUIRED = True
    reads = ("/index/config.json", "/index/ot/he/other", "/dl/other/1.0.0/download", "/api/v1/crates/other/owners")
    assert {path: client.get(path).status_code for path in reads} == dict.fromkeys(reads, 403)


def test_verb_that_names_no_crate_is_refused(alice: User) -> None:
    principal = cargo_tokens.authenticate(cargo_tokens.create(alice, "ci", patterns=["demo"]))
    for scope in set(CARGO_SCOPES) - {Scope.READ}:
        with pytest.raises(PermissionDenied, match=f"'ci' allows {scope} for demo alone."):
            principal.require(scope)


def test_refusal_names_a_few_patterns(alice: User) -> None:
    names = [f"crate{number}" for number in range(100)]
    principal = cargo_tokens.authenticate(cargo_tokens.create(alice, "ci", patterns=names))
    with pytest.raises(PermissionDenied, match="for crate0, crate1, crate2, crate3, crate4 and 95 more alone"):
        principal.require(Scope.YANK, crate="x" * 10_000)


# --- Tokens that make tokens --------------------------------------------------------------------------------------


def statuses_of(client: Client, authorization: str) -> dict[str, int]:
    """Return what each door that makes or shows credentials answers to a token, in each header that carries one."""
    calls: dict[str, Callable[..., Any]] = {
        "crates.io list": partial(client.get, "/api/v1/me/tokens"),
        "crates.io create": partial(
            client.put, "/api/v1/me/tokens", {"api_token": {"name": "more"}}, content_type="application/json"
        ),
        "crates.io revoke": partial(client.delete, "/api/v1/me/tokens/1"),
        "ktra default": partial(client.get, "/me"),
        "ktra replace": partial(client.get, "/replace_token"),
        "ktra replace by POST": partial(client.post, "/replace_token"),
        "yapkg keys": partial(client.get, "/settings/appids"),
        "yapkg new key": partial(client.post, "/settings/appids", {"type": "ALL"}, content_type="application/json"),
        "yapkg profile": partial(
            client.patch, "/settings/profile", {"password": "battery staple"}, content_type="application/json"
        ),
        "backups refresh": partial(client.get, "/api/stable/auth/refresh_token"),
        "backups sessions": partial(client.get, "/api/stable/auth/token"),
        "torrust renew": partial(
            client.post, "/v1/user/token/renew", {"token": authorization}, content_type="application/json"
        ),
    }
    token = authorization.removeprefix("Bearer ")
    headers = {"Authorization": authorization, "Token": token, "X-Auth-Token": token}
    return {name: call(headers=headers).status_code for name, call in calls.items()}


def test_limited_token_makes_no_credential(alice: User) -> None:
    text = cargo_tokens.create(alice, "ci", patterns=["demo"])
    before = list(Credential.objects.order_by("pk").values_list("pk", "revoked_at"))
    for authorization in (text, f"Bearer {text}"):
        statuses = statuses_of(Client(raise_request_exception=False), authorization)
        assert {name: status for name, status in statuses.items() if status not in (401, 403)} == {}
    assert list(Credential.objects.order_by("pk").values_list("pk", "revoked_at")) == before


def test_token_named_like_the_default_one_is_refused(alice: User) -> None:
    client = CargoClient(token=cargo_tokens.rotate_default(alice).text)
    for name in ("default", " default", "default "):
        assert client.put_json("/api/v1/me/tokens", {"api_token": {"name": name}}).status_code == 400, name


def test_ban_stops_limited_tokens(alice: User) -> None:
    client = limited(alice, patterns=("demo",))
    assert client.publish(packing.body()).status_code == 200
    bans.ban(alice, actor=None)
    assert client.publish(packing.body(version="2.0.0")).status_code == 401
