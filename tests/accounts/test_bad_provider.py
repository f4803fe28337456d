"""Sign-in at an OpenID provider that forges, fails, drips and hangs, tried on a running registry."""

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
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests
from django.core.cache import cache

from accounts.oidc import provider as provider_module
from accounts.oidc.provider import Provider
from registry_site.errors import PermissionDenied, RegistryError, UpstreamError
from registry_site.rate_limits import TokenBucket
from tests.support import packing
from tests.support.bad_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    QUICK,
    SLOW,
    BadProvider,
    Key,
    Script,
    honest,
    running_provider,
    sign_jwt,
    with_changes,
)
from tests.support.concurrency import run_concurrently
from tests.support.log_lines import request_failures
from tests.support.openid import SIGN_IN, refresh_url
from tests.support.servers import Server, certificate, running_with

pytestmark = [pytest.mark.database_independent, pytest.mark.long]

TIMEOUT = 60  # seconds; a registry that takes longer hangs
# Limits of time for which a test can wait: half of the real ones.
QUICK_LIMITS = """
from accounts.oidc import provider
from registry_site import http_client
provider.TIMEOUT_SECONDS, http_client.SILENCE_SECONDS = 4, 2.5
"""
Forge = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def live_provider() -> Iterator[BadProvider]:
    with running_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def registry(live_provider: BadProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A registry with short limits of time, and with one worker, so that its cache is the same for all requests."""
    with running_with(
        QUICK_LIMITS,
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
    """A provider without faults yet; afterwards, the registry's log must hold no crash and no secret."""
    live_provider.reset()
    start = registry.log.stat().st_size
    yield live_provider
    log = registry.log.read_bytes()[start:].decode()
    assert "Traceback" not in log
    assert [secret for secret in live_provider.secrets if secret in log] == []


def worker_pids(server: Server) -> set[int]:
    pgrep = subprocess.run(["pgrep", "-P", str(server.process.pid)], capture_output=True, text=True, check=False)
    return {int(pid) for pid in pgrep.stdout.split()}


def replace_worker(server: Server) -> None:
    """Kill the worker: the next one has an empty cache."""
    killed = worker_pids(server)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    for _ in range(1000):
        running_pids = worker_pids(server)
        if running_pids and running_pids.isdisjoint(killed):
            break
        time.sleep(0.01)
    assert requests.get(f"{server.url}/health", timeout=TIMEOUT).status_code == 200


@pytest.fixture
def empty_cache(registry: Server) -> Iterator[None]:
    """Empty the registry's cache before the test and after it."""
    replace_worker(registry)
    yield
    replace_worker(registry)


class LiveBrowser:
    """A browser with cookies and an address of its own; it follows no redirect by itself."""

    def __init__(self, registry: Server, provider: BadProvider, accept: str = "*/*") -> None:
        self.registry = registry
        self.provider = provider
        self.cookies: dict[str, str] = {}
        # The number of sign-ins from one network is limited.
        self.headers = {
            "Accept": accept,
            "X-Forwarded-For": f"2001:db8:{secrets.token_hex(2)}:{secrets.token_hex(2)}::",
        }

    def get(self, url: str) -> requests.Response:
        url = url if url.startswith("http") else self.registry.url + url
        response = requests.get(url, headers=self.headers, cookies=self.cookies, allow_redirects=False, timeout=TIMEOUT)
        self.cookies.update({name: value or "" for name, value in response.cookies.get_dict().items()})
        return response

    def begin(self, path: str = "") -> str:
        """Return the address at the provider that the registry redirects to."""
        response = self.get(path or (SIGN_IN if self.headers["Accept"] == "text/html" else "/me"))
        assert response.status_code == 302, response.text
        return response.headers["Location"]

    def come_back(self, location: str, script: Script) -> requests.Response:
        return self.get(self.provider.authorize(location, script))

    def sign_in(self, script: Script, path: str = "") -> requests.Response:
        return self.come_back(self.begin(path), script)

    def begin_with_state(self) -> str:
        return parse_qs(urlsplit(self.begin()).query)["state"][0]

    @property
    def is_signed_in(self) -> bool:
        return self.get("/me").status_code == 200


@pytest.fixture
def browser(registry: Server, provider: BadProvider) -> LiveBrowser:
    return LiveBrowser(registry, provider)


def new_name() -> str:
    return f"p{secrets.token_hex(6)}"


@pytest.fixture
def name() -> str:
    """The name of a person without an account."""
    return new_name()


def status_of(response: requests.Response) -> int:
    """Return the status of a response whose failure has cargo's shape."""
    if response.status_code != 200:
        (failure,) = response.json()["errors"]
        assert failure["detail"].startswith("Openid error: ")
    return response.status_code


def has_account(registry: Server, name: str) -> bool:
    return requests.get(f"{registry.url}/users/127.0.0.1:{name}", timeout=TIMEOUT).status_code == 200


def assert_sign_in_works(registry: Server, provider: BadProvider) -> None:
    response = LiveBrowser(registry, provider).sign_in(honest(new_name()))
    assert (response.status_code, response.json()["revoked_token"]) == (200, None)


def sign_in_outcome(registry: Server, provider: BadProvider, name: str, script: Script) -> tuple[int, bool, bool]:
    """Sign in and return the status, whether the browser is signed in, and whether the account exists."""
    browser = LiveBrowser(registry, provider)
    return status_of(browser.sign_in(script)), browser.is_signed_in, has_account(registry, name)


# --- Good sign-ins -----------------------------------------------------------------------------------------------


def test_person_signs_in(browser: LiveBrowser, name: str) -> None:
    response = browser.sign_in(honest(name))
    assert response.json() == {
        "username": f"127.0.0.1:{name}",
        "new_token": response.json()["new_token"],
        "revoked_token": None,
    }
    assert browser.is_signed_in


def test_authorization_request_has_the_parameters_of_the_flow(
    browser: LiveBrowser, registry: Server, provider: BadProvider
) -> None:
    url = urlsplit(browser.begin())
    query = {key: values for key, (values,) in parse_qs(url.query).items()}
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer}/authorize"
    assert [len(query.pop(key)) for key in ("state", "nonce", "code_challenge")] == [32, 32, 43]
    assert query == {
        "response_type": "code",
        "scope": "openid profile email",
        "client_id": CLIENT_ID,
        "redirect_uri": f"{registry.url}/ktra/api/v1/openid/me",
        "code_challenge_method": "S256",
    }


