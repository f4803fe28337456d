"""Single sign-on on live registries, through the certified provider of npm."""

import base64
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import requests
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
from django.test import Client, RequestFactory

from accounts.oidc import flow
from registry_site.errors import Invalid
from tests.support.app_keys import sign_empty_request
from tests.support.cargo import Cargo, write_files
from tests.support.openid import (
    CALLBACKS,
    DATA,
    PAGE,
    Browser,
    Site,
    hidden_fields,
    new_key,
    query_of,
    refresh_url,
    single_sign_on,
)
from tests.support.servers import PASSWORD

pytestmark = pytest.mark.database_independent

NOT_BEGUN = "This sign-in was not begun in this browser, or too long ago, or is done already; begin again at /me."
NOT_ALLOWED = (
    "Openid error: Unauthorized user for publishing/owning rights: "
    "the provider counts you to none of the groups and users that this registry lets in."
)
OTHER_SITE = "This must not be asked for by the page of another site."


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Passwords count, too; whoever the provider knows is let in."""
    with single_sign_on(tmp_path_factory.mktemp("both")) as site:
        yield site


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Only by the provider, only some, and some of them administer."""
    groups = {
        "REGISTRY_OIDC_ALLOWED_GROUPS": "devs, ops",
        "REGISTRY_OIDC_ALLOWED_USERS": "guest",
        "REGISTRY_OIDC_ADMIN_GROUPS": "ops",
    }
    place = tmp_path_factory.mktemp("closed")
    with single_sign_on(place, REGISTRY_LOGIN="oidc", REGISTRY_OIDC_SCOPES="profile email", **groups) as site:
        yield site


def refusal(answer: requests.Response) -> tuple[int, str]:
    """Status and message, in cargo's shape."""
    assert set(answer.json()) == {"errors"}, answer.text
    [error] = answer.json()["errors"]
    assert set(error) == {"detail"}
    return answer.status_code, error["detail"]


def page_says(answer: requests.Response) -> str:
    """What a person reads."""
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", answer.text))


def live_sessions(site: Site, name: str) -> int:
    [(count,)] = site.sql(
        "SELECT count(*) FROM accounts_credential c JOIN accounts_user u ON c.user_id = u.id"
        f" WHERE u.username = '{name}' AND c.kind = 'browser_session' AND c.revoked_at IS NULL"
    )
    return int(count)


def is_good(site: Site, token: str) -> bool:
    """As a cargo token: there is no such crate, which only who is let in is told."""
    answer = site.client().get("/api/v1/crates/nothing/owners", Authorization=token)
    assert answer.status_code in (401, 404)
    return answer.status_code == 404


def local_user(site: Site, name: str) -> tuple[Browser, str]:
    """Somebody with a password who has signed in by the form; and their cargo token."""
    token = site.server.sign_up(name)
    browser = site.browser()
    assert browser.log_in_with_password(name, PASSWORD).headers["Location"] == "/me"
    return browser, token


def enters_admin(browser: Browser) -> bool:
    answer = browser.get("/admin/", Accept=PAGE)
    assert answer.status_code in (200, 302)
    return answer.status_code == 200


# --- GET /me and GET /replace_token ------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
@pytest.mark.parametrize(("path", "callback"), [("/me", CALLBACKS[0]), ("/replace_token", CALLBACKS[1])])
def test_visitor_is_sent_to_the_provider(both: Site, path: str, callback: str, accept: str) -> None:
    answer = Browser(both, accept).get(path)
    assert answer.status_code == 302
    assert "no-store" in answer.headers["Cache-Control"]
    place, _, _ = answer.headers["Location"].partition("?")
    query = query_of(answer.headers["Location"])
    assert place == f"{both.provider.issuer}/auth"
    assert all(re.fullmatch("[A-Za-z0-9_-]{32,}", query.pop(name)) for name in ("state", "nonce", "code_challenge"))
    assert query == {
        "response_type": "code",
        "client_id": "registry",
        "scope": "openid profile email",
        "redirect_uri": both.server.url + callback,
        "code_challenge_method": "S256",
    }


def test_scope_has_openid_where_the_setting_has_not(closed: Site) -> None:
    assert query_of(closed.client().get("/me").headers["Location"])["scope"] == "openid profile email"


def test_each_sign_in_has_a_state_a_nonce_and_a_challenge_of_its_own(both: Site) -> None:
    client = both.client()
    queries = [query_of(client.get("/me").headers["Location"]) for _ in range(3)]
    assert len({query[name] for query in queries for name in ("state", "nonce", "code_challenge")}) == 9


@pytest.mark.parametrize("path", ["/me", "/replace_token", "/openid/sign-in"])
def test_provider_sends_back_to_the_public_url_whatever_the_host(both: Site, path: str) -> None:
    answer = both.client().get(path, Host=f"localhost:{both.server.port}")
    assert urlsplit(query_of(answer.headers["Location"])["redirect_uri"]).netloc == f"127.0.0.1:{both.server.port}"


@pytest.mark.parametrize("path", ["/me", "/replace_token", "/openid/sign-in"])
def test_foreign_host_is_refused(both: Site, path: str) -> None:
    assert both.client().get(path, Host="evil.example").status_code == 400


def test_first_time_is_answered_as_documented(both: Site) -> None:
    answer = both.client().sign_in(both.provider.know("gagbo", nickname="gagbo"))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
    token = answer.json()["new_token"]
    assert list(answer.json().items()) == [
        ("username", "127.0.0.1:gagbo"),
        ("new_token", token),
        ("revoked_token", None),
    ]
    assert is_good(both, token)


