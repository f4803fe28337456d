"""How DRF views learn who asks: `request.user` is the account, `request.auth` the `Principal` for the verbs."""

import re
from typing import cast

from django.conf import settings
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import tokens
from accounts.models import User
from accounts.principals import Principal
from registry_site.dialects import login_url
from registry_site.errors import Unauthenticated


class CargoToken(BaseAuthentication):
    """`Authorization: <token>`, the token bare as cargo sends it, or after `Bearer`. Headers only."""

    def authenticate(self, request: Request) -> tuple[User, Principal] | None:
        header = request.headers.get("Authorization")
        if header is None:
            return None
        principal = tokens.holder(re.sub(r"(?i)^bearer +", "", header.strip()))
        return principal.user, principal

    def authenticate_header(self, request: Request) -> str:
        return f'Cargo login_url="{login_url()}"'


def principal(request: Request) -> Principal:
    """Who asks, in a view that only a `Holder` reaches."""
    return cast(Principal, request.auth)


def _require_token(request: Request) -> None:
    if request.auth is None:
        raise Unauthenticated(f"This needs a token: get one at {login_url()}, and hand it to `cargo login`.")


class Anyone(BasePermission):
    """Open to the world, whatever the settings: how one gets an account."""


class Reader(BasePermission):
    """Open to the world, unless the registry requires a token for everything."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not settings.AUTH_REQUIRED:
            return True
        _require_token(request)
        principal(request).require(tokens.Scope.READ)
        return True


class Holder(BasePermission):
    """Whoever holds a good token; what it allows is decided by the verb that is called."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        _require_token(request)
        return True