def test_provider_redirects_the_browser_back(browser: LiveBrowser, provider: BadProvider, name: str) -> None:
    provider.script = honest(name)
    callback_url = browser.get(browser.begin()).headers["Location"]
    assert browser.get(callback_url).json()["username"] == f"127.0.0.1:{name}"


@pytest.mark.usefixtures("empty_cache")
def test_provider_may_have_no_userinfo_endpoint(provider: BadProvider, browser: LiveBrowser, name: str) -> None:
    provider.metadata_changes = {"userinfo_endpoint": None}
    response = browser.sign_in(Script({"sub": name, "nickname": name}))
    assert response.json()["username"] == f"127.0.0.1:{name}"
    assert provider.requests["userinfo"] == 0


def test_signed_userinfo_is_accepted(browser: LiveBrowser, provider: BadProvider, name: str) -> None:
    def sign(claims: dict[str, Any]) -> str:
        return sign_jwt({"iss": provider.issuer, "aud": CLIENT_ID, **claims}, Key())

    response = browser.sign_in(Script({"sub": name}, {"nickname": name}, signed_userinfo=sign))
    assert response.json()["username"] == f"127.0.0.1:{name}"


def come_back_concurrently(registry: Server, provider: BadProvider, scripts: list[Script]) -> list[requests.Response]:
    """Begin a sign-in in one browser for each script, and let all browsers come back at the same moment."""
    browsers = [LiveBrowser(registry, provider) for _ in scripts]
    locations = [browser.begin() for browser in browsers]
    arrivals = zip(browsers, locations, scripts, strict=True)
    return run_concurrently([partial(browser.come_back, location, script) for browser, location, script in arrivals])


def test_concurrent_first_sign_ins_open_one_account(registry: Server, provider: BadProvider, name: str) -> None:
    responses = come_back_concurrently(registry, provider, [honest(name)] * 4)
    assert {response.status_code for response in responses} == {200}
    assert {response.json()["username"] for response in responses} == {f"127.0.0.1:{name}"}
    tokens = {response.json().get("new_token") or response.json()["existing_token"] for response in responses}
    assert len(tokens) == 1


def test_people_of_one_nickname_get_an_account_each(registry: Server, provider: BadProvider, name: str) -> None:
    scripts = [Script({"sub": f"{name} {number}"}, {"nickname": name}) for number in range(4)]
    responses = come_back_concurrently(registry, provider, scripts)
    assert {response.json()["username"] for response in responses} == {
        f"127.0.0.1:{name}{number}" for number in ("", "-2", "-3", "-4")
    }


# --- Forgeries ---------------------------------------------------------------------------------------------------

FOREIGN = Key(number=1)
RIGHT = Key()


def sign_with_client_secret(message: bytes) -> bytes:
    return hmac.digest(CLIENT_SECRET.encode(), message, hashlib.sha256)


def with_claims(**changes: Any) -> Forge:
    return lambda claims: sign_jwt(with_changes(claims, changes), RIGHT)


FORGERIES: dict[str, Forge] = {
    "alg none": lambda claims: sign_jwt(claims, RIGHT, {"alg": "none"}, lambda _: b""),
    "secret of the client": lambda claims: sign_jwt(claims, RIGHT, {"alg": "HS256"}, sign_with_client_secret),
    "public key as secret": lambda claims: sign_jwt(
        claims,
        RIGHT,
        {"alg": "HS256"},
        lambda text: hmac.digest(json.dumps(RIGHT.jwk()).encode(), text, hashlib.sha256),
    ),
    "foreign key": lambda claims: sign_jwt(claims, FOREIGN),
    "key in the token": lambda claims: sign_jwt(claims, FOREIGN, {"jwk": FOREIGN.jwk()}),
    "unknown key id": lambda claims: sign_jwt(claims, RIGHT, {"kid": "other"}),
    "key id that is no text": lambda claims: sign_jwt(claims, RIGHT, {"kid": ["a"]}),
    "other audience": with_claims(aud="other"),
    "several audiences": with_claims(aud=[CLIENT_ID, "other"]),
    "other party": with_claims(azp="other"),
    "other issuer": with_claims(iss="https://id.example.com"),
    "no issuer": with_claims(iss=None),
    "no audience": with_claims(aud=None),
    "no expiry": with_claims(exp=None),
    "no time of issue": with_claims(iat=None),
    "expired": with_claims(exp=int(time.time()) - 3600),
    "not yet valid": with_claims(nbf=int(time.time()) + 3600),
    "issued in the future": with_claims(iat=int(time.time()) + 3600),
    "no nonce": with_claims(nonce=None),
    "other nonce": with_claims(nonce="other"),
    "nonce that is no text": with_claims(nonce="\ud800"),
    "no subject": with_claims(sub=None),
    "empty subject": with_claims(sub=""),
    "long subject": with_claims(sub="x" * 256),
    "control characters": with_claims(sub="a\x1b[31m"),
    "number as subject": with_claims(sub=42),
    "infinite expiry": with_claims(exp=1e999),
    "junk": lambda claims: "junk",
    "surrogate": lambda claims: "\ud800.x.x",
    "huge junk": lambda claims: "x." * 100_000,
    "deep junk": lambda claims: sign_jwt(b'{"x":' + b"[" * 100_000, RIGHT),
}