def test_second_time_is_answered_as_documented(both: Site) -> None:
    client, token = both.new_person("again")
    documented = [("username", "127.0.0.1:again"), ("existing_token", token)]
    assert list(client.get("/me").json().items()) == documented
    assert list(both.client().sign_in("again").json().items()) == documented


def test_replacing_is_answered_as_documented(both: Site) -> None:
    client, first = both.new_person("replacer")
    answer = client.get("/replace_token").json()
    second = answer["new_token"]
    assert list(answer.items()) == [
        ("username", "127.0.0.1:replacer"),
        ("new_token", second),
        ("revoked_token", first),
    ]
    assert [is_good(both, token) for token in (first, second)] == [False, True]


def test_replacing_through_the_provider_is_answered_as_documented(both: Site) -> None:
    _, first = both.new_person("returner")
    answer = both.client().sign_in("returner", "/replace_token").json()
    second = answer["new_token"]
    assert list(answer.items()) == [
        ("username", "127.0.0.1:returner"),
        ("new_token", second),
        ("revoked_token", first),
    ]
    assert [is_good(both, token) for token in (first, second)] == [False, True]


def test_first_time_at_replace_token_ends_nothing(both: Site) -> None:
    answer = both.client().sign_in(both.provider.know("hasty", nickname="hasty"), "/replace_token")
    assert answer.json() | {"new_token": ""} == {"username": "127.0.0.1:hasty", "new_token": "", "revoked_token": None}


@pytest.mark.parametrize("callback", ["replace", "replace_token"])
def test_both_of_ktras_callbacks_for_replacing_answer(both: Site, callback: str) -> None:
    name = f"by-{callback}"
    _, first = both.new_person(name)
    client = both.client()
    sent_back = urlsplit(client.callback(name, "/replace_token"))
    answer = client.get(f"/ktra/api/v1/openid/{callback}?{sent_back.query}").json()
    assert (answer["username"], answer["revoked_token"]) == (f"127.0.0.1:{name}", first)


def test_answers_that_hold_a_token_are_kept_nowhere(both: Site) -> None:
    client = both.client()
    both.provider.know("careful", nickname="careful")
    answers = [client.sign_in("careful"), client.get("/me"), client.get("/replace_token")]
    browser = both.browser()
    answers.append(browser.sign_in("careful"))
    assert all("no-store" in answer.headers["Cache-Control"] for answer in answers)
    assert {answer.headers["X-Frame-Options"] for answer in answers} == {"DENY"}
    assert "frame-ancestors 'none'" in browser.get("/me").headers["Content-Security-Policy"]


def test_second_person_is_another_account(both: Site) -> None:
    _, first = both.new_person("castor")
    client, second = both.new_person("pollux")
    assert client.name() == "127.0.0.1:pollux"
    assert first != second


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"nickname": "plain", "preferred_username": "other"}, "plain"),
        ({"preferred_username": "preferred"}, "preferred"),
        ({"nickname": " ", "preferred_username": "blank"}, "blank"),
        ({"nickname": "Zoë <b>/../x\ny"}, "Zo-b-..-x-y"),
        ({"nickname": "zed@example.org"}, "zed@example.org"),
        ({"nickname": "n" * 300}, "n" * 90),
        ({"nickname": 7, "preferred_username": "number"}, "number"),
    ],
    ids=["nickname", "preferred", "blank", "strange", "address", "long", "number"],
)
def test_name_is_that_of_the_provider(both: Site, claims: dict[str, object], name: str) -> None:
    answer = both.client().sign_in(both.provider.know(f"named-{name[:9]}", **claims))
    assert answer.json().get("username") == f"127.0.0.1:{name}", answer.text


def test_name_without_a_usable_character_is_that_of_the_subject(both: Site) -> None:
    client, _ = both.new_person("ivan-7", nickname="Иван")
    assert client.name() == "127.0.0.1:ivan-7"


def test_nobody_without_a_name_is_let_in(both: Site) -> None:
    client = both.client()
    answer = client.sign_in(both.provider.know("nameless", email="nameless@example.org"))
    assert refusal(answer) == (
        403,
        "Openid error: No nickname available for registration: the provider sends no nickname or preferred_username.",
    )
    assert client.name() is None
    assert both.sql("SELECT 1 FROM accounts_identity WHERE subject = 'nameless'") == []


def test_two_subjects_of_one_nickname_are_two_accounts(both: Site) -> None:
    first, _ = both.new_person("twin-a", nickname="twin")
    second, _ = both.new_person("twin-b", nickname="Twin")
    assert [first.name(), second.name()] == ["127.0.0.1:twin", "127.0.0.1:Twin-2"]


def test_account_stays_when_the_provider_changes_name_and_address(both: Site) -> None:
    _, token = both.new_person("steady", nickname="before", email="before@example.org")
    both.provider.know("steady", nickname="after", email="after@example.org")
    assert both.client().sign_in("steady").json() == {"username": "127.0.0.1:before", "existing_token": token}


def test_address_is_no_identity(both: Site) -> None:
    form = {"username": "local-zoe", "email": "zoe@example.org", "password": PASSWORD, "confirm_password": PASSWORD}
    assert requests.post(f"{both.server.url}/v1/user/register", json=form, timeout=30).status_code == 200
    client, _ = both.new_person("zoe", email="zoe@example.org", email_verified=True)
    assert client.name() == "127.0.0.1:zoe"


