"""Single sign-on for tests: a certified OpenID provider, registries that trust it, and browsers of people."""

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

NODE_DIRECTORY = Path(__file__).resolve().parent / "openid_provider"
CLIENT = "registry"
SECRET = "s3cret/+ x:%"  # characters that need encoding
CALLBACKS = ("/ktra/api/v1/openid/me", "/ktra/api/v1/openid/replace")
PAGE, DATA = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "*/*"  # the `Accept` of browsers, and of curl
SIGN_IN = "/openid/sign-in?next=/me"  # the button of the page


def install() -> None:
    """Install the provider by npm, unless that was done since its lock file changed; one process at a time."""
    if shutil.which("node") is None:
        raise AssertionError("The tests of single sign-on need Node.js 20 or newer: there is no `node` on the path.")
    lock, stamp = NODE_DIRECTORY / "package-lock.json", NODE_DIRECTORY / "node_modules" / ".package-lock.json"
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if stamp.exists() and stamp.stat().st_mtime >= lock.stat().st_mtime:
            return
        if shutil.which("npm") is None:
            raise AssertionError("The tests of single sign-on need `npm` to fetch the provider, and it is not there.")
        npm = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund"], cwd=NODE_DIRECTORY, capture_output=True, text=True, timeout=300
        )
        if npm.returncode:
            raise AssertionError(f"`npm ci` in {NODE_DIRECTORY} failed:\n{npm.stdout}{npm.stderr}")
        stamp.touch()


def new_key(name: str) -> dict[str, Any]:
    """Return a private key in the provider's format (RFC 7517)."""
    key = RSAAlgorithm.to_jwk(rsa.generate_private_key(public_exponent=65537, key_size=2048), as_dict=True)
    key.pop("key_ops", None)  # with it, the provider cannot verify its own signatures
    return {**key, "kid": name, "use": "sig", "alg": "RS256"}


