"""A live registry whose OpenID provider forges, breaks, drips and hangs: nobody gets in, and nobody else waits."""

import hashlib
import hmac
import json
import os
import secrets
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests
from django.core.cache import cache

from accounts.oidc.provider import Provider
from registry_site.errors import PermissionDenied, RegistryError, UpstreamError
from tests.support import packing
from tests.support.bad_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    QUICK,
    SLOW,
    BadProvider,
    Key,
    Script,
    changed,
    person,
    provided,
    signed,
)
from tests.support.openid import place_of
from tests.support.servers import Server, certificate, running

pytestmark = pytest.mark.database_independent

PATIENCE = 12  # seconds; a registry that takes so long has hung


@pytest.fixture(scope="module")
def live_provider() -> Iterator[BadProvider]:
    with provided() as provider:
        yield provider


@pytest.fixture(scope="module")
def registry(live_provider: BadProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With one worker, so that what it remembers does not depend on who answers."""
    with running(
        tmp_path_factory.mktemp("openid") / "data",
        REGISTRY_OIDC_ISSUER=live_provider.issuer,
        REGISTRY_OIDC_CLIENT_ID=CLIENT_ID,
        REGISTRY_OIDC_CLIENT_SECRET=CLIENT_SECRET,
        REGISTRY_TRUSTED_PROXIES="127.0.0.1",
        REGISTRY_WORKERS="1",
    ) as server:
        yield server


@pytest.fixture
def provider(live_provider: BadProvider, registry: Server) -> Iterator[BadProvider]:
    """Good at first. Whatever it does, no crash and no secret is in the log of the registry."""
    live_provider.be_good()
    before = registry.log.stat().st_size
    yield live_provider
    said = registry.log.read_bytes()[before:].decode()
    assert "Traceback" not in said
    assert [secret for secret in live_provider.secrets if secret in said] == []


def workers(server: Server) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


@pytest.fixture
def fresh(registry: Server) -> Iterator[None]:
    """The registry has a new worker, which remembers nothing; the next test finds nothing of this one, either."""
    replace_workers(registry)
    yield
    replace_workers(registry)


def replace_workers(server: Server) -> None:
    before = workers(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    for _ in range(1000):
        now = workers(server)
        if now and not set(now) & set(before):
            break
        time.sleep(0.01)
    assert requests.get(f"{server.url}/health", timeout=PATIENCE).status_code == 200


class Browser:
    """Keeps cookies, is at an address of its own, and follows no redirect by itself."""

    def __init__(self, registry: Server, provider: BadProvider, accept: str = "*/*") -> None:
        self.registry = registry
        self.provider = provider
        self.cookies: dict[str, str] = {}
        self.headers = {
            "Accept": accept,
            "X-Forwarded-For": f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::",
        }

    def get(self, url: str) -> requests.Response:
        url = url if url.startswith("http") else self.registry.url + url
        answer = requests.get(url, headers=self.headers, cookies=self.cookies, allow_redirects=False, timeout=PATIENCE)
        self.cookies.update({name: value or "" for name, value in answer.cookies.get_dict().items()})
        return answer

    def begin(self, path: str = "/me") -> str:
        """Where the registry sends the browser to."""
        answer = self.get(path)
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def come_back(self, location: str, script: Script) -> requests.Response:
        return self.get(self.provider.grant(location, script))

    def sign_in(self, script: Script, path: str = "/me") -> requests.Response:
        return self.come_back(self.begin(path), script)

    @property
    def is_signed_in(self) -> bool:
        return self.get("/me").status_code == 200


@pytest.fixture
def browser(registry: Server, provider: BadProvider) -> Browser:
    return Browser(registry, provider)


@pytest.fixture
def name() -> str:
    """Of somebody who has never been here."""
    return f"p{secrets.token_hex(6)}"


def status(answer: requests.Response) -> int:
    """Of an answer in cargo's shape."""
    if answer.status_code != 200:
        (failure,) = answer.json()["errors"]
        assert failure["detail"].startswith("Openid error: ")
    return answer.status_code


def has_account(registry: Server, name: str) -> bool:
    return requests.get(f"{registry.url}/users/127.0.0.1:{name}", timeout=PATIENCE).status_code == 200


def assert_signs_in(registry: Server, provider: BadProvider) -> None:
    """Anybody, at once."""
    answer = Browser(registry, provider).sign_in(person(f"p{secrets.token_hex(6)}"))
    assert (answer.status_code, answer.json()["revoked_token"]) == (200, None)


# --- Good sign-ins -----------------------------------------------------------------------------------------------


def test_person_signs_in(browser: Browser, name: str) -> None:
    answer = browser.sign_in(person(name))
    assert answer.json() == {
        "username": f"127.0.0.1:{name}",
        "new_token": answer.json()["new_token"],
        "revoked_token": None,
    }
    assert browser.is_signed_in


def test_authorization_request_is_as_it_should_be(browser: Browser, registry: Server, provider: BadProvider) -> None:
    place = urlsplit(browser.begin())
    query = {key: values for key, (values,) in parse_qs(place.query).items()}
    assert f"{place.scheme}://{place.netloc}{place.path}" == f"{provider.issuer}/authorize"
    assert [len(query.pop(key)) for key in ("state", "nonce", "code_challenge")] == [32, 32, 43]
    assert query == {
        "response_type": "code",
        "scope": "openid profile email",
        "client_id": CLIENT_ID,
        "redirect_uri": f"{registry.url}/ktra/api/v1/openid/me",
        "code_challenge_method": "S256",
    }


def test_provider_sends_the_browser_back(browser: Browser, provider: BadProvider, name: str) -> None:
    provider.script = person(name)
    back = browser.get(browser.begin()).headers["Location"]
    assert browser.get(back).json()["username"] == f"127.0.0.1:{name}"


@pytest.mark.usefixtures("fresh")
def test_provider_without_userinfo_is_believed(provider: BadProvider, browser: Browser, name: str) -> None:
    provider.says = {"userinfo_endpoint": None}
    answer = browser.sign_in(Script({"sub": name, "nickname": name}))
    assert answer.json()["username"] == f"127.0.0.1:{name}"
    assert provider.asked["userinfo"] == 0


def test_signed_userinfo_is_believed(browser: Browser, provider: BadProvider, name: str) -> None:
    def sign(said: dict[str, Any]) -> str:
        return signed({"iss": provider.issuer, "aud": CLIENT_ID, **said}, Key())

    answer = browser.sign_in(Script({"sub": name}, {"nickname": name}, signed_userinfo=sign))
    assert answer.json()["username"] == f"127.0.0.1:{name}"


def test_many_first_sign_ins_of_one_person_make_one_account(registry: Server, provider: BadProvider, name: str) -> None:
    browsers = [Browser(registry, provider) for _ in range(4)]
    begun = [browser.begin() for browser in browsers]
    answers = at_once([partial(b.come_back, at, person(name)) for b, at in zip(browsers, begun, strict=True)])
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["username"] for answer in answers} == {f"127.0.0.1:{name}"}
    given = [answer.json().get("new_token") or answer.json()["existing_token"] for answer in answers]
    assert len(set(given)) == 1


