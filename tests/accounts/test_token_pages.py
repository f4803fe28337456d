"""Pages of cargo tokens and app keys, as a browser without JavaScript uses them."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from accounts.credentials import app_keys, cargo_tokens, own_tokens
from accounts.models import Credential, User
from accounts.principals import Principal
from accounts.scopes import CARGO_SCOPES
from tests.support import packing
from tests.support.app_keys import KeyPair, sign_request
from tests.support.cast import PASSWORD, CargoClient
from tests.support.page_forms import PAGE, FormBrowser, error_of, notices

LIST, NEW, KEYS = "/account/tokens", "/account/tokens/new", "/account/app-keys"
TOKEN = re.compile(r"entc_[A-Za-z0-9]{38}")
FILLED: dict[str, Any] = {
    "name": "ci",
    "scopes": ["publish-update", "read"],
    "reach": "some",
    "patterns": "acme-*\r\nserde_json, Serde-JSON",
    "lifetime": "90",
    "last_day": "",
}


@pytest.fixture
def browser(alice: User) -> FormBrowser:
    """A browser in which alice has signed in by the form."""
    browser = FormBrowser()
    assert browser.fill_in("/sign-in", username="alice", password=PASSWORD).status_code == 302
    return browser


def page_of(browser: Client, path: str) -> str:
    response = browser.get(path, headers=PAGE)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def newest(browser: Client, path: str) -> str:
    """Return the key that the form of a page carries."""
    [key] = re.findall(r'name="newest" value="(\d+)"', page_of(browser, path))
    return str(key)


def make(browser: FormBrowser, **changes: Any) -> Any:
    """Fill in the form of a new token, with other values than those of an ordinary one."""
    return browser.fill_in(NEW, newest=newest(browser, NEW), **{**FILLED, **changes})


def token_in(response: Any) -> str:
    assert response.status_code == 200
    [token] = TOKEN.findall(response.content.decode())
    return str(token)


# --- A new token --------------------------------------------------------------------------------------------------


def test_new_token_is_shown_once_and_works(browser: FormBrowser, as_alice: CargoClient) -> None:
    as_alice.publish(packing.body("serde_json"))
    as_alice.publish(packing.body("other"))
    response = make(browser)
    page = response.content.decode()
    client = CargoClient(token=token_in(response))
    statuses = [client.publish(packing.body(name, "2.0.0")).status_code for name in ("serde_json", "other")]
    assert statuses == [200, 403]
    assert "cargo login --registry entrepot" in page
    assert "CARGO_REGISTRIES_ENTREPOT_TOKEN" in page
    assert "no-store" in response["Cache-Control"]
    token = Credential.objects.get(name="ci")
    assert (token.scopes, token.crate_patterns) == (["publish-update", "read"], ["acme-*", "serde_json"])
    assert token.expires_at is not None
    assert timedelta(days=89) < token.expires_at - timezone.now() <= timedelta(days=90)
    assert not TOKEN.findall(page_of(browser, LIST))


def test_reload_makes_no_other_token(browser: FormBrowser) -> None:
    data = {**FILLED, "newest": newest(browser, NEW)}
    first = browser.fill_in(NEW, **data)
    Credential.objects.filter(name="ci").mark_revoked()  # so that its name is free again
    again = browser.fill_in(NEW, **data)
    assert (first.status_code, again.status_code) == (200, 409)
    assert notices(again.content.decode())[0].startswith("This form was sent before, or another cargo token was made")
    assert Credential.objects.filter(name="ci").count() == 1
    [key] = re.findall(r'name="newest" value="(\d+)"', again.content.decode())
    assert browser.fill_in(NEW, **{**data, "newest": key}).status_code == 200  # who wants another one gets it


ENDS: dict[str, Callable[[], datetime | None]] = {
    "30": lambda: timezone.now() + timedelta(days=30),
    "365": lambda: timezone.now() + timedelta(days=365),
    "never": lambda: None,
    "date": lambda: datetime(2099, 2, 28, 23, 59, 59, tzinfo=UTC),
}


@pytest.mark.parametrize("lifetime", ENDS)
def test_token_ends_as_chosen(browser: FormBrowser, lifetime: str) -> None:
    token_in(make(browser, lifetime=lifetime, last_day="2099-02-28"))
    expected, stored = ENDS[lifetime](), Credential.objects.get(name="ci").expires_at
    assert (expected is None) == (stored is None)
    if expected and stored:
        assert abs(expected - stored) < timedelta(minutes=1)


ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no name": ({"name": " "}, "name", "This field is required."),
    "default": ({"name": "default"}, "name", "Give the token a name of 1 to 64 characters other than 'default'."),
    "long": ({"name": "x" * 65}, "name", "Ensure this value has at most 64 characters (it has 65)."),
    "control": ({"name": "a\x1bb"}, "name", "The name of the token has control characters or others that do not show."),
    "NUL": ({"name": "a\0b"}, "name", "Null characters are not allowed."),
    "taken": ({"name": "taken"}, "name", "You have a token of this name; choose another, or revoke that one first."),
    "no scope": ({"scopes": []}, "scopes", "Tick what the token is for."),
    "unknown scope": (
        {"scopes": ["manage"]},
        "scopes",
        "Select a valid choice. manage is not one of the available choices.",
    ),
    "no crate": ({"patterns": " ,\r\n"}, "patterns", "Name at least one crate, or choose all crates above."),
    "pattern": (
        {"patterns": "serde *json"},
        "patterns",
        "'*json' is no crate pattern: write the name of a crate such as serde_json, "
        "or the beginning of names and a star such as serde*.",
    ),
    "1,000 patterns": (
        {"patterns": "\n".join(f"c{number}" for number in range(1000))},
        "patterns",
        "1000 crate patterns are too many: a token has at most 100.",
    ),
    "patterns for all": ({"reach": "all"}, "patterns", "Choose “these crates only” above, or leave this empty."),
    "reach": ({"reach": "none"}, "reach", "Select a valid choice. none is not one of the available choices."),
    "past": ({"lifetime": "date", "last_day": "2020-01-01"}, "last_day", "This day is over."),
    "no day": ({"lifetime": "date"}, "last_day", "Give the last day of the token."),
    "bad day": ({"lifetime": "date", "last_day": "soon"}, "last_day", "Enter a valid date."),
    "far": (
        {"lifetime": "date", "last_day": "9999-12-31"},
        "last_day",
        "This is more than a hundred years away: choose “never”.",
    ),
    "lifetime": ({"lifetime": "1"}, "lifetime", "Select a valid choice. 1 is not one of the available choices."),
}


def test_errors_stand_at_their_fields(browser: FormBrowser, alice: User) -> None:
    cargo_tokens.create(alice, "taken")
    offenders = {}
    for case, (changes, field, message) in ERRORS.items():
        response = make(browser, **changes)
        if (response.status_code, error_of(response, field)) not in ((400, message), (409, message)):
            offenders[case] = (response.status_code, error_of(response, field))
    assert offenders == {}
    assert Credential.objects.filter(kind="cargo_token").count() == 1


def test_form_keeps_what_was_typed(browser: FormBrowser) -> None:
    page = html.unescape(make(browser, name='"><b>', patterns="<i>", lifetime="never").content.decode())
    assert 'value=""><b>"' in page  # unescaped above, by the test alone
    assert "<i></textarea>" in page
    assert '<option value="never" selected>' in page
    assert len(re.findall(r'<input type="checkbox"[^>]* checked', page)) == 2


def test_presets_fill_the_form(browser: FormBrowser) -> None:
    checked = {
        preset: re.findall(r'value="([a-z-]+)"[^>]* checked', page_of(browser, f"{NEW}?preset={preset}"))
        for preset in ("publish", "ci", "read", "nonsense")
    }
    everything = [*CARGO_SCOPES, "all"]
    assert checked == {
        "publish": everything,
        "ci": ["publish-update", "read", "some"],
        "read": ["read", "all"],
        "nonsense": everything,
    }
    assert "serde_json</textarea>" in page_of(browser, f"{NEW}?preset=ci&crate=serde_json")


def test_too_many_tokens_are_refused(browser: FormBrowser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_tokens, "MAX_TOKENS", 0)
    response = make(browser)
    assert (response.status_code, notices(response.content.decode())) == (
        409,
        ["You have 0 tokens; revoke one of them first."],
    )


# --- The list -----------------------------------------------------------------------------------------------------


def test_list_shows_live_and_expired_tokens(browser: FormBrowser, alice: User, bob: User) -> None:
    now = timezone.now()
    cargo_tokens.create(bob, "of bob")
    for name, ends in {"soon": 3, "later": 30, "ended": -29, "long ago": -31}.items():
        cargo_tokens.create(alice, name, ["yank"], now + timedelta(days=60), [f"{name.replace(' ', '-')}*"])
        used = {"last_used_at": now, "last_used_ip": "192.0.2.7"} if name == "later" else {}
        Credential.objects.filter(name=name).update(expires_at=now + timedelta(days=ends), **used)
    page = page_of(browser, LIST)
    live, _, expired = page.partition("<h2>Expired</h2>")
    rows = [re.findall(r'<th scope="row">([^<]*)</th>', part) for part in (live, expired)]
    assert rows == [["later", "soon"], ["ended"]]
    assert "<code>later*</code>" in live
    assert f"{now:%Y-%m-%d %H:%M}" in live
    assert "from 192.0.2.7" in live
    assert live.count(">soon</span>") == 1
    assert "Revoke" not in expired.partition("</thead>")[2].partition("</table>")[0]


def test_empty_list_says_so(browser: FormBrowser) -> None:
    assert "You have no token." in page_of(browser, LIST)


def test_hostile_names_stay_text(browser: FormBrowser, alice: User) -> None:
    cargo_tokens.create(alice, "<script>alert(1)</script>", patterns=[f"crate{number}" for number in range(100)])
    page = browser.get(LIST, headers=PAGE).content.decode()
    assert "<script>alert" not in page
    assert "all 100" in page


def test_button_revokes_a_token_at_once(browser: FormBrowser) -> None:
    client = CargoClient(token=token_in(make(browser)))
    key = Credential.objects.get(name="ci").pk
    for message in ("The token ci is revoked: whatever uses it is", "You have no such token; it may be revoked"):
        response = browser.fill_in(LIST, button=f"revoke={key}")
        assert (response.status_code, response["Location"]) == (302, LIST)
        assert message in page_of(browser, LIST)
    assert client.get("/api/v1/me").status_code == 401


def test_tokens_of_others_are_not_revoked(browser: FormBrowser, alice: User, bob: User) -> None:
    text = cargo_tokens.create(bob, "of bob")
    cargo_tokens.create(alice, "own")
    for key in (Credential.objects.get(name="of bob").pk, 0, -1, 2**63, 10**30, "x", ""):
        assert browser.fill_in(LIST, button=f"revoke={key}").status_code == 302
    assert cargo_tokens.authenticate(text).user == bob


def test_pages_need_few_queries(
    browser: FormBrowser, alice: User, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(50):
        cargo_tokens.create(alice, f"token {number}", patterns=["demo"])
        app_keys.issue(Principal(alice), "ALL")
    for path in (LIST, NEW, KEYS):
        with django_assert_max_num_queries(10):
            page_of(browser, path)


# --- Who may --------------------------------------------------------------------------------------------------------


def test_visitors_sign_in_first(db: None) -> None:
    for path in (LIST, NEW, KEYS):
        response = Client().get(path, headers=PAGE)
        assert (response.status_code, response["Location"]) == (302, f"/sign-in?next={path.replace('/', '%2F')}")


def test_forms_of_other_sites_change_nothing(browser: FormBrowser, alice: User) -> None:
    cargo_tokens.create(alice, "ci")
    key = Credential.objects.get(name="ci").pk
    forms: dict[str, dict[str, Any]] = {NEW: {**FILLED, "name": "x"}, LIST: {"revoke": key}, KEYS: {"type": "ALL"}}
    for path, form in forms.items():
        assert browser.post(path, form, headers={**PAGE, "Origin": "https://evil.example"}).status_code == 403
    assert [token.name for token in Credential.objects.exclude(kind="browser_session")] == ["ci"]


def test_tokens_open_no_page(alice: User) -> None:
    client = CargoClient(alice)
    calls = [partial(client.get, LIST), partial(client.get, NEW), partial(client.post, NEW, FILLED)]
    assert [call(headers={"Authorization": client.token}).status_code for call in calls] == [401] * 3


# --- App keys -----------------------------------------------------------------------------------------------------


def test_app_key_is_made_used_and_revoked(browser: FormBrowser) -> None:
    data = {"type": "ALL", "newest": newest(browser, KEYS)}
    made = browser.fill_in(KEYS, **data)
    assert browser.fill_in(KEYS, **data).status_code == 409
    appid, secret = re.findall(r'id="app(?:id|secret)" [^>]*><code>([^<]+)', made.content.decode())
    headers = {"Token": sign_request(KeyPair(appid, secret))}
    assert Client().get("/settings/appids", headers=headers).status_code == 200
    page = page_of(browser, KEYS)
    assert (appid in page, secret in page) == (True, False)
    assert browser.fill_in(KEYS, button=f"revoke={appid}")["Location"] == KEYS
    assert f"The app key {appid} is revoked" in page_of(browser, KEYS)
    assert not Credential.objects.get(name=appid).is_live


def test_app_key_needs_a_type(browser: FormBrowser) -> None:
    response = browser.fill_in(KEYS, type="EVERYTHING", newest="0")
    assert response.status_code == 400
    assert "EVERYTHING is not one of the available choices" in error_of(response, "type")


def test_app_keys_of_others_are_not_revoked(browser: FormBrowser, bob: User) -> None:
    appid = app_keys.issue(Principal(bob), "ALL").appid
    assert browser.fill_in(KEYS, button=f"revoke={appid}").status_code == 302
    assert "You have no such app key; it may be revoked already." in page_of(browser, KEYS)
    assert Credential.objects.get(name=appid).is_live