def test_forged_token_signs_nobody_in(registry: Server, provider: BadProvider) -> None:
    outcomes = {}
    for case, forge in FORGERIES.items():
        name = new_name()
        script = Script({"sub": name}, {"nickname": name}, id_token=forge)
        outcomes[case] = sign_in_outcome(registry, provider, name, script)
    assert outcomes == dict.fromkeys(FORGERIES, (403, False, False))


def test_answer_without_a_token_signs_nobody_in(registry: Server, provider: BadProvider) -> None:
    junk: list[Any] = [None, "", 42, ["x.y.z"], {}, True]
    outcomes = []
    for id_token in junk:
        name = new_name()
        script = Script({"sub": name}, {"nickname": name}, tokens={"id_token": id_token})
        outcomes.append(sign_in_outcome(registry, provider, name, script))
    assert outcomes == [(502, False, False), (403, False, False), *[(502, False, False)] * 4]


def test_refusal_is_a_page_in_a_browser(registry: Server, provider: BadProvider, name: str) -> None:
    browser = LiveBrowser(registry, provider, accept="text/html")
    response = browser.sign_in(Script({"sub": name}, {"nickname": name}, id_token=FORGERIES["foreign key"]))
    assert (response.status_code, response.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert "the provider&#x27;s ID token is refused" in response.text
    assert browser.get("/me").status_code == 302


def test_userinfo_of_another_user_signs_nobody_in(registry: Server, provider: BadProvider) -> None:
    outcomes = {}
    for subject in ("other", None, "", ["gagbo"], 42):
        name = new_name()
        script = Script({"sub": name}, {"nickname": name, "sub": subject})
        outcomes[repr(subject)] = sign_in_outcome(registry, provider, name, script)
    assert set(outcomes.values()) == {(403, False, False)}, outcomes


FORGED_USERINFO: dict[str, Callable[[dict[str, Any]], str]] = {
    "foreign key": lambda claims: sign_jwt(claims, FOREIGN),
    "alg none": lambda claims: sign_jwt(claims, RIGHT, {"alg": "none"}, lambda _: b""),
    "secret of the client": lambda claims: sign_jwt(claims, RIGHT, {"alg": "HS256"}, sign_with_client_secret),
    "other audience": lambda claims: sign_jwt({**claims, "iss": "x", "aud": "other"}, RIGHT),
    "junk": lambda claims: "a.b.c",
}


def test_forged_userinfo_signs_nobody_in(registry: Server, provider: BadProvider) -> None:
    outcomes = {}
    for case, forge in FORGED_USERINFO.items():
        name = new_name()
        script = Script({"sub": name}, {"nickname": name}, signed_userinfo=forge)
        outcomes[case] = sign_in_outcome(registry, provider, name, script)
    assert outcomes == dict.fromkeys(FORGED_USERINFO, (403, False, False))


def test_junk_as_a_nickname_opens_no_account(registry: Server, provider: BadProvider) -> None:
    cases: list[Any] = [5, True, {"a": 1}, [], ""]
    for nickname in cases:
        response = LiveBrowser(registry, provider).sign_in(Script({"sub": new_name()}, {"nickname": nickname}))
        assert status_of(response) == 403, nickname
        assert "No nickname available" in response.text


def test_junk_as_groups_is_ignored(registry: Server, provider: BadProvider) -> None:
    cases: list[Any] = [5, True, {"devs": 1}, "\ud800", [["devs"]]]
    scripts = [honest(new_name(), groups=groups) for groups in cases]
    assert [LiveBrowser(registry, provider).sign_in(script).status_code for script in scripts] == [200] * len(cases)


def test_sign_in_of_another_browser_changes_nothing(browser: LiveBrowser, name: str) -> None:
    browser.sign_in(honest(name))
    location = LiveBrowser(browser.registry, browser.provider).begin()
    assert browser.come_back(location, honest("mallory")).headers["Location"] == "/me"
    assert browser.get("/me").json()["username"] == f"127.0.0.1:{name}"


# --- Refusals ----------------------------------------------------------------------------------------------------

SCRIPT_TAG = "<script>alert(1)</script>"


@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_refused_code_shows_the_reason_only(registry: Server, provider: BadProvider, accept: str) -> None:
    body = {"error": "invalid_grant", "error_description": SCRIPT_TAG, "error_uri": "https://evil.example.com"}
    for status in (400, 401, 403):
        response = LiveBrowser(registry, provider, accept).sign_in(Script(refusal=(status, body)))
        assert response.status_code == 403, status
        assert "(invalid_grant)" in response.text
        assert SCRIPT_TAG not in response.text
        assert "evil.example.com" not in response.text


def test_bad_reason_is_not_repeated(registry: Server, provider: BadProvider) -> None:
    tag = SCRIPT_TAG * 9
    errors = [SCRIPT_TAG + "\r\nSet-Cookie: a=b", "\x1b[31m", "x" * 10_000, "ä", "", None, 5, [tag], {"x": tag}]
    for error in errors:
        response = LiveBrowser(registry, provider).sign_in(Script(refusal=(400, {"error": error})))
        assert status_of(response) == 403, error
        assert len(response.text) < 300, error
        assert not any(text in response.text for text in ("\\u001b", "Set-Cookie", "ä")), error


def test_error_in_the_callback_is_shown_escaped(registry: Server, provider: BadProvider) -> None:
    for error in ("access_denied", SCRIPT_TAG, "a\r\nb", "x" * 1000, ""):
        browser = LiveBrowser(registry, provider, accept="text/html")
        query = f"state={browser.begin_with_state()}&error={quote(error)}&error_description={quote(SCRIPT_TAG)}"
        response = browser.get(f"/ktra/api/v1/openid/me?{query}")
        assert response.status_code == 403, error
        assert "the provider did not sign you in" in response.text
        assert "<script>" not in response.text
        assert "xxx" not in response.text


@pytest.mark.parametrize("parameter", ["code=1", "error=access_denied"])
def test_callback_of_another_provider_is_refused(browser: LiveBrowser, parameter: str) -> None:
    state = browser.begin_with_state()
    response = browser.get(f"/ktra/api/v1/openid/me?state={state}&iss=https://evil.example.com&{parameter}")
    assert status_of(response) == 403
    assert "this is the answer of another provider" in response.text


def test_callback_may_name_its_provider(browser: LiveBrowser, provider: BadProvider, name: str) -> None:
    callback_url = provider.authorize(browser.begin(), honest(name))
    assert browser.get(f"{callback_url}&iss={quote(provider.issuer)}").status_code == 200


def test_code_is_good_once(browser: LiveBrowser, provider: BadProvider, name: str) -> None:
    callback_url = provider.authorize(browser.begin(), honest(name))
    assert browser.get(callback_url).status_code == 200
    browser.cookies.clear()
    replay = browser.get(callback_url)
    assert (replay.status_code, list(replay.json())) == (400, ["errors"])
    assert provider.requests["token"] == 1


# --- Faults ------------------------------------------------------------------------------------------------------

ALL_502 = dict.fromkeys(QUICK, 502)


@pytest.mark.parametrize("endpoint", ["token", "userinfo"])
def test_sign_in_fault_is_an_upstream_error(registry: Server, provider: BadProvider, endpoint: str, name: str) -> None:
    statuses = {}
    for fault in QUICK:
        script = Script({"sub": name}, {"nickname": name}, faults={endpoint: fault})
        statuses[fault] = status_of(LiveBrowser(registry, provider).sign_in(script))
    assert statuses == ALL_502 | ({"refused": 403} if endpoint == "token" else {})
    assert provider.requests["/elsewhere"] == 0
    assert not has_account(registry, name)
    assert_sign_in_works(registry, provider)


@pytest.mark.usefixtures("empty_cache")
def test_fault_of_discovery_is_an_upstream_error(registry: Server, provider: BadProvider) -> None:
    statuses = {}
    for fault in QUICK:
        with provider.faulty("discovery", fault):
            statuses[fault] = status_of(LiveBrowser(registry, provider).get("/me"))
    assert statuses == ALL_502
    assert provider.requests["/elsewhere"] == 0
    assert_sign_in_works(registry, provider)


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("path", [SIGN_IN, "/replace_token", "/openid/sign-in?next=/admin/"])
def test_page_about_a_fault_leads_on(registry: Server, provider: BadProvider, path: str) -> None:
    browser = LiveBrowser(registry, provider, accept="text/html")
    with provider.faulty("discovery", "broken"):
        page = browser.get(path)
    assert (page.status_code, page.headers["Content-Type"]) == (502, "text/html; charset=utf-8")
    assert f'<a href="{path}">Begin again</a>' in page.text
    script = Script({"sub": new_name()}, faults={"token": "broken"})
    page = browser.sign_in(script, path)
    assert page.status_code == 502
    assert "Begin again</a>" in page.text
    assert "Sign in as somebody else" not in page.text  # it would fail for everybody


@pytest.mark.usefixtures("empty_cache")
def test_fault_of_the_keys_is_an_upstream_error(registry: Server, provider: BadProvider, name: str) -> None:
    statuses = {}
    for fault in QUICK:
        with provider.faulty("jwks", fault):
            statuses[fault] = status_of(LiveBrowser(registry, provider).sign_in(honest(name)))
    assert statuses == ALL_502
    assert provider.requests["/elsewhere"] == 0
    assert not has_account(registry, name)
    assert_sign_in_works(registry, provider)


OTHER_ISSUERS: dict[str, Any] = {
    "another": "https://id.example.com",
    "with a slash": "http://127.0.0.1/",
    "a tag": SCRIPT_TAG,
    "huge": "x" * 500_000,
    "none": None,
    "a list": ["x" * 500_000],
}


@pytest.mark.usefixtures("empty_cache")
def test_provider_with_another_issuer_is_refused(registry: Server, provider: BadProvider) -> None:
    offenders = []
    for case, issuer in OTHER_ISSUERS.items():
        provider.metadata_changes = {"issuer": issuer}
        response = LiveBrowser(registry, provider).get("/me")
        page = LiveBrowser(registry, provider, "text/html").get(SIGN_IN)
        statuses, texts = (response.status_code, page.status_code), (response.text, page.text)
        if statuses != (502, 502) or max(map(len, texts)) > 10_000 or "<script>" in page.text:
            offenders.append((case, statuses, texts))
    assert offenders == []
    provider.metadata_changes = {}
    assert_sign_in_works(registry, provider)


UNUSABLE_METADATA: list[dict[str, Any]] = [
    {"authorization_endpoint": None},
    {"authorization_endpoint": "javascript:alert(1)"},
    {"authorization_endpoint": "http://[junk"},
    {"authorization_endpoint": "http://127.0.0.1/\ud800"},
    {"authorization_endpoint": "http://127.0.0.1/\r\nSet-Cookie: a=b"},
    {"token_endpoint": None},
    {"jwks_uri": "file:///etc/passwd"},
]


@pytest.mark.usefixtures("empty_cache")
def test_unusable_metadata_is_an_upstream_error(registry: Server, provider: BadProvider) -> None:
    statuses = []
    for changes in UNUSABLE_METADATA:
        provider.metadata_changes = changes
        statuses.append(status_of(LiveBrowser(registry, provider).get("/me")))
    assert statuses == [502] * len(UNUSABLE_METADATA)


@pytest.mark.usefixtures("empty_cache")
def test_query_of_the_authorization_endpoint_is_preserved(provider: BadProvider, browser: LiveBrowser) -> None:
    provider.metadata_changes = {"authorization_endpoint": f"{provider.issuer}/authorize?p=policy"}
    query = parse_qs(urlsplit(browser.begin()).query)
    assert (query["p"], query["response_type"]) == (["policy"], ["code"])


# --- Slow answers ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("empty_cache")
def test_slow_discovery_times_out(registry: Server, provider: BadProvider) -> None:
    provider.faults["discovery"] = iter(SLOW)
    browsers = [LiveBrowser(registry, provider) for _ in SLOW]
    responses = run_concurrently([partial(browser.get, "/me") for browser in browsers])
    assert [status_of(response) for response in responses] == [502] * len(SLOW)
    provider.faults.clear()
    assert_sign_in_works(registry, provider)


SLOW_ENDPOINTS = {
    "keys": [*[("jwks", fault) for fault in SLOW], ("token", "hang")],
    "tokens and userinfo": [(at, fault) for at in ("token", "userinfo") for fault in ("slow headers", "slow body")],
}


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("faults", SLOW_ENDPOINTS.values(), ids=SLOW_ENDPOINTS)
def test_slow_sign_in_times_out(
    registry: Server, provider: BadProvider, faults: list[tuple[str, str]], name: str
) -> None:
    provider.faults["jwks"] = iter([fault for endpoint, fault in faults if endpoint == "jwks"])
    scripts = [
        Script({"sub": name}, {"nickname": name}, faults={endpoint: fault} if endpoint != "jwks" else {})
        for endpoint, fault in faults
    ]
    responses = come_back_concurrently(registry, provider, scripts)
    assert [status_of(response) for response in responses] == [502] * len(faults)
    assert not has_account(registry, name)
    provider.faults.clear()
    assert_sign_in_works(registry, provider)


def publish(registry: Server, token: str, crate: str) -> int:
    body, headers = packing.body(crate), {"Authorization": token}
    return requests.put(f"{registry.url}/api/v1/crates/new", body, headers=headers, timeout=TIMEOUT).status_code


@pytest.mark.parametrize("fault", ["hang", "no end"])
def test_slow_sign_ins_do_not_block_others(registry: Server, provider: BadProvider, name: str, fault: str) -> None:
    token = registry.sign_up(f"publisher-{name}")
    browsers = [LiveBrowser(registry, provider) for _ in range(20)]
    locations = [browser.begin() for browser in browsers]
    hanging = Script({"sub": name}, {"nickname": name}, faults={"userinfo": fault})
    with ThreadPoolExecutor(len(browsers)) as pool:
        pending = [
            pool.submit(browser.come_back, location, hanging)
            for browser, location in zip(browsers, locations, strict=True)
        ]
        while not provider.requests["userinfo"]:
            time.sleep(0.01)
        statuses = [
            requests.get(f"{registry.url}/index/config.json", timeout=TIMEOUT).status_code,
            publish(registry, token, name),
        ]
        assert any(not future.done() for future in pending)
        assert {status_of(future.result()) for future in pending} == {502}
    assert statuses == [200, 200]
    assert_sign_in_works(registry, provider)


def test_session_survives_while_the_provider_is_down(
    registry: Server, provider: BadProvider, browser: LiveBrowser, name: str
) -> None:
    token = browser.sign_in(honest(name)).json()["new_token"]
    with provider.down():
        assert browser.get("/me").json() == {"username": f"127.0.0.1:{name}", "existing_token": token}
        assert status_of(LiveBrowser(registry, provider).sign_in(honest(name))) == 502
    assert_sign_in_works(registry, provider)


def sign_out(browser: LiveBrowser) -> str:
    """Sign out and return the URL that the registry sends the browser to."""
    csrf = browser.get("/account/tokens").text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    response = requests.post(
        f"{browser.registry.url}/sign-out",
        {"csrfmiddlewaretoken": csrf},
        headers={**browser.headers, "Origin": browser.registry.url},
        cookies=browser.cookies,
        allow_redirects=False,
        timeout=TIMEOUT,
    )
    return response.headers["Location"] if response.status_code == 302 else refresh_url(response.text)


def test_sign_out_leads_to_the_provider(registry: Server, provider: BadProvider, name: str) -> None:
    browser = LiveBrowser(registry, provider, accept="text/html")
    browser.sign_in(honest(name))
    url = urlsplit(sign_out(browser))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer}/end_session"
    assert sorted(parse_qs(url.query)) == ["client_id", "id_token_hint", "post_logout_redirect_uri"]
    assert not browser.is_signed_in