def test_many_of_one_nickname_get_an_account_each(registry: Server, provider: BadProvider, name: str) -> None:
    browsers = [Browser(registry, provider) for _ in range(4)]
    begun = [browser.begin() for browser in browsers]
    people = [Script({"sub": f"{name} {number}"}, {"nickname": name}) for number in range(4)]
    answers = at_once([partial(b.come_back, at, what) for b, at, what in zip(browsers, begun, people, strict=True)])
    assert {answer.json()["username"] for answer in answers} == {
        f"127.0.0.1:{name}{number}" for number in ("", "-2", "-3", "-4")
    }


def at_once(racers: list[Callable[[], requests.Response]]) -> list[requests.Response]:
    """All start when the last is ready."""
    barrier = Barrier(len(racers))

    def race(racer: Callable[[], requests.Response]) -> requests.Response:
        barrier.wait()
        return racer()

    with ThreadPoolExecutor(len(racers)) as pool:
        return list(pool.map(race, racers))


# --- Forgeries ---------------------------------------------------------------------------------------------------

FOREIGN = Key(number=1)
RIGHT = Key()


def hashed(message: bytes) -> bytes:
    return hmac.digest(CLIENT_SECRET.encode(), message, hashlib.sha256)


def with_claims(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda claims: signed(changed(claims, changes), RIGHT)


FORGERIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "alg none": lambda claims: signed(claims, RIGHT, {"alg": "none"}, lambda _: b""),
    "secret of the client": lambda claims: signed(claims, RIGHT, {"alg": "HS256"}, hashed),
    "public key as secret": lambda claims: signed(
        claims,
        RIGHT,
        {"alg": "HS256"},
        lambda text: hmac.digest(json.dumps(RIGHT.jwk()).encode(), text, hashlib.sha256),
    ),
    "foreign key": lambda claims: signed(claims, FOREIGN),
    "key brought along": lambda claims: signed(claims, FOREIGN, {"jwk": FOREIGN.jwk()}),
    "unknown key": lambda claims: signed(claims, RIGHT, {"kid": "other"}),
    "name of a key that is no text": lambda claims: signed(claims, RIGHT, {"kid": ["a"]}),
    "other audience": with_claims(aud="other"),
    "several audiences": with_claims(aud=[CLIENT_ID, "other"]),
    "other party": with_claims(azp="other"),
    "other issuer": with_claims(iss="https://id.example.com"),
    "no issuer": with_claims(iss=None),
    "no audience": with_claims(aud=None),
    "no end": with_claims(exp=None),
    "no beginning": with_claims(iat=None),
    "expired": with_claims(exp=int(time.time()) - 3600),
    "not yet": with_claims(nbf=int(time.time()) + 3600),
    "from the future": with_claims(iat=int(time.time()) + 3600),
    "no nonce": with_claims(nonce=None),
    "other nonce": with_claims(nonce="other"),
    "nonce that is no text": with_claims(nonce="\ud800"),
    "nobody": with_claims(sub=None),
    "empty subject": with_claims(sub=""),
    "long subject": with_claims(sub="x" * 256),
    "control characters": with_claims(sub="a\x1b[31m"),
    "number as subject": with_claims(sub=42),
    "time without end": with_claims(exp=1e999),
    "junk": lambda claims: "junk",
    "surrogate": lambda claims: "\ud800.x.x",
    "huge junk": lambda claims: "x." * 100_000,
    "deep junk": lambda claims: signed(b'{"x":' + b"[" * 100_000, RIGHT),
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_forged_token_signs_nobody_in(
    browser: Browser, registry: Server, forge: Callable[[dict[str, Any]], Any], name: str
) -> None:
    answer = browser.sign_in(Script({"sub": name}, {"nickname": name}, id_token=forge))
    assert status(answer) == 403
    assert not browser.is_signed_in
    assert not has_account(registry, name)


@pytest.mark.parametrize("id_token", [None, "", 42, ["x.y.z"], {}, True], ids=repr)
def test_answer_without_a_token_signs_nobody_in(browser: Browser, registry: Server, name: str, id_token: Any) -> None:
    answer = browser.sign_in(Script({"sub": name}, {"nickname": name}, id_token=lambda _: id_token))
    assert status(answer) in (403, 502)
    assert not browser.is_signed_in
    assert not has_account(registry, name)


def test_browser_is_told_on_a_page(registry: Server, provider: BadProvider, name: str) -> None:
    browser = Browser(registry, provider, accept="text/html")
    answer = browser.sign_in(Script({"sub": name}, {"nickname": name}, id_token=FORGERIES["foreign key"]))
    assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert "the provider&#x27;s ID token is refused" in answer.text
    assert browser.get("/me").status_code == 302


USERINFO_OF_OTHERS: dict[str, dict[str, Any]] = {
    "other": {"sub": "other"},
    "none": {"sub": None},
    "empty": {"sub": ""},
    "a list": {"sub": ["gagbo"]},
    "a number": {"sub": 42},
}


@pytest.mark.parametrize("changes", USERINFO_OF_OTHERS.values(), ids=USERINFO_OF_OTHERS)
def test_userinfo_of_another_signs_nobody_in(
    browser: Browser, registry: Server, name: str, changes: dict[str, Any]
) -> None:
    assert status(browser.sign_in(Script({"sub": name}, {"nickname": name, **changes}))) == 403
    assert not browser.is_signed_in
    assert not has_account(registry, name)


FORGED_USERINFO: dict[str, Callable[[dict[str, Any]], str]] = {
    "foreign key": lambda said: signed(said, FOREIGN),
    "alg none": lambda said: signed(said, RIGHT, {"alg": "none"}, lambda _: b""),
    "secret of the client": lambda said: signed(said, RIGHT, {"alg": "HS256"}, hashed),
    "other audience": lambda said: signed({**said, "iss": "x", "aud": "other"}, RIGHT),
    "junk": lambda said: "a.b.c",
}


@pytest.mark.parametrize("sign", FORGED_USERINFO.values(), ids=FORGED_USERINFO)
def test_forged_userinfo_signs_nobody_in(
    browser: Browser, registry: Server, name: str, sign: Callable[[dict[str, Any]], str]
) -> None:
    assert status(browser.sign_in(Script({"sub": name}, {"nickname": name}, signed_userinfo=sign))) == 403
    assert not browser.is_signed_in
    assert not has_account(registry, name)


@pytest.mark.parametrize("nickname", [5, True, {"a": 1}, [], ""], ids=repr)
def test_junk_as_a_nickname_opens_no_account(browser: Browser, name: str, nickname: Any) -> None:
    answer = browser.sign_in(Script({"sub": name}, {"nickname": nickname}))
    assert status(answer) == 403
    assert "No nickname available" in answer.text


@pytest.mark.parametrize("groups", [5, True, {"devs": 1}, "\ud800", [["devs"]]], ids=repr)
def test_junk_as_groups_is_none(browser: Browser, name: str, groups: Any) -> None:
    assert browser.sign_in(person(name, groups=groups)).status_code == 200


def test_forgery_leaves_who_is_signed_in_as_they_were(browser: Browser, name: str) -> None:
    browser.sign_in(person(name))
    location = Browser(browser.registry, browser.provider).begin()
    assert browser.come_back(location, person("mallory")).status_code == 400  # begun in another browser
    assert browser.get("/me").json()["username"] == f"127.0.0.1:{name}"


# --- Refusals ----------------------------------------------------------------------------------------------------

NASTY = "<script>alert(1)</script>"


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
@pytest.mark.parametrize("code", [400, 401, 403])
def test_refused_code_is_told_and_not_why(registry: Server, provider: BadProvider, accept: str, code: int) -> None:
    body = {"error": "invalid_grant", "error_description": NASTY, "error_uri": "https://evil.example.com"}
    answer = Browser(registry, provider, accept).sign_in(Script(refusal=(code, body)))
    assert answer.status_code == 403
    assert "(invalid_grant)" in answer.text
    assert NASTY not in answer.text
    assert "evil.example.com" not in answer.text


@pytest.mark.parametrize(
    "error", [NASTY + "\r\nSet-Cookie: a=b", "\x1b[31m", "x" * 10_000, "ä", "", None, 5, [NASTY * 9], {"x": NASTY * 9}]
)
def test_nasty_reason_is_not_echoed(browser: Browser, error: Any) -> None:
    answer = browser.sign_in(Script(refusal=(400, {"error": error})))
    assert status(answer) == 403
    assert len(answer.text) < 300
    assert not any(nasty in answer.text for nasty in ("\\u001b", "Set-Cookie", "ä"))


@pytest.mark.parametrize("error", ["access_denied", NASTY, "a\r\nb", "x" * 1000, ""])
def test_error_of_the_provider_is_told_in_the_browser(registry: Server, provider: BadProvider, error: str) -> None:
    browser = Browser(registry, provider, accept="text/html")
    state = parse_qs(urlsplit(browser.begin()).query)["state"][0]
    answer = browser.get(f"/ktra/api/v1/openid/me?state={state}&error={quote(error)}&error_description={quote(NASTY)}")
    assert answer.status_code == 403
    assert "the provider did not sign you in" in answer.text
    assert "<script>" not in answer.text
    assert "xxx" not in answer.text


@pytest.mark.parametrize("answer", ["code=1", "error=access_denied"])
def test_answer_of_another_provider_is_refused(browser: Browser, answer: str) -> None:
    state = parse_qs(urlsplit(browser.begin()).query)["state"][0]
    refused = browser.get(f"/ktra/api/v1/openid/me?state={state}&iss=https://evil.example.com&{answer}")
    assert status(refused) == 403
    assert "this is the answer of another provider" in refused.text


def test_answer_that_names_its_provider_is_believed(browser: Browser, provider: BadProvider, name: str) -> None:
    back = provider.grant(browser.begin(), person(name))
    assert browser.get(f"{back}&iss={quote(provider.issuer)}").status_code == 200


def test_code_is_good_once(browser: Browser, provider: BadProvider, name: str) -> None:
    back = provider.grant(browser.begin(), person(name))
    assert browser.get(back).status_code == 200
    again = browser.get(back)
    assert (again.status_code, list(again.json())) == (400, ["errors"])


# --- Faults ------------------------------------------------------------------------------------------------------

ANSWERS = dict.fromkeys(QUICK, 502)


@pytest.mark.parametrize("endpoint", ["token", "userinfo"])
def test_fault_in_a_sign_in_is_the_providers(registry: Server, provider: BadProvider, endpoint: str, name: str) -> None:
    answers = {}
    for fault in QUICK:
        script = Script({"sub": name}, {"nickname": name}, faults={endpoint: fault})
        answers[fault] = status(Browser(registry, provider).sign_in(script))
    assert answers == ANSWERS | ({"refused": 403} if endpoint == "token" else {})
    assert provider.asked["/elsewhere"] == 0
    assert not has_account(registry, name)
    assert_signs_in(registry, provider)


@pytest.mark.usefixtures("fresh")
def test_fault_of_discovery_is_the_providers(registry: Server, provider: BadProvider) -> None:
    answers = {}
    for fault in QUICK:
        with provider.faulty("discovery", fault):
            answers[fault] = status(Browser(registry, provider).get("/me"))
    assert answers == ANSWERS
    assert provider.asked["/elsewhere"] == 0
    assert_signs_in(registry, provider)


@pytest.mark.usefixtures("fresh")
def test_fault_of_the_keys_is_the_providers(registry: Server, provider: BadProvider, name: str) -> None:
    answers = {}
    for fault in QUICK:
        with provider.faulty("jwks", fault):
            answers[fault] = status(Browser(registry, provider).sign_in(person(name)))
    assert answers == ANSWERS
    assert provider.asked["/elsewhere"] == 0
    assert not has_account(registry, name)
    assert_signs_in(registry, provider)


OTHER_ISSUERS: dict[str, Any] = {
    "another": "https://id.example.com",
    "with a slash": "http://127.0.0.1/",
    "nasty": NASTY,
    "huge": "x" * 500_000,
    "none": None,
    "a list": ["x" * 500_000],
}


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_provider_that_calls_itself_otherwise_is_not_followed(
    registry: Server, provider: BadProvider, accept: str
) -> None:
    answers = {}
    for case, issuer in OTHER_ISSUERS.items():
        provider.says = {"issuer": issuer}
        answer = Browser(registry, provider, accept).get("/me")
        answers[case] = (answer.status_code, len(answer.text) < 10_000)
        assert accept == "*/*" or "<script>" not in answer.text
    assert answers == dict.fromkeys(OTHER_ISSUERS, (502, True))
    provider.says = {}
    assert_signs_in(registry, provider)


BROKEN: dict[str, dict[str, Any]] = {
    "no authorization endpoint": {"authorization_endpoint": None},
    "script as authorization endpoint": {"authorization_endpoint": "javascript:alert(1)"},
    "junk as authorization endpoint": {"authorization_endpoint": "http://[junk"},
    "half a letter in authorization endpoint": {"authorization_endpoint": "http://127.0.0.1/\ud800"},
    "two lines as authorization endpoint": {"authorization_endpoint": "http://127.0.0.1/\r\nSet-Cookie: a=b"},
    "no token endpoint": {"token_endpoint": None},
    "file as keys": {"jwks_uri": "file:///etc/passwd"},
}


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("says", BROKEN.values(), ids=BROKEN)
def test_provider_that_is_set_up_badly_is_told_of(
    registry: Server, provider: BadProvider, browser: Browser, says: dict[str, Any], name: str
) -> None:
    provider.says = says
    answer = browser.get("/me")
    if answer.status_code == 302:
        answer = browser.come_back(answer.headers["Location"], person(name))
    assert status(answer) == 502
    assert not has_account(registry, name)


@pytest.mark.usefixtures("fresh")
def test_query_of_the_authorization_endpoint_is_kept(provider: BadProvider, browser: Browser) -> None:
    provider.says = {"authorization_endpoint": f"{provider.issuer}/authorize?p=policy"}
    query = parse_qs(urlsplit(browser.begin()).query)
    assert (query["p"], query["response_type"]) == (["policy"], ["code"])


# --- Slow ones ---------------------------------------------------------------------------------------------------

AT_ONCE = [
    [("discovery", fault) for fault in SLOW],
    [*[("jwks", fault) for fault in SLOW], ("token", "hang")],
    [(endpoint, fault) for endpoint in ("token", "userinfo") for fault in ("slow headers", "slow body")],
]


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("faults", AT_ONCE, ids=["discovery", "keys", "tokens and userinfo"])
def test_slow_answer_is_given_up_and_sign_in_works_again(
    registry: Server, provider: BadProvider, faults: list[tuple[str, str]], name: str
) -> None:
    for endpoint in ("discovery", "jwks"):
        if slow := [fault for at, fault in faults if at == endpoint]:
            provider.faults[endpoint] = iter(slow)
    browsers = [Browser(registry, provider) for _ in faults]
    if faults[0][0] == "discovery":
        answers = at_once([partial(browser.get, "/me") for browser in browsers])
    else:
        begun = [browser.begin() for browser in browsers]
        scripts = [
            Script({"sub": name}, {"nickname": name}, faults={at: fault} if at != "jwks" else {})
            for at, fault in faults
        ]
        answers = at_once(
            [partial(b.come_back, at, what) for b, at, what in zip(browsers, begun, scripts, strict=True)]
        )
    assert [status(answer) for answer in answers] == [502] * len(faults)
    assert not has_account(registry, name)
    provider.faults.clear()
    assert_signs_in(registry, provider)


def publish(registry: Server, token: str, version: str) -> int:
    body, headers = packing.body(version=version), {"Authorization": token}
    return requests.put(f"{registry.url}/api/v1/crates/new", body, headers=headers, timeout=PATIENCE).status_code


def test_others_are_served_while_sign_ins_hang(registry: Server, provider: BadProvider, name: str) -> None:
    token = registry.sign_up(f"publisher-{name}")
    browsers = [Browser(registry, provider) for _ in range(20)]
    begun = [browser.begin() for browser in browsers]
    hanging = Script({"sub": name}, {"nickname": name}, faults={"userinfo": "hang"})
    with ThreadPoolExecutor(len(browsers)) as pool:
        asked = [pool.submit(b.come_back, at, hanging) for b, at in zip(browsers, begun, strict=True)]
        while not provider.asked["userinfo"]:
            time.sleep(0.01)
        served = [
            requests.get(f"{registry.url}/index/config.json", timeout=PATIENCE).status_code,
            publish(registry, token, "1.0.0"),
        ]
        assert any(not answer.done() for answer in asked)
        assert {status(answer.result()) for answer in asked} == {502}
    assert served == [200, 200]
    assert_signs_in(registry, provider)


def test_who_is_signed_in_stays_so_while_the_provider_is_down(
    registry: Server, provider: BadProvider, browser: Browser, name: str
) -> None:
    token = browser.sign_in(person(name)).json()["new_token"]
    with provider.down():
        assert browser.get("/me").json() == {"username": f"127.0.0.1:{name}", "existing_token": token}
        assert status(Browser(registry, provider).sign_in(person(name))) == 502
    assert_signs_in(registry, provider)


def sign_out(browser: Browser) -> str:
    """Where the registry sends a browser to that signs out."""
    csrf = browser.get("/me").text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    answer = requests.post(
        f"{browser.registry.url}/sign-out",
        {"csrfmiddlewaretoken": csrf},
        headers={**browser.headers, "Origin": browser.registry.url},
        cookies=browser.cookies,
        allow_redirects=False,
        timeout=PATIENCE,
    )
    return answer.headers["Location"] if answer.status_code == 302 else place_of(answer.text)


def test_sign_out_goes_on_to_the_provider(registry: Server, provider: BadProvider, name: str) -> None:
    browser = Browser(registry, provider, accept="text/html")
    browser.sign_in(person(name))
    place = urlsplit(sign_out(browser))
    assert f"{place.scheme}://{place.netloc}{place.path}" == f"{provider.issuer}/end_session"
    assert sorted(parse_qs(place.query)) == ["client_id", "id_token_hint", "post_logout_redirect_uri"]
    assert not browser.is_signed_in


def test_token_that_is_too_long_for_an_address_is_left_out_of_it(
    registry: Server, provider: BadProvider, name: str
) -> None:
    browser = Browser(registry, provider, accept="text/html")
    groups = [f"group {number}" for number in range(10_000)]
    assert browser.sign_in(Script({"sub": name, "groups": groups}, {"nickname": name})).status_code == 302
    place = urlsplit(sign_out(browser))
    assert f"{place.scheme}://{place.netloc}{place.path}" == f"{provider.issuer}/end_session"
    assert sorted(parse_qs(place.query)) == ["client_id", "post_logout_redirect_uri"]
    assert not browser.is_signed_in


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    "place", [None, 5, "javascript:alert(1)", "http://[junk", "http://127.0.0.1/\ud800"], ids=ascii
)
def test_sign_out_ends_here_where_the_provider_has_none(
    registry: Server, provider: BadProvider, place: Any, name: str
) -> None:
    provider.says = {"end_session_endpoint": place}
    browser = Browser(registry, provider, accept="text/html")
    browser.sign_in(person(name))
    assert sign_out(browser) == "/"
    assert not browser.is_signed_in


