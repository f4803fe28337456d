"""HTTP client of the OpenID provider: its metadata, its keys, tokens and userinfo.

The provider is not trusted to be fast, brief or right. All requests of one sign-in share a deadline, answers have a
maximum size, and few threads of a worker wait for it at a time.
"""

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings
from django.core.cache import cache

from registry_site import http_client
from registry_site.errors import PermissionDenied, UpstreamError
from registry_site.upstream_limiter import Kind, limiter

TIMEOUT_SECONDS = 8  # for all requests of one sign-in together
MAX_ANSWER_BYTES = 1024 * 1024
REQUIRED_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
# Metadata and keys are reused for an hour. While the provider is down, the last answer serves for a week.
FRESH_SECONDS = 3600
STALE_SECONDS = 7 * 24 * 3600
RETRY_SECONDS = 10  # between two attempts after a failure, and between two searches for an unknown key

SIGN_IN = Kind(
    quarters=1, refusal="Openid error: too many are signing in at this moment, or the provider is slow; try again."
)


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
            metadata = _json_object(*self._request("GET", address))
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

    def keys(self, *, refresh: bool = False) -> list[dict[str, Any]]:
        """Return the provider's public keys (RFC 7517); `refresh` fetches them, but not at every call."""

        def fetch() -> dict[str, Any]:
            key_set = _json_object(*self._request("GET", self.endpoint("jwks_uri")))
            if not isinstance(key_set.get("keys"), list):
                raise UpstreamError("Openid error: the provider's keys cannot be read.")
            return key_set

        # Anybody can send a token with an unknown key id: that must not fetch the keys each time.
        if refresh and cache.add(_cache_key("keys refreshed"), True, RETRY_SECONDS):
            cache.delete(_cache_key("keys fresh"))
        return [key for key in _cached("keys", fetch)["keys"] if isinstance(key, dict)]

    def exchange_code(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Exchange an authorization code for tokens (RFC 6749, section 4.1.3).

        Raises `PermissionDenied` when the provider refuses the code.
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
        status, body = self._request(
            "POST", self.endpoint("token_endpoint"), headers=headers, body=urlencode(fields).encode()
        )
        if status in (400, 401, 403):
            raise PermissionDenied(
                f"Openid error: the provider refused the sign-in ({_error_code(body)}); begin again at /me."
            )
        return _json_object(status, body)

    def fetch_userinfo(self, access_token: str) -> tuple[dict[str, Any] | None, str]:
        """Return the claims of the userinfo endpoint, or (None, signed text) from a provider that signs them."""
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json, application/jwt"}
        status, body = self._request("GET", self.endpoint("userinfo_endpoint"), headers=headers)
        text = body.strip().decode("ascii", "replace")
        if status == 200 and text.count(".") == 2 and not text.startswith("{"):
            return None, text
        return _json_object(status, body), ""

    def _request(self, method: str, address: str, **options: Any) -> tuple[int, bytes]:
        """Return status and body, if they come before the deadline."""
        try:
            with limiter.slot(SIGN_IN):
                seconds = max(0.0, self.deadline - time.monotonic())
                answer = http_client.fetch(method, address, seconds=seconds, max_bytes=MAX_ANSWER_BYTES, **options)
        except http_client.RequestFailed as error:
            host = urlsplit(address).netloc
            raise UpstreamError(f"Openid error: the provider at {host} does not answer as it should.") from error
        return answer.status, answer.body


def _cached(name: str, fetch: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return a fresh answer from the cache or the provider, or a stale one while the provider fails."""
    answer: dict[str, Any] | None = cache.get(_cache_key(name))
    if answer is not None and cache.get(_cache_key(f"{name} fresh")):
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


def _json_object(status: int, body: bytes) -> dict[str, Any]:
    if status != 200:
        raise UpstreamError(f"Openid error: the provider answers with {status}.")
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UpstreamError("Openid error: the provider's answer is no JSON.") from error
    if not isinstance(value, dict):
        raise UpstreamError("Openid error: the provider's answer is no JSON object.")
    return value


def _error_code(body: bytes) -> str:
    """Return the error code of a refused request (RFC 6749, section 5.2), if it is fit to be shown."""
    try:
        code = str(json.loads(body)["error"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return "without a reason"
    return code[:60] if code.isascii() and code.isprintable() else "without a reason"
