"""What a person sees of their account."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST, require_safe
from mozilla_django_oidc.views import get_next_url

from accounts import cross_site
from accounts.api import ktra
from accounts.api.shapes import NO_STORE
from accounts.credentials import browser_sessions, cargo_tokens
from accounts.models import User
from accounts.oidc import flow
from accounts.principals import Principal
from registry_site.cargo_config import REGISTRY_NAME
from registry_site.http.negotiation import wants_page

ACCOUNT_PATH = "/me"


@require_safe
@never_cache
def me(request: HttpRequest) -> HttpResponse:
    """`GET /me` in a browser: the address that `cargo login` prints."""
    if not settings.OIDC_LOGIN:
        return render(
            request, "accounts/me.html", {"public_url": settings.PUBLIC_URL, "signup_open": settings.SIGNUP_OPEN}
        )
    principal = browser_sessions.get_principal(request)
    if principal is None:
        return flow.begin_sign_in(request, "me")
    cross_site.require_top_level_navigation(request)
    return render(
        request, "accounts/token.html", _account(principal.user, cargo_tokens.get_or_create_default(principal.user))
    )


@csrf_protect
@never_cache
def replace_token(request: HttpRequest) -> HttpResponse:
    """`/replace_token` in a browser: also by GET, as documented; when another site asks, it has to be confirmed."""
    if not cross_site.is_same_origin(request):
        return render(request, "accounts/replace_token.html", status=403)
    principal = browser_sessions.get_principal(request)
    if principal is None:
        return flow.redirect_by_page(request, flow.begin_sign_in(request, "replace"))
    cargo_tokens.rotate_default(principal.user)
    return HttpResponseRedirect(ACCOUNT_PATH)


@require_POST
def link_identity(request: HttpRequest) -> HttpResponse:
    """To the provider, and back with an identity for the account that is signed in."""
    if browser_sessions.get_principal(request) is None:  # not to the provider, which would open another account
        return HttpResponseRedirect("/sign-in" if settings.PASSWORD_LOGIN else ACCOUNT_PATH)
    return flow.redirect_by_page(request, flow.begin_sign_in(request, "link"))


@require_safe
def sign_in(request: HttpRequest) -> HttpResponse:
    """`?next=` is where to go afterwards. Another site does not make somebody else of who is signed in."""
    if browser_sessions.get_principal(request) is not None and not cross_site.is_same_origin(request):
        return HttpResponseRedirect(get_next_url(request, "next") or ACCOUNT_PATH)
    return flow.begin_sign_in(request, "me")


def signed_in(request: HttpRequest, user: User, purpose: str, place: str | None) -> HttpResponse:
    """After the provider: a browser goes on to a page, a client that follows redirects is answered as documented."""
    if wants_page(request):
        if purpose == "replace":
            cargo_tokens.rotate_default(user)
        return HttpResponseRedirect(place or ACCOUNT_PATH)
    token = (
        cargo_tokens.rotate_default(user) if purpose == "replace" else cargo_tokens.reveal_default_to(Principal(user))
    )
    return JsonResponse(ktra.told(user, token), headers=NO_STORE)


def _account(user: User, token: cargo_tokens.DefaultToken) -> dict[str, Any]:
    return {
        "token": token,
        "login": user.login,
        "registry": REGISTRY_NAME,
        "identities": user.identities.all(),
        "issuer": settings.OIDC_ISSUER,
    }
