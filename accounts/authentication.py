"""Authentication of DRF views: `request.user` is the account, `request.auth` the `Principal` for the domain verbs."""

import hashlib
import io
import re
from typing import Any, ClassVar, cast

from django.conf import settings
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request
from rest_framework_simplejwt.authentication import JWTAuthentication

from accounts import cross_site
from accounts.credentials import app_keys, browser_sessions, cargo_tokens, jwt_sessions
from accounts.models import User
from accounts.principals import Principal
from registry_site import errors
from registry_site.http.dialects import login_url
from registry_site.http.parsers import MAX_BODY_BYTES

Authenticated = tuple[User, Principal] | None


class CargoTokenAuthentication(BaseAuthentication):
    """The header `Authorization`: a token, bare as from cargo, or after `Bearer`, or `Token` as from Dependabot."""

    def authenticate(self, request: Request) -> Authenticated:
        token = self.get_token(request)
        if token is None:
            return None
        principal = cargo_tokens.authenticate(token)
        return principal.user, principal

    @staticmethod
    def get_token(request: Request) -> str | None:
        """Return the text of the header's token."""
        header = request.headers.get("Authorization")
        return None if header is None else CargoTokenAuthentication.plain_token(header)

    @staticmethod
    def plain_token(header: str) -> str:
        """Return the token in a header, which may come after a word."""
        return re.sub(r"(?i)^(bearer|token) +", "", header.strip())

    # DRF answers 403 instead of 401 without this header.
    def authenticate_header(self, request: Request) -> str:
        return f'Cargo login_url="{login_url()}"'


class JWTSessionAuthentication(JWTAuthentication):
    """The header `Authorization: Bearer <token>` with a JSON web token of one dialect."""

    token_class: ClassVar[type[jwt_sessions.SessionToken]]
    challenge: ClassVar[str]

    def authenticate(self, request: Request) -> Authenticated:  # type: ignore[override]  # ours returns a principal
        header = self.get_header(request)
        token = None if header is None else self.get_raw_token(header)
        if token is None:
            return None
        principal = jwt_sessions.authenticate(self.token_class, token.decode("latin-1"))
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return self.challenge


class BackupsSessionAuthentication(JWTSessionAuthentication):
    token_class = jwt_sessions.BackupsToken
    challenge = "JWT realm=backup-repository"


class TorrustSessionAuthentication(JWTSessionAuthentication):
    token_class = jwt_sessions.TorrustToken
    challenge = 'Bearer realm="torrust"'


class AppKeyAuthentication(BaseAuthentication):
    """The header `Token` or `X-Auth-Token`, signed with an app key. A cookie beside it is ignored."""

    def authenticate(self, request: Request) -> Authenticated:
        token = request.headers.get("Token", request.headers.get("X-Auth-Token"))
        if token is None:
            return None
        if request.content_type.startswith("multipart/form-data"):
            principal, sha256 = app_keys.authenticate(token, None)
            if sha256:
                stream = VerifiedStream(request._request._stream, sha256)
                request._request._stream = stream  # type: ignore[assignment]
            return principal.user, principal
        # The whole body is read to check its signature, before any parser could limit it.
        if int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
            raise errors.TooLarge(f"A signed body has at most {MAX_BODY_BYTES} bytes.")
        principal, _ = app_keys.authenticate(token, request._request.body)
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return "Token"


class BrowserSessionAuthentication(SessionAuthentication):
    """The cookie of a browser session.

    A change must come from a page of ours, from a program that has logged in by JSON, or with a CSRF token.
    """

    def authenticate(self, request: Request) -> Authenticated:
        principal = browser_sessions.get_principal(request._request)
        if principal is None:
            return None
        by_program = browser_sessions.is_of_program(request._request) and cross_site.is_sent_by_program(
            request._request
        )
        if not by_program and not cross_site.is_sent_by_own_page(request._request):
            self.enforce_csrf(request)
        return principal.user, principal

    def enforce_csrf(self, request: Request) -> None:
        """Check the CSRF token as Django does, and name the header that would have helped. Raises DRF's error."""
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied as error:
            if "Origin" in request.headers:  # it is there, and foreign
                raise
            origin = cross_site.own_origins(request._request)[-1]
            raise exceptions.PermissionDenied(
                f"{error.detail} The header Origin is missing: send `Origin: {origin}`, "
                f"or X-CSRFToken with the value of the cookie {settings.CSRF_COOKIE_NAME}."
            ) from error


class VerifiedStream(io.RawIOBase):
    """An upload with a signed SHA-256. The read of its end raises `Unauthenticated` if the SHA-256 differs.

    An upload is too large to be kept and checked before the view begins.
    """

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
    """Return the principal in a view whose permissions let no anonymous request pass."""
    return cast(Principal, request.auth)
