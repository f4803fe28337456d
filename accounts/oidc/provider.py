"""HTTP client of the OpenID provider: its metadata, its keys, tokens and userinfo.

The provider is not trusted to be fast, brief or right. All requests of one sign-in share a deadline, answers have a
maximum size, and few threads of a worker wait for it at a time. Each failure is a line of the log, for operators; the
message for the person at the page names its kind only.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings
from django.core.cache import cache

from registry_site import http_client
from registry_site.errors import PermissionDenied, UpstreamError
from registry_site.rate_limits import TokenBucket
from registry_site.upstream_failures import REFUSALS, FailureKind, logged_failure
from registry_site.upstream_limiter import Kind, limiter

TIMEOUT_SECONDS = 8  # for all requests of one sign-in together
MAX_ANSWER_BYTES = 1024 * 1024
REQUIRED_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
# Metadata and keys are reused for an hour. While the provider is down, the last answer serves for a week.
FRESH_SECONDS = 3600
STALE_SECONDS = 7 * 24 * 3600
RETRY_SECONDS = 10  # between two attempts after a failure
# For tokens with an unknown key: a provider may change its keys a few times in a row, and a forger sends any number.
KEY_SEARCHES = TokenBucket(size=5, seconds=10)
MAX_TEXT_LENGTH = {"error": 60, "error_description": 200}  # of the provider's own words in the log
# The provider refuses the registry itself (RFC 6749, section 5.2). Keycloak says the second to a wrong secret.
CLIENT_ERRORS = ("invalid_client", "unauthorized_client")
MESSAGES = {
    FailureKind.UNREACHABLE: "cannot be reached",
    FailureKind.UNTRUSTED: "has a certificate that this registry does not trust",
    FailureKind.LATE: "took too long",
    FailureKind.REFUSED: "refused the request of this registry",
    FailureKind.UNUSABLE: "does not answer as it should",
}

SIGN_IN = Kind(
    quarters=1, refusal="Openid error: too many are signing in at this moment, or the provider is slow; try again."
)


@dataclass(frozen=True)
class Answer:
    """An answer of the provider, and what it says about an error in its own words (RFC 6749, section 5.2)."""

    status: int
    body: bytes
    error: Mapping[str, str]

    def json_object(self) -> dict[str, Any]:
        if self.status != 200:
            verb = "refused the request of this registry with" if self.status in REFUSALS else "answers with"
            raise UpstreamError(f"Openid error: the provider {verb} {self.status}.")
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError) as error:
            raise UpstreamError("Openid error: the provider's answer is no JSON.") from error
        if not isinstance(value, dict):
            raise UpstreamError("Openid error: the provider's answer is no JSON object.")
        return value

    def refusal(self) -> PermissionDenied:
        """Return the error for a code that the provider refused to exchange."""
        code = self.error.get("error", "")
        reason = code if code and code.isascii() else "without a reason"
        if code in CLIENT_ERRORS:
            return PermissionDenied(
                f"Openid error: the provider refused this registry ({reason}): its client ID or client secret is wrong."
            )
        return PermissionDenied(f"Openid error: the provider refused the sign-in ({reason}); begin again at /me.")


class Provider:
    """The provider of `REGISTRY_OIDC_ISSUER`, for one sign-in.

    Every method raises `UpstreamError` when the provider fails or its answer cannot be used.
    """

    def __init__(self) -> None:
        self.deadline = time.monotonic() + TIMEOUT_SECONDS

    def metadata(self) -> dict[str, Any]:
        """Return the provider's metadata (OpenID Connect Discovery 1.0, section 3)."""

        def fetch() -> dict[str, Any]:
            address = settings.OIDC_ISSUER.rstrip("/") + "/.well-known/openid-configuration"
            with self._request("discovery", "GET", address) as answer:
                metadata = answer.json_object()
                if metadata.get("issuer") != settings.OIDC_ISSUER:
                    raise UpstreamError(
                        f"Openid error: the provider calls itself {str(metadata.get('issuer'))[:200]!r}, "
                        f"and REGISTRY_OIDC_ISSUER is {settings.OIDC_ISSUER!r}."
                    )
                for name in REQUIRED_ENDPOINTS:
                    _endpoint_of(metadata, name)
                return metadata

        return _cached("metadata", fetch)

    def endpoint(self, name: str) -> str:
        """Return the URL of an endpoint by its name in the metadata."""
        return _endpoint_of(self.metadata(), name)

    def end_session_endpoint(self) -> str | None:
        """Return the URL of the provider's sign-out, or None if there is none that can be used now."""
        name, host = "end_session_endpoint", urlsplit(settings.OIDC_ISSUER).netloc
        with suppress(UpstreamError):
            metadata = self.metadata()
            if metadata.get(name) is not None:
                with logged_failure("openid", "end-session", host, issuer=settings.OIDC_ISSUER):
                    return _endpoint_of(metadata, name)
        return None

    def keys(self, *, refresh: bool = False) -> list[dict[str, Any]]:
        """Return the provider's public keys (RFC 7517), fetched in any case with `refresh`."""

        def fetch() -> dict[str, Any]:
            with self._request("keys", "GET", self.endpoint("jwks_uri")) as answer:
                key_set = answer.json_object()
                if not isinstance(key_set.get("keys"), list):
                    raise UpstreamError("Openid error: the provider's keys cannot be read.")
                return key_set

        return [key for key in _cached("keys", fetch, refresh)["keys"] if isinstance(key, dict)]

    def newer_keys(self, former: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the keys, fetched again unless they differ from the former ones by now."""
        # One thread at a time: many that meet a new key together fetch it once.
        with limiter.slot(SIGN_IN):
            is_locked = _key_search.acquire(timeout=max(0.0, self.deadline - time.monotonic()))
            try:
                keys = self.keys()
                return self.keys(refresh=True) if is_locked and keys == former and KEY_SEARCHES.take() else keys
            finally:
                if is_locked:
                    _key_search.release()

    def exchange_code(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Exchange an authorization code for tokens (RFC 6749, section 4.1.3).

        Raises `PermissionDenied` when the provider refuses the code or the client.
        """
        fields, headers = dict(form), {"Content-Type": "application/x-www-form-urlencoded"}
        client_id, secret = settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET
        methods = self.metadata().get("token_endpoint_auth_methods_supported")
        # OpenID Connect Discovery 1.0, section 3: basic is the default of a provider that names no methods.
        takes_basic = not isinstance(methods, list) or "client_secret_basic" in methods
        if not secret or takes_basic:
            fields.pop("client_secret", None)
        if secret and takes_basic:
            # RFC 6749, section 2.3.1: both parts are form-encoded before base64.
            pair = f"{quote(client_id, '')}:{quote(secret, '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        address, body = self.endpoint("token_endpoint"), urlencode(fields).encode()
        secrets = [secret, form.get("code"), form.get("code_verifier")]
        with self._request("token", "POST", address, secrets, headers=headers, body=body) as answer:
            if answer.status in (400, 401, 403):
                raise answer.refusal()
            return answer.json_object()

    def fetch_userinfo(self, access_token: str) -> tuple[dict[str, Any] | None, str]:
        """Return the claims of the userinfo endpoint, or (None, signed text) from a provider that signs them."""
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json, application/jwt"}
        address = self.endpoint("userinfo_endpoint")
        with self._request("userinfo", "GET", address, [access_token], headers=headers) as answer:
            text = answer.body.strip().decode("ascii", "replace")
            if answer.status == 200 and text.count(".") == 2 and not text.startswith("{"):
                return None, text
            return answer.json_object(), ""

    @contextmanager
    def _request(
        self, step: str, method: str, address: str, secrets: Iterable[str | None] = (), **options: Any
    ) -> Iterator[Answer]:
        """Yield the answer, if it comes before the deadline.

        A failure of the request, and any that the block finds in the answer, is one line of the log, without `secrets`.
        """
        host = urlsplit(address).netloc.rpartition("@")[2]
        try:
            with limiter.slot(SIGN_IN), logged_failure("openid", step, host, issuer=settings.OIDC_ISSUER) as line:
                seconds = max(0.0, self.deadline - time.monotonic())
                answer = http_client.fetch(method, address, seconds=seconds, max_bytes=MAX_ANSWER_BYTES, **options)
                error = stated_error(_members(answer.body), secrets) if answer.status != 200 else {}
                line |= {"status": answer.status, **error}
                yield Answer(answer.status, answer.body, error)
        except http_client.RequestFailed as failure:
            raise UpstreamError(f"Openid error: the provider at {host} {MESSAGES[failure.kind]}.") from failure


def _cached(name: str, fetch: Callable[[], dict[str, Any]], refresh: bool = False) -> dict[str, Any]:
    """Return a fresh answer from the cache or the provider, or a stale one while the provider fails."""
    answer: dict[str, Any] | None = cache.get(_cache_key(name))
    if answer is not None and cache.get(_cache_key(f"{name} fresh")) and not refresh:
        return answer
    try:
        answer = fetch()
    except UpstreamError:
        if answer is None:
            raise
        # Not every sign-in has to wait for a provider that is down.
        cache.set(_cache_key(f"{name} fresh"), True, RETRY_SECONDS)
        return answer
    cache.set(_cache_key(name), answer, STALE_SECONDS)
    cache.set(_cache_key(f"{name} fresh"), True, FRESH_SECONDS)
    return answer


_key_search = threading.Lock()


def _cache_key(name: str) -> str:
    return f"openid {name} {settings.OIDC_ISSUER}".replace(" ", "-")


def _endpoint_of(metadata: Mapping[str, Any], name: str) -> str:
    """Return the URL of an endpoint; raises `UpstreamError` for no URL, and for http below an https issuer."""
    address = metadata.get(name)
    schemes = ("https", "http") if settings.OIDC_ISSUER.startswith("http:") else ("https",)
    try:
        # Only printable ASCII: the address goes into a `Location` header and a request line.
        if isinstance(address, str) and re.fullmatch("[!-~]+", address):
            parts = urlsplit(address)
            if parts.scheme in schemes and parts.hostname:
                return address
    except ValueError:  # urlsplit refuses some hosts, such as `[`
        pass
    raise UpstreamError(f"Openid error: the provider names no {name} that can be used.")


def stated_error(members: Mapping[str, Any], secrets: Iterable[str | None] = ()) -> dict[str, str]:
    """Return what a provider says about an error, fit for the log: printable, short, and without secrets."""
    texts = {}
    for name, length in MAX_TEXT_LENGTH.items():
        text = members.get(name)
        if isinstance(text, str) and text.isprintable():
            for secret in filter(None, secrets):  # it may quote the request
                text = text.replace(secret, "…")
            texts[name] = text[:length]
    return texts


def _members(body: bytes) -> Mapping[str, Any]:
    """Return the members of a JSON object, or none of anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
