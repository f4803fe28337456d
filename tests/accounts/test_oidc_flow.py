"""Single sign-on on running registries, through the certified provider of npm."""

import base64
import html
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.http import HttpRequest
from django.test import Client, RequestFactory

from accounts.oidc import flow
from registry_site.errors import Invalid
from tests.support.app_keys import sign_empty_request
from tests.support.bad_provider import running_provider
from tests.support.cargo import Cargo, write_files
from tests.support.openid import (
    CALLBACKS,
    DATA,
    PAGE,
    SIGN_IN,
    Browser,
    Site,
    hidden_fields,
    new_key,
    query_of,
    refresh_url,
    single_sign_on,
)
from tests.support.servers import PASSWORD

pytestmark = [pytest.mark.database_independent, pytest.mark.long]

UNKNOWN_SIGN_IN = "This sign-in was not begun in this browser, or too long ago, or is done already; begin again at /me."
NOT_ALLOWED = (
    "Openid error: Unauthorized user for publishing/owning rights: "
    "the provider counts you to none of the groups and users that this registry lets in."
)
OTHER_SITE = "This must not be asked for by the page of another site."


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A registry with passwords and single sign-on for everybody."""
    with single_sign_on(tmp_path_factory.mktemp("both")) as site:
        yield site


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A registry with single sign-on only, for some groups, one of which administers."""
    groups = {
        "REGISTRY_OIDC_ALLOWED_GROUPS": "devs, ops",
        "REGISTRY_OIDC_ALLOWED_USERS": "guest",
        "REGISTRY_OIDC_ADMIN_GROUPS": "ops",
    }
    directory = tmp_path_factory.mktemp("closed")
    with single_sign_on(directory, REGISTRY_LOGIN="oidc", REGISTRY_OIDC_SCOPES="profile email", **groups) as site:
        yield site


def status_and_message(response: requests.Response) -> tuple[int, str]:
    """Return the status and the message of an error in cargo's shape."""
    assert set(response.json()) == {"errors"}, response.text
    [error] = response.json()["errors"]
    assert set(error) == {"detail"}
    return response.status_code, error["detail"]


def text_of_page(response: requests.Response) -> str:
    """Return the text that a person reads."""
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", response.text))


def count_sessions(site: Site, name: str) -> int:
    [(count,)] = site.run_sql(
        "SELECT count(*) FROM accounts_credential c JOIN accounts_user u ON c.user_id = u.id"
        f" WHERE u.username = '{name}' AND c.kind = 'browser_session' AND c.revoked_at IS NULL"
    )
    return int(count)


def is_good(site: Site, token: str) -> bool:
    """Return whether a cargo token is accepted: then the answer is that the crate does not exist."""
    response = site.client().get("/api/v1/crates/nothing/owners", Authorization=token)
    assert response.status_code in (401, 404)
    return response.status_code == 404


def local_user(site: Site, name: str) -> tuple[Browser, str]:
    """Sign up a user with a password and log in by the form; return the browser and the cargo token."""
    token = site.server.sign_up(name)
    browser = site.browser()
    assert browser.log_in_with_password(name, PASSWORD).headers["Location"] == "/me"
    return browser, token


def enters_admin(browser: Browser) -> bool:
    response = browser.get("/admin/", Accept=PAGE)
    assert response.status_code in (200, 302)
    return response.status_code == 200


# --- GET /me and GET /replace_token ------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
@pytest.mark.parametrize(("path", "callback"), [("", CALLBACKS[0]), ("/replace_token", CALLBACKS[1])])
def test_visitor_is_redirected_to_the_provider(both: Site, path: str, callback: str, accept: str) -> None:
    browser = Browser(both, accept)
    response = browser.get(path or browser.way_in)
    assert response.status_code == 302
    assert "no-store" in response.headers["Cache-Control"]
    url, _, _ = response.headers["Location"].partition("?")
    query = query_of(response.headers["Location"])
    assert url == f"{both.provider.issuer}/auth"
    assert all(re.fullmatch("[A-Za-z0-9_-]{32,}", query.pop(name)) for name in ("state", "nonce", "code_challenge"))
    assert query == {
        "response_type": "code",
        "client_id": "registry",
        "scope": "openid profile email",
        "redirect_uri": both.server.url + callback,
        "code_challenge_method": "S256",
    }


def test_person_who_can_choose_is_asked(both: Site, closed: Site) -> None:
    assert both.browser().get("/me").headers["Location"] == "/sign-in?next=%2Fme"
    assert "/openid/sign-in?next=%2Fme" in both.browser().get("/sign-in?next=/me").text
    assert closed.browser().get("/me").headers["Location"].startswith(closed.provider.issuer)


def test_scope_openid_is_always_requested(closed: Site) -> None:
    assert query_of(closed.client().get("/me").headers["Location"])["scope"] == "openid profile email"


def test_state_nonce_and_challenge_are_unique(both: Site) -> None:
    client = both.client()
    queries = [query_of(client.get("/me").headers["Location"]) for _ in range(3)]
    assert len({query[name] for query in queries for name in ("state", "nonce", "code_challenge")}) == 9


@pytest.mark.parametrize("path", ["/me", "/replace_token", "/openid/sign-in"])
def test_redirect_uri_ignores_the_host_header(both: Site, path: str) -> None:
    response = both.client().get(path, Host=f"localhost:{both.server.port}")
    assert urlsplit(query_of(response.headers["Location"])["redirect_uri"]).netloc == f"127.0.0.1:{both.server.port}"
    assert both.client().get(path, Host="evil.example").status_code == 400


def test_first_sign_in_answers_as_documented(both: Site) -> None:
    response = both.client().sign_in(both.provider.add_person("gagbo", nickname="gagbo"))
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    token = response.json()["new_token"]
    assert list(response.json().items()) == [
        ("username", "127.0.0.1:gagbo"),
        ("new_token", token),
        ("revoked_token", None),
    ]
    assert is_good(both, token)


def test_second_sign_in_answers_as_documented(both: Site) -> None:
    client, token = both.new_person("again")
    expected = [("username", "127.0.0.1:again"), ("existing_token", token)]
    assert list(client.get("/me").json().items()) == expected
    assert list(both.client().sign_in("again").json().items()) == expected


def test_replace_token_answers_as_documented(both: Site) -> None:
    client, first = both.new_person("replacer")
    response = client.get("/replace_token").json()
    second = response["new_token"]
    assert list(response.items()) == [
        ("username", "127.0.0.1:replacer"),
        ("new_token", second),
        ("revoked_token", first),
    ]
    assert [is_good(both, token) for token in (first, second)] == [False, True]