def test_sign_ins_from_one_address_are_limited(browser: Browser) -> None:
    answers = Counter(browser.get("/me").status_code for _ in range(62))
    assert answers in ({302: 60, 429: 2}, {302: 61, 429: 1}, {302: 62})  # a minute may end in between


# --- What is remembered ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("fresh")
def test_discovery_and_keys_are_asked_for_once(registry: Server, provider: BadProvider) -> None:
    for _ in range(3):
        assert_signs_in(registry, provider)
    assert (provider.asked["discovery"], provider.asked["jwks"]) == (1, 1)
    assert (provider.asked["token"], provider.asked["userinfo"]) == (3, 3)


@pytest.mark.usefixtures("fresh")
def test_new_key_is_fetched_once(registry: Server, provider: BadProvider) -> None:
    assert_signs_in(registry, provider)
    provider.keys = [Key("a"), Key("b", number=1)]
    for _ in range(3):
        assert_signs_in(registry, provider)
    assert provider.asked["jwks"] == 2


@pytest.mark.usefixtures("fresh")
def test_old_key_ends_with_the_new_one(registry: Server, provider: BadProvider, browser: Browser, name: str) -> None:
    assert_signs_in(registry, provider)
    provider.keys = [Key("b", number=1)]
    assert_signs_in(registry, provider)
    script = Script({"sub": name}, {"nickname": name}, id_token=lambda claims: signed(claims, Key("a")))
    assert status(browser.sign_in(script)) == 403


