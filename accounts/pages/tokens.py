"""Pages of one's own cargo tokens: list, make and revoke them."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import cross_site
from accounts.credentials import cargo_tokens, own_tokens
from accounts.forms.tokens import PRESETS, RevokeTokenForm, TokenForm, preset_values
from accounts.pages.frame import confirmed_page, own_page
from accounts.pages.sign_in import FORM_METHODS
from accounts.principals import Principal
from accounts.second_factor import proofs
from registry_site.cargo_config import REGISTRY_NAME, cargo_config, token_variable
from registry_site.forms import posted, render_form

PATH = "/account/tokens"


@require_http_methods(FORM_METHODS)
@never_cache
@own_page
def tokens(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/tokens`: the list; by POST it revokes a token."""
    if request.method == "POST":
        return revoke(request, principal)
    context = {
        "tokens": own_tokens.list_tokens(principal),
        "expired": own_tokens.list_expired_tokens(principal),
        **(sign_on_context(request, principal) if settings.OIDC_LOGIN else {}),
    }
    return render(request, "accounts/tokens.html", context)


def sign_on_context(request: HttpRequest, principal: Principal) -> dict[str, Any]:
    """Return what the page shows where a provider signs people in: their default token above all."""
    cross_site.require_top_level_navigation(request)  # no page of another site may read it
    default = cargo_tokens.find_default(principal.user)
    return {"default": default, "is_proof_due": proofs.is_due(principal), "registry": REGISTRY_NAME}


def revoke(request: HttpRequest, principal: Principal) -> HttpResponse:
    form = RevokeTokenForm(principal, request.POST)
    if form.submit():
        messages.success(request, f"The token {form.result.name} is revoked: whatever uses it is refused from now on.")
    else:
        messages.error(request, "You have no such token; it may be revoked already.")
    return HttpResponseRedirect(PATH)


@require_http_methods(FORM_METHODS)
@never_cache
@confirmed_page
def new_token(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/tokens/new`: the form, and by POST the new token, which is shown this once."""
    preset, crate = request.GET.get("preset", ""), request.GET.get("crate", "")
    form = TokenForm(principal, posted(request), initial=preset_values(preset, crate))
    if not (form.is_bound and form.submit()):
        return render_form(request, "accounts/new_token.html", form, presets=PRESETS, preset=preset)
    token, text = form.result
    context = {
        "token": token,
        "text": text,
        "registry": REGISTRY_NAME,
        "variable": token_variable(),
        "cargo_config": cargo_config(),
    }
    return render(request, "accounts/token_made.html", context)