# --- cargo -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("cargo") is None, reason="cargo is not installed")
def test_cargo_publishes_for_who_only_ever_signed_in_at_the_provider(both: Site, tmp_path: Path) -> None:
    _, token = both.new_person("carla")
    manifest = '[package]\nname = "signed"\nversion = "0.1.0"\nedition = "2021"\nlicense = "MIT"\ndescription = "One"\n'
    crate = write_files(tmp_path / "crate", {"Cargo.toml": manifest, "src/lib.rs": ""})
    cargo = Cargo(tmp_path / "home", both.server, token)
    said = cargo.run(crate, "publish", "--registry", "priv", "--allow-dirty", "--no-verify")
    assert "Published signed v0.1.0" in said
    assert "127.0.0.1:carla" in cargo.run(crate, "owner", "--registry", "priv", "--list", "signed")


# --- REGISTRY_LOGIN ----------------------------------------------------------------------------------------------

WITH_PASSWORD = {
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


@pytest.mark.parametrize("path", WITH_PASSWORD)
def test_passwords_have_no_door_where_only_the_provider_counts(closed: Site, path: str) -> None:
    assert requests.post(closed.server.url + path, json=WITH_PASSWORD[path], timeout=30).status_code == 404


@pytest.mark.parametrize("path", WITH_PASSWORD)
def test_passwords_have_their_doors_where_both_count(both: Site, path: str) -> None:
    answer = requests.post(both.server.url + path, json=WITH_PASSWORD[path], timeout=30)
    assert answer.status_code in (400, 401, 403, 422)


def test_form_for_a_password_is_only_where_it_counts(both: Site, closed: Site) -> None:
    answers = [site.browser().get("/sign-in") for site in (both, closed)]
    assert [answer.status_code for answer in answers] == [200, 404]
    assert f"Sign in at {both.provider.issuer}" in page_says(answers[0])


@pytest.mark.parametrize(("site", "has_form"), [("both", True), ("closed", False)])
def test_login_page_of_the_admin_site_offers_what_counts(
    site: str, has_form: bool, request: pytest.FixtureRequest
) -> None:
    there: Site = request.getfixturevalue(site)
    answer = there.browser().get("/admin/login/?next=/admin/crates/")
    assert ('name="password"' in answer.text) == has_form
    assert 'href="/openid/sign-in?next=/admin/crates/"' in answer.text


@pytest.fixture(scope="module")
def chief(closed: Site) -> str:
    """Administers, and has a password."""
    closed.server.manage("createuser", "chief", "--admin", "--password-stdin", given=PASSWORD)
    return "chief"


@pytest.mark.parametrize("query", ["", "?code=1&state=2"])
def test_password_lets_nobody_into_the_admin_site_where_only_the_provider_counts(
    closed: Site, chief: str, query: str
) -> None:
    browser = closed.browser()
    browser.session.cookies.set("csrftoken", "a" * 32)
    form = {"csrfmiddlewaretoken": "a" * 32, "username": chief, "password": PASSWORD}
    assert browser.ask("POST", f"/admin/login/{query}", form).status_code == 200
    assert not enters_admin(browser)


@pytest.mark.parametrize("query", ["", "?code=1&state=2"])
def test_wrong_password_is_told_whatever_the_query_says(both: Site, query: str) -> None:
    browser = both.browser()
    form = {"csrfmiddlewaretoken": browser.csrf("/sign-in"), "username": "nobody", "password": PASSWORD}
    answer = browser.ask("POST", f"/sign-in{query}", form)
    assert answer.status_code == 200
    assert "Please enter a correct username and password" in page_says(answer)


def test_password_of_a_new_account_is_none(both: Site) -> None:
    both.new_person("passless")
    [(encoded,)] = both.sql("SELECT password FROM accounts_user WHERE username = '127.0.0.1:passless'")
    assert encoded.startswith("!")


def test_without_a_provider_me_gives_the_hint(db: None) -> None:
    answer = Client().get("/me")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; charset=utf-8")
    assert answer.content.decode().startswith("$ curl -X POST")


@pytest.mark.parametrize("path", ["/replace_token", *CALLBACKS, "/openid/sign-in", "/openid/link", "/sign-in"])
def test_without_a_provider_its_doors_are_not_there(path: str, db: None) -> None:
    assert [Client().get(path).status_code, Client().post(path).status_code] == [404, 404]


# --- Groups ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "claims"),
    [
        ("member", {"nickname": "member", "groups": ["others", "devs"]}),
        ("one-group", {"nickname": "one-group", "groups": "devs"}),
        ("listed", {"nickname": "guest"}),
        ("listed-too", {"nickname": "guest", "groups": ["others"]}),
    ],
)
def test_who_is_in_a_group_or_on_the_list_is_let_in(closed: Site, subject: str, claims: dict[str, object]) -> None:
    assert closed.client().sign_in(closed.provider.know(subject, **claims)).status_code == 200


@pytest.mark.parametrize(
    ("subject", "claims"),
    [
        ("stranger", {"nickname": "stranger"}),
        ("no-groups", {"nickname": "no-groups", "groups": []}),
        ("part", {"nickname": "part", "groups": ["dev", "devs2", "Devs"]}),
        ("guest", {"nickname": "not-guest"}),
        ("number", {"nickname": "number", "groups": 7}),
        ("object", {"nickname": "object", "groups": {"devs": False}}),
    ],
)
def test_who_is_in_neither_is_not_let_in(closed: Site, subject: str, claims: dict[str, object]) -> None:
    client = closed.client()
    assert refusal(client.sign_in(closed.provider.know(subject, **claims))) == (403, NOT_ALLOWED)
    assert client.name() is None
    assert closed.sql(f"SELECT 1 FROM accounts_identity WHERE subject = '{subject}'") == []


def test_person_is_told_why_they_are_not_let_in(closed: Site) -> None:
    answer = closed.browser().sign_in(closed.provider.know("outsider", nickname="outsider"))
    assert answer.status_code == 403
    assert NOT_ALLOWED in page_says(answer)