@pytest.mark.usefixtures("fresh")
def test_unknown_keys_make_no_storm(registry: Server, provider: BadProvider, name: str) -> None:
    assert_signs_in(registry, provider)
    for number in range(12):
        forged = signed_by_unknown(f"unknown {number}")
        answer = Browser(registry, provider).sign_in(Script({"sub": name}, {"nickname": name}, id_token=forged))
        assert status(answer) == 403
    assert provider.asked["jwks"] <= 3


def signed_by_unknown(kid: str) -> Callable[[dict[str, Any]], Any]:
    return lambda claims: signed(claims, Key(kid, number=1))


# --- The provider alone ------------------------------------------------------------------------------------------


@pytest.fixture
def lone(settings: Any) -> Iterator[BadProvider]:
    """A provider that is asked from here, and that nothing is known of."""
    with provided() as provider:
        cache.clear()
        settings.OIDC_ISSUER = provider.issuer
        settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
        yield provider
        cache.clear()


def pass_by(seconds: int) -> None:
    """What is remembered gets older."""
    ends: dict[str, float] = cast(Any, cache)._expire_info
    for key in ends:
        ends[key] -= seconds


def test_after_an_hour_the_provider_is_asked_again(lone: BadProvider) -> None:
    Provider().keys()
    for _ in range(2):
        pass_by(3601)
        Provider().keys()
        Provider().keys()
    assert (lone.asked["discovery"], lone.asked["jwks"]) == (3, 3)