class Provider:
    """The npm package oidc-provider; people sign in with their subject and any password."""

    def __init__(self, directory: Path, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self.issuer = f"http://{host}:{self.port}"
        self.file = directory / "provider.json"
        self.log = directory / "provider.log"
        self.clients: list[dict[str, Any]] = []
        self.people: dict[str, dict[str, Any]] = {}
        self.keys = [new_key("first")]

    def add_person(self, subject: str, **claims: Any) -> str:
        """Let the provider send these claims of a person from the next sign-in on; return the subject."""
        self.people[subject] = claims
        self._write()
        return subject

    def add_client(self, registry: str) -> None:
        """Register the registry at this URL as a client; call it before the start."""
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
                cwd=NODE_DIRECTORY,
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
        """Stop the provider, which forgets its sessions."""
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
        # The provider must never read half a file.
        new_file = self.file.with_suffix(".new")
        new_file.write_text(json.dumps(settings))
        new_file.replace(self.file)


class Site(NamedTuple):
    """A registry, and the provider that people sign in at."""

    server: Server
    provider: Provider

    def browser(self, accept: str = PAGE) -> "Browser":
        return Browser(self, accept)

    def client(self) -> "Browser":
        """Return a program that follows redirects and gets JSON."""
        return Browser(self, DATA)

    def new_person(self, subject: str, **claims: Any) -> tuple["Browser", str]:
        """Sign a new person in with a program; return the program and the new token."""
        client = self.client()
        response = client.sign_in(self.provider.add_person(subject, **{"nickname": subject, **claims}))
        assert response.status_code == 200, response.text
        return client, str(response.json()["new_token"])

    def run_sql(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement in the registry's database and return its rows."""
        url = self.server.environment.get("REGISTRY_DATABASE_URL")
        if url is not None:
            with psycopg.connect(url, autocommit=True) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        with closing(sqlite3.connect(self.server.data / "registry.sqlite3", timeout=20, isolation_level=None)) as rows:
            return rows.execute(statement).fetchall()


_addresses = itertools.count(1)


class Browser:
    """A browser with cookies and an address of its own: the sign-ins from one address are limited."""

    def __init__(self, site: Site, accept: str) -> None:
        self.site = site
        self.url = site.server.url
        self.session = requests.Session()
        self.prompts: list[str] = []  # names of the provider's forms, such as `login`
        number = next(_addresses)
        self.session.headers.update({"Accept": accept, "X-Forwarded-For": f"10.0.{number // 250}.{number % 250 + 1}"})

    def request(
        self, method: str, path: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send a request without following redirects."""
        return self.session.request(
            method, urljoin(self.url, path), data=form, headers=headers, allow_redirects=False, timeout=30
        )

    def get(self, path: str, **headers: str) -> requests.Response:
        """Send a GET request; `Sec_Fetch_Site="none"` is the header of that name."""
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def press_button(self, path: str, page: str = "/account/tokens") -> requests.Response:
        """Submit the form of a page that is sent to `path`."""
        return self.request("POST", path, {"csrfmiddlewaretoken": self.csrf_token(page)}, {"Origin": self.url})

    def follow_redirects(self, response: requests.Response) -> requests.Response:
        """Follow redirects within the registry."""
        while response.is_redirect and urljoin(response.url, response.headers["Location"]).startswith(self.url):
            response = self._follow(response)
        return response

    @property
    def way_in(self) -> str:
        """The path where a sign-in begins: programs ask `/me`, people follow the link of `/sign-in`."""
        return "/me" if self.session.headers["Accept"] == DATA else SIGN_IN

    def callback_url(self, subject: str, path: str = "") -> str:
        """Fill in the provider's forms and return the URL that the provider redirects back to."""
        return self.through_provider(self.get(path or self.way_in).headers["Location"], subject)

    def sign_in(self, subject: str, path: str = "") -> requests.Response:
        return self.follow_redirects(self.get(self.callback_url(subject, path)))

    def abort(self, path: str = "") -> requests.Response:
        """Follow the link of the provider's first form that aborts the sign-in."""
        form = self._follow(self._follow(self.get(path or self.way_in)))
        [link] = re.findall(r'href="([^"]+/abort)"', form.text)
        return self._follow(self._follow(self.get(link)))

    def _follow(self, response: requests.Response) -> requests.Response:
        return self.get(urljoin(response.url, response.headers["Location"]))

    def through_provider(self, url: str, subject: str) -> str:
        """Begin at a URL of the provider, fill in its forms, and return the URL that it redirects to in the end."""
        while url.startswith(f"{self.site.provider.issuer}/"):
            response = self.get(url)
            if not response.is_redirect:
                self.prompts.append(hidden_fields(response.text).get("prompt", "logout"))
                response = self.submit(response.text, {"login": subject, "password": "any", "logout": "yes"})
            url = urljoin(response.url, response.headers["Location"])
        return url

    def forget_provider(self) -> None:
        """Delete the provider's cookies, as when another person uses the computer."""
        jar: CookieJar = self.session.cookies
        for cookie in list(jar):
            if cookie.name.startswith("_"):
                jar.clear(cookie.domain, cookie.path, cookie.name)

    def submit(self, page: str, filled_in: dict[str, str]) -> requests.Response:
        """Submit the first form in the content of a page."""
        page = page.partition("<main")[2] or page
        action = re.search(r'<form [^>]*action="([^"]+)"', page)
        assert action, page
        return self.request("POST", html.unescape(action[1]), {**hidden_fields(page), **filled_in})

    def csrf_token(self, path: str) -> str:
        """Return the token in the form of a page."""
        return hidden_fields(self.get(path, Accept=PAGE).text)["csrfmiddlewaretoken"]

    def log_in_with_password(self, name: str, password: str) -> requests.Response:
        form = {"csrfmiddlewaretoken": self.csrf_token("/sign-in"), "username": name, "password": password}
        return self.request("POST", "/sign-in", form, {"Origin": self.url})

    def session_cookie(self) -> str:
        return str(self.session.cookies["registry_session"])

    def with_cookie(self, value: str) -> "Browser":
        """Return another browser with this session cookie only."""
        other = Browser(self.site, str(self.session.headers["Accept"]))
        other.session.cookies.set("registry_session", value)
        return other

    def signed_in_name(self) -> str | None:
        """Return the name of the signed-in user, or None."""
        response = self.get("/me", Accept=DATA)
        return None if response.is_redirect else str(response.json()["username"])


def hidden_fields(page: str) -> dict[str, str]:
    return {
        name: html.unescape(value)
        for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page)
    }


def refresh_url(page: str) -> str:
    """Return the URL that a page leads to by itself."""
    url = re.search(r'<meta http-equiv="refresh" content="0; url=([^"]+)">', page)
    assert url, page
    return html.unescape(url[1])


def query_of(address: str) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(urlsplit(address).query, keep_blank_values=True).items()}


@contextmanager
def single_sign_on(directory: Path, host: str = "127.0.0.1", **environment: str) -> Iterator[Site]:
    """Start a provider and a registry that trusts it."""
    provider = Provider(directory, host)
    settings = {
        "REGISTRY_OIDC_ISSUER": provider.issuer,
        "REGISTRY_OIDC_CLIENT_ID": CLIENT,
        "REGISTRY_OIDC_CLIENT_SECRET": SECRET,
        "REGISTRY_TRUSTED_PROXIES": "127.0.0.1",  # each browser sends its address
    }
    with running(directory / "data", **settings, **environment) as server:
        provider.add_client(server.url)
        provider.start()
        try:
            yield Site(server, provider)
        finally:
            provider.stop()