class Leaver:
    """Has a cargo token, an app key and a session."""

    def __init__(self, site: Site, subject: str) -> None:
        self.site = site
        self.subject = subject
        self.client, self.token = site.new_person(subject, groups=["devs"])
        keys = f"{site.server.url}/settings/appids"
        self.pair = self.client.session.post(keys, json={"type": "ALL"}, headers={"Origin": site.server.url}).json()

    def signs_in(self, *groups: str) -> int:
        """With these groups from now on."""
        self.site.provider.know(self.subject, nickname=self.subject, groups=list(groups))
        return self.site.client().sign_in(self.subject).status_code

    def lets_in(self) -> dict[str, bool]:
        return {
            "token": is_good(self.site, self.token),
            "app key": self.site.client().get("/settings/appids", Token=sign_empty_request(self.pair)).status_code
            == 200,
            "session": self.client.name() is not None,
        }


def test_who_left_the_group_is_refused_everywhere_from_the_next_sign_in_on(closed: Site) -> None:
    leaver = Leaver(closed, "leaver")
    assert set(leaver.lets_in().values()) == {True}
    assert leaver.signs_in() == 403
    assert leaver.lets_in() == {"token": False, "app key": False, "session": False}


def test_who_came_back_to_the_group_has_their_token_and_key_again(closed: Site) -> None:
    returner = Leaver(closed, "comeback")
    assert [returner.signs_in(), returner.signs_in("ops")] == [403, 200]
    let_in = returner.lets_in()
    assert (let_in["token"], let_in["app key"]) == (True, True)


def test_admin_groups_give_and_take_rights_for_the_running_session_too(closed: Site) -> None:
    person = Leaver(closed, "promoted")
    entered = [enters_admin(person.client)]
    for groups in (["devs", "ops"], ["devs"]):
        assert person.signs_in(*groups) == 200
        entered.append(enters_admin(person.client))
    assert entered == [False, True, False]


def test_administrator_who_is_let_in_no_more_has_no_rights_left(closed: Site) -> None:
    person = Leaver(closed, "fallen")
    assert [person.signs_in("ops"), person.signs_in()] == [200, 403]
    rights = "SELECT is_staff, is_superuser FROM accounts_user WHERE username = '127.0.0.1:fallen'"
    assert [bool(right) for right in closed.sql(rights)[0]] == [False, False]


def test_groups_give_no_rights_where_none_is_set(both: Site) -> None:
    client, _ = both.new_person("would-be", groups=["ops", "admin"])
    assert not enters_admin(client)


def test_groups_take_no_rights_where_none_is_set(both: Site) -> None:
    browser, _ = local_user(both, "keeper")
    both.sql("UPDATE accounts_user SET is_staff = true, is_superuser = true WHERE username = 'keeper'")
    linked(browser, both.provider.know("keeper-there", nickname="keeper", groups=["others"]))
    again = both.browser()
    again.sign_in("keeper-there")
    assert [enters_admin(browser), enters_admin(again)] == [True, True]


# --- Linking -----------------------------------------------------------------------------------------------------


def linked(browser: Browser, subject: str) -> requests.Response:
    """The last answer to who links an identity of theirs by the button on the page."""
    sent = refresh_url(browser.press("/openid/link").text)
    return browser.follow(browser.get(browser.through_provider(sent, subject)))


def test_local_user_who_links_an_identity_signs_in_by_it(both: Site) -> None:
    browser, token = local_user(both, "lena")
    shown = page_says(linked(browser, both.provider.know("lena-there", nickname="other")))
    assert "You are signed in as ktra-secure-auth:lena" in shown
    assert f"signs in at {both.provider.issuer} as lena-there" in shown
    assert both.client().sign_in("lena-there").json() == {
        "username": "ktra-secure-auth:lena",
        "existing_token": token,
    }


def test_identity_of_somebody_else_cannot_be_linked(both: Site) -> None:
    both.new_person("taken")
    browser, token = local_user(both, "taker")
    answer = linked(browser, "taken")
    assert answer.status_code == 409
    assert "This identity belongs to the account 127.0.0.1:taken already." in page_says(answer)
    assert browser.get("/me", Accept=DATA).json() == {"username": "ktra-secure-auth:taker", "existing_token": token}


def test_linking_twice_changes_nothing(both: Site) -> None:
    browser, _ = local_user(both, "twice")
    both.provider.know("twice-there", nickname="twice")
    assert [linked(browser, "twice-there").status_code for _ in range(2)] == [200, 200]
    assert both.sql("SELECT count(*) FROM accounts_identity WHERE subject = 'twice-there'") == [(1,)]


def test_linking_is_not_begun_by_get(both: Site) -> None:
    browser, _ = local_user(both, "getter")
    assert browser.get("/openid/link").status_code == 405


def test_linking_is_not_begun_without_a_proof_of_the_page(both: Site) -> None:
    browser, _ = local_user(both, "forged")
    assert browser.ask("POST", "/openid/link").status_code == 403
    foreign = {"Origin": "https://evil.example"}
    proof = {"csrfmiddlewaretoken": browser.csrf("/me")}
    assert browser.ask("POST", "/openid/link", proof, foreign).status_code == 403


def test_linking_ends_with_the_session_that_began_it(both: Site) -> None:
    browser, _ = local_user(both, "gone")
    sent = refresh_url(browser.press("/openid/link").text)
    back = browser.through_provider(sent, both.provider.know("gone-there", nickname="gone"))
    both.sql(
        "UPDATE accounts_credential SET revoked_at = '2020-01-01 00:00:00' WHERE kind = 'browser_session'"
        " AND user_id = (SELECT id FROM accounts_user WHERE username = 'gone')"
    )
    answer = browser.get(back)
    assert answer.status_code == 403
    assert "you have been signed out meanwhile; sign in, and link again." in page_says(answer)
    assert both.sql("SELECT 1 FROM accounts_identity WHERE subject = 'gone-there'") == []


