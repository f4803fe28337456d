"""`/account/security`: the second factor of one's own account; and `/account/confirm`, which asks for a fresh proof."""

from functools import partial
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import closing, cross_site
from accounts.forms.second_factor import (
    AppForm,
    ConfirmByCodeForm,
    ConfirmByPasskeyForm,
    ConfirmByPasswordForm,
    NewPasskeyForm,
    RecoveryCodesForm,
    RemoveForm,
)
from accounts.pages.frame import confirmed_page, own_page
from accounts.pages.sign_in import FORM_METHODS
from accounts.principals import Principal
from accounts.second_factor import apps, authenticators, passkeys, policy, proofs, recovery_codes
from registry_site.forms import posted, render_form

PATH = "/account/security"


@require_http_methods(FORM_METHODS)
@never_cache
@own_page
def security(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/security`: the authenticators; by POST it removes one."""
    form = RemoveForm(principal, posted(request))
    if form.is_bound and form.submit():
        messages.success(request, f"{form.result.name} is no second factor any more.")
        return HttpResponseRedirect(PATH)
    context = {
        "authenticators": authenticators.list_authenticators(principal),
        "is_required": policy.is_missing(principal.user),
        "codes_left": recovery_codes.count(principal.user),
    }
    return render_form(request, "accounts/security.html", form, **context)


@require_http_methods(FORM_METHODS)
@never_cache
@partial(confirmed_page, always=True)
def new_app(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/security/app`: the QR code and a form, which comes back with the first code of the app."""
    form = AppForm(principal, posted(request))
    if form.is_bound and form.submit():
        return added(request, form.cleaned_data["name"], form.result)
    return render_form(request, "accounts/new_app.html", form, qr_code=apps.qr_code(form.setup_url))


def added(request: HttpRequest, name: str, codes: list[str]) -> HttpResponse:
    """Show the recovery codes that the first authenticator has made, or go back to the list."""
    if codes:
        return render(request, "accounts/recovery_codes_made.html", {"name": name, "codes": "\n".join(codes)})
    messages.success(request, f"{name} is a second factor from now on.")
    return HttpResponseRedirect(PATH)


@require_http_methods(FORM_METHODS)
@never_cache
@confirmed_page
def new_recovery_codes(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/security/recovery-codes`: a button, and by POST new codes, which are shown this once."""
    newest = recovery_codes.newest_key(principal.user)
    form = RecoveryCodesForm(principal, posted(request), initial={"newest": newest})
    if form.is_bound and form.submit():
        return render(request, "accounts/recovery_codes_made.html", {"codes": "\n".join(form.result)})
    codes_left = recovery_codes.count(principal.user)
    return render_form(request, "accounts/recovery_codes.html", form, newest=newest, codes_left=codes_left)


@require_http_methods(FORM_METHODS)
@never_cache
@own_page
def confirm(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/confirm`: a fresh proof, by the second factor or, without one, by the password; then on to `?next=`."""
    path = cross_site.next_path(request, default=PATH)
    by_passkey = "credential" in request.POST
    typed_form = form_to_confirm(principal, None if by_passkey else posted(request))
    form = ConfirmByPasskeyForm(principal, posted(request)) if by_passkey else typed_form
    if form.is_bound and form.submit():
        messages.success(request, "Confirmed: for 15 minutes you are not asked again.")
        return HttpResponseRedirect(path)
    context = {
        "typed_form": typed_form,
        "ceremony": passkeys.begin_use(principal.user, passkeys.state_of_confirming(principal)),
        "can_confirm": isinstance(typed_form, ConfirmByCodeForm) or closing.needs_password(principal.user),
    }
    return render_form(request, "accounts/confirm.html", form, next=path, **context)


def form_to_confirm(principal: Principal, data: Any) -> ConfirmByCodeForm | ConfirmByPasswordForm:
    """Return the form for a code, or for the password where there is no second factor."""
    if proofs.has_second_factor(principal.user):
        return ConfirmByCodeForm(principal, data).fit_to(principal.user)
    return ConfirmByPasswordForm(principal, data)


@require_http_methods(FORM_METHODS)
@never_cache
@partial(confirmed_page, always=True)
def new_passkey(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/security/passkey`: a button, which the browser answers with a new passkey."""
    form = NewPasskeyForm(principal, posted(request))
    if form.is_bound and form.submit():
        return added(request, form.cleaned_data["name"], form.result)
    context = {"ceremony": passkeys.begin_adding(principal), "are_possible": passkeys.are_possible()}
    return render_form(request, "accounts/new_passkey.html", form, **context)
