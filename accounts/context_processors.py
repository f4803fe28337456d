"""The signed-in user of a page."""

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from accounts.credentials import browser_sessions


def account(request: HttpRequest) -> dict[str, Any]:
    """Return `principal`, the signed-in user with the session, or None; read when a template first needs it.

    A visitor without a session cookie costs no query. The request of an error page may have no user yet.
    """
    if not hasattr(request, "user"):
        return {}
    return {"principal": SimpleLazyObject(lambda: browser_sessions.get_principal(request))}