def test_provider_that_is_down_from_the_start_is_of_no_use(lone: BadProvider) -> None:
    with lone.down(), pytest.raises(UpstreamError) as refused:
        Provider().metadata()
    assert refused.value.message == (
        f"Openid error: the provider at 127.0.0.1:{lone.port} does not answer as it should."
    )
    assert Provider().metadata() == lone.metadata()


def test_old_answers_serve_while_the_provider_is_down(lone: BadProvider) -> None:
    keys = Provider().keys()
    pass_by(3601)
    with lone.down():
        assert (Provider().metadata(), Provider().keys()) == (lone.metadata(), keys)


@pytest.mark.parametrize("fault", [fault for fault in QUICK if fault != "huge"])
def test_old_answers_serve_while_the_provider_has_a_fault(lone: BadProvider, fault: str) -> None:
    keys = Provider().keys()
    pass_by(3601)
    with lone.faulty("discovery", fault), lone.faulty("jwks", fault):
        assert (Provider().metadata(), Provider().keys()) == (lone.metadata(), keys)


@pytest.mark.parametrize(
    "says",
    [{"issuer": "https://id.example.com"}, {"jwks_uri": None}, {"authorization_endpoint": None, "token_endpoint": 5}],
    ids=str,
)
def test_old_answer_serves_while_the_new_one_is_of_no_use(lone: BadProvider, says: dict[str, Any]) -> None:
    known = Provider().metadata()
    pass_by(3601)
    lone.says = says
    assert Provider().metadata() == known


