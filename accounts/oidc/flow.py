"""Sign-in at an OpenID provider by the authorization code flow, built on mozilla-django-oidc.

The library keeps state, nonce and PKCE verifier in the browser's session, and logs in the user that `Backend` returns
after a callback. This module adds the provider's metadata, limits, checks of ID tokens, and accounts.
"""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.contrib.sessions.models import Session
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import urlencode
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.utils import import_from_settings
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView, OIDCLogoutView

from accounts.credentials import browser_sessions
from accounts.models import User
from accounts.oidc import id_tokens, identities
from accounts.oidc.provider import Provider, stated_error
from accounts.staff_permissions import StaffPermissions
from registry_site.errors import Conflict, Invalid, PermissionDenied, RegistryError, UpstreamError
from registry_site.http import client_address
from registry_site.http.error_handlers import set_error_page
from registry_site.http.request_log import annotate
from registry_site.rate_limits import RateLimit

# Keys of the session, set by the library. NEXT belongs to the last sign-in that began: `SignInView` moves it into the
# state, so that sign-ins in two tabs do not mix up where they go on.
STATES = "oidc_states"
ID_TOKEN = "oidc_id_token"  # noqa: S105 - the name of it
NEXT = "oidc_login_next"
# Our own: whether this browser has been sent to the provider's list of accounts.
SELECTION_TRIED = "oidc_selection_tried"
ERROR_PAGE = "accounts/sign_in_failed.html"
# The path that the provider redirects back to, by the purpose of the sign-in. Ktra documents these two paths.
PURPOSES = {
    "me": "/ktra/api/v1/openid/me",
    "replace": "/ktra/api/v1/openid/replace",
    "link": "/ktra/api/v1/openid/me",
}
# Where a person begins it, by its purpose.
BEGINNINGS = {"me": "/openid/sign-in", "replace": "/replace_token", "link": "/openid/link"}
MAX_HINT_LENGTH = 3000  # of an ID token in a URL; many servers refuse URLs over 4,000 or 8,000 bytes
ACCOUNT_PATH = "/me"
SIGN_IN_MINUTES = 15
MAX_DELETED = 10  # sessions of sign-ins that nobody has finished, by each that begins
SIGN_IN_LIMIT = RateLimit(
    "openid-sign-ins", 60, timedelta(minutes=1), "Too many sign-ins from your address; wait a minute."
)
UNKNOWN_SIGN_IN = "This sign-in was not begun in this browser, or too long ago, or is done already; begin again at /me."


