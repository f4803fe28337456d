"""Pages of a person's identities at the OpenID provider."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.credentials import browser_sessions
from accounts.forms.account import UnlinkForm
from accounts.oidc import flow
from accounts.oidc.flow import ACCOUNT_PATH
from accounts.pages.frame import own_page, to_confirmation
from accounts.principals import Principal
from accounts.second_factor import proofs
from registry_site.forms import posted, render_form


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
    if proofs.is_due(principal):  # whoever has that identity signs in without the second factor
        return to_confirmation(request.get_full_path())
    if request.method != "POST":
        context = {"login": principal.user.login, "issuer": settings.OIDC_ISSUER, "action": request.get_full_path()}
        return render(request, "accounts/link_identity.html", context)
    return flow.redirect_by_page(request, flow.begin_sign_in(request, "link"))


@own_page
def list_identities(request: HttpRequest, principal: Principal) -> HttpResponse:
    """`/account/identities`: the identities at the provider, and the buttons to link and unlink them."""
    form = UnlinkForm(principal, posted(request))
    if form.is_bound and form.submit():
        messages.success(request, "The identity is unlinked.")
        return HttpResponseRedirect(request.path)
    context = {"identities": principal.user.identities.all(), "issuer": settings.OIDC_ISSUER}
    return render_form(request, "accounts/identities.html", form, **context)
