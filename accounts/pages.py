"""Pages for a person's own account: sign-in, the cargo token, linked identities."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods, require_safe
from mozilla_django_oidc.views import get_next_url

from accounts import cross_site
from accounts.api import ktra
from accounts.api.serializers import NO_STORE
from accounts.credentials import browser_sessions, cargo_tokens
from accounts.models import User
from accounts.oidc import flow
from accounts.oidc.flow import ACCOUNT_PATH
from accounts.principals import Principal
from registry_site.cargo_config import REGISTRY_NAME
from registry_site.http.negotiation import wants_page


@require_safe
@never_cache
def me(request: HttpRequest) -> HttpResponse:
    """`GET /me` in a browser: the address that `cargo login` prints."""
    if not settings.OIDC_LOGIN:
        context = {"public_url": settings.PUBLIC_URL, "signup_open": settings.SIGNUP_OPEN}
        return render(request, "accounts/me.html", context)
    principal = browser_sessions.get_principal(request)
    if principal is None:
        return flow.begin_sign_in(request, "me")
    cross_site.require_top_level_navigation(request)
    user = principal.user
    context = {
        "token": cargo_tokens.get_or_create_default(user),
        "login": user.login,
        "registry": REGISTRY_NAME,
        "identities": user.identities.all(),
        "issuer": settings.OIDC_ISSUER,
    }
    return render(request, "accounts/token.html", context)


@csrf_protect
@never_cache
def replace_token(request: HttpRequest) -> HttpResponse:
    """`/replace_token` in a browser, by POST or by GET, as documented. A link on another site needs a confirmation."""
    if not cross_site.is_same_origin(request):
        return render(request, "accounts/replace_token.html", status=403)
    principal = browser_sessions.get_principal(request)
    if principal is None:
        return flow.redirect_by_page(request, flow.begin_sign_in(request, "replace"))
    cargo_tokens.rotate_default(principal.user)
    return HttpResponseRedirect(ACCOUNT_PATH)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def link_identity(request: HttpRequest) -> HttpResponse:
    """`/openid/link`: sign in at the provider, and link that identity to the signed-in account.

    GET shows the button that sends the form.
    """
    # Without a session here, the sign-in would open another account instead of linking an identity.
    principal = browser_sessions.get_principal(request)
    if principal is None:
        return HttpResponseRedirect("/sign-in" if settings.PASSWORD_LOGIN else ACCOUNT_PATH)
    if request.method != "POST":
        context = {"login": principal.user.login, "issuer": settings.OIDC_ISSUER, "action": request.get_full_path()}
        return render(request, "accounts/link_identity.html", context)
    return flow.redirect_by_page(request, flow.begin_sign_in(request, "link"))


@never_cache
def sign_out(request: HttpRequest) -> HttpResponse:
    """`GET /sign-out` in a browser: the button that signs out."""
    return render(request, "accounts/sign_out.html", {"principal": browser_sessions.get_principal(request)})


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
