"""The page of one's own app keys: list, make and revoke them."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.credentials import app_keys
from accounts.forms.tokens import AppKeyForm, RevokeAppKeyForm
from accounts.pages.frame import own_page
from accounts.pages.sign_in import FORM_METHODS
from accounts.principals import Principal
from registry_site.forms import posted, render_form

PATH = "/account/app-keys"


@require_http_methods(FORM_METHODS)
@never_cache
@own_page
def own_app_keys(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/app-keys`: the list and a form; by POST it makes a key, and shows its secret once, or revokes one."""
    if "revoke" in request.POST:
        return revoke(request, principal)
    form = AppKeyForm(principal, posted(request))
    if form.is_bound and form.submit():
        return render(request, "accounts/app_key_made.html", {"key": form.result})
    return render_form(request, "accounts/app_keys.html", form, keys=app_keys.list_rows(principal))


def revoke(request: HttpRequest, principal: Principal) -> HttpResponse:
    form = RevokeAppKeyForm(principal, request.POST)
    if form.submit():
        messages.success(request, f"The app key {form.result} is revoked: whatever uses it is refused from now on.")
    else:
        messages.error(request, "You have no such app key; it may be revoked already.")
    return HttpResponseRedirect(PATH)
