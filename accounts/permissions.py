"""Permissions of DRF views: who may ask at all. What one may do is decided by the domain verb that is called."""

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import cross_site
from accounts.authentication import get_principal
from accounts.scopes import Scope
from registry_site import errors
from registry_site.http.dialects import login_url


def _require_token(request: Request) -> None:
    if request.auth is None:
        raise errors.Unauthenticated(
            f"This needs a token: get one at {login_url()}, and hand it to `cargo login`.", code="no_credential"
        )


class AllowAny(BasePermission):
    """Open to the world, whatever the settings: how one gets an account."""

    def is_open(self, method: str) -> bool:
        """May somebody unknown ask? For the description of the API."""
        return True


class AllowAnySameOrigin(AllowAny):
    """Open to the world, but not to the pages of other sites: they could sign a visitor in or out."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        cross_site.require_same_origin(request._request)
        return True


class AllowAnyTopLevel(AllowAny):
    """Open to the world; the pages of other sites may send a visitor there, and not read what is said."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        cross_site.require_top_level_navigation(request._request)
        return True


class ReadAccess(BasePermission):
    """Open to the world, unless the registry requires a token for everything."""

    def is_open(self, method: str) -> bool:
        return not settings.AUTH_REQUIRED

    def has_permission(self, request: Request, view: APIView) -> bool:
        if not settings.AUTH_REQUIRED:
            return True
        _require_token(request)
        get_principal(request).require(Scope.READ)
        return True


class TokenRequired(BasePermission):
    """Whoever holds a good token; what it allows is decided by the verb that is called."""

    def is_open(self, method: str) -> bool:
        return False

    def has_permission(self, request: Request, view: APIView) -> bool:
        _require_token(request)
        return True


class AuthenticatedOrReadOnly(BasePermission):
    """Open to the world for looking; what one may see is decided by the verb that is called."""

    def is_open(self, method: str) -> bool:
        return method in SAFE_METHODS

    def has_permission(self, request: Request, view: APIView) -> bool:
        return request.method in SAFE_METHODS or IsAuthenticated().has_permission(request, view)


class IsAuthenticated(BasePermission):
    """Whoever is signed in, in the way of the view's dialect."""

    def is_open(self, method: str) -> bool:
        return False

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth is None:
            raise errors.Unauthenticated("This needs you to log in first.", code="no_credential")
        return True
