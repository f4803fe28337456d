"""Pages for the owners of a crate: who owns it, and versions that they yank."""

import html
import json
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from django.utils import timezone

from accounts import bans
from accounts.models import Credential, User
from crates.models import Crate, Version
from registry_site.models import AuditEvent
from tests.support import packing
from tests.support.authenticator_apps import add_app
from tests.support.cast import PASSWORD, CargoClient
from tests.support.page_forms import PAGE, FormBrowser, error_of, notices

SETTINGS, VERSIONS = "/crates/demo/settings", "/crates/demo/versions"
VERSION, YANK, UNYANK = (f"/crates/demo/1.0.0{part}" for part in ("", "/yank", "/unyank"))


@pytest.fixture(autouse=True)
def demo(as_alice: CargoClient) -> None:
    as_alice.publish(packing.body())


@pytest.fixture
def owner(demo: None) -> FormBrowser:
    """A browser in which alice has signed in, who owns the crate."""
    return signed_in("alice")


def signed_in(name: str) -> FormBrowser:
    browser = FormBrowser()
    assert browser.fill_in("/sign-in", username=name, password=PASSWORD).status_code == 302
    return browser


def page_of(client: Client, path: str) -> str:
    response = client.get(path, headers=PAGE)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def owner_names() -> list[str]:
    return [ownership.user.username for ownership in Crate.objects.get().ownerships.all()]


# --- Who sees them ------------------------------------------------------------------------------------------------


def test_visitors_are_led_to_sign_in(client: Client) -> None:
    for path in (SETTINGS, YANK, UNYANK):
        for response in (client.get(path, headers=PAGE), client.post(path, headers=PAGE)):
            assert (response.status_code, response.headers["Location"]) == (
                302,
                f"/sign-in?next={quote(path, safe='')}",
            )


def test_others_are_refused_and_led_nowhere(charlie: User) -> None:
    browser = signed_in("charlie")
    token = {"csrfmiddlewaretoken": browser.cookies["csrftoken"].value}
    for path in (SETTINGS, YANK, UNYANK):
        for response in (browser.get(path, headers=PAGE), browser.post(path, token, headers=PAGE)):
            assert response.status_code == 403
            assert "charlie does not own the crate demo" in response.content.decode()
    for path in ("/crates/demo", VERSIONS):
        page = page_of(browser, path)
        assert [part for part in (SETTINGS, "/yank") if part in page] == []


def test_owners_are_led_to_them(owner: FormBrowser) -> None:
    assert f'href="{SETTINGS}"' in page_of(owner, "/crates/demo/dependencies")
    assert f'href="{YANK}"' in page_of(owner, VERSIONS)
    assert f'href="{YANK}"' in page_of(owner, VERSION)


def test_other_spellings_and_missing_versions(owner: FormBrowser) -> None:
    assert owner.get("/crates/DEMO/1.0.0+b/yank", headers=PAGE)["Location"] == YANK
    assert owner.get("/crates/demo/2.0.0/yank", headers=PAGE).status_code == 404
    assert owner.get("/crates/none/settings", headers=PAGE).status_code == 404


# --- Owners -------------------------------------------------------------------------------------------------------


def test_owner_is_added_and_removed(owner: FormBrowser, bob: User) -> None:
    assert owner.fill_in(SETTINGS, login="Bob")["Location"] == SETTINGS
    page = page_of(owner, SETTINGS)
    assert "Bob is an owner now." in page
    assert owner_names() == ["alice", "bob"]
    assert owner.fill_in(SETTINGS, "remove=bob")["Location"] == SETTINGS
    assert "bob is not an owner any more." in page_of(owner, SETTINGS)
    assert owner_names() == ["alice"]
    events = AuditEvent.objects.filter(action__endswith="owners", actor_name="alice").order_by("pk")
    assert [(event.action, event.detail) for event in events] == [
        ("crate.add_owners", {"users": ["bob"], "user_ids": [bob.pk]}),
        ("crate.remove_owners", {"users": ["bob"], "user_ids": [bob.pk]}),
    ]


def test_unknown_accounts_are_refused_at_the_field(owner: FormBrowser, bob: User) -> None:
    bans.ban(bob, actor=None)
    for login in ("nobody", "bob"):
        response = owner.fill_in(SETTINGS, login=login)
        assert (response.status_code, error_of(response, "login")) == (400, "There is no open account of this name.")
        assert f'value="{login}"' in response.content.decode()
    assert error_of(owner.fill_in(SETTINGS, login=""), "login") == "This field is required."
    assert owner_names() == ["alice"]