def test_sign_out_url_omits_a_long_token(registry: Server, provider: BadProvider, name: str) -> None:
    browser = LiveBrowser(registry, provider, accept="text/html")
    groups = [f"group {number}" for number in range(10_000)]
    assert browser.sign_in(Script({"sub": name, "groups": groups}, {"nickname": name})).status_code == 302
    url = urlsplit(sign_out(browser))
    assert f"{url.scheme}://{url.netloc}{url.path}" == f"{provider.issuer}/end_session"
    assert sorted(parse_qs(url.query)) == ["client_id", "post_logout_redirect_uri"]
    assert not browser.is_signed_in


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("endpoint", [None, "http://127.0.0.1/\ud800"], ids=ascii)
def test_sign_out_without_a_usable_endpoint_ends_here(
    registry: Server, provider: BadProvider, endpoint: Any, name: str
) -> None:
    provider.metadata_changes = {"end_session_endpoint": endpoint}
    browser = LiveBrowser(registry, provider, accept="text/html")
    browser.sign_in(honest(name))
    assert sign_out(browser) == "/"
    assert not browser.is_signed_in


def test_sign_ins_from_one_address_are_limited(browser: LiveBrowser) -> None:
    statuses = Counter(browser.get("/me").status_code for _ in range(62))
    assert statuses in ({302: 60, 429: 2}, {302: 61, 429: 1}, {302: 62})  # a minute may end in between