class Backend(StaffPermissions, OIDCAuthenticationBackend):  # type: ignore[misc]  # the library has no types
    """The authentication backend of a callback, with our provider, our checks and our accounts."""

    def __init__(self) -> None:
        # Django makes a backend for each page of the admin site: it must not ask the provider for anything, as the
        # library's own constructor does.
        self.UserModel = User
        self.OIDC_RP_CLIENT_ID = settings.OIDC_RP_CLIENT_ID
        self.OIDC_RP_CLIENT_SECRET = settings.OIDC_RP_CLIENT_SECRET
        self.provider = Provider()

    def authenticate(self, request: HttpRequest, *, nonce: str, code_verifier: str) -> User | None:
        """Return the user of a callback; Django skips this backend for other parameters, such as a password."""
        user: User | None = super().authenticate(request, nonce=nonce, code_verifier=code_verifier)
        return user

    def store_tokens(self, access_token: Any, id_token: str) -> None:
        # Not in the session yet: another user may be signed in there, and stays so if this sign-in fails.
        self.request.sign_in[ID_TOKEN] = id_token if len(id_token) <= MAX_HINT_LENGTH else ""

    def get_token(self, payload: dict[str, str]) -> dict[str, Any]:
        path = PURPOSES[self.request.sign_in["purpose"]]
        return self.provider.exchange_code({**payload, "redirect_uri": settings.PUBLIC_URL + path})

    def verify_token(self, token: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(token, str):
            raise UpstreamError("Openid error: Server did not return an ID token")
        return self._verify(id_tokens.verify_id_token, token, nonce=kwargs.get("nonce"))

    def get_or_create_user(self, access_token: Any, id_token: str, payload: Mapping[str, Any]) -> User:
        claims = {**payload, **self._fetch_userinfo(access_token, payload)}
        principal = browser_sessions.get_principal(self.request)
        if self.request.sign_in["purpose"] != "link":
            return identities.sign_in(settings.OIDC_ISSUER, claims)
        if principal is None:
            raise PermissionDenied("Openid error: you have been signed out meanwhile; sign in, and link again.")
        return identities.link_to_account(principal, settings.OIDC_ISSUER, claims)

    def _fetch_userinfo(self, access_token: Any, id_claims: Mapping[str, Any]) -> dict[str, Any]:
        """Return the userinfo claims of the same user, or nothing from a provider without that endpoint."""
        if "userinfo_endpoint" not in self.provider.metadata():
            return {}
        claims, signed_text = self.provider.fetch_userinfo(str(access_token))
        if claims is None:
            claims = self._verify(id_tokens.verify_userinfo, signed_text)
        # OpenID Connect Core 1.0, section 5.3.2: an access token may have been swapped for another user's.
        if id_tokens.get_subject(claims) != id_tokens.get_subject(id_claims):
            raise PermissionDenied("Openid error: the provider tells of another user than the one who signed in.")
        return claims

    def _verify(self, verify: Callable[..., dict[str, Any]], token: str, **options: Any) -> dict[str, Any]:
        """Verify a token by the provider's keys, which are fetched once more if the token's key is unknown."""
        options |= {"issuer": settings.OIDC_ISSUER, "client_id": settings.OIDC_RP_CLIENT_ID}
        keys = self.provider.keys()
        try:
            return verify(token, keys, **options)
        except id_tokens.UnknownSigningKey:
            return verify(token, self.provider.newer_keys(keys), **options)


class SignInView(OIDCAuthenticationRequestView):  # type: ignore[misc]
    """The redirect to the provider."""

    purpose = "me"

    @staticmethod
    def get_settings(attr: str, *args: Any) -> Any:
        if attr == "OIDC_OP_AUTHORIZATION_ENDPOINT":
            return Provider().endpoint("authorization_endpoint")
        return import_from_settings(attr, *args)

    def get(self, request: HttpRequest) -> HttpResponse:
        # Each sign-in that begins leaves a session behind, and may fetch the provider's metadata.
        SIGN_IN_LIMIT.count(client_address.client_network())
        delete_abandoned_sign_ins()
        response: HttpResponse = super().get(request)
        url, _, query = response["Location"].rpartition("?")
        if "?" in url:  # the library appends `?` even to an endpoint that has a query
            response["Location"] = f"{url}&{query}"
        sign_in = request.session[STATES][parse_qs(query)["state"][0]]
        sign_in["purpose"], sign_in["next"] = self.purpose, request.session.pop(NEXT)
        if not request.user.is_authenticated:
            request.session.set_expiry(SIGN_IN_MINUTES * 60)
        response["Cache-Control"] = "no-store"
        return response

    def get_extra_params(self, request: HttpRequest) -> dict[str, str]:
        prompt = {"prompt": choose_prompt(request)} if "other_account" in request.GET else {}
        return {"redirect_uri": settings.PUBLIC_URL + PURPOSES[self.purpose], **prompt}


def choose_prompt(request: HttpRequest) -> str:
    """Return the prompt by which somebody else can sign in (OpenID Connect Core 1.0, section 3.1.2.1).

    The list of accounts comes first, then the form: not every provider has a list, and some ignore the request for it.
    """
    supported = Provider().metadata().get("prompt_values_supported")
    has_list = not isinstance(supported, list) or "select_account" in supported
    is_first = not request.session.get(SELECTION_TRIED)
    request.session[SELECTION_TRIED] = True
    return "select_account" if has_list and is_first else "login"


def delete_abandoned_sign_ins() -> None:
    """Delete a few expired sessions: nobody has to sign in to begin one, so they must not wait for the purge."""
    expired = Session.objects.filter(expire_date__lt=timezone.now()).values_list("pk", flat=True)
    if keys := list(expired[:MAX_DELETED]):
        Session.objects.filter(pk__in=keys).delete()


def begin_sign_in(request: HttpRequest, purpose: str) -> HttpResponse:
    """Redirect to the provider for one of `PURPOSES`; the query's `next` says where to go afterwards.

    With `other_account` in the query, the provider is to let another person sign in than the one it knows. Raises
    `TooManyRequests`, and `UpstreamError` when the provider's metadata cannot be had.
    """
    set_error_page(request, ERROR_PAGE, begin_again=request.get_full_path())
    view = SignInView(purpose=purpose)
    view.setup(request)
    return view.get(request)


class CallbackView(OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """The address that the provider redirects back to; `finish` answers once the user is signed in."""

    finish: Any = None

    def get(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.authenticate_callback(request)
        except RegistryError as error:
            annotate(event="sign_in_failed", door="openid", issuer=settings.OIDC_ISSUER, cause=error.message)
            set_error_page(request, ERROR_PAGE, **ways_on(request, error))
            raise

    def authenticate_callback(self, request: HttpRequest) -> HttpResponse:
        """Check the provider's answer, and sign the user in; raises `RegistryError`.

        For an answer that has done its part, or none of this browser's, a signed-in user goes on to the account.
        """
        state = request.GET.get("state", "")
        sign_in = request.session.get(STATES, {}).get(state)
        if sign_in is None or sign_in["added_on"] < time.time() - SIGN_IN_MINUTES * 60:
            # A browser repeats the address of a callback when a page is loaded again, or after a step back.
            if browser_sessions.get_principal(request) is not None:
                return HttpResponseRedirect(ACCOUNT_PATH)
            raise Invalid(UNKNOWN_SIGN_IN)
        if request.GET.get("iss", settings.OIDC_ISSUER) != settings.OIDC_ISSUER:  # RFC 9207
            raise PermissionDenied("Openid error: this is the answer of another provider; begin again at /me.")
        request.sign_in = sign_in  # type: ignore[attr-defined]
        if "error" in request.GET or "code" not in request.GET:
            # The library would sign out whoever is signed in.
            del request.session[STATES][state]
            request.session.modified = True
            annotate(**stated_error(request.GET))
            error_code = request.GET.get("error", "")
            is_printable = error_code.isascii() and error_code.isprintable() and 0 < len(error_code) <= 60
            reason = error_code if is_printable else "it does not say why"
            raise PermissionDenied(f"Openid error: the provider did not sign you in ({reason}).")
        try:
            response: HttpResponse = super().get(request)
        except UpdateError as error:  # another tab has just signed in or out, which ended this session
            raise Invalid(UNKNOWN_SIGN_IN) from error
        return response

    def login_success(self) -> HttpResponse:
        if self.request.user.is_authenticated and self.request.user != self.user:
            browser_sessions.log_out(self.request)  # Django would forget the other user's session without ending it
        super().login_success()
        sign_in = self.request.sign_in
        self.request.session[ID_TOKEN] = sign_in[ID_TOKEN]
        response: HttpResponse = self.finish(self.request, self.user, sign_in["purpose"], sign_in["next"])
        return response

    def login_failure(self) -> HttpResponse:
        raise PermissionDenied("Openid error: the provider did not sign you in; begin again at /me.")


def ways_on(request: HttpRequest, error: RegistryError) -> dict[str, str | None]:
    """Return the links of the page about a sign-in that failed.

    Who was refused can sign in as somebody else: otherwise the provider would answer for the same person for ever.
    """
    sign_in: dict[str, Any] = getattr(request, "sign_in", {})
    if not sign_in:  # it was not begun here: perhaps the person is signed in
        return {"begin_again": "/me"}
    path = BEGINNINGS[sign_in["purpose"]]
    target = {"next": sign_in["next"]} if sign_in["next"] else {}
    links: dict[str, str | None] = {"begin_again": f"{path}?{urlencode(target)}" if target else path}
    is_known = ID_TOKEN in sign_in
    if isinstance(error, PermissionDenied | Conflict) and (is_known or "error" in request.GET):
        # Not at `/replace_token`, which would replace the token of whoever is signed in.
        path = "/openid/link" if sign_in["purpose"] == "link" else "/openid/sign-in"
        links["other_account"] = f"{path}?{urlencode({'other_account': 1, **target})}"
        links["provider_logout"] = logout_url(sign_in[ID_TOKEN]) if is_known else None
    return links


class SignOutView(OIDCLogoutView):  # type: ignore[misc]
    """The end of the session here, and a redirect to the provider, which ends its own."""

    redirect_url = "/"

    def post(self, request: HttpRequest) -> HttpResponse:
        return redirect_by_page(request, super().post(request))


def redirect_by_page(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Replace the redirect of a form to another site by a page that leads there.

    Browsers apply the CSP directive `form-action` to all redirects that follow a form, and the provider may redirect
    to any site.
    """
    url = response["Location"]
    if request.method != "POST" or url.startswith("/"):
        return response
    page = render(request, "accounts/to_provider.html", {"url": url})
    page["Cache-Control"] = "no-store"
    return page


def provider_logout_url(request: HttpRequest) -> str:
    """Return the URL of the provider's sign-out for the session of a browser, or of the home page."""
    id_token = request.session.get(ID_TOKEN)
    return (None if id_token is None else logout_url(id_token)) or SignOutView.redirect_url


def logout_url(id_token: str) -> str | None:
    """Return the URL of the provider's sign-out (OpenID Connect RP-Initiated Logout 1.0), if it has one."""
    url = Provider().end_session_endpoint()
    if url is None:
        return None
    query = {
        **({"id_token_hint": id_token} if id_token else {}),
        "client_id": settings.OIDC_RP_CLIENT_ID,
        "post_logout_redirect_uri": f"{settings.PUBLIC_URL}/",
    }
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
