"""Pages to sign in and out."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe
from mozilla_django_oidc.views import get_next_url

from accounts import cross_site
from accounts.api import ktra
from accounts.api.serializers import NO_STORE
from accounts.credentials import browser_sessions, cargo_tokens, pending_sign_ins
from accounts.forms.second_factor import CodeForm, PasskeyForm
from accounts.forms.sign_in import SignInForm
from accounts.models import User
from accounts.oidc import flow
from accounts.oidc.flow import ACCOUNT_PATH
from accounts.principals import Principal
from accounts.second_factor import passkeys
from registry_site.forms import posted, render_form
from registry_site.http.negotiation import wants_page

FORM_METHODS = ["GET", "HEAD", "POST"]


@require_http_methods(FORM_METHODS)
@never_cache
def sign_in(request: HttpRequest) -> HttpResponse:
    """`/sign-in`: by a password, at the provider, or by either; then on to the path in `?next=`."""
    path = cross_site.next_path(request, default=ACCOUNT_PATH)
    if request.method != "POST" and browser_sessions.get_principal(request) is not None:
        return HttpResponseRedirect(path)
    form = SignInForm(request, posted(request) if settings.PASSWORD_LOGIN else None)
    if not (form.is_bound and form.submit()):
        return render_form(request, "accounts/sign_in.html", form, next=path, issuer=settings.OIDC_ISSUER)
    if form.result is None:  # the second factor comes next
        path = f"{pending_sign_ins.PATH}?{urlencode({'next': path})}"
    return HttpResponseRedirect(path)


@require_http_methods(FORM_METHODS)
@never_cache
def second_factor(request: HttpRequest) -> HttpResponse:
    """`/sign-in/code`: the second factor of a sign-in by password; then on to the path in `?next=`."""
    path = cross_site.next_path(request, default=ACCOUNT_PATH)
    if request.method != "POST" and browser_sessions.get_principal(request) is not None:
        return HttpResponseRedirect(path)
    user = pending_sign_ins.find_user(request)
    if user is None:
        messages.info(request, "Sign in with your password first. The code follows within five minutes.")
        return HttpResponseRedirect(f"/sign-in?{urlencode({'next': path})}")
    by_passkey = "credential" in request.POST
    code_form = CodeForm(request, None if by_passkey else posted(request)).fit_to(user)
    form = PasskeyForm(request, posted(request)) if by_passkey else code_form
    if form.is_bound and form.submit():
        return HttpResponseRedirect(path)
    ceremony = passkeys.begin_use(user, pending_sign_ins.state_of(request))
    context = {"code_form": code_form, "ceremony": ceremony, "account": user}
    return render_form(request, "accounts/second_factor.html", form, **context)


def to_sign_in(request: HttpRequest) -> HttpResponse:
    """`GET /login` in a browser; programs log in there."""
    return HttpResponseRedirect("/sign-in")


@require_http_methods(FORM_METHODS)
@never_cache
def sign_out(request: HttpRequest) -> HttpResponse:
    """`/sign-out`: the button, and by POST the end of the session, at the provider, too."""
    if request.method != "POST":
        return render(request, "accounts/sign_out.html")
    if settings.OIDC_LOGIN:
        response: HttpResponse = flow.SignOutView.as_view()(request)
        return response
    browser_sessions.log_out(request)
    messages.success(request, "You are signed out.")
    return HttpResponseRedirect("/")


@require_safe
def sign_in_at_provider(request: HttpRequest) -> HttpResponse:
    """`/openid/sign-in`: sign in at the provider, and go on to the path in `?next=`."""
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
