"""Permissions of DRF views: which requests reach a view. Domain verbs decide what a principal may do there."""

from django.conf import settings
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from accounts import cross_site, readers
from accounts.authentication import get_principal
from accounts.scopes import Scope
from registry_site import errors
from registry_site.http.dialects import login_url


class AllowAny(BasePermission):
    """Every request, also where the settings require a token, such as for a log-in."""

    def is_open(self, method: str) -> bool:
        """Return whether anonymous requests pass. The description of the API states it."""
        return True


class AllowAnySameOrigin(AllowAny):
    """Every request but those of other sites' pages, which could sign a visitor in or out."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        cross_site.require_same_origin(request._request)
        return True


class AllowAnyTopLevel(AllowAny):
    """Every request; other sites' pages may link to the view, but not read its answer."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        cross_site.require_top_level_navigation(request._request)
        return True


class TokenRequired(BasePermission):
    """Requests with a valid token. To read takes the scope for it where `REGISTRY_AUTH_REQUIRED` is set."""

    def is_open(self, method: str) -> bool:
        return False

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth is None:
            raise errors.Unauthenticated(
                f"This needs a token: get one at {login_url()}, and hand it to `cargo login`.", code="no_credential"
            )
        if settings.AUTH_REQUIRED and request.method in SAFE_METHODS:
            get_principal(request).require(Scope.READ)
        return True


class ReadAccess(TokenRequired):
    """Every request, or those with the scope to read where `REGISTRY_AUTH_REQUIRED` is set."""

    def is_open(self, method: str) -> bool:
        return not settings.AUTH_REQUIRED

    def has_permission(self, request: Request, view: APIView) -> bool:
        may_read = not settings.AUTH_REQUIRED or super().has_permission(request, view)
        if may_read and request.auth is not None:
            access = f"{type(self).__name__} by {type(request.successful_authenticator).__name__}"
            readers.note(request._request, access, get_principal(request))
        return may_read


class TokenOrReadAccess(ReadAccess):
    """Reads as with `ReadAccess`, and changes with a valid token."""

    def is_open(self, method: str) -> bool:
        return method in SAFE_METHODS and super().is_open(method)

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method in SAFE_METHODS:
            return super().has_permission(request, view)
        return TokenRequired.has_permission(self, request, view)


class IsAuthenticated(BasePermission):
    """Requests with a credential of the view's dialect."""

    def is_open(self, method: str) -> bool:
        return False

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.auth is None:
            raise errors.Unauthenticated("This needs you to log in first.", code="no_credential")
        return True


class AuthenticatedOrReadOnly(IsAuthenticated):
    """Requests with a credential of the view's dialect; also reads without one, unless the settings require a token."""

    def is_open(self, method: str) -> bool:
        return method in SAFE_METHODS and not settings.AUTH_REQUIRED

    def has_permission(self, request: Request, view: APIView) -> bool:
        if self.is_open(request.method or ""):
            return True
        super().has_permission(request, view)
        if request.method in SAFE_METHODS:
            get_principal(request).require(Scope.READ)
        return True
