"""Pages for a lost password."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from accounts.forms.password_reset import LinkForm, NewPasswordForm
from accounts.pages.sign_in import FORM_METHODS
from accounts.passwords import reset
from registry_site.forms import posted, render_form
from registry_site.http.error_handlers import set_error_page


@require_http_methods(FORM_METHODS)
@never_cache
def request_link(request: HttpRequest) -> HttpResponse:
    """`/password-reset`: ask for a link. The answer is the same whether an account has the address or not."""
    if not settings.PASSWORD_LOGIN:
        return render(request, "accounts/no_passwords.html", {"issuer": settings.OIDC_ISSUER})
    form = LinkForm(posted(request))
    if not (form.is_bound and form.submit()):
        return render_form(request, "accounts/password_reset.html", form)
    address = form.cleaned_data["email"]
    messages.info(request, f"If an account has the address {address}, a link is on its way there, good for an hour.")
    return HttpResponseRedirect("/sign-in")


@require_http_methods(FORM_METHODS)
@never_cache
def new_password(request: HttpRequest, token: str) -> HttpResponse:
    """`/password-reset/{token}`: choose a new password. The link is used up by POST alone."""
    set_error_page(request, "accounts/link_ended.html", again="/password-reset", way_on="Ask for another link")
    user = reset.read_link(token)
    form = NewPasswordForm(token, posted(request))
    if not (form.is_bound and form.submit()):
        return render_form(request, "accounts/new_password.html", form, account=user)
    messages.success(request, "Your password is changed, and all sessions have ended. Sign in with the new one.")
    return HttpResponseRedirect("/sign-in")