def test_replace_token_through_the_provider_answers_as_documented(both: Site) -> None:
    _, first = both.new_person("returner")
    response = both.client().sign_in("returner", "/replace_token").json()
    second = response["new_token"]
    assert list(response.items()) == [
        ("username", "127.0.0.1:returner"),
        ("new_token", second),
        ("revoked_token", first),
    ]
    assert [is_good(both, token) for token in (first, second)] == [False, True]


def test_first_replace_token_ends_no_token(both: Site) -> None:
    response = both.client().sign_in(both.provider.add_person("hasty", nickname="hasty"), "/replace_token")
    assert response.json() | {"new_token": ""} == {
        "username": "127.0.0.1:hasty",
        "new_token": "",
        "revoked_token": None,
    }


@pytest.mark.parametrize("callback", ["replace", "replace_token"])
def test_both_of_ktras_replace_callbacks_answer(both: Site, callback: str) -> None:
    name = f"by-{callback}"
    _, first = both.new_person(name)
    client = both.client()
    callback_url = urlsplit(client.callback_url(name, "/replace_token"))
    response = client.get(f"/ktra/api/v1/openid/{callback}?{callback_url.query}").json()
    assert (response["username"], response["revoked_token"]) == (f"127.0.0.1:{name}", first)


def test_responses_with_a_token_are_not_cached(both: Site) -> None:
    client = both.client()
    both.provider.add_person("careful", nickname="careful")
    responses = [client.sign_in("careful"), client.get("/me"), client.get("/replace_token")]
    browser = both.browser()
    responses.append(browser.sign_in("careful"))
    assert all("no-store" in response.headers["Cache-Control"] for response in responses)
    assert {response.headers["X-Frame-Options"] for response in responses} == {"DENY"}
    assert "frame-ancestors 'none'" in browser.get("/me").headers["Content-Security-Policy"]


def test_second_person_gets_another_account(both: Site) -> None:
    _, first = both.new_person("castor")
    client, second = both.new_person("pollux")
    assert client.signed_in_name() == "127.0.0.1:pollux"
    assert first != second


def test_name_comes_from_the_providers_claims(both: Site) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"nickname": "plain", "preferred_username": "other"}, "plain"),
        ({"preferred_username": "preferred"}, "preferred"),
        ({"nickname": " ", "preferred_username": "blank"}, "blank"),
        ({"nickname": "Zoë <b>/../x\ny"}, "Zo-b-..-x-y"),
        ({"nickname": "zed@example.org"}, "zed@example.org"),
        ({"nickname": "n" * 300}, "n" * 245),
        ({"nickname": 7, "preferred_username": "number"}, "number"),
    ]
    for claims, name in cases:
        response = both.client().sign_in(both.provider.add_person(f"named-{name[:9]}", **claims))
        assert response.json().get("username") == f"127.0.0.1:{name}", response.text


def test_unusable_name_is_replaced_by_the_subject(both: Site) -> None:
    client, _ = both.new_person("ivan-7", nickname="Иван")
    assert client.signed_in_name() == "127.0.0.1:ivan-7"


def test_person_without_a_name_is_refused(both: Site) -> None:
    client = both.client()
    response = client.sign_in(both.provider.add_person("nameless", email="nameless@example.org"))
    assert status_and_message(response) == (
        403,
        "Openid error: No nickname available for registration: the provider sends no nickname or preferred_username.",
    )
    assert client.signed_in_name() is None
    assert both.run_sql("SELECT 1 FROM accounts_identity WHERE subject = 'nameless'") == []


def test_subjects_of_one_nickname_have_two_accounts(both: Site) -> None:
    first, _ = both.new_person("twin-a", nickname="twin")
    second, _ = both.new_person("twin-b", nickname="Twin")
    assert [first.signed_in_name(), second.signed_in_name()] == ["127.0.0.1:twin", "127.0.0.1:Twin-2"]


def test_account_survives_a_new_nickname_and_address(both: Site) -> None:
    _, token = both.new_person("steady", nickname="before", email="before@example.org")
    both.provider.add_person("steady", nickname="after", email="after@example.org")
    assert both.client().sign_in("steady").json() == {"username": "127.0.0.1:before", "existing_token": token}


def test_e_mail_address_is_no_identity(both: Site) -> None:
    form = {"username": "local-zoe", "email": "zoe@example.org", "password": PASSWORD, "confirm_password": PASSWORD}
    assert requests.post(f"{both.server.url}/v1/user/register", json=form, timeout=30).status_code == 200
    client, _ = both.new_person("zoe", email="zoe@example.org", email_verified=True)
    assert client.signed_in_name() == "127.0.0.1:zoe"


# --- cargo -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_cargo_publishes_with_a_sign_ins_token(both: Site, tmp_path: Path) -> None:
    _, token = both.new_person("carla")
    manifest = '[package]\nname = "signed"\nversion = "0.1.0"\nedition = "2021"\nlicense = "MIT"\ndescription = "One"\n'
    crate = write_files(tmp_path / "crate", {"Cargo.toml": manifest, "src/lib.rs": ""})
    cargo = Cargo(tmp_path / "home", both.server, token)
    output = cargo.run(crate, "publish", "--registry", "priv", "--allow-dirty", "--no-verify")
    assert "Published signed v0.1.0" in output
    assert "127.0.0.1:carla" in cargo.run(crate, "owner", "--registry", "priv", "--list", "signed")


# --- REGISTRY_LOGIN ----------------------------------------------------------------------------------------------

PASSWORD_ENDPOINTS = {
    "/ktra/api/v1/new_user/-": {"password": PASSWORD},
    "/ktra/api/v1/login/-": {"password": PASSWORD},
    "/ktra/api/v1/change_password/-": {"old_password": PASSWORD, "new_password": "battery staple"},
    "/api/stable/auth/login": {"username": "-", "password": PASSWORD},
    "/v1/user/register": {"username": "-", "password": PASSWORD, "confirm_password": PASSWORD},
    "/v1/user/login": {"login": "-", "password": PASSWORD},
    "/v1/user/-/change-password": {"current_password": PASSWORD, "password": "-", "confirm_password": "-"},
    "/register": {"username": "-", "password": PASSWORD, "email": "a@example.org"},
    "/login": {"username": "-", "password": PASSWORD},
}


def test_password_endpoints_exist_only_with_passwords(both: Site, closed: Site) -> None:
    for path, body in PASSWORD_ENDPOINTS.items():
        assert requests.post(closed.server.url + path, json=body, timeout=30).status_code == 404, path
        assert requests.post(both.server.url + path, json=body, timeout=30).status_code in (400, 401, 403, 422), path