def test_operator_links_and_unlinks_an_identity(both: Site) -> None:
    token = both.server.sign_up("remote")
    issuer = both.provider.issuer
    both.provider.know("remote-there", nickname="elsewhere")
    said = both.server.manage("linkidentity", "remote", "remote-there")
    assert said == f"remote has the identity remote-there at {issuer}."
    before = both.client().sign_in("remote-there").json()
    said = both.server.manage("linkidentity", "remote", "remote-there", "--remove")
    assert said == f"remote no longer has the identity remote-there at {issuer}."
    assert before == {"username": "ktra-secure-auth:remote", "existing_token": token}
    assert both.client().sign_in("remote-there").json()["username"] == "127.0.0.1:elsewhere"


# --- State -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*CALLBACKS, "/ktra/api/v1/openid/replace_token"])
@pytest.mark.parametrize(
    "query", ["", "?code=1", "?code=1&state=", "?code=1&state=foreign", "?state=foreign", "?error=access_denied"]
)
def test_callback_without_a_state_of_this_browser_is_refused(both: Site, path: str, query: str) -> None:
    client = both.client()
    client.get("/me")
    assert refusal(client.get(path + query)) == (400, NOT_BEGUN)


def test_person_is_told_of_a_foreign_state_on_a_page(both: Site) -> None:
    answer = both.browser().get(f"{CALLBACKS[0]}?code=1&state=foreign")
    assert answer.status_code == 400
    assert NOT_BEGUN in page_says(answer)


def test_callback_counts_once(both: Site) -> None:
    client = both.client()
    back = client.callback(both.provider.know("replayer", nickname="replayer"))
    assert client.get(back).status_code == 200
    assert refusal(client.get(back)) == (400, NOT_BEGUN)
    assert client.name() == "127.0.0.1:replayer"


def test_callback_counts_in_its_own_browser_only(both: Site) -> None:
    begun, other = both.client(), both.client()
    back = begun.callback(both.provider.know("victim", nickname="victim"))
    other.get("/me")
    assert refusal(other.get(back)) == (400, NOT_BEGUN)
    assert other.name() is None
    assert begun.get(back).json()["username"] == "127.0.0.1:victim"


def test_sign_in_that_took_too_long_is_begun_again(both: Site) -> None:
    client = both.client()
    back = client.callback(both.provider.know("slow", nickname="slow"))
    both.sql(f"UPDATE django_session SET expire_date = '2020-01-01 00:00:00' WHERE session_key = '{client.cookie()}'")
    assert refusal(client.get(back)) == (400, NOT_BEGUN)
    assert client.sign_in("slow").json()["username"] == "127.0.0.1:slow"


def came_back(begun: float) -> HttpRequest:
    """A callback of a sign-in that was begun then."""
    request = RequestFactory().get(f"{CALLBACKS[0]}?state=begun&code=1")
    entry = {"nonce": "n", "code_verifier": "v", "added_on": begun, "purpose": "me", "next": None}
    request.session = SessionStore()
    request.session[flow.STATES] = {"begun": entry}
    request.session.save()
    return request


def test_sign_in_that_took_too_long_is_refused_in_a_session_that_lasts(db: None) -> None:
    request = came_back(time.time() - 15 * 60)
    with pytest.raises(Invalid) as refused:
        flow.CallbackView.as_view()(request)
    assert refused.value.message == NOT_BEGUN


def test_callback_in_a_session_that_ends_at_the_same_moment_is_refused(db: None) -> None:
    request = came_back(time.time())
    SessionStore(request.session.session_key).delete()
    with pytest.raises(Invalid) as refused:
        flow.CallbackView.as_view()(request)
    assert refused.value.message == NOT_BEGUN


def test_callback_without_a_code_is_refused_and_ends_the_sign_in(both: Site) -> None:
    client = both.client()
    back = client.callback(both.provider.know("codeless", nickname="codeless"))
    bare = f"{CALLBACKS[0]}?state={query_of(back)['state']}"
    assert refusal(client.get(bare)) == (
        403,
        "Openid error: the provider did not sign you in (it does not say why).",
    )
    assert refusal(client.get(back)) == (400, NOT_BEGUN)


def test_wrong_code_is_refused(both: Site) -> None:
    client = both.client()
    state = query_of(client.get("/me").headers["Location"])["state"]
    assert refusal(client.get(f"{CALLBACKS[0]}?state={state}&code=wrong")) == (
        403,
        "Openid error: the provider refused the sign-in (invalid_grant); begin again at /me.",
    )


def test_who_aborts_at_the_provider_is_told_so(both: Site) -> None:
    assert refusal(both.client().abort()) == (
        403,
        "Openid error: the provider did not sign you in (access_denied).",
    )
    page = both.browser().abort()
    assert page.status_code == 403
    assert "the provider did not sign you in (access_denied)" in page_says(page)


def test_signing_in_as_somebody_else_ends_the_session_before(both: Site) -> None:
    browser, _ = both.new_person("shared-a")
    former = browser.cookie()
    browser.leave_provider()
    browser.sign_in(both.provider.know("shared-b", nickname="shared-b"), "/openid/sign-in")
    assert browser.name() == "127.0.0.1:shared-b"
    assert live_sessions(both, "127.0.0.1:shared-a") == 0
    assert browser.with_cookie(former).name() is None


