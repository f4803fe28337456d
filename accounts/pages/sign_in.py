"""Pages to sign in and out."""

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from mozilla_django_oidc.views import get_next_url

from accounts import cross_site
from accounts.api import ktra
from accounts.api.serializers import NO_STORE
from accounts.credentials import browser_sessions, cargo_tokens
from accounts.models import User
from accounts.oidc import flow
from accounts.oidc.flow import ACCOUNT_PATH
from accounts.principals import Principal
from registry_site.http.negotiation import wants_page


@require_safe
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in at the provider, and go on to the path in `?next=`."""
    # A link on another site must not replace the session by that of another user.
    if browser_sessions.get_principal(request) is not None and not cross_site.is_same_origin(request):
        return HttpResponseRedirect(get_next_url(request, "next") or ACCOUNT_PATH)
    return flow.begin_sign_in(request, "me")


def signed_in(request: HttpRequest, user: User, purpose: str, next_url: str | None) -> HttpResponse:
    """Answer after a sign-in at the provider: a redirect for a browser, the documented JSON for another client."""
    if wants_page(request):
        if purpose == "replace":
            cargo_tokens.rotate_default(user)
        return HttpResponseRedirect(next_url or ACCOUNT_PATH)
    if purpose == "replace":
        token = cargo_tokens.rotate_default(user)
    else:
        token = cargo_tokens.reveal_default_to(Principal(user), presented=None)
    return JsonResponse(ktra.describe_token(user, token), headers=NO_STORE)


@never_cache
def sign_out(request: HttpRequest) -> HttpResponse:
    """`GET /sign-out` in a browser: the button that signs out."""
    return render(request, "accounts/sign_out.html", {"principal": browser_sessions.get_principal(request)})