# --- The cache ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("empty_cache")
def test_discovery_and_keys_are_fetched_once(registry: Server, provider: BadProvider) -> None:
    for _ in range(3):
        assert_sign_in_works(registry, provider)
    assert (provider.requests["discovery"], provider.requests["jwks"]) == (1, 1)
    assert (provider.requests["token"], provider.requests["userinfo"]) == (3, 3)


@pytest.mark.usefixtures("empty_cache")
def test_new_key_is_fetched_once(registry: Server, provider: BadProvider) -> None:
    assert_sign_in_works(registry, provider)
    provider.keys = [Key("a"), Key("b", number=1)]
    for _ in range(3):
        assert_sign_in_works(registry, provider)
    assert provider.requests["jwks"] == 2


@pytest.mark.usefixtures("empty_cache")
def test_withdrawn_key_is_refused(registry: Server, provider: BadProvider, browser: LiveBrowser, name: str) -> None:
    assert_sign_in_works(registry, provider)
    provider.keys = [Key("b", number=1)]
    assert_sign_in_works(registry, provider)
    script = Script({"sub": name}, {"nickname": name}, id_token=lambda claims: sign_jwt(claims, Key("a")))
    assert status_of(browser.sign_in(script)) == 403


@pytest.mark.usefixtures("empty_cache")
def test_unknown_keys_cause_few_requests(registry: Server, provider: BadProvider, name: str) -> None:
    assert_sign_in_works(registry, provider)
    for number in range(12):
        key = Key(f"unknown {number}", number=1)
        script = Script({"sub": name}, {"nickname": name}, id_token=partial(sign_jwt, key=key))
        assert status_of(LiveBrowser(registry, provider).sign_in(script)) == 403
    assert 2 <= provider.requests["jwks"] <= 8


