"""Visitors of pages: who may read the content of this registry."""

from django.conf import settings
from django.http import HttpRequest

from registry_site.errors import Unauthenticated


def may_read(request: HttpRequest) -> bool:
    """Tell whether a visitor may see content: everybody, or those who have signed in (`REGISTRY_AUTH_REQUIRED`)."""
    return not settings.AUTH_REQUIRED or request.user.is_authenticated


def require_reader(request: HttpRequest) -> None:
    """Raise `Unauthenticated` unless the visitor may see content."""
    if not may_read(request):
        raise Unauthenticated("This registry shows its content only to those who have signed in.")