def test_cookie_of_a_session_that_was_ended_stays_dead_when_its_owner_signs_in_again(both: Site) -> None:
    browser, _ = both.new_person("robbed")
    stolen = browser.with_cookie(browser.cookie())
    both.sql(
        "UPDATE accounts_credential SET revoked_at = '2020-01-01 00:00:00' WHERE kind = 'browser_session'"
        " AND user_id = (SELECT id FROM accounts_user WHERE username = '127.0.0.1:robbed')"
    )
    browser.sign_in("robbed")
    assert (browser.name(), stolen.name()) == ("127.0.0.1:robbed", None)


NAVIGATION = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_site_does_not_make_somebody_else_of_who_is_signed_in(both: Site, site: str) -> None:
    browser, _ = both.new_person(f"lured-by-{site}")
    answer = browser.get("/openid/sign-in", Sec_Fetch_Site=site, **NAVIGATION)
    assert (answer.status_code, answer.headers["Location"]) == (302, "/me")


def test_who_is_not_signed_in_may_come_from_another_site(both: Site) -> None:
    answer = both.browser().get("/openid/sign-in", Sec_Fetch_Site="cross-site", **NAVIGATION)
    assert answer.headers["Location"].startswith(f"{both.provider.issuer}/auth?")


def test_sign_in_that_is_aborted_leaves_the_session_as_it_was(both: Site) -> None:
    browser, _ = both.new_person("undecided")
    former = browser.cookie()
    browser.leave_provider()
    assert browser.abort("/openid/sign-in").status_code == 403
    assert (browser.name(), browser.cookie()) == ("127.0.0.1:undecided", former)
    assert live_sessions(both, "127.0.0.1:undecided") == 1


def test_sign_in_that_is_refused_leaves_the_session_as_it_was(closed: Site) -> None:
    browser, _ = closed.new_person("host", groups=["devs"])
    former = browser.cookie()
    browser.leave_provider()
    stranger = closed.provider.know("visitor", nickname="visitor")
    assert browser.sign_in(stranger, "/openid/sign-in").status_code == 403
    assert (browser.name(), browser.cookie()) == ("127.0.0.1:host", former)
    assert live_sessions(closed, "127.0.0.1:host") == 1
    hint = query_of(refresh_url(browser.press("/sign-out").text))["id_token_hint"].split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(hint + "=="))["sub"] == "host"


CLOSING = {
    "banned": "INSERT INTO accounts_ban (user_id, reason, created_at)"
    " SELECT id, '', '2020-01-01 00:00:00' FROM accounts_user WHERE username = '127.0.0.1:{}'",
    "deactivated": "UPDATE accounts_user SET is_active = false WHERE username = '127.0.0.1:{}'",
    "abroad": "UPDATE accounts_user SET allowed_networks = '192.0.2.0/24' WHERE username = '127.0.0.1:{}'",
}
CLOSED_ACCOUNT = "Your account here is closed or banned, or must not be used from your address."


@pytest.mark.parametrize("how", CLOSING)
def test_who_has_a_closed_account_is_not_signed_in_and_takes_over_no_session(both: Site, how: str) -> None:
    both.new_person(how)
    both.sql(CLOSING[how].format(how))
    browser, _ = both.new_person(f"before-{how}")
    browser.leave_provider()
    assert refusal(browser.sign_in(how, "/openid/sign-in")) == (403, CLOSED_ACCOUNT)
    assert browser.name() == f"127.0.0.1:before-{how}"
    assert live_sessions(both, f"127.0.0.1:{how}") == 1  # of the first time


@pytest.mark.parametrize("path", ["/me", "/replace_token"])
@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_token_of_who_signs_in_from_elsewhere_is_neither_shown_nor_replaced(both: Site, path: str, accept: str) -> None:
    name = f"abroad-{path[1]}-{len(accept)}"
    _, token = both.new_person(name)
    both.sql(CLOSING["abroad"].format(name))
    answer = Browser(both, accept).sign_in(name, path)
    assert (answer.status_code, "entc_" in answer.text) == (403, False)
    both.sql(f"UPDATE accounts_user SET allowed_networks = '' WHERE username = '127.0.0.1:{name}'")
    assert is_good(both, token)


def test_session_by_password_lasts_its_hours_after_a_sign_in_that_was_not_finished(both: Site) -> None:
    both.server.sign_up("patient")
    browser = both.browser()
    browser.get("/me")
    answer = browser.log_in_with_password("patient", PASSWORD)
    assert "registry_session" in answer.headers["Set-Cookie"]
    [age] = re.findall(r"registry_session=[^,]*, [^,]*Max-Age=(\d+)", answer.headers["Set-Cookie"])
    assert int(age) == 24 * 3600


# --- Pages of other sites ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reader(both: Site) -> Browser:
    """Somebody who is signed in, and whose token stays what it is."""
    return both.new_person("reader")[0]


@pytest.fixture
def stays(reader: Browser) -> Iterator[None]:
    """After the test, the reader's token is what it was."""
    before = reader.get("/me").json()
    yield
    assert reader.get("/me").json() == before


def asking(reader: Browser, signed_in: bool) -> Browser:
    return reader if signed_in else reader.site.client()


@pytest.mark.usefixtures("stays")
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("signed_in", [True, False])
def test_other_site_cannot_have_a_token_replaced(reader: Browser, site: str, signed_in: bool) -> None:
    answer = asking(reader, signed_in).get("/replace_token", Sec_Fetch_Site=site, **NAVIGATION)
    assert refusal(answer) == (403, OTHER_SITE)


