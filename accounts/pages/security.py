"""`/account/security`: the second factor of one's own account; and `/account/confirm`, which asks for a fresh proof."""

from functools import partial

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts import cross_site
from accounts.forms.second_factor import (
    AppForm,
    ConfirmByCodeForm,
    ConfirmByPasswordForm,
    RecoveryCodesForm,
    RemoveForm,
)
from accounts.pages.frame import confirmed_page, own_page
from accounts.pages.sign_in import FORM_METHODS
from accounts.principals import Principal
from accounts.second_factor import apps, authenticators, policy, proofs, recovery_codes
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
    by_code = proofs.has_second_factor(principal.user)
    form_class = ConfirmByCodeForm if by_code else ConfirmByPasswordForm
    form = form_class(principal, posted(request))
    if form.is_bound and form.submit():
        messages.success(request, "Confirmed: for 15 minutes you are not asked again.")
        return HttpResponseRedirect(path)
    can_confirm = by_code or (settings.PASSWORD_LOGIN and principal.user.has_usable_password())
    return render_form(request, "accounts/confirm.html", form, by_code=by_code, can_confirm=can_confirm, next=path)
