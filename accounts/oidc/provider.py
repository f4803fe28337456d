"""The OpenID provider at the other end: what it says of itself, its keys, its answers.

Nothing here trusts it to be quick, short or right: a request has a deadline however slowly the answer drips, an answer
a size, and no more than a few of this process wait for it at once.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.conf import settings
from django.core.cache import cache

from registry_site import http_client
from registry_site.errors import PermissionDenied, UpstreamError

TIMEOUT_SECONDS = 8  # for all that one sign-in asks of the provider
MAX_ANSWER_BYTES = 1024 * 1024  # bytes of an answer
MAX_CONCURRENT_REQUESTS = 4
REQUIRED_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
FRESH_SECONDS = 3600  # seconds for which what it says of itself, and its keys, are taken as they are
STALE_SECONDS = 7 * 24 * 3600  # seconds for which the last answer serves while the provider does not answer
RETRY_SECONDS = 10  # seconds between two looks for a key that is not there

_slots = threading.BoundedSemaphore(MAX_CONCURRENT_REQUESTS)


class Provider:
    """The provider of `REGISTRY_OIDC_ISSUER`, for one sign-in. Raises `UpstreamError` for any failure of it."""

    def __init__(self) -> None:
        self.until = time.monotonic() + TIMEOUT_SECONDS

    def metadata(self) -> dict[str, Any]:
        """OpenID Connect Discovery 1.0, section 3."""
        return self._cached("metadata", self._discover)

    def endpoint(self, name: str) -> str:
        """The address of one of its endpoints."""
        return _usable(self.metadata(), name)

    def keys(self, *, anew: bool = False) -> list[dict[str, Any]]:
        """Its public keys (RFC 7517); `anew` for one that is not among those that are known, but not all the time."""
        if anew and cache.add(_key("asked"), True, RETRY_SECONDS):
            cache.delete(_key("keys fresh"))
        keys = self._cached("keys", self._key_set)["keys"]
        return [key for key in keys if isinstance(key, dict)]

    def tokens(self, form: Mapping[str, str]) -> dict[str, Any]:
        """What it gives for a code (RFC 6749, section 4.1.3).

        Raises `PermissionDenied` when it gives nothing for it.
        """
        sent, headers = dict(form), {"Content-Type": "application/x-www-form-urlencoded"}
        if not settings.OIDC_RP_CLIENT_SECRET or self._takes_basic():
            sent.pop("client_secret", None)
        if settings.OIDC_RP_CLIENT_SECRET and self._takes_basic():
            headers["Authorization"] = _basic(settings.OIDC_RP_CLIENT_ID, settings.OIDC_RP_CLIENT_SECRET)
        place = self.endpoint("token_endpoint")
        status, answer = self._ask("POST", place, headers=headers, body=urlencode(sent).encode())
        if status in (400, 401, 403):
            raise PermissionDenied(
                f"Openid error: the provider refused the sign-in ({_reason(answer)}); begin again at /me."
            )
        return _object(status, answer)

    def userinfo(self, access_token: str) -> tuple[dict[str, Any] | None, str]:
        """What it says of the user: an object, or (None, signed text)."""
        headers = {"Authorization": f"Bearer {access_token}", "Accept": "application/json, application/jwt"}
        status, answer = self._ask("GET", self.endpoint("userinfo_endpoint"), headers=headers)
        signed = answer.strip().decode("ascii", "replace")
        if status == 200 and signed.count(".") == 2 and not signed.startswith("{"):
            return None, signed
        return _object(status, answer), ""

    def _takes_basic(self) -> bool:
        """Basic is what it takes if it does not say."""
        methods = self.metadata().get("token_endpoint_auth_methods_supported")
        return not isinstance(methods, list) or "client_secret_basic" in methods

    def _discover(self) -> dict[str, Any]:
        found = self._get(settings.OIDC_ISSUER.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != settings.OIDC_ISSUER:
            raise UpstreamError(
                f"Openid error: the provider calls itself {str(found.get('issuer'))[:200]!r}, "
                f"and REGISTRY_OIDC_ISSUER is {settings.OIDC_ISSUER!r}."
            )
        for name in REQUIRED_ENDPOINTS:
            _usable(found, name)
        return found

    def _key_set(self) -> dict[str, Any]:
        found = self._get(self.endpoint("jwks_uri"))
        if not isinstance(found.get("keys"), list):
            raise UpstreamError("Openid error: the provider's keys cannot be read.")
        return found

    def _get(self, address: str) -> dict[str, Any]:
        return _object(*self._ask("GET", address))

    def _cached(self, name: str, ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """An answer of the last hour; an older one when there is no better."""
        known: dict[str, Any] | None = cache.get(_key(name))
        if known is not None and cache.get(_key(f"{name} fresh")):
            return known
        try:
            known = ask()
        except UpstreamError:
            if known is None:
                raise
            cache.set(_key(f"{name} fresh"), True, RETRY_SECONDS)
            return known
        cache.set(_key(name), known, STALE_SECONDS)
        cache.set(_key(f"{name} fresh"), True, FRESH_SECONDS)
        return known

    def _ask(self, method: str, address: str, **options: Any) -> tuple[int, bytes]:
        """Status and body, before the time is up."""
        if not _slots.acquire(timeout=max(0.0, min(1.0, self._left()))):
            raise UpstreamError(
                "Openid error: too many are signing in at this moment, or the provider is slow; try again."
            )
        try:
            answer = http_client.fetch(
                method, address, seconds=max(0.0, self._left()), largest=MAX_ANSWER_BYTES, **options
            )
        except http_client.RequestFailed as error:
            place = urlsplit(address).netloc
            raise UpstreamError(f"Openid error: the provider at {place} does not answer as it should.") from error
        finally:
            _slots.release()
        return answer.status, answer.body

    def _left(self) -> float:
        return self.until - time.monotonic()


def _basic(name: str, secret: str) -> str:
    """RFC 6749, section 2.3.1: both are encoded as in a form first."""
    return "Basic " + base64.b64encode(f"{quote(name, '')}:{quote(secret, '')}".encode()).decode()


def _usable(found: Mapping[str, Any], name: str) -> str:
    """The address of this name; raises `UpstreamError` for what is none, or is not as safe as the issuer."""
    address = found.get(name)
    schemes = ("https", "http") if settings.OIDC_ISSUER.startswith("http:") else ("https",)
    try:
        if isinstance(address, str) and re.fullmatch("[!-~]+", address):
            parts = urlsplit(address)
            if parts.scheme in schemes and parts.hostname:
                return address
    except ValueError:
        pass
    raise UpstreamError(f"Openid error: the provider names no {name} that can be used.")


def _object(status: int, answer: bytes) -> dict[str, Any]:
    if status != 200:
        raise UpstreamError(f"Openid error: the provider answers with {status}.")
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise UpstreamError("Openid error: the provider's answer is no JSON.") from error
    if not isinstance(found, dict):
        raise UpstreamError("Openid error: the provider's answer is no JSON object.")
    return found


def _reason(answer: bytes) -> str:
    """Its code for what is wrong (RFC 6749, section 5.2), if that is what it is."""
    try:
        reason = str(json.loads(answer)["error"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return "without a reason"
    return reason[:60] if reason.isascii() and reason.isprintable() else "without a reason"


def _key(name: str) -> str:
    return f"openid {name} {settings.OIDC_ISSUER}".replace(" ", "-")