@pytest.mark.usefixtures("empty_cache")
def test_keys_may_change_twice_in_a_row(registry: Server, provider: BadProvider) -> None:
    for number in range(4):
        provider.keys = [Key(f"key {number}", number=number % 2)]
        assert_sign_in_works(registry, provider)
    assert provider.requests["jwks"] == 4


@pytest.mark.usefixtures("empty_cache")
def test_concurrent_sign_ins_fetch_a_new_key_once(registry: Server, provider: BadProvider, name: str) -> None:
    assert_sign_in_works(registry, provider)
    provider.keys = [Key("new", number=1)]
    scripts = [honest(f"{name}{number}") for number in range(8)]
    responses = come_back_concurrently(registry, provider, scripts)
    assert [response.status_code for response in responses] == [200] * 8
    assert provider.requests["jwks"] == 2


# --- The provider's client alone ---------------------------------------------------------------------------------


@pytest.fixture
def lone_provider(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadProvider]:
    """A provider without a registry, for `Provider` in this process, with an empty cache and a full bucket."""
    with running_provider() as provider:
        cache.clear()
        monkeypatch.setattr(provider_module, "KEY_SEARCHES", TokenBucket(size=5, seconds=1000))
        settings.OIDC_ISSUER = provider.issuer
        settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET = CLIENT_ID, CLIENT_SECRET
        yield provider
        cache.clear()


def age_cache(seconds: int) -> None:
    """Let every cached value expire that many seconds earlier."""
    expiries: dict[str, float] = cast(Any, cache)._expire_info
    for key in expiries:
        expiries[key] -= seconds


def test_answers_are_fetched_again_after_an_hour(lone_provider: BadProvider) -> None:
    Provider().keys()
    for _ in range(2):
        age_cache(3601)
        Provider().keys()
        Provider().keys()
    assert (lone_provider.requests["discovery"], lone_provider.requests["jwks"]) == (3, 3)


def test_provider_is_asked_again_after_a_failure(lone_provider: BadProvider) -> None:
    with lone_provider.down(), pytest.raises(UpstreamError) as failure:
        Provider().metadata()
    assert failure.value.message == (f"Openid error: the provider at 127.0.0.1:{lone_provider.port} cannot be reached.")
    assert Provider().metadata() == lone_provider.metadata()


