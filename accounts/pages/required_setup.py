"""The way of a browser whose account has to get a second factor first: it gets the pages for that, and no other."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect

from accounts.credentials import browser_sessions
from accounts.pages import security
from accounts.second_factor import policy, proofs
from registry_site.http.error_handlers import domain_error_response
from registry_site.http.negotiation import accepts_html

ALLOWED = (security.PATH, proofs.CONFIRM_PATH, "/sign-out", "/sign-in", "/logout")  # and what lies beneath


def require_second_factor(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that leads such a browser to `/account/security`, and refuses other requests with its session."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if not is_held_back(request):
            return get_response(request)
        if accepts_html(request):
            return HttpResponseRedirect(security.PATH)
        return domain_error_response(request, policy.missing())

    return middleware


def is_held_back(request: HttpRequest) -> bool:
    """Return whether the signed-in user has to get a second factor first. By default this costs no query."""
    if settings.REQUIRE_SECOND_FACTOR == "none" or settings.SESSION_COOKIE_NAME not in request.COOKIES:
        return False
    if any(f"{request.path_info}/".startswith(f"{path}/") for path in ALLOWED):
        return False
    principal = browser_sessions.get_principal(request)
    return principal is not None and policy.is_missing(principal.user)
