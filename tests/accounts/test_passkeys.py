"""Passkeys: added, used to sign in and as a fresh proof; and what is refused. Chromium uses one in the journey."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Authenticator, Credential, User
from accounts.second_factor import codes, passkeys
from registry_site.errors import WrongCode
from tests.support.authenticator_apps import add_app, count_rows
from tests.support.cast import PASSWORD
from tests.support.page_forms import PAGE, FormBrowser
from tests.support.software_passkey import SoftwarePasskey, ceremony_of

NEW_PASSKEY, CODE_PAGE, CONFIRM = "/account/security/passkey", "/sign-in/code", "/account/confirm"


@pytest.fixture(autouse=True)
def public_url(settings: Any) -> None:
    settings.PUBLIC_URL, settings.ALSO_KNOWN_AS = "http://registry.localhost", []


def signed_in(name: str = "alice") -> FormBrowser:
    """Return a browser in which a user has given the password, and no more."""
    browser = FormBrowser()
    assert browser.fill_in("/sign-in", username=name, password=PASSWORD).status_code == 302
    return browser


def page_of(browser: FormBrowser, path: str) -> str:
    response = browser.get(path, headers=PAGE)
    assert response.status_code == 200
    return str(response.content.decode())


def add_passkey(browser: FormBrowser, passkey: SoftwarePasskey) -> Any:
    options, challenge = ceremony_of(page_of(browser, NEW_PASSKEY))
    return browser.fill_in(NEW_PASSKEY, name="Laptop", challenge=challenge, credential=passkey.create(options))


def use_passkey(browser: FormBrowser, passkey: SoftwarePasskey, path: str = CODE_PAGE) -> Any:
    options, challenge = ceremony_of(page_of(browser, path))
    return browser.fill_in(path, challenge=challenge, credential=passkey.get(options))


@pytest.fixture
def passkey(alice: User) -> SoftwarePasskey:
    passkey = SoftwarePasskey()
    assert add_passkey(signed_in(), passkey).status_code == 200
    return passkey


def test_first_passkey_makes_recovery_codes(alice: User, passkey: SoftwarePasskey) -> None:
    row = Authenticator.objects.get()
    assert (row.name, row.kind, row.transports, count_rows(alice)) == ("Laptop", "passkey", ["internal"], (1, 10))


def test_passkey_signs_in(alice: User, passkey: SoftwarePasskey) -> None:
    browser = signed_in()
    assert browser.get("/account", headers=PAGE).status_code == 302
    response = use_passkey(browser, passkey, f"{CODE_PAGE}?next=/account/events")
    assert (response.status_code, response["Location"]) == (302, "/account/events")
    assert browser.get("/account", headers=PAGE).status_code == 200
    assert Authenticator.objects.get().sign_count == 1


def test_recovery_codes_alone_without_an_app(passkey: SoftwarePasskey) -> None:
    page = page_of(signed_in(), CODE_PAGE)
    assert ('name="code"' in page, 'name="recovery_code"' in page) == (False, True)


def test_passkey_is_a_fresh_proof_once(alice: User, passkey: SoftwarePasskey) -> None:
    browser = signed_in()
    use_passkey(browser, passkey)
    Credential.objects.update(proven_at=timezone.now() - timedelta(hours=1))
    options, challenge = ceremony_of(page_of(browser, CONFIRM))
    answer = {"challenge": challenge, "credential": passkey.get(options)}
    assert browser.fill_in(CONFIRM, **answer).status_code == 302
    assert browser.get("/account/tokens/new", headers=PAGE).status_code == 200
    assert browser.fill_in(CONFIRM, **answer).status_code == 400  # the same answer once more


def test_same_passkey_is_not_added_twice(alice: User, passkey: SoftwarePasskey) -> None:
    browser = signed_in()
    use_passkey(browser, passkey)
    options, challenge = ceremony_of(page_of(browser, NEW_PASSKEY))
    assert [each["id"] for each in options["excludeCredentials"]] == [Authenticator.objects.get().credential_id]
    response = browser.fill_in(NEW_PASSKEY, name="Again", challenge=challenge, credential=passkey.create(options))
    assert (response.status_code, count_rows(alice)) == (409, (1, 10))


def test_page_says_when_browsers_offer_none(alice: User, settings: Any) -> None:
    expected = {
        "https://crates.example.com": True,
        "http://localhost:8000": True,
        "http://registry.localhost": True,
        "http://crates.example.com": False,
        "https://192.0.2.1": False,
        "https://[2001:db8::1]:8443": False,
    }
    outcomes = {}
    for url in expected:
        settings.PUBLIC_URL = url
        outcomes[url] = passkeys.are_possible()
    assert outcomes == expected


def test_missing_answer_says_that_javascript_is_needed(alice: User) -> None:
    browser = signed_in()
    _, challenge = ceremony_of(page_of(browser, NEW_PASSKEY))
    response = browser.fill_in(NEW_PASSKEY, name="Laptop", challenge=challenge, credential="")
    assert (response.status_code, "This needs JavaScript" in response.content.decode()) == (400, True)


def test_foreign_answers_are_refused(alice: User, bob: User, passkey: SoftwarePasskey) -> None:
    foreign = SoftwarePasskey()
    add_passkey(signed_in("bob"), foreign)
    browser = signed_in()
    options, challenge = ceremony_of(page_of(browser, CODE_PAGE))
    other_options, other_challenge = ceremony_of(page_of(signed_in(), CODE_PAGE))
    genuine = passkey.get(options)
    phished, elsewhere = SoftwarePasskey("http://evil.example"), SoftwarePasskey(rp_id="evil.example")
    for fake in (phished, elsewhere):
        fake.key, fake.id, fake.count = passkey.key, passkey.id, 5
    cases: dict[str, tuple[str, str]] = {
        "of another user": (challenge, foreign.get(options)),
        "unknown": (challenge, SoftwarePasskey().get(options)),
        "another page's origin": (challenge, phished.get(options)),
        "another relying party": (challenge, elsewhere.get(options)),
        "challenge of another sign-in": (other_challenge, passkey.get(other_options)),
        "answer to another challenge": (challenge, passkey.get(other_options)),
        "forged challenge": (challenge[:-1] + "x", genuine),
        "a new passkey": (challenge, passkey.create(options)),
        "without a response": (challenge, json.dumps({**json.loads(genuine), "response": {}})),
    }
    offenders = {}
    for name, (sent, credential) in cases.items():
        response = browser.fill_in(CODE_PAGE, challenge=sent, credential=credential)
        if response.status_code not in (400, 401):
            offenders[name] = response.status_code
    assert offenders == {}
    assert browser.fill_in(CODE_PAGE, challenge=challenge, credential=passkey.get(options)).status_code == 302


@pytest.mark.database_independent
def test_hostile_answers_are_clear_refusals(alice: User, passkey: SoftwarePasskey) -> None:
    browser = signed_in()
    options, challenge = ceremony_of(page_of(browser, CODE_PAGE))
    good = json.loads(passkey.get(options))
    key = good["rawId"]
    hostile = ["{", "[]", "null", '"a"', "1", "{}", '{"rawId": 1}', '{"rawId": "é"}', '{"rawId": "a"}', "[" * 19_000]
    values: list[Any] = [None, 1, [], {}, "", "AA", "\ud800"]
    hostile += [json.dumps({**good, field: value}) for field in good for value in values]
    hostile += [
        json.dumps({**good, "response": {**good["response"], field: value}})
        for field in good["response"]
        for value in [*values, key]
    ]
    use: Callable[[str], Any] = lambda answer: browser.fill_in(CODE_PAGE, challenge=challenge, credential=answer)  # noqa: E731
    statuses = {answer[:80]: use(answer).status_code for answer in hostile}
    assert {text: status for text, status in statuses.items() if status != 401} == {}


@pytest.mark.database_independent
def test_hostile_new_passkeys_are_clear_refusals(alice: User) -> None:
    browser = signed_in()
    options, challenge = ceremony_of(page_of(browser, NEW_PASSKEY))
    good = json.loads(SoftwarePasskey().create(options))
    values: tuple[Any, ...] = (None, 1, [], {}, "", "AA", "oWNmbXRkbm9uZQ", "a" * 9000)
    hostile = ["{", "[]", "null", "{}", "[" * 19_000]
    hostile += [json.dumps({**good, field: value}) for field in good for value in values]
    hostile += [
        json.dumps({**good, "response": {**good["response"], field: value}})
        for field in ("clientDataJSON", "attestationObject")
        for value in values
    ]
    statuses = {
        answer[:80]: browser.fill_in(NEW_PASSKEY, name="x", challenge=challenge, credential=answer).status_code
        for answer in hostile
    }
    assert {text: status for text, status in statuses.items() if status != 400} == {}
    assert count_rows(alice) == (0, 0)


def test_cloned_passkey_is_refused(alice: User, passkey: SoftwarePasskey) -> None:
    Authenticator.objects.update(sign_count=50)
    assert use_passkey(signed_in(), passkey).status_code == 401


def test_wrong_codes_keep_no_passkey_out(alice: User, passkey: SoftwarePasskey, settings: Any) -> None:
    settings.MAX_LOGIN_FAILURES = 2
    browser = signed_in()
    for _ in range(2):
        with pytest.raises(WrongCode):
            codes.use(alice, "000000")
    assert use_passkey(browser, passkey).status_code == 302


def test_no_more_than_twenty_passkeys(alice: User, passkey: SoftwarePasskey) -> None:
    rows = [Authenticator(user=alice, kind="passkey", name=f"{n}", digest=f"{n}") for n in range(19)]
    Authenticator.objects.bulk_create(rows)
    browser = signed_in()
    use_passkey(browser, passkey)
    Authenticator.objects.filter(credential_id="").update(credential_id="AA")
    assert add_passkey(browser, SoftwarePasskey()).status_code == 409


def test_app_beside_a_passkey_makes_no_new_codes(alice: User, passkey: SoftwarePasskey) -> None:
    _, made = add_app(alice)
    assert (made, count_rows(alice)) == ([], (2, 10))