@pytest.mark.usefixtures("stays")
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("signed_in", [True, False])
def test_who_is_sent_by_another_site_to_replace_their_token_is_asked(
    reader: Browser, site: str, signed_in: bool
) -> None:
    answer = asking(reader, signed_in).get("/replace_token", Accept=PAGE, Sec_Fetch_Site=site, **NAVIGATION)
    assert answer.status_code == 403
    assert "Replace your token? Another site has sent you here." in page_says(answer)
    assert "csrfmiddlewaretoken" in hidden_fields(answer.text)


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_user_can_have_their_token_replaced_by_get(both: Site, site: str) -> None:
    client, token = both.new_person(f"asks-{site}")
    assert client.get("/replace_token", Sec_Fetch_Site=site, **NAVIGATION).json()["revoked_token"] == token
    answer = client.follow(client.get("/replace_token", Accept=PAGE, Sec_Fetch_Site=site, **NAVIGATION))
    assert answer.url == f"{both.server.url}/me"
    assert token not in answer.text


@pytest.mark.usefixtures("stays")
@pytest.mark.parametrize(
    "header", [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Referer": "https://evil.example/page"}]
)
def test_old_browser_does_not_replace_a_token_for_another_site(reader: Browser, header: dict[str, str]) -> None:
    assert refusal(reader.ask("GET", "/replace_token", headers=header)) == (403, OTHER_SITE)


@pytest.mark.parametrize("from_page", [{}, {"Origin": "{url}"}], ids=["no origin", "origin"])
def test_form_on_the_page_replaces_the_token_and_leads_back_to_it(both: Site, from_page: dict[str, str]) -> None:
    browser, token = both.new_person(f"presses-{len(from_page)}")
    browser.session.headers["Accept"] = PAGE
    proof = {"csrfmiddlewaretoken": browser.csrf("/me")}
    origin = {name: value.format(url=both.server.url) for name, value in from_page.items()}
    answer = browser.ask("POST", "/replace_token", proof, origin)
    assert (answer.status_code, answer.headers.get("Location")) in [(302, "/me"), (303, "/me")], answer.text
    assert not is_good(both, token)


def test_form_after_the_question_replaces_the_token(both: Site) -> None:
    browser, token = both.new_person("confirms")
    browser.session.headers["Accept"] = PAGE
    question = browser.get("/replace_token", Sec_Fetch_Site="cross-site", **NAVIGATION)
    answer = browser.ask("POST", "/replace_token", hidden_fields(question.text), {"Origin": both.server.url})
    assert answer.status_code in (302, 303), answer.text
    assert not is_good(both, token)


@pytest.mark.usefixtures("stays")
@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["none", "origin", "site"],
)
def test_post_without_a_proof_of_the_page_replaces_nothing(
    reader: Browser, headers: dict[str, str], accept: str
) -> None:
    assert reader.ask("POST", "/replace_token", {}, {"Accept": accept, **headers}).status_code == 403


def test_program_replaces_the_token_by_post(both: Site) -> None:
    client, token = both.new_person("script")
    answer = client.ask("POST", "/replace_token", headers={"Origin": both.server.url})
    assert answer.json()["revoked_token"] == token


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
@pytest.mark.parametrize(
    ("mode", "goal"),
    [("navigate", "iframe"), ("navigate", "object"), ("no-cors", "script"), ("no-cors", "image"), ("cors", "empty")],
)
def test_other_site_cannot_read_a_token(reader: Browser, site: str, accept: str, mode: str, goal: str) -> None:
    headers = {"Sec_Fetch_Site": site, "Sec_Fetch_Mode": mode, "Sec_Fetch_Dest": goal}
    answer = reader.get("/me", Accept=accept, **headers)
    assert answer.status_code == 403
    assert OTHER_SITE in answer.text
    assert "entc_" not in answer.text


@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_other_site_can_link_to_me(reader: Browser, accept: str) -> None:
    assert reader.get("/me", Accept=accept, Sec_Fetch_Site="cross-site", **NAVIGATION).status_code == 200


@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_head_of_me_is_that_of_get(reader: Browser, accept: str) -> None:
    answer = reader.ask("HEAD", "/me", headers={"Accept": accept})
    assert (answer.status_code, answer.text) == (200, "")
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.headers["X-Frame-Options"] == "DENY"


@pytest.mark.usefixtures("stays")
@pytest.mark.parametrize("accept", [PAGE, DATA], ids=["page", "data"])
def test_head_replaces_nothing(reader: Browser, accept: str) -> None:
    assert reader.ask("HEAD", "/replace_token", headers={"Accept": accept}).status_code == 405


# --- Tokens in Authorization -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["", "Bearer "])
def test_default_token_is_told_to_who_holds_it(both: Site, scheme: str) -> None:
    _, token = both.new_person(f"holder-{len(scheme)}")
    answer = both.client().get("/me", Authorization=scheme + token)
    assert answer.json() == {"username": f"127.0.0.1:holder-{len(scheme)}", "existing_token": token}


def test_default_token_replaces_itself(both: Site) -> None:
    _, token = both.new_person("rotating")
    answer = both.client().get("/replace_token", Authorization=token)
    assert answer.json()["revoked_token"] == token
    assert both.client().get("/me", Authorization=token).status_code == 401


def test_further_token_is_not_told_the_default_one(both: Site) -> None:
    client, token = both.new_person("builder")
    named = both.server.manage("createtoken", "127.0.0.1:builder", "--name", "ci")
    told = "Only the default token, or a browser that is signed in, is shown the default token."
    assert refusal(both.client().get("/me", Authorization=named)) == (403, told)
    assert refusal(both.client().get("/replace_token", Authorization=named)) == (403, told)
    assert client.get("/me").json()["existing_token"] == token


def test_wrong_token_is_refused_and_not_sent_to_the_provider(both: Site) -> None:
    answer = both.client().get("/me", Authorization="entc_wrong")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == f'Cargo login_url="{both.server.url}/me"'