@pytest.mark.parametrize("answer", [{}, {"keys": None}, {"keys": "x"}], ids=str)
def test_old_keys_serve_while_the_new_ones_are_none(lone: BadProvider, answer: Any) -> None:
    keys = Provider().keys()
    pass_by(3601)
    lone.jwks = answer
    assert Provider().keys() == keys


@pytest.mark.parametrize("answer", [{}, {"keys": None}, {"keys": "x"}, {"keys": []}, {"keys": [1, None]}], ids=str)
def test_keys_that_are_none_are_asked_for_again(lone: BadProvider, answer: Any) -> None:
    lone.jwks = answer
    with suppress(RegistryError):
        Provider().keys()
    lone.jwks = None
    pass_by(60)
    with suppress(RegistryError):
        Provider().keys()
    assert [key["kid"] for key in Provider().keys(refresh=True)] == ["a"]


def test_endpoint_that_was_not_there_is_asked_for_again(lone: BadProvider) -> None:
    lone.says = {"token_endpoint": None}
    with pytest.raises(UpstreamError):
        Provider().endpoint("token_endpoint")
    lone.says = {}
    pass_by(60)
    assert Provider().endpoint("token_endpoint") == f"{lone.issuer}/token"


def test_very_old_answers_serve_no_more(lone: BadProvider) -> None:
    Provider().metadata()
    pass_by(8 * 24 * 3600)
    with lone.down(), pytest.raises(UpstreamError):
        Provider().metadata()


