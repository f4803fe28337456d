"""Single sign-on for tests: a certified OpenID provider, live registries that trust it, and people's browsers."""

import fcntl
import html
import itertools
import json
import re
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urljoin, urlsplit

import psycopg
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.support.servers import Server, free_port, running

PLACE = Path(__file__).resolve().parent / "openid_provider"
CLIENT = "registry"
SECRET = "s3cret/+ x:%"  # characters that have to be escaped on their way
CALLBACKS = ("/ktra/api/v1/openid/me", "/ktra/api/v1/openid/replace")
PAGE, DATA = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "*/*"  # what browsers accept, and what curl does


def install() -> None:
    """Fetch the provider, if that was not done since its lock file changed; one process at a time."""
    if shutil.which("node") is None:
        raise AssertionError("The tests of single sign-on need Node.js 20 or newer: there is no `node` on the path.")
    lock, stamp = PLACE / "package-lock.json", PLACE / "node_modules" / ".package-lock.json"
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
            return
        if shutil.which("npm") is None:
            raise AssertionError("The tests of single sign-on need `npm` to fetch the provider, and it is not there.")
        done = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=PLACE, capture_output=True, text=True, timeout=300
        )
        if done.returncode:
            raise AssertionError(f"`npm ci` in {PLACE} failed:\n{done.stdout}{done.stderr}")
        stamp.touch()


def new_key(name: str) -> dict[str, Any]:
    """A private key as the provider reads it (RFC 7517)."""
    key = RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), as_dict=True)
    key.pop("key_ops", None)  # with it, the provider cannot verify its own signatures
    return {**key, "kid": name, "use": "sig", "alg": "RS256"}