def test_password_form_is_absent_without_passwords(both: Site, closed: Site) -> None:
    pages = {site: site.browser().get("/sign-in") for site in (both, closed)}
    assert [f"Sign in at {site.provider.issuer}" in text_of_page(page) for site, page in pages.items()] == [True, True]
    assert ['name="password"' in page.text for page in pages.values()] == [True, False]
    browser = closed.browser()
    form = {"csrfmiddlewaretoken": "a" * 32, "username": "chief", "password": PASSWORD}
    browser.session.cookies.set("csrftoken", "a" * 32)
    assert browser.request("POST", "/sign-in", form).status_code == 200  # the same page
    assert not enters_admin(browser)


@pytest.mark.parametrize(("site", "has_form"), [("both", True), ("closed", False)])
def test_admin_login_page_offers_the_allowed_methods(site: str, has_form: bool, request: pytest.FixtureRequest) -> None:
    registry: Site = request.getfixturevalue(site)
    response = registry.browser().get("/admin/login/?next=/admin/crates/")
    assert ('name="password"' in response.text) == has_form
    assert 'href="/openid/sign-in?next=/admin/crates/"' in response.text


@pytest.fixture(scope="module")
def chief(closed: Site) -> str:
    """An administrator with a password."""
    closed.server.manage("createuser", "chief", "--admin", "--password-stdin", text=PASSWORD)
    return "chief"


@pytest.mark.parametrize("query", ["", "?code=1&state=2"])
def test_password_opens_no_admin_site_without_passwords(closed: Site, chief: str, query: str) -> None:
    browser = closed.browser()
    browser.session.cookies.set("csrftoken", "a" * 32)
    form = {"csrfmiddlewaretoken": "a" * 32, "username": chief, "password": PASSWORD}
    assert browser.request("POST", f"/admin/login/{query}", form).status_code == 200
    assert not enters_admin(browser)


@pytest.mark.parametrize("query", ["", "?code=1&state=2"])
def test_wrong_password_is_reported_for_any_query(both: Site, query: str) -> None:
    browser = both.browser()
    form = {"csrfmiddlewaretoken": browser.csrf_token("/sign-in"), "username": "nobody", "password": PASSWORD}
    response = browser.request("POST", f"/sign-in{query}", form)
    assert response.status_code == 401
    assert "The user name or the password is wrong." in text_of_page(response)


def test_new_account_has_no_usable_password(both: Site) -> None:
    both.new_person("passless")
    [(encoded,)] = both.run_sql("SELECT password FROM accounts_user WHERE username = '127.0.0.1:passless'")
    assert encoded.startswith("!")