def test_stale_answers_serve_while_the_provider_is_down(lone_provider: BadProvider) -> None:
    keys = Provider().keys()
    age_cache(3601)
    with lone_provider.down():
        assert (Provider().metadata(), Provider().keys()) == (lone_provider.metadata(), keys)


def test_stale_answers_serve_during_any_fault(lone_provider: BadProvider) -> None:
    keys = Provider().keys()
    for fault in QUICK:
        age_cache(3601)
        lone_provider.requests.clear()
        with lone_provider.faulty("discovery", fault), lone_provider.faulty("jwks", fault):
            assert (Provider().metadata(), Provider().keys()) == (lone_provider.metadata(), keys), fault
        assert (lone_provider.requests["discovery"], lone_provider.requests["jwks"]) == (1, 1)


def test_stale_metadata_serves_while_the_new_is_unusable(lone_provider: BadProvider) -> None:
    stale = Provider().metadata()
    for changes in (
        {"issuer": "https://id.example.com"},
        {"jwks_uri": None},
        {"authorization_endpoint": None, "token_endpoint": 5},
    ):
        age_cache(3601)
        lone_provider.metadata_changes = changes
        assert Provider().metadata() == stale, changes


def test_stale_keys_serve_while_the_new_are_unusable(lone_provider: BadProvider) -> None:
    stale = Provider().keys()
    for key_set in ({}, {"keys": None}, {"keys": "x"}):
        age_cache(3601)
        lone_provider.jwks = key_set
        assert Provider().keys() == stale, key_set


def test_unusable_keys_are_fetched_again(lone_provider: BadProvider) -> None:
    key_sets: list[Any] = [{}, {"keys": None}, {"keys": "x"}, {"keys": []}, {"keys": [1, None]}]
    for key_set in key_sets:
        cache.clear()
        lone_provider.jwks = key_set
        with suppress(RegistryError):
            Provider().keys()
        lone_provider.jwks = None
        age_cache(60)
        with suppress(RegistryError):
            Provider().keys()
        assert [key["kid"] for key in Provider().newer_keys([])] == ["a"], key_set


def test_missing_endpoint_is_fetched_again(lone_provider: BadProvider) -> None:
    lone_provider.metadata_changes = {"token_endpoint": None}
    with pytest.raises(UpstreamError):
        Provider().endpoint("token_endpoint")
    lone_provider.metadata_changes = {}
    age_cache(60)
    assert Provider().endpoint("token_endpoint") == f"{lone_provider.issuer}/token"


def test_stale_answers_expire_after_a_week(lone_provider: BadProvider) -> None:
    Provider().metadata()
    age_cache(8 * 24 * 3600)
    with lone_provider.down(), pytest.raises(UpstreamError):
        Provider().metadata()


def test_failing_provider_is_not_asked_each_time(lone_provider: BadProvider) -> None:
    Provider().metadata()
    age_cache(3601)
    with lone_provider.faulty("discovery", "broken"):
        for _ in range(5):
            Provider().metadata()
    assert lone_provider.requests["discovery"] == 2