class Provider:
    """The npm package oidc-provider; whoever it knows signs in with their subject and any password."""

    def __init__(self, place: Path, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.issuer = f"http://{host}:{self.port}"
        self.file = place / "provider.json"
        self.log = place / "provider.log"
        self.clients: list[dict[str, Any]] = []
        self.people: dict[str, dict[str, Any]] = {}
        self.keys = [new_key("first")]

    def know(self, subject: str, **claims: Any) -> str:
        """From the next sign-in on it says exactly this of somebody; returns the subject."""
        self.people[subject] = claims
        self._write()
        return subject

    def serve(self, registry: str) -> None:
        """Let the registry at this address be signed in to; before the start."""
        self.clients.append(
            {
                "client_id": CLIENT,
                "client_secret": SECRET,
                "redirect_uris": [registry + path for path in CALLBACKS],
                "post_logout_redirect_uris": [f"{registry}/"],
                "grant_types": ["authorization_code"],
                "response_types": ["code"],
            }
        )

    def start(self) -> None:
        install()
        self._write()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["node", "provider.mjs", str(self.file)],
                cwd=PLACE,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                requests.get(f"{self.issuer}/.well-known/openid-configuration", timeout=5).raise_for_status()
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError(f"The provider does not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """It forgets who is signed in."""
        self.process.terminate()
        self.process.wait(timeout=20)

    def _write(self) -> None:
        settings = {
            "issuer": self.issuer,
            "port": self.port,
            "clients": self.clients,
            "jwks": {"keys": self.keys},
            "people": self.people,
        }
        whole = self.file.with_suffix(".new")
        whole.write_text(json.dumps(settings))
        whole.replace(self.file)


class Site(NamedTuple):
    """A registry, and the provider that people sign in at."""

    server: Server
    provider: Provider

    def browser(self, accept: str = PAGE) -> "Browser":
        return Browser(self, accept)

    def client(self) -> "Browser":
        """A program that follows redirects and is told in JSON."""
        return Browser(self, DATA)

    def new_person(self, subject: str, **claims: Any) -> tuple["Browser", str]:
        """Somebody who has signed in for the first time, with a program; and the token that they were given."""
        client = self.client()
        answer = client.sign_in(self.provider.know(subject, **{"nickname": subject, **claims}))
        assert answer.status_code == 200, answer.text
        return client, str(answer.json()["new_token"])

    def sql(self, statement: str) -> list[tuple[Any, ...]]:
        """What a statement gives in the registry's database."""
        url = self.server.environment.get("REGISTRY_DATABASE_URL")
        if url is not None:
            with psycopg.connect(url, autocommit=True) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        with closing(sqlite3.connect(self.server.data / "registry.sqlite3", timeout=20, isolation_level=None)) as rows:
            return rows.execute(statement).fetchall()


_addresses = itertools.count(1)


class Browser:
    """Keeps cookies; each comes from an address of its own, so that none uses up what another may do in a minute."""

    def __init__(self, site: Site, accept: str) -> None:
        self.site = site
        self.url = site.server.url
        self.session = requests.Session()
        self.asked: list[str] = []  # what the provider wanted to know, in its words
        number = next(_addresses)
        self.session.headers.update({"Accept": accept, "X-Forwarded-For": f"10.0.{number // 250}.{number % 250 + 1}"})

    def ask(
        self, method: str, path: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """One request, redirects not followed."""
        return self.session.request(
            method, urljoin(self.url, path), data=form, headers=headers, allow_redirects=False, timeout=30
        )

    def get(self, path: str, **headers: str) -> requests.Response:
        """`Sec_Fetch_Site="none"` is the header of that name."""
        return self.ask("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def press(self, path: str, page: str = "/me") -> requests.Response:
        """The button of a page that sends its form there."""
        return self.ask("POST", path, {"csrfmiddlewaretoken": self.csrf(page)}, {"Origin": self.url})

    def follow(self, answer: requests.Response) -> requests.Response:
        """Redirects within the registry, to the first answer that is none."""
        while answer.is_redirect and urljoin(answer.url, answer.headers["Location"]).startswith(self.url):
            answer = self._next(answer)
        return answer

    def callback(self, subject: str, path: str = "/me") -> str:
        """Where the provider sends the browser back to, after it has filled in the provider's forms."""
        return self.through_provider(self.get(path).headers["Location"], subject)

    def sign_in(self, subject: str, path: str = "/me") -> requests.Response:
        return self.follow(self.get(self.callback(subject, path)))

    def abort(self, path: str = "/me") -> requests.Response:
        """Think better of it at the provider's first form."""
        form = self._next(self._next(self.get(path)))
        [link] = re.findall(r'href="([^"]+/abort)"', form.text)
        return self._next(self._next(self.get(link)))

    def _next(self, answer: requests.Response) -> requests.Response:
        return self.get(urljoin(answer.url, answer.headers["Location"]))

    def through_provider(self, address: str, subject: str) -> str:
        """From an address of the provider to where it sends the browser in the end, whatever it asks meanwhile."""
        while self.is_at_provider(address):
            answer = self.get(address)
            if not answer.is_redirect:
                self.asked.append(hidden_fields(answer.text).get("prompt", "logout"))
                answer = self.submit(answer.text, {"login": subject, "password": "any", "logout": "yes"})
            address = urljoin(answer.url, answer.headers["Location"])
        return address

    def leave_provider(self) -> None:
        """Be somebody else there, as on a computer that two people use."""
        jar: CookieJar = self.session.cookies
        for cookie in list(jar):
            if cookie.name.startswith("_"):
                jar.clear(cookie.domain, cookie.path, cookie.name)

    def is_at_provider(self, address: str) -> bool:
        return address.startswith(f"{self.site.provider.issuer}/")

    def submit(self, page: str, filled_in: dict[str, str]) -> requests.Response:
        """The form of a page."""
        return self.ask("POST", action_of(page), {**hidden_fields(page), **filled_in})

    def csrf(self, path: str) -> str:
        """Out of the form of a page."""
        return hidden_fields(self.get(path, Accept=PAGE).text)["csrfmiddlewaretoken"]

    def log_in_with_password(self, name: str, password: str) -> requests.Response:
        form = {"csrfmiddlewaretoken": self.csrf("/sign-in"), "username": name, "password": password}
        return self.ask("POST", "/sign-in", form, {"Origin": self.url})

    def cookie(self) -> str:
        """Of the session."""
        return str(self.session.cookies["registry_session"])

    def with_cookie(self, value: str) -> "Browser":
        """Another browser, which has this cookie only."""
        other = Browser(self.site, str(self.session.headers["Accept"]))
        other.session.cookies.set("registry_session", value)
        return other

    def name(self) -> str | None:
        """Whom the registry takes the browser for."""
        answer = self.get("/me", Accept=DATA)
        return None if answer.is_redirect else str(answer.json()["username"])


def hidden_fields(page: str) -> dict[str, str]:
    return {
        name: html.unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    }


def action_of(page: str) -> str:
    """Of the first form."""
    found = re.search(r'<form [^>]*action="([^"]+)"', page)
    assert found, page
    return html.unescape(found[1])


def refresh_url(page: str) -> str:
    """Return the URL that a page leads to by itself."""
    found = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', page)
    assert found, page
    return html.unescape(found[1])


def query_of(address: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(address).query, keep_blank_values=True).items()}


@contextmanager
def single_sign_on(place: Path, host: str = "127.0.0.1", **environment: str) -> Iterator[Site]:
    """A live registry, and beside it the provider that it trusts."""
    provider = Provider(place, host)
    trust = {
        "REGISTRY_OIDC_ISSUER": provider.issuer,
        "REGISTRY_OIDC_CLIENT_ID": CLIENT,
        "REGISTRY_OIDC_CLIENT_SECRET": SECRET,
        "REGISTRY_TRUSTED_PROXIES": "127.0.0.1",  # each browser says its address
    }
    with running(place / "data", **trust, **environment) as server:
        provider.serve(server.url)
        provider.start()
        try:
            yield Site(server, provider)
        finally:
            provider.stop()
