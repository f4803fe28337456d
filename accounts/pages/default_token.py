"""Pages of the default cargo token, the one that single sign-on gives."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_safe

from accounts import cross_site
from accounts.credentials import browser_sessions, cargo_tokens
from accounts.oidc import flow
from accounts.oidc.flow import ACCOUNT_PATH
from accounts.pages.frame import to_confirmation
from accounts.pages.tokens import PATH as TOKENS_PATH
from accounts.second_factor import proofs


@require_safe
@never_cache
def me(request: HttpRequest) -> HttpResponse:
    """`GET /me` in a browser: the address that `cargo login` prints."""
    principal = browser_sessions.get_principal(request)
    if principal is None and settings.OIDC_LOGIN and not settings.PASSWORD_LOGIN:  # there is nothing to choose
        return flow.begin_sign_in(request, "me")
    if principal is not None and settings.OIDC_LOGIN:
        cross_site.require_top_level_navigation(request)
        # A browser that has to prove its user first makes it by the button of the page.
        if not proofs.is_due(principal) and cargo_tokens.get_or_create_default(principal.user).is_new:
            messages.success(request, "Your default token is new.")
    return HttpResponseRedirect(TOKENS_PATH if principal else f"/sign-in?{urlencode({'next': ACCOUNT_PATH})}")


@csrf_protect
@never_cache
def replace_token(request: HttpRequest) -> HttpResponse:
    """`/replace_token` in a browser, by POST or by GET, as documented. A link on another site needs a confirmation."""
    if not cross_site.is_same_origin(request):
        return render(request, "accounts/replace_token.html", status=403)
    principal = browser_sessions.get_principal(request)
    if principal is None:
        return flow.redirect_by_page(request, flow.begin_sign_in(request, "replace"))
    if proofs.is_due(principal):
        return to_confirmation(TOKENS_PATH)
    cargo_tokens.rotate_default_for(principal, presented=None)
    return HttpResponseRedirect(ACCOUNT_PATH)