METADATA_MEMBERS = [
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


@pytest.mark.parametrize("member", METADATA_MEMBERS)
def test_junk_in_metadata_is_no_crash(lone_provider: BadProvider, member: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: Provider().endpoint("authorization_endpoint"),
        lambda: Provider().endpoint("end_session_endpoint"),
        lambda: Provider().keys(),
        lambda: Provider().exchange_code({"code": "x", "client_secret": CLIENT_SECRET}),
        lambda: Provider().fetch_userinfo("x"),
    ]
    for junk in JUNK:
        cache.clear()
        lone_provider.metadata_changes = {member: junk}
        for call in calls:
            with suppress(RegistryError):
                call()


def test_refused_code_is_permission_denied(lone_provider: BadProvider) -> None:
    with pytest.raises(PermissionDenied, match=r"refused the sign-in \(invalid_grant\)"):
        Provider().exchange_code({"code": "x", "client_secret": CLIENT_SECRET})


def test_client_secret_is_sent_as_the_provider_wants(lone_provider: BadProvider) -> None:
    lone_provider.metadata_changes = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    with pytest.raises(PermissionDenied, match="invalid_client"):
        Provider().exchange_code({"code": "x", "client_secret": CLIENT_SECRET})


def exchange() -> dict[str, Any]:
    return Provider().exchange_code({"code": "c0de", "code_verifier": "v3rifier", "client_secret": CLIENT_SECRET})


# What the real ones answer to a wrong client secret.
WRONG_SECRET = {
    "Keycloak": (401, "unauthorized_client", "Invalid client or Invalid client credentials"),
    "Dex": (401, "invalid_client", "Invalid client credentials."),
}


@pytest.mark.parametrize("product", WRONG_SECRET)
def test_refused_registry_is_told_apart(
    lone_provider: BadProvider, product: str, caplog: pytest.LogCaptureFixture
) -> None:
    status, code, description = WRONG_SECRET[product]
    lone_provider.refusal = status, {"error": code, "error_description": description}
    with pytest.raises(PermissionDenied) as refused:
        exchange()
    assert refused.value.message == (
        f"Openid error: the provider refused this registry ({code}): its client ID or client secret is wrong."
    )
    (line,) = request_failures(caplog)
    assert line.pop("cause") == refused.value.message
    assert line == {
        "service": "openid",
        "step": "token",
        "host": f"127.0.0.1:{lone_provider.port}",
        "issuer": lone_provider.issuer,
        "status": status,
        "error": code,
        "error_description": description,
        "failure": "refused us",
    }


def test_log_has_no_secret_that_the_provider_repeats(
    lone_provider: BadProvider, caplog: pytest.LogCaptureFixture
) -> None:
    secrets_sent = [CLIENT_SECRET, "c0de", "v3rifier"]
    for error in secrets_sent:
        lone_provider.refusal = 400, {"error": error, "error_description": f"No: {' and '.join(secrets_sent)}"}
        with pytest.raises(PermissionDenied) as refused:
            exchange()
        assert error not in refused.value.message
    assert [line["error_description"] for line in request_failures(caplog)] == ["No: … and … and …"] * 3
    assert [secret for secret in secrets_sent if secret in str(request_failures(caplog))] == []


def test_odd_words_of_the_provider_are_not_logged(lone_provider: BadProvider, caplog: pytest.LogCaptureFixture) -> None:
    odd: list[Any] = [
        {"error": 5, "error_description": ["x"]},
        {"error": "a\nb"},
        [],
        "x",
        {"error_description": "x" * 999},
    ]
    for body in odd:
        lone_provider.refusal = 400, body
        with pytest.raises(PermissionDenied):
            exchange()
    words = [(line.get("error"), line.get("error_description")) for line in request_failures(caplog)]
    assert words == [*[(None, None)] * 4, (None, "x" * 200)]


def fail_while_down(provider: BadProvider) -> None:
    with provider.down():
        Provider().metadata()


def fail_late(provider: BadProvider) -> None:
    late = Provider()
    late.deadline = time.monotonic() + 0.3
    with provider.faulty("discovery", "hang"):
        late.metadata()


def fail_with(endpoint: str, fault: str) -> Callable[[BadProvider], Any]:
    def fail(provider: BadProvider) -> None:
        with provider.faulty(endpoint, fault):
            Provider().keys()
            Provider().fetch_userinfo("x")

    return fail


def fail_with_another_issuer(provider: BadProvider) -> None:
    provider.metadata_changes = {"issuer": "https://id.example.com"}
    Provider().metadata()


FAILURES: dict[str, tuple[Callable[[BadProvider], Any], tuple[str, str], str]] = {
    "down": (fail_while_down, ("discovery", "not reached"), "cannot be reached"),
    "late": (fail_late, ("discovery", "took too long"), "took too long"),
    "no HTTP": (fail_with("jwks", "no HTTP"), ("keys", "unusable answer"), "does not answer as it should"),
    "error": (fail_with("jwks", "broken"), ("keys", "unusable answer"), "answers with 500"),
    "refusal": (
        fail_with("userinfo", "refused"),
        ("userinfo", "refused us"),
        "refused the request of this registry with 403",
    ),
    "issuer": (fail_with_another_issuer, ("discovery", "unusable answer"), "calls itself 'https://id.example.com'"),
}


def test_page_and_log_name_the_failures_kind(lone_provider: BadProvider, caplog: pytest.LogCaptureFixture) -> None:
    offenders = []
    for case, (fail, line_end, message) in FAILURES.items():
        cache.clear()
        caplog.clear()
        lone_provider.reset()
        with pytest.raises(UpstreamError) as failure:
            fail(lone_provider)
        lines = [(line["step"], line["failure"]) for line in request_failures(caplog)]
        if lines != [line_end] or message not in failure.value.message:
            offenders.append((case, lines, failure.value.message))
    assert offenders == []


def test_stale_answers_do_not_hide_a_failure(lone_provider: BadProvider, caplog: pytest.LogCaptureFixture) -> None:
    Provider().metadata()
    age_cache(3601)
    with lone_provider.down():
        Provider().metadata()
    assert [line["step"] for line in request_failures(caplog)] == ["discovery"]


def test_unusable_sign_out_address_is_logged(lone_provider: BadProvider, caplog: pytest.LogCaptureFixture) -> None:
    lone_provider.metadata_changes = {"end_session_endpoint": "junk"}
    assert Provider().end_session_endpoint() is None
    assert [line["step"] for line in request_failures(caplog)] == ["end-session"]
    cache.clear()
    caplog.clear()
    lone_provider.metadata_changes = {"end_session_endpoint": None}
    assert Provider().end_session_endpoint() is None
    assert request_failures(caplog) == []


@pytest.fixture
def tls_provider(settings: Any, tmp_path: Path) -> Iterator[BadProvider]:
    certificate(tmp_path / "tls")
    settings.CA_FILE = tmp_path / "tls" / "ca.pem"
    with running_provider(tmp_path / "tls") as provider:
        cache.clear()
        settings.OIDC_ISSUER = provider.issuer
        yield provider
        cache.clear()


def test_provider_may_use_tls(tls_provider: BadProvider) -> None:
    assert len(Provider().keys()) == 1


def test_certificate_of_an_unknown_authority_is_refused(
    tls_provider: BadProvider, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.CA_FILE = None
    with pytest.raises(UpstreamError, match="has a certificate that this registry does not trust"):
        Provider().metadata()
    assert [line["failure"] for line in request_failures(caplog)] == ["certificate not trusted"]


def test_endpoint_of_a_tls_issuer_needs_tls(tls_provider: BadProvider) -> None:
    for name in ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"):
        cache.clear()
        tls_provider.metadata_changes = {name: "http://127.0.0.1:9/"}
        with pytest.raises(UpstreamError) as failure:
            Provider().endpoint(name)
        assert failure.value.message == f"Openid error: the provider names no {name} that can be used."
