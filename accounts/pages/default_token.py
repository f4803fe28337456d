"""Pages of the default cargo token, the one that single sign-on gives."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_safe

from accounts import cross_site
from accounts.credentials import browser_sessions, cargo_tokens
from accounts.oidc import flow
from accounts.oidc.flow import ACCOUNT_PATH
from registry_site.cargo_config import REGISTRY_NAME


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
