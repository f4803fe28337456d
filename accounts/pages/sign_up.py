"""Pages to open an account, and to verify its e-mail address."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_http_methods

from accounts import cross_site, email_verification
from accounts.credentials import browser_sessions
from accounts.forms.sign_in import SignUpForm
from accounts.oidc.flow import ACCOUNT_PATH
from accounts.pages.sign_in import FORM_METHODS
from registry_site.forms import posted, render_form
from registry_site.http.error_handlers import set_error_page


@require_http_methods(FORM_METHODS)
@never_cache
def sign_up(request: HttpRequest) -> HttpResponse:
    """`/sign-up`: open an account, and sign in where no address has to be verified first."""
    if browser_sessions.get_principal(request) is not None:
        return HttpResponseRedirect("/account")
    if not (settings.SIGNUP_OPEN and settings.PASSWORD_LOGIN):
        return render(request, "accounts/sign_up_closed.html", {"issuer": settings.OIDC_ISSUER})
    form = SignUpForm(posted(request))
    if not (form.is_bound and form.submit()):
        return render_form(request, "accounts/sign_up.html", form)
    if email_verification.is_missing(form.result):
        messages.success(request, f"Now follow the link that was sent to {form.result.email}, and sign in.")
        return HttpResponseRedirect(f"/sign-in?{request.GET.urlencode()}")
    browser_sessions.begin(request, form.result)
    return HttpResponseRedirect(cross_site.next_path(request, default=ACCOUNT_PATH))


def to_sign_up(request: HttpRequest) -> HttpResponse:
    """`GET /register` in a browser; programs open accounts there."""
    return HttpResponseRedirect("/sign-up")


@csrf_protect
@never_cache
def verify_email(request: HttpRequest, token: str) -> HttpResponse:
    """`/v1/user/email/verify/{token}` in a browser: a button, and by POST what the link is for.

    Servers that look into mails for malware follow links, and press no buttons.
    """
    set_error_page(request, "accounts/link_ended.html", again="/sign-in", way_on="Sign in")
    if request.method != "POST":
        return render(request, "accounts/verify_email.html", {"link": email_verification.read_link(token)})
    link = email_verification.verify(token)
    if link.needs_former:
        messages.info(request, f"Now follow the link that was sent to {link.user.email}: it allows the change.")
    else:
        messages.success(request, f"The address {link.address} is verified.")
    return HttpResponseRedirect("/account" if browser_sessions.get_principal(request) else "/sign-in")