def test_last_owner_cannot_leave(owner: FormBrowser, bob: User) -> None:
    assert 'name="remove"' not in page_of(owner, SETTINGS)
    owner.fill_in(SETTINGS, "remove=alice")
    assert "would be left without an owner" in page_of(owner, SETTINGS)
    owner.fill_in(SETTINGS, login="bob")
    bans.ban(bob, actor=None)
    owner.fill_in(SETTINGS, "remove=alice")
    assert "would be left without an owner" in page_of(owner, SETTINGS)
    assert owner_names() == ["alice", "bob"]


def test_owner_who_leaves_sees_the_crate(owner: FormBrowser, bob: User) -> None:
    owner.fill_in(SETTINGS, login="bob")
    assert owner.fill_in(SETTINGS, "remove=alice")["Location"] == "/crates/demo"
    assert "alice is not an owner any more." in page_of(owner, "/crates/demo")
    assert owner.get(SETTINGS, headers=PAGE).status_code == 403


def test_removal_of_others_says_why_not(owner: FormBrowser, charlie: User) -> None:
    refusals = {"charlie": "This account is not an owner any more.", "": "This is not the name of an owner."}
    for login, sentence in refusals.items():
        owner.fill_in(SETTINGS, f"remove={login}")
        assert sentence in page_of(owner, SETTINGS)


def test_owners_change_behind_a_fresh_proof(owner: FormBrowser, alice: User, bob: User) -> None:
    token = {"csrfmiddlewaretoken": owner.cookies["csrftoken"].value}
    add_app(alice)
    Credential.objects.update(proven_at=timezone.now() - timedelta(hours=1))
    way = "/account/confirm?next=%2Fcrates%2Fdemo%2Fsettings"
    assert owner.get(SETTINGS, headers=PAGE)["Location"] == way
    response = owner.post(SETTINGS, {**token, "login": "bob"}, headers=PAGE)
    assert "Confirm that it is you" in notices(response.content.decode())[0]
    assert owner_names() == ["alice"]
    assert owner.post(SETTINGS, {**token, "remove": "alice"}, headers=PAGE)["Location"] == way
    assert owner.get(YANK, headers=PAGE).status_code == 200  # which can be taken back


# --- Yank and unyank ----------------------------------------------------------------------------------------------


def test_yank_with_reason_is_seen_everywhere(owner: FormBrowser, client: Client, as_alice: CargoClient) -> None:
    as_alice.publish(packing.body(version="0.9.0"))
    assert owner.fill_in(YANK, reason="Loses <data>.")["Location"] == VERSION
    assert "demo 1.0.0 is yanked." in page_of(owner, VERSION)
    for path in (VERSION, VERSIONS, "/crates/demo/1.0.0.md", "/crates/demo/feed.atom"):
        assert "Loses <data>." in page_of(client, path), path
    assert '<span class="number">0.9.0</span>' in page_of(client, "/crates/demo")
    index = client.get("/index/de/mo/demo").content.splitlines()
    assert {line["vers"]: line["yanked"] for line in map(json.loads, index)} == {"1.0.0": True, "0.9.0": False}


def test_reason_of_a_yanked_version_changes(owner: FormBrowser) -> None:
    owner.fill_in(YANK, reason="It panics.")
    assert "It panics.</textarea>" in page_of(owner, YANK)
    owner.fill_in(YANK, reason="")
    version = Version.objects.get()
    assert (version.yanked, version.yank_message) == (True, "")


def test_unyank_takes_the_reason_away(owner: FormBrowser) -> None:
    assert "This version is not yanked." in page_of(owner, UNYANK)
    owner.fill_in(YANK, reason="It panics.")
    assert f'href="{UNYANK}"' in page_of(owner, VERSIONS)
    assert owner.fill_in(UNYANK)["Location"] == VERSION
    version = Version.objects.get()
    assert (version.yanked, version.yank_message) == (False, "")


def test_too_long_reason_stays_in_the_field(owner: FormBrowser) -> None:
    response = owner.fill_in(YANK, reason="x" * 1001)
    assert response.status_code == 400
    assert "at most 1000 characters" in error_of(response, "reason")
    assert "x" * 1001 in response.content.decode()
    assert not Version.objects.get().yanked


def test_too_many_changes_have_to_wait(owner: FormBrowser, settings: Any) -> None:
    settings.CRATE_CHANGES_PER_MINUTE = 1
    response = owner.fill_in(YANK, reason="It panics.")
    assert (response.status_code, "It panics." in response.content.decode()) == (429, True)
    assert 0 < int(response["Retry-After"]) <= 60
    assert "wait" in notices(response.content.decode())[0]