def test_provider_that_is_down_is_not_asked_all_the_time(lone: BadProvider) -> None:
    Provider().metadata()
    pass_by(3601)
    with lone.faulty("discovery", "broken"):
        for _ in range(5):
            Provider().metadata()
    assert lone.asked["discovery"] == 2


MEMBERS = [
    "authorization_endpoint",
    "token_endpoint",
    "userinfo_endpoint",
    "jwks_uri",
    "end_session_endpoint",
    "token_endpoint_auth_methods_supported",
]
JUNK: list[Any] = [
    None,
    5,
    1.5,
    True,
    False,
    "",
    "x",
    [],
    {},
    [None],
    {"a": 1},
    "http://[junk",
    "//127.0.0.1",
    "\ud800",
]


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_junk_in_what_it_says_of_itself_is_no_crash(lone: BadProvider, member: str, junk: Any) -> None:
    lone.says = {member: junk}
    asked: list[Callable[[], Any]] = [
        lambda: Provider().endpoint("authorization_endpoint"),
        lambda: Provider().endpoint("end_session_endpoint"),
        lambda: Provider().keys(),
        lambda: Provider().exchange_code({"code": "x", "client_secret": CLIENT_SECRET}),
        lambda: Provider().fetch_userinfo("x"),
    ]
    for ask in asked:
        with suppress(RegistryError):
            ask()


