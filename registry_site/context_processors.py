"""What every page needs to know of the registry: the ways to sign in, the mirror, and announcements."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from registry_site import announcements


def site(request: HttpRequest | None = None) -> dict[str, Any]:
    """Return the settings that the header and the footer of each page show; error pages call it without a request."""
    return {
        "site": {
            "has_mirror": settings.MIRROR,
            "has_sign_up": settings.SIGNUP_OPEN and settings.PASSWORD_LOGIN,
            "has_provider": settings.OIDC_LOGIN,
            "has_passwords": settings.PASSWORD_LOGIN,
            "public_url": settings.PUBLIC_URL,
        },
        "announcements": announcements.on_pages,  # called by a template that shows them
    }