# --- Signing out -------------------------------------------------------------------------------------------------


def test_second_sign_in_asks_nothing_while_the_provider_remembers(both: Site) -> None:
    client, _ = both.new_person("known")
    client.session.cookies.clear(domain="127.0.0.1", path="/", name="registry_session")
    client.asked.clear()
    assert client.sign_in("known").json()["username"] == "127.0.0.1:known"
    assert client.asked == []


@pytest.mark.parametrize(
    ("name", "path", "page"), [("leaving", "/sign-out", "/me"), ("boss", "/admin/logout/", "/admin/")]
)
def test_signing_out_ends_the_session_here_and_at_the_provider(closed: Site, name: str, path: str, page: str) -> None:
    browser, _ = closed.new_person(name, groups=["ops"])
    browser.session.headers["Accept"] = PAGE
    former = browser.cookie()
    place = refresh_url(browser.press(path, page).text)
    assert urlsplit(place).path == "/session/end"
    query = query_of(place)
    assert query.pop("id_token_hint").count(".") == 2
    assert query == {"client_id": "registry", "post_logout_redirect_uri": f"{closed.server.url}/"}
    assert live_sessions(closed, f"127.0.0.1:{name}") == 0
    browser.asked.clear()
    assert browser.through_provider(place, name) == f"{closed.server.url}/"
    assert browser.name() is None
    assert browser.with_cookie(former).name() is None
    browser.callback(name)
    assert browser.asked == ["logout", "login", "consent"]


def test_who_signed_in_with_a_password_is_not_sent_to_the_provider_to_sign_out(both: Site) -> None:
    browser, _ = local_user(both, "offline")
    assert browser.press("/sign-out").headers["Location"] == "/"
    assert browser.name() is None


def test_nobody_is_signed_out_by_another_site(both: Site) -> None:
    client, _ = both.new_person("staying")
    proof = {"csrfmiddlewaretoken": client.csrf("/me")}
    answers = [
        client.get("/sign-out"),
        client.ask("POST", "/sign-out"),
        client.ask("POST", "/sign-out", proof, {"Origin": "https://evil.example"}),
    ]
    assert [answer.status_code for answer in answers] == [405, 403, 403]
    assert client.name() == "127.0.0.1:staying"


@contextmanager
def stopped(site: Site) -> Iterator[None]:
    """The provider is down."""
    site.provider.stop()
    try:
        yield
    finally:
        site.provider.start()


def test_signing_out_works_while_the_provider_is_down(both: Site) -> None:
    client, _ = both.new_person("stranded")
    with stopped(both):
        assert client.press("/sign-out").status_code in (200, 302)  # as the worker knows the provider or not
        assert live_sessions(both, "127.0.0.1:stranded") == 0
        assert client.name() is None


def test_token_is_shown_while_the_provider_is_down(both: Site) -> None:
    client, token = both.new_person("autonomous")
    with stopped(both):
        assert client.get("/me").json()["existing_token"] == token


# --- The admin site, and where one goes on -----------------------------------------------------------------------


def test_staff_sign_in_to_the_admin_site_through_the_provider(closed: Site) -> None:
    browser = closed.browser()
    login = browser.follow(browser.get("/admin/"))
    [link] = re.findall(r'href="(/openid/sign-in\?next=[^"]+)"', login.text)
    answer = browser.sign_in(closed.provider.know("staff", nickname="staff", groups=["ops"]), link)
    assert (answer.status_code, answer.url) == (200, f"{closed.server.url}/admin/")
    assert "127.0.0.1:staff" in page_says(answer)


def test_who_is_not_staff_is_told_so_at_the_admin_site(closed: Site) -> None:
    browser = closed.browser()
    answer = browser.sign_in(
        closed.provider.know("curious", nickname="curious", groups=["devs"]), "/openid/sign-in?next=/admin/"
    )
    assert urlsplit(answer.url).path == "/admin/login/"
    assert "You are signed in as 127.0.0.1:curious, who may not enter this site." in page_says(answer)


@pytest.mark.parametrize(
    "place",
    ["//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example", "https://evil.example/", "///evil"],
)
def test_nobody_is_sent_to_another_site(both: Site, place: str) -> None:
    browser = both.browser()
    both.provider.know("tourist", nickname="tourist")
    answer = browser.get(browser.callback("tourist", f"/openid/sign-in?next={quote(place)}"))
    assert (answer.status_code, answer.headers["Location"]) == (302, "/me")


def test_each_of_two_sign_ins_in_one_browser_leads_where_it_was_to_lead(both: Site) -> None:
    browser = both.browser()
    both.provider.know("busy", nickname="busy")
    begun = [browser.get(path).headers["Location"] for path in ("/me", "/openid/sign-in?next=/admin/")]
    answers = [browser.get(browser.through_provider(location, "busy")) for location in begun]
    assert [answer.headers["Location"] for answer in answers] == ["/me", "/admin/"]


@pytest.mark.parametrize("path", ["/admin/login/", "/sign-in"])
def test_link_on_the_login_page_leads_to_no_other_site(both: Site, path: str) -> None:
    assert "evil" not in both.browser().get(f"{path}?next=//evil.example").text.partition("<form")[0]


# --- New keys ----------------------------------------------------------------------------------------------------


def test_provider_with_a_new_key_is_trusted_without_a_restart(both: Site) -> None:
    _, token = both.new_person("keyed")
    with stopped(both):
        both.provider.keys = [new_key("second")]
    for _ in range(2):  # whichever worker answers
        assert both.client().sign_in("keyed").json() == {"username": "127.0.0.1:keyed", "existing_token": token}