def test_answer_of_nothing_but_a_reason_is_a_refusal(lone: BadProvider) -> None:
    with pytest.raises(PermissionDenied, match=r"refused the sign-in \(invalid_grant\)"):
        Provider().exchange_code({"code": "x", "client_secret": CLIENT_SECRET})


def test_method_of_the_secret_is_what_the_provider_takes(lone: BadProvider) -> None:
    lone.says = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    with pytest.raises(PermissionDenied, match="invalid_client"):
        Provider().exchange_code({"code": "x", "client_secret": CLIENT_SECRET})


@pytest.fixture
def behind_tls(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadProvider]:
    certificate(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "tls" / "ca.pem"))
    with provided(tmp_path / "tls") as provider:
        cache.clear()
        settings.OIDC_ISSUER = provider.issuer
        yield provider
        cache.clear()


def test_provider_behind_tls_is_asked(behind_tls: BadProvider) -> None:
    assert len(Provider().keys()) == 1


def test_provider_of_an_unknown_authority_is_not_believed(
    behind_tls: BadProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(UpstreamError):
        Provider().metadata()


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"])
def test_endpoint_without_tls_of_a_provider_with_it_is_not_used(behind_tls: BadProvider, name: str) -> None:
    behind_tls.says = {name: "http://127.0.0.1:9/"}
    with pytest.raises(UpstreamError) as refused:
        Provider().endpoint(name)
    assert refused.value.message == f"Openid error: the provider names no {name} that can be used."
