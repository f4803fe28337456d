"""How DRF views learn who asks: `request.user` is the account, `request.auth` the `Principal` for the verbs."""

import hashlib
import io
import re
from typing import Any, ClassVar, cast

from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication

from accounts import cross_site
from accounts.credentials import app_keys, browser_sessions, cargo_tokens, jwt_sessions
from accounts.models import User
from accounts.principals import Principal
from registry_site import errors
from registry_site.http.dialects import login_url
from registry_site.http.parsers import MAXIMUM_BODY

Authenticated = tuple[User, Principal] | None


class CargoTokenAuthentication(BaseAuthentication):
    """`Authorization: <token>`, the token bare as cargo sends it, or after `Bearer`. Headers only."""

    def authenticate(self, request: Request) -> Authenticated:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        principal = cargo_tokens.authenticate(re.sub(r"(?i)^bearer +", "", header.strip()))
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return f'Cargo login_url="{login_url()}"'


class JWTSessionAuthentication(JWTAuthentication):
    """`Authorization: Bearer <token>` of one dialect's kind; nothing else of a request can hold one."""

    kind: ClassVar[type[jwt_sessions.SessionToken]]
    challenge: ClassVar[str]

    def authenticate(self, request: Request) -> Authenticated:  # type: ignore[override]  # ours gives a principal
        header = self.get_header(request)
        token = None if header is None else self.get_raw_token(header)
        if token is None:
            return None
        principal = jwt_sessions.authenticate(self.kind, token.decode("latin-1"))
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return self.challenge


class BackupsSessionAuthentication(JWTSessionAuthentication):
    kind = jwt_sessions.BackupsToken
    challenge = "JWT realm=backup-repository"


class TorrustSessionAuthentication(JWTSessionAuthentication):
    kind = jwt_sessions.TorrustToken
    challenge = 'Bearer realm="torrust"'


class AppKeyAuthentication(BaseAuthentication):
    """A signed `Token` (or `X-Auth-Token`) header; where there is one, a cookie counts for nothing."""

    def authenticate(self, request: Request) -> Authenticated:
        token = request.headers.get("Token", request.headers.get("X-Auth-Token"))
        if token is None:
            return None
        if request.content_type.startswith("multipart/form-data"):
            principal, signed = app_keys.authenticate(token, None)
            if signed:
                request._request._stream = VerifiedStream(request._request._stream, signed)  # type: ignore[assignment]
            return principal.user, principal
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAXIMUM_BODY:
            raise errors.TooLarge(f"A signed body has at most {MAXIMUM_BODY} bytes.")
        principal, _ = app_keys.authenticate(token, request._request.body)
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return "Token"


class BrowserSessionAuthentication(SessionAuthentication):
    """The cookie of who logged in; what it changes needs a proof that the request comes from our own pages."""

    def authenticate(self, request: Request) -> Authenticated:
        found = browser_sessions.get_principal(request._request)
        if found is None:
            return None
        if not is_sent_by_own_page(request):
            self.enforce_csrf(request)
        return found.user, found


class VerifiedStream(io.RawIOBase):
    """A body that is not kept: whoever reads it to its end learns there when it is not the one that was signed."""

    def __init__(self, stream: Any, sha256: bytes) -> None:
        self.stream = stream
        self.sha256 = sha256
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data: bytes = self.stream.read(len(buffer))
        self.digest.update(data)
        if not data and self.digest.digest() != self.sha256:
            raise errors.Unauthenticated(app_keys.NOT_GOOD)
        buffer[: len(data)] = data
        return len(data)


def get_principal(request: Request) -> Principal:
    """Who asks, in a view that only a `Holder` reaches."""
    return cast(Principal, request.auth)


def is_sent_by_own_page(request: Request) -> bool:
    """Does the browser say that one of our own pages sent this? Scripts of other sites cannot make it say so."""
    here = cross_site.own_origins(request._request)
    return request.headers.get("Origin") in here or request.headers.get("Sec-Fetch-Site") == "same-origin"
