"""Readers of what programs fetch as well as browsers: feeds, badges and Markdown."""

from django.conf import settings
from django.http import HttpRequest

from accounts.authentication import CargoTokenAuthentication
from accounts.credentials import cargo_tokens
from accounts.scopes import Scope
from registry_site import visitors


def require_reader(request: HttpRequest) -> None:
    """Require a browser that is signed in, or a token that may read, where `REGISTRY_AUTH_REQUIRED` is set.

    Raises `Unauthenticated` and `PermissionDenied`.
    """
    token = request.headers.get("Authorization") if settings.AUTH_REQUIRED else None
    if token is None:
        visitors.require_reader(request)
    else:
        cargo_tokens.authenticate(CargoTokenAuthentication.plain_token(token)).require(Scope.READ)