def test_me_without_a_provider_is_a_hint(db: None) -> None:
    response = Client().get("/me")
    assert (response.status_code, response["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert response.content.decode().startswith("$ curl -X POST")


@pytest.mark.parametrize("path", [*CALLBACKS, "/openid/sign-in", "/openid/link"])
def test_openid_paths_are_absent_without_a_provider(path: str, db: None) -> None:
    assert [Client().get(path).status_code, Client().post(path).status_code] == [404, 404]


# --- Groups ------------------------------------------------------------------------------------------------------


def test_listed_group_or_user_is_allowed(closed: Site) -> None:
    cases: dict[str, dict[str, object]] = {
        "member": {"nickname": "member", "groups": ["others", "devs"]},
        "one-group": {"nickname": "one-group", "groups": "devs"},
        "listed": {"nickname": "guest"},
        "listed-too": {"nickname": "guest", "groups": ["others"]},
    }
    for subject, claims in cases.items():
        assert closed.client().sign_in(closed.provider.add_person(subject, **claims)).status_code == 200, subject


def test_user_outside_the_lists_is_refused(closed: Site) -> None:
    cases: dict[str, dict[str, object]] = {
        "stranger": {"nickname": "stranger"},
        "no-groups": {"nickname": "no-groups", "groups": []},
        "part": {"nickname": "part", "groups": ["dev", "devs2", "Devs"]},
        "guest": {"nickname": "not-guest"},
        "number": {"nickname": "number", "groups": 7},
        "object": {"nickname": "object", "groups": {"devs": False}},
    }
    for subject, claims in cases.items():
        client = closed.client()
        response = client.sign_in(closed.provider.add_person(subject, **claims))
        assert status_and_message(response) == (403, NOT_ALLOWED), subject
        assert client.signed_in_name() is None, subject
        assert closed.run_sql(f"SELECT 1 FROM accounts_identity WHERE subject = '{subject}'") == []


def test_page_explains_the_refusal(closed: Site) -> None:
    response = closed.browser().sign_in(closed.provider.add_person("outsider", nickname="outsider"))
    assert response.status_code == 403
    assert NOT_ALLOWED in text_of_page(response)


def link_of(page: requests.Response, text: str) -> str:
    """Return the address of a link of a page."""
    [address] = re.findall(rf'<a [^>]*href="([^"]+)"[^>]*>{text}</a>', page.text)
    return html.unescape(address)


def test_refused_person_signs_in_as_somebody_else(closed: Site) -> None:
    browser = closed.browser()
    closed.provider.add_person("insider", nickname="insider", groups=["devs"])
    refused = browser.sign_in(closed.provider.add_person("first-try", nickname="first-try"))
    assert refused.headers["Cache-Control"] == "no-store"
    selection = browser.get(link_of(refused, "Sign in as somebody else")).headers["Location"]
    assert query_of(selection)["prompt"] == "select_account"
    unsupported = browser.get(browser.through_provider(selection, "first-try"))  # this provider has no such list
    assert "the provider did not sign you in (invalid_request)" in text_of_page(unsupported)
    location = browser.get(link_of(unsupported, "Sign in as somebody else")).headers["Location"]
    assert query_of(location)["prompt"] == "login"
    browser.get(browser.through_provider(location, "insider"))
    assert browser.signed_in_name() == "127.0.0.1:insider"


def test_signed_in_person_signs_in_as_somebody_else(both: Site) -> None:
    browser = both.browser()
    both.provider.add_person("second", nickname="second")
    browser.sign_in(both.provider.add_person("first", nickname="first"))
    link = link_of(browser.get("/account/tokens"), "Sign in as somebody else")
    prompts = [query_of(browser.get(link).headers["Location"])["prompt"] for _ in range(2)]
    assert prompts == ["select_account", "login"]
    browser.get(browser.callback_url("second", link))
    assert browser.signed_in_name() == "127.0.0.1:second"
    browser.press_button("/sign-out")
    assert link_of(browser.get("/sign-out"), "Sign in as somebody else") == link


def test_refused_person_signs_out_at_the_provider(closed: Site) -> None:
    browser = closed.browser()
    refused = browser.sign_in(closed.provider.add_person("stuck", nickname="stuck"))
    address = link_of(refused, "Sign out at the provider")
    assert urlsplit(address).path == "/session/end"
    hint = query_of(address)["id_token_hint"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(hint + "=="))["sub"] == "stuck"
    assert browser.through_provider(address, "stuck") == f"{closed.server.url}/"
    browser.prompts.clear()
    browser.callback_url("stuck")
    assert browser.prompts == ["login", "consent"]


def test_refused_person_goes_on_where_they_wanted(closed: Site) -> None:
    browser = closed.browser()
    refused = browser.sign_in(closed.provider.add_person("lost", nickname="lost"), "/openid/sign-in?next=/admin/")
    assert link_of(refused, "Begin again") == "/openid/sign-in?next=%2Fadmin%2F"
    assert link_of(refused, "Sign in as somebody else") == "/openid/sign-in?other_account=1&next=%2Fadmin%2F"


def test_form_follows_the_list_of_accounts(rf: RequestFactory, settings: Any) -> None:
    with running_provider() as provider:
        cache.clear()
        settings.OIDC_ISSUER = provider.issuer
        offered = {"none and login": ["none", "login"], "all": ["login", "select_account"], "not said": None}
        prompts = {}
        for case, values in offered.items():
            cache.clear()
            provider.metadata_changes = {"prompt_values_supported": values}
            request = rf.get("/openid/sign-in?other_account=1")
            request.session = SessionStore()
            prompts[case] = [flow.choose_prompt(request), flow.choose_prompt(request)]
        cache.clear()
    assert prompts == {
        "none and login": ["login", "login"],
        "all": ["select_account", "login"],
        "not said": ["select_account", "login"],
    }


class Member:
    """A person in the group `devs` with a cargo token, an app key and a session."""

    def __init__(self, site: Site, subject: str) -> None:
        self.site = site
        self.subject = subject
        self.client, self.token = site.new_person(subject, groups=["devs"])
        keys = f"{site.server.url}/settings/appids"
        self.pair = self.client.session.post(keys, json={"type": "ALL"}, headers={"Origin": site.server.url}).json()

    def sign_in(self, *groups: str) -> int:
        """Sign in with these groups and return the status."""
        self.site.provider.add_person(self.subject, nickname=self.subject, groups=list(groups))
        return self.site.client().sign_in(self.subject).status_code

    def accepted_credentials(self) -> dict[str, bool]:
        return {
            "token": is_good(self.site, self.token),
            "app key": self.site.client().get("/settings/appids", Token=sign_empty_request(self.pair)).status_code
            == 200,
            "session": self.client.signed_in_name() is not None,
        }


def test_leaving_the_group_ends_all_access(closed: Site) -> None:
    leaver = Member(closed, "leaver")
    assert set(leaver.accepted_credentials().values()) == {True}
    assert leaver.sign_in() == 403
    assert leaver.accepted_credentials() == {"token": False, "app key": False, "session": False}


def test_returning_to_the_group_restores_token_and_key(closed: Site) -> None:
    returner = Member(closed, "comeback")
    assert [returner.sign_in(), returner.sign_in("ops")] == [403, 200]
    accepted = returner.accepted_credentials()
    assert (accepted["token"], accepted["app key"]) == (True, True)


def test_admin_group_changes_the_rights_of_running_sessions(closed: Site) -> None:
    person = Member(closed, "promoted")
    may_enter = [enters_admin(person.client)]
    for groups in (["devs", "ops"], ["devs"]):
        assert person.sign_in(*groups) == 200
        may_enter.append(enters_admin(person.client))
    assert may_enter == [False, True, False]


def test_refused_administrator_loses_the_rights(closed: Site) -> None:
    person = Member(closed, "fallen")
    assert [person.sign_in("ops"), person.sign_in()] == [200, 403]
    rights = "SELECT is_staff, is_superuser FROM accounts_user WHERE username = '127.0.0.1:fallen'"
    assert [bool(right) for right in closed.run_sql(rights)[0]] == [False, False]


def test_no_group_gives_rights_without_the_setting(both: Site) -> None:
    client, _ = both.new_person("would-be", groups=["ops", "admin"])
    assert not enters_admin(client)


def test_no_group_takes_rights_without_the_setting(both: Site) -> None:
    browser, _ = local_user(both, "keeper")
    both.run_sql("UPDATE accounts_user SET is_staff = true, is_superuser = true WHERE username = 'keeper'")
    link_identity(browser, both.provider.add_person("keeper-there", nickname="keeper", groups=["others"]))
    second_browser = both.browser()
    second_browser.sign_in("keeper-there")
    assert [enters_admin(browser), enters_admin(second_browser)] == [True, True]


# --- Linking -----------------------------------------------------------------------------------------------------


def link_identity(browser: Browser, subject: str) -> requests.Response:
    """Link an identity by the button on the page, and return the last response."""
    provider_url = refresh_url(browser.press_button("/openid/link").text)
    return browser.follow_redirects(browser.get(browser.through_provider(provider_url, subject)))


def test_linked_identity_signs_in_to_the_local_account(both: Site) -> None:
    browser, token = local_user(both, "lena")
    page = text_of_page(link_identity(browser, both.provider.add_person("lena-there", nickname="other")))
    assert "You are signed in as ktra-secure-auth:lena" in page
    identities = text_of_page(browser.get("/account/identities"))
    assert f"lena-there at {both.provider.issuer}" in identities
    assert both.client().sign_in("lena-there").json() == {
        "username": "ktra-secure-auth:lena",
        "existing_token": token,
    }


def test_identity_of_another_account_cannot_be_linked(both: Site) -> None:
    both.new_person("taken")
    browser, token = local_user(both, "taker")
    response = link_identity(browser, "taken")
    assert response.status_code == 409
    assert "This identity belongs to the account 127.0.0.1:taken already." in text_of_page(response)
    assert browser.get("/me", Accept=DATA).json() == {"username": "ktra-secure-auth:taker", "existing_token": token}


def test_linking_twice_changes_nothing(both: Site) -> None:
    browser, _ = local_user(both, "twice")
    both.provider.add_person("twice-there", nickname="twice")
    assert [link_identity(browser, "twice-there").status_code for _ in range(2)] == [200, 200]
    assert both.run_sql("SELECT count(*) FROM accounts_identity WHERE subject = 'twice-there'") == [(1,)]


def test_typed_address_of_linking_shows_its_button(both: Site) -> None:
    browser, _ = local_user(both, "getter")
    page = browser.get("/openid/link")
    assert page.status_code == 200
    assert "You are signed in as ktra-secure-auth:getter." in text_of_page(page)
    both.provider.add_person("getter-there", nickname="getter")
    provider_url = refresh_url(browser.press_button("/openid/link", "/openid/link").text)
    browser.follow_redirects(browser.get(browser.through_provider(provider_url, "getter-there")))
    assert both.client().sign_in("getter-there").json()["username"] == "ktra-secure-auth:getter"


def test_typed_address_of_linking_needs_a_session(both: Site) -> None:
    assert both.browser().get("/openid/link").headers["Location"] == "/sign-in"


def test_refused_linking_offers_another_identity(both: Site) -> None:
    both.new_person("owned")
    browser, _ = local_user(both, "second-owner")
    refused = link_identity(browser, "owned")
    assert refused.status_code == 409
    assert link_of(refused, "Begin again") == "/openid/link"
    address = link_of(refused, "Sign in as somebody else")
    assert address == "/openid/link?other_account=1"
    to_provider = browser.submit(browser.get(address).text, {})
    assert query_of(refresh_url(to_provider.text))["prompt"] == "select_account"


def test_linking_needs_a_csrf_token_and_own_origin(both: Site) -> None:
    browser, _ = local_user(both, "forged")
    assert browser.request("POST", "/openid/link").status_code == 403
    foreign = {"Origin": "https://evil.example"}
    form = {"csrfmiddlewaretoken": browser.csrf_token("/account/tokens")}
    assert browser.request("POST", "/openid/link", form, foreign).status_code == 403


def test_linking_fails_after_its_session_ended(both: Site) -> None:
    browser, _ = local_user(both, "gone")
    provider_url = refresh_url(browser.press_button("/openid/link").text)
    callback_url = browser.through_provider(provider_url, both.provider.add_person("gone-there", nickname="gone"))
    both.run_sql(
        "UPDATE accounts_credential SET revoked_at = '2020-01-01 00:00:00' WHERE kind = 'browser_session'"
        " AND user_id = (SELECT id FROM accounts_user WHERE username = 'gone')"
    )
    response = browser.get(callback_url)
    assert response.status_code == 403
    assert "you have been signed out meanwhile; sign in, and link again." in text_of_page(response)
    assert both.run_sql("SELECT 1 FROM accounts_identity WHERE subject = 'gone-there'") == []


def test_command_links_and_unlinks_an_identity(both: Site) -> None:
    token = both.server.sign_up("remote")
    issuer = both.provider.issuer
    both.provider.add_person("remote-there", nickname="elsewhere")
    output = both.server.manage("linkidentity", "remote", "remote-there")
    assert output == f"remote has the identity remote-there at {issuer}."
    before = both.client().sign_in("remote-there").json()
    output = both.server.manage("linkidentity", "remote", "remote-there", "--remove")
    assert output == f"remote no longer has the identity remote-there at {issuer}."
    assert before == {"username": "ktra-secure-auth:remote", "existing_token": token}
    assert both.client().sign_in("remote-there").json()["username"] == "127.0.0.1:elsewhere"


# --- State -------------------------------------------------------------------------------------------------------


def test_callback_without_this_browsers_state_is_refused(both: Site) -> None:
    client = both.client()
    client.get("/me")
    for path in (*CALLBACKS, "/ktra/api/v1/openid/replace_token"):
        for query in ("", "?code=1", "?code=1&state=", "?code=1&state=foreign", "?state=foreign", "?error=denied"):
            assert status_and_message(client.get(path + query)) == (400, UNKNOWN_SIGN_IN), (path, query)


def test_foreign_state_is_reported_on_a_page(both: Site) -> None:
    response = both.browser().get(f"{CALLBACKS[0]}?code=1&state=foreign")
    assert response.status_code == 400
    assert UNKNOWN_SIGN_IN in text_of_page(response)
    assert link_of(response, "Begin again") == "/me"


def test_callback_works_once(both: Site) -> None:
    client = both.client()
    callback_url = client.callback_url(both.provider.add_person("replayer", nickname="replayer"))
    assert client.get(callback_url).status_code == 200
    client.session.cookies.clear()
    assert status_and_message(client.get(callback_url)) == (400, UNKNOWN_SIGN_IN)
    assert client.signed_in_name() is None


@pytest.mark.parametrize("path", ["", "/replace_token"])
def test_replayed_callback_leads_on(both: Site, path: str) -> None:
    """Without another change: the token is replaced once."""
    subject = both.provider.add_person("returner", nickname="returner")
    for client in (both.browser(), both.client()):
        callback_url = client.callback_url(subject, path)
        client.get(callback_url)
        assert client.signed_in_name() == "127.0.0.1:returner"  # which makes the token, if this is the first time
        token = client.get("/me", Accept=DATA).json()["existing_token"]
        for url in (callback_url, f"{CALLBACKS[1]}?code=1&state=foreign", f"{CALLBACKS[0]}?error=denied"):
            response = client.get(url)
            assert (response.status_code, response.headers["Location"]) == (302, "/me"), url
        assert client.get("/me", Accept=DATA).json()["existing_token"] == token


def test_callback_works_in_its_own_browser_only(both: Site) -> None:
    client, other = both.client(), both.client()
    callback_url = client.callback_url(both.provider.add_person("victim", nickname="victim"))
    other.get("/me")
    assert status_and_message(other.get(callback_url)) == (400, UNKNOWN_SIGN_IN)
    assert other.signed_in_name() is None
    assert client.get(callback_url).json()["username"] == "127.0.0.1:victim"


def test_expired_sign_in_can_begin_again(both: Site) -> None:
    client = both.client()
    callback_url = client.callback_url(both.provider.add_person("slow", nickname="slow"))
    both.run_sql(
        f"UPDATE django_session SET expire_date = '2020-01-01 00:00:00' WHERE session_key = '{client.session_cookie()}'"
    )
    assert status_and_message(client.get(callback_url)) == (400, UNKNOWN_SIGN_IN)
    assert client.sign_in("slow").json()["username"] == "127.0.0.1:slow"


def callback_request(added_on: float) -> HttpRequest:
    """Return the callback of a sign-in that began at that time."""
    request = RequestFactory().get(f"{CALLBACKS[0]}?state=known&code=1")
    sign_in = {"nonce": "n", "code_verifier": "v", "added_on": added_on, "purpose": "me", "next": None}
    request.user = AnonymousUser()
    request.session = SessionStore()
    request.session[flow.STATES] = {"known": sign_in}
    request.session.save()
    return request


def test_old_sign_in_is_refused(db: None) -> None:
    request = callback_request(time.time() - 15 * 60)
    with pytest.raises(Invalid) as refused:
        flow.CallbackView.as_view()(request)
    assert refused.value.message == UNKNOWN_SIGN_IN


def test_callback_in_a_deleted_session_is_refused(db: None) -> None:
    request = callback_request(time.time())
    SessionStore(request.session.session_key).delete()
    with pytest.raises(Invalid) as refused:
        flow.CallbackView.as_view()(request)
    assert refused.value.message == UNKNOWN_SIGN_IN


def test_callback_without_a_code_ends_the_sign_in(both: Site) -> None:
    client = both.client()
    callback_url = client.callback_url(both.provider.add_person("codeless", nickname="codeless"))
    url_without_code = f"{CALLBACKS[0]}?state={query_of(callback_url)['state']}"
    assert status_and_message(client.get(url_without_code)) == (
        403,
        "Openid error: the provider did not sign you in (it does not say why).",
    )
    assert status_and_message(client.get(callback_url)) == (400, UNKNOWN_SIGN_IN)


def test_wrong_code_is_refused(both: Site) -> None:
    client = both.client()
    state = query_of(client.get("/me").headers["Location"])["state"]
    assert status_and_message(client.get(f"{CALLBACKS[0]}?state={state}&code=wrong")) == (
        403,
        "Openid error: the provider refused the sign-in (invalid_grant); begin again at /me.",
    )


def test_aborted_sign_in_is_reported(both: Site) -> None:
    assert status_and_message(both.client().abort()) == (
        403,
        "Openid error: the provider did not sign you in (access_denied).",
    )
    page = both.browser().abort()
    assert page.status_code == 403
    assert "the provider did not sign you in (access_denied)" in text_of_page(page)
    assert link_of(page, "Begin again") == "/openid/sign-in?next=%2Fme"
    assert link_of(page, "Sign in as somebody else") == "/openid/sign-in?other_account=1&next=%2Fme"


def test_sign_in_of_another_person_ends_the_session(both: Site) -> None:
    browser, _ = both.new_person("shared-a")
    cookie = browser.session_cookie()
    browser.forget_provider()
    browser.sign_in(both.provider.add_person("shared-b", nickname="shared-b"), "/openid/sign-in")
    assert browser.signed_in_name() == "127.0.0.1:shared-b"
    assert count_sessions(both, "127.0.0.1:shared-a") == 0
    assert browser.with_cookie(cookie).signed_in_name() is None


def test_revoked_cookie_stays_invalid_after_a_sign_in(both: Site) -> None:
    browser, _ = both.new_person("robbed")
    stolen = browser.with_cookie(browser.session_cookie())
    both.run_sql(
        "UPDATE accounts_credential SET revoked_at = '2020-01-01 00:00:00' WHERE kind = 'browser_session'"
        " AND user_id = (SELECT id FROM accounts_user WHERE username = '127.0.0.1:robbed')"
    )
    browser.sign_in("robbed")
    assert (browser.signed_in_name(), stolen.signed_in_name()) == ("127.0.0.1:robbed", None)


NAVIGATION = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_site_cannot_switch_the_signed_in_user(both: Site, site: str) -> None:
    browser, _ = both.new_person(f"lured-by-{site}")
    response = browser.get("/openid/sign-in", Sec_Fetch_Site=site, **NAVIGATION)
    assert (response.status_code, response.headers["Location"]) == (302, "/me")


def test_other_site_may_link_to_the_sign_in(both: Site) -> None:
    response = both.browser().get("/openid/sign-in", Sec_Fetch_Site="cross-site", **NAVIGATION)
    assert response.headers["Location"].startswith(f"{both.provider.issuer}/auth?")


def test_aborted_sign_in_keeps_the_session(both: Site) -> None:
    browser, _ = both.new_person("undecided")
    cookie = browser.session_cookie()
    browser.forget_provider()
    assert browser.abort("/openid/sign-in").status_code == 403
    assert (browser.signed_in_name(), browser.session_cookie()) == ("127.0.0.1:undecided", cookie)
    assert count_sessions(both, "127.0.0.1:undecided") == 1


def test_refused_sign_in_keeps_the_session(closed: Site) -> None:
    browser, _ = closed.new_person("host", groups=["devs"])
    cookie = browser.session_cookie()
    browser.forget_provider()
    stranger = closed.provider.add_person("visitor", nickname="visitor")
    assert browser.sign_in(stranger, "/openid/sign-in").status_code == 403
    assert (browser.signed_in_name(), browser.session_cookie()) == ("127.0.0.1:host", cookie)
    assert count_sessions(closed, "127.0.0.1:host") == 1
    hint = query_of(refresh_url(browser.press_button("/sign-out").text))["id_token_hint"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(hint + "=="))["sub"] == "host"


CLOSING = {
    "banned": "INSERT INTO accounts_ban (user_id, reason, created_at)"
    " SELECT id, '', '2020-01-01 00:00:00' FROM accounts_user WHERE username = '127.0.0.1:{}'",
    "deactivated": "UPDATE accounts_user SET is_active = false WHERE username = '127.0.0.1:{}'",
    "abroad": "UPDATE accounts_user SET allowed_networks = '192.0.2.0/24' WHERE username = '127.0.0.1:{}'",
}
CLOSED_ACCOUNT = "Your account here is closed or banned, or must not be used from your address."


@pytest.mark.parametrize("reason", CLOSING)
def test_closed_account_cannot_sign_in(both: Site, reason: str) -> None:
    both.new_person(reason)
    both.run_sql(CLOSING[reason].format(reason))
    browser, _ = both.new_person(f"before-{reason}")
    browser.forget_provider()
    assert status_and_message(browser.sign_in(reason, "/openid/sign-in")) == (403, CLOSED_ACCOUNT)
    assert browser.signed_in_name() == f"127.0.0.1:before-{reason}"
    assert count_sessions(both, f"127.0.0.1:{reason}") == 1  # from the first sign-in


@pytest.mark.parametrize("path", ["", "/replace_token"])
@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_sign_in_from_forbidden_networks_keeps_the_token(both: Site, path: str, accept: str) -> None:
    name = f"abroad-{len(path)}-{len(accept)}"
    _, token = both.new_person(name)
    both.run_sql(CLOSING["abroad"].format(name))
    response = Browser(both, accept).sign_in(name, path)
    assert (response.status_code, "entc_" in response.text) == (403, False)
    both.run_sql(f"UPDATE accounts_user SET allowed_networks = '' WHERE username = '127.0.0.1:{name}'")
    assert is_good(both, token)


def test_password_session_has_its_full_lifetime(both: Site) -> None:
    both.server.sign_up("patient")
    browser = both.browser()
    browser.get(SIGN_IN)
    response = browser.log_in_with_password("patient", PASSWORD)
    assert "registry_session" in response.headers["Set-Cookie"]
    [age] = re.findall(r"registry_session=[^,]*, [^,]*Max-Age=(\d+)", response.headers["Set-Cookie"])
    assert int(age) == 24 * 3600


# --- Pages of other sites ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader(both: Site) -> Browser:
    """A browser with a signed-in person whose token no test replaces."""
    return both.new_person("reader")[0]


@pytest.fixture
def token_unchanged(reader: Browser) -> Iterator[None]:
    """Check that the test has not replaced the reader's token."""
    before = reader.get("/me").json()
    yield
    assert reader.get("/me").json() == before


@pytest.mark.usefixtures("token_unchanged")
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_site_cannot_replace_a_token(reader: Browser, site: str) -> None:
    for browser in (reader, reader.site.client()):
        response = browser.get("/replace_token", Sec_Fetch_Site=site, **NAVIGATION)
        assert status_and_message(response) == (403, OTHER_SITE)


@pytest.mark.usefixtures("token_unchanged")
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_replacing_from_another_site_needs_a_confirmation(reader: Browser, site: str) -> None:
    for browser in (reader, reader.site.client()):
        response = browser.get("/replace_token", Accept=PAGE, Sec_Fetch_Site=site, **NAVIGATION)
        assert response.status_code == 403
        assert "Replace your token? Another site has sent you here." in text_of_page(response)
        assert "csrfmiddlewaretoken" in hidden_fields(response.text)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_user_replaces_the_token_by_get(both: Site, site: str) -> None:
    client, token = both.new_person(f"asks-{site}")
    assert client.get("/replace_token", Sec_Fetch_Site=site, **NAVIGATION).json()["revoked_token"] == token
    response = client.follow_redirects(client.get("/replace_token", Accept=PAGE, Sec_Fetch_Site=site, **NAVIGATION))
    assert response.url == f"{both.server.url}/me"
    assert token not in response.text


@pytest.mark.usefixtures("token_unchanged")
@pytest.mark.parametrize(
    "header", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Referer": "https://evil.example/page"}]
)
def test_foreign_origin_or_referer_replaces_no_token(reader: Browser, header: dict[str, str]) -> None:
    assert status_and_message(reader.request("GET", "/replace_token", headers=header)) == (403, OTHER_SITE)


@pytest.mark.parametrize("with_origin", [False, True])
def test_form_replaces_the_token_and_leads_back(both: Site, with_origin: bool) -> None:
    browser, token = both.new_person(f"presses-{with_origin}")
    browser.session.headers["Accept"] = PAGE
    form = {"csrfmiddlewaretoken": browser.csrf_token("/account/tokens")}
    origin = {"Origin": both.server.url} if with_origin else {}
    response = browser.request("POST", "/replace_token", form, origin)
    assert (response.status_code, response.headers.get("Location")) in [(302, "/me"), (303, "/me")], response.text
    assert not is_good(both, token)


def test_confirmed_form_replaces_the_token(both: Site) -> None:
    browser, token = both.new_person("confirms")
    browser.session.headers["Accept"] = PAGE
    question = browser.get("/replace_token", Sec_Fetch_Site="cross-site", **NAVIGATION)
    response = browser.request("POST", "/replace_token", hidden_fields(question.text), {"Origin": both.server.url})
    assert response.status_code in (302, 303), response.text
    assert not is_good(both, token)


@pytest.mark.usefixtures("token_unchanged")
@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_post_without_a_csrf_token_replaces_nothing(reader: Browser, accept: str) -> None:
    cases: list[dict[str, str]] = [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
    for headers in cases:
        assert reader.request("POST", "/replace_token", {}, {"Accept": accept, **headers}).status_code == 403, headers


def test_program_replaces_the_token_by_post(both: Site) -> None:
    client, token = both.new_person("script")
    response = client.request("POST", "/replace_token", headers={"Origin": both.server.url})
    assert response.json()["revoked_token"] == token


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_other_site_cannot_read_a_token(reader: Browser, site: str, accept: str) -> None:
    for mode, destination in (
        ("navigate", "iframe"),
        ("navigate", "object"),
        ("no-cors", "script"),
        ("no-cors", "image"),
        ("cors", "empty"),
    ):
        headers = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": destination}
        for path in ("/me", "/account/tokens"):
            response = reader.get(path, Accept=accept if path == "/me" else PAGE, **headers)
            assert response.status_code == 403, headers
            assert OTHER_SITE in response.text
            assert "entc_" not in response.text


@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_other_site_may_link_to_me(reader: Browser, accept: str) -> None:
    path = "/me" if accept == DATA else "/account/tokens"  # where /me leads browsers
    assert reader.get(path, Accept=accept, Sec_Fetch_Site="cross-site", **NAVIGATION).status_code == 200


@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_head_of_me_has_the_headers_of_get(reader: Browser, accept: str) -> None:
    path = "/me" if accept == DATA else "/account/tokens"
    response = reader.request("HEAD", path, headers={"Accept": accept})
    assert (response.status_code, response.text) == (200, "")
    assert "no-store" in response.headers["Cache-Control"]
    assert response.headers["X-Frame-Options"] == "DENY"


@pytest.mark.usefixtures("token_unchanged")
@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_head_replaces_nothing(reader: Browser, accept: str) -> None:
    assert reader.request("HEAD", "/replace_token", headers={"Accept": accept}).status_code == 405


# --- Tokens in Authorization -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["", "Bearer "])
def test_default_token_shows_itself(both: Site, scheme: str) -> None:
    _, token = both.new_person(f"holder-{len(scheme)}")
    response = both.client().get("/me", Authorization=scheme + token)
    assert response.json() == {"username": f"127.0.0.1:holder-{len(scheme)}", "existing_token": token}


def test_default_token_replaces_itself(both: Site) -> None:
    _, token = both.new_person("rotating")
    response = both.client().get("/replace_token", Authorization=token)
    assert response.json()["revoked_token"] == token
    assert both.client().get("/me", Authorization=token).status_code == 401


def test_named_token_does_not_show_the_default_token(both: Site) -> None:
    client, token = both.new_person("builder")
    named = both.server.manage("createtoken", "127.0.0.1:builder", "--name", "ci")
    message = "Only the default token, or a browser that is signed in, is shown the default token."
    assert status_and_message(both.client().get("/me", Authorization=named)) == (403, message)
    assert status_and_message(both.client().get("/replace_token", Authorization=named)) == (403, message)
    assert client.get("/me").json()["existing_token"] == token


def test_wrong_token_is_refused_without_a_redirect(both: Site) -> None:
    response = both.client().get("/me", Authorization="entc_wrong")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == f'Cargo login_url="{both.server.url}/me"'


# --- Signing out -------------------------------------------------------------------------------------------------


def test_second_sign_in_shows_no_form(both: Site) -> None:
    client, _ = both.new_person("known")
    client.session.cookies.clear(domain="127.0.0.1", path="/", name="registry_session")
    client.prompts.clear()
    assert client.sign_in("known").json()["username"] == "127.0.0.1:known"
    assert client.prompts == []


@pytest.mark.parametrize(
    ("name", "path", "page"), [("leaving", "/sign-out", "/account/tokens"), ("boss", "/admin/logout/", "/admin/")]
)
def test_sign_out_ends_both_sessions(closed: Site, name: str, path: str, page: str) -> None:
    browser, _ = closed.new_person(name, groups=["ops"])
    browser.session.headers["Accept"] = PAGE
    cookie = browser.session_cookie()
    provider_url = refresh_url(browser.press_button(path, page).text)
    assert urlsplit(provider_url).path == "/session/end"
    query = query_of(provider_url)
    assert query.pop("id_token_hint").count(".") == 2
    assert query == {"client_id": "registry", "post_logout_redirect_uri": f"{closed.server.url}/"}
    assert count_sessions(closed, f"127.0.0.1:{name}") == 0
    browser.prompts.clear()
    assert browser.through_provider(provider_url, name) == f"{closed.server.url}/"
    assert browser.signed_in_name() is None
    assert browser.with_cookie(cookie).signed_in_name() is None
    browser.callback_url(name)
    assert browser.prompts == ["logout", "login", "consent"]


def test_password_session_signs_out_without_the_provider(both: Site) -> None:
    browser, _ = local_user(both, "offline")
    assert browser.press_button("/sign-out").headers["Location"] == "/"
    assert browser.signed_in_name() is None


def test_other_site_cannot_sign_a_user_out(both: Site) -> None:
    client, _ = both.new_person("staying")
    form = {"csrfmiddlewaretoken": client.csrf_token("/account/tokens")}
    responses = [
        client.get("/sign-out"),
        client.request("POST", "/sign-out"),
        client.request("POST", "/sign-out", form, {"Origin": "https://evil.example"}),
    ]
    assert [response.status_code for response in responses] == [200, 403, 403]
    assert client.signed_in_name() == "127.0.0.1:staying"


def test_typed_address_of_signing_out_shows_its_button(both: Site) -> None:
    browser, _ = local_user(both, "typist")
    page = browser.get("/sign-out")
    assert (page.status_code, browser.signed_in_name()) == (200, "ktra-secure-auth:typist")
    assert "You are signed in as typist." in text_of_page(page)
    assert browser.press_button("/sign-out", "/sign-out").headers["Location"] == "/"
    assert browser.signed_in_name() is None
    assert "You are not signed in." in text_of_page(browser.get("/sign-out"))


def test_typed_address_of_logging_out_shows_its_button(closed: Site) -> None:
    browser = closed.browser()
    browser.sign_in(closed.provider.add_person("typing-boss", nickname="typing-boss", groups=["ops"]))
    assert "You are signed in as 127.0.0.1:typing-boss." in text_of_page(browser.get("/admin/logout/"))
    assert "/session/end" in refresh_url(browser.press_button("/admin/logout/", "/admin/logout/").text)
    assert browser.get("/admin/logout/").headers["Location"] == "/admin/"


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    """Stop the provider meanwhile."""
    site.provider.stop()
    try:
        yield
    finally:
        site.provider.start()


def test_sign_out_works_while_the_provider_is_down(both: Site) -> None:
    client, _ = both.new_person("stranded")
    with stopped(both):
        assert client.press_button("/sign-out").status_code in (
            200,
            302,
        )  # 200 if the worker has cached the provider's metadata
        assert count_sessions(both, "127.0.0.1:stranded") == 0
        assert client.signed_in_name() is None


def test_token_is_shown_while_the_provider_is_down(both: Site) -> None:
    client, token = both.new_person("autonomous")
    with stopped(both):
        assert client.get("/me").json()["existing_token"] == token


# --- The admin site, and where one goes on -----------------------------------------------------------------------


def test_staff_enter_the_admin_site_through_the_provider(closed: Site) -> None:
    browser = closed.browser()
    login = browser.follow_redirects(browser.get("/admin/"))
    [link] = re.findall(r'href="(/openid/sign-in\?next=[^"]+)"', login.text)
    response = browser.sign_in(closed.provider.add_person("staff", nickname="staff", groups=["ops"]), link)
    assert (response.status_code, response.url) == (200, f"{closed.server.url}/admin/")
    assert "127.0.0.1:staff" in text_of_page(response)


def test_admin_site_explains_who_may_not_enter(closed: Site) -> None:
    browser = closed.browser()
    response = browser.sign_in(
        closed.provider.add_person("curious", nickname="curious", groups=["devs"]), "/openid/sign-in?next=/admin/"
    )
    assert urlsplit(response.url).path == "/admin/login/"
    assert "You are signed in as 127.0.0.1:curious, who may not enter this site." in text_of_page(response)
    location = browser.get(link_of(response, "Sign in as somebody else")).headers["Location"]
    assert query_of(location)["prompt"] == "select_account"


def test_sign_in_leads_to_no_other_site(both: Site) -> None:
    both.provider.add_person("tourist", nickname="tourist")
    urls = [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https:evil.example",
        "https://evil.example/",
        "///x",
    ]
    for url in urls:
        browser = both.browser()
        response = browser.get(browser.callback_url("tourist", f"/openid/sign-in?next={quote(url)}"))
        assert (response.status_code, response.headers["Location"]) == (302, "/me"), url


def test_concurrent_sign_ins_keep_their_targets(both: Site) -> None:
    browser = both.browser()
    both.provider.add_person("busy", nickname="busy")
    locations = [browser.get(path).headers["Location"] for path in (SIGN_IN, "/openid/sign-in?next=/admin/")]
    responses = [browser.get(browser.through_provider(location, "busy")) for location in locations]
    assert [response.headers["Location"] for response in responses] == ["/me", "/admin/"]


@pytest.mark.parametrize("path", ["/admin/login/", "/sign-in"])
def test_login_page_links_to_no_other_site(both: Site, path: str) -> None:
    assert "evil" not in both.browser().get(f"{path}?next=//evil.example").text.partition("<form")[0]


# --- New keys ----------------------------------------------------------------------------------------------------


def test_new_key_needs_no_restart(both: Site) -> None:
    _, token = both.new_person("keyed")
    with stopped(both):
        both.provider.keys = [new_key("second")]
    for _ in range(2):  # whichever worker responses
        assert both.client().sign_in("keyed").json() == {"username": "127.0.0.1:keyed", "existing_token": token}
