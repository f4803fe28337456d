"""Signing in at an OpenID provider by the authorization code flow: mozilla-django-oidc, with its gaps closed.

The library holds state, nonce and PKCE verifier in the browser's session, and makes of a callback a user who is logged
in. Ours are: what the provider says of itself, its limits, what makes an ID token good, and whose account it is.
"""

import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.contrib.sessions.backends.base import UpdateError
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.http import urlencode
from mozilla_django_oidc.auth import OIDCAuthenticationBackend
from mozilla_django_oidc.utils import import_from_settings
from mozilla_django_oidc.views import OIDCAuthenticationCallbackView, OIDCAuthenticationRequestView, OIDCLogoutView

from accounts.credentials import browser_sessions
from accounts.models import User
from accounts.oidc import id_tokens, identities
from accounts.oidc.provider import Provider
from registry_site.errors import Invalid, PermissionDenied, TooManyRequests, UpstreamError
from registry_site.http import client_address

STATES = "oidc_states"  # in the session, by the library
ID_TOKEN = "oidc_id_token"  # noqa: S105 - the name of it
NEXT = "oidc_login_next"  # there, too, and of the last sign-in only: each keeps its own beside its state
PURPOSES = {
    "me": "/ktra/api/v1/openid/me",
    "replace": "/ktra/api/v1/openid/replace",
    "link": "/ktra/api/v1/openid/me",
}  # what for one signs in → where the provider sends the browser back to
MAX_HINT_LENGTH = 3000  # of an ID token; servers take addresses of 4000 bytes or twice that
SIGN_IN_MINUTES = 15
MAX_SIGN_INS_PER_MINUTE = 60  # sign-ins begun from one network, at each worker
UNKNOWN_SIGN_IN = "This sign-in was not begun in this browser, or too long ago, or is done already; begin again at /me."


class Backend(OIDCAuthenticationBackend):  # type: ignore[misc]  # the library has no types
    """What the library does after a callback, with our provider, our checks and our accounts."""

    def __init__(self) -> None:
        """Django makes one for each request of whoever signed in so: that must ask the provider nothing."""
        self.UserModel = User
        self.OIDC_RP_CLIENT_ID = settings.OIDC_RP_CLIENT_ID
        self.OIDC_RP_CLIENT_SECRET = settings.OIDC_RP_CLIENT_SECRET
        self.provider = Provider()

    def authenticate(self, request: HttpRequest, *, nonce: str, code_verifier: str) -> User | None:
        """Of a callback only: by these names Django knows not to ask at its forms for passwords."""
        user: User | None = super().authenticate(request, nonce=nonce, code_verifier=code_verifier)
        return user

    def store_tokens(self, access_token: Any, id_token: str) -> None:
        """Not in the session yet: it may be that of somebody else, who stays signed in if this sign-in fails."""
        self.request.session_state[ID_TOKEN] = id_token if len(id_token) <= MAX_HINT_LENGTH else ""

    def get_token(self, payload: dict[str, str]) -> dict[str, Any]:
        purpose = self.request.session_state["purpose"]
        return self.provider.tokens({**payload, "redirect_uri": settings.PUBLIC_URL + PURPOSES[purpose]})

    def verify_token(self, token: Any, **kwargs: Any) -> dict[str, Any]:
        if not isinstance(token, str):
            raise UpstreamError("Openid error: Server did not return an ID token")
        return self._by_its_keys(id_tokens.verify_id_token, token, nonce=kwargs.get("nonce"))

    def get_or_create_user(self, access_token: Any, id_token: str, payload: Mapping[str, Any]) -> User:
        said = {**payload, **self._userinfo(access_token, payload)}
        former = browser_sessions.get_principal(self.request)
        if self.request.session_state["purpose"] != "link":
            return identities.sign_in(settings.OIDC_ISSUER, said)
        if former is None:
            raise PermissionDenied("Openid error: you have been signed out meanwhile; sign in, and link again.")
        return identities.link_to_account(former, settings.OIDC_ISSUER, said)

    def get_user(self, user_id: Any) -> User | None:
        return ModelBackend().get_user(user_id)

    def _userinfo(self, access_token: Any, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Of the same user; nothing from a provider that has no such endpoint."""
        if "userinfo_endpoint" not in self.provider.metadata():
            return {}
        said, signed = self.provider.userinfo(str(access_token))
        if said is None:
            said = self._by_its_keys(id_tokens.verify_userinfo, signed)
        if id_tokens.get_subject(said) != id_tokens.get_subject(payload):
            raise PermissionDenied("Openid error: the provider tells of another user than the one who signed in.")
        return said

    def _by_its_keys(self, check: Any, token: str, **options: Any) -> dict[str, Any]:
        """A key that is not known may be new: then the provider is asked for its keys again, once."""
        options |= {"issuer": settings.OIDC_ISSUER, "client_id": settings.OIDC_RP_CLIENT_ID}
        try:
            found = check(token, self.provider.keys(), **options)
        except id_tokens.UnknownSigningKey:
            found = check(token, self.provider.keys(anew=True), **options)
        return dict(found)


class SignInView(OIDCAuthenticationRequestView):  # type: ignore[misc]
    """Sends the browser to the provider."""

    purpose = "me"

    @staticmethod
    def get_settings(attr: str, *args: Any) -> Any:
        if attr == "OIDC_OP_AUTHORIZATION_ENDPOINT":
            return Provider().endpoint("authorization_endpoint")
        return import_from_settings(attr, *args)

    def get(self, request: HttpRequest) -> HttpResponse:
        _refuse_too_many()
        response: HttpResponse = super().get(request)
        place, _, query = response["Location"].rpartition("?")
        if "?" in place:
            response["Location"] = f"{place}&{query}"
        state = parse_qs(query)["state"][0]
        entry = request.session[STATES][state]
        entry["purpose"], entry["next"] = self.purpose, request.session.pop(NEXT)
        if not request.user.is_authenticated:
            request.session.set_expiry(SIGN_IN_MINUTES * 60)
        response["Cache-Control"] = "no-store"
        return response

    def get_extra_params(self, request: HttpRequest) -> dict[str, str]:
        return {"redirect_uri": settings.PUBLIC_URL + PURPOSES[self.purpose]}


def begin_sign_in(request: HttpRequest, purpose: str) -> HttpResponse:
    """To the provider, for one of `PURPOSES`; where to go on afterwards is in `next` of the query, if anywhere."""
    view = SignInView(purpose=purpose)
    view.setup(request)
    return view.get(request)


class CallbackView(OIDCAuthenticationCallbackView):  # type: ignore[misc]
    """Where the provider sends the browser back to; `finish` makes the answer for whoever is signed in then."""

    finish: Any = None

    def get(self, request: HttpRequest) -> HttpResponse:
        state = request.GET.get("state", "")
        entry = request.session.get(STATES, {}).get(state)
        if entry is None or entry["added_on"] < time.time() - SIGN_IN_MINUTES * 60:
            raise Invalid(UNKNOWN_SIGN_IN)
        if request.GET.get("iss", settings.OIDC_ISSUER) != settings.OIDC_ISSUER:  # RFC 9207
            raise PermissionDenied("Openid error: this is the answer of another provider; begin again at /me.")
        if "error" in request.GET or "code" not in request.GET:
            del request.session[STATES][state]
            request.session.modified = True
            raise PermissionDenied(
                f"Openid error: the provider did not sign you in ({_word(request.GET.get('error', ''))})."
            )
        request.session_state = entry  # type: ignore[attr-defined]
        try:
            response: HttpResponse = super().get(request)
        except UpdateError as error:  # another tab has just signed in or out, which ended this session
            raise Invalid(UNKNOWN_SIGN_IN) from error
        return response

    def login_success(self) -> HttpResponse:
        if self.request.user.is_authenticated and self.request.user != self.user:
            browser_sessions.log_out(self.request)  # or Django would forget that session without ending it
        super().login_success()
        self.request.session[ID_TOKEN] = self.request.session_state[ID_TOKEN]
        entry = self.request.session_state
        response: HttpResponse = self.finish(self.request, self.user, entry["purpose"], entry["next"])
        return response

    def login_failure(self) -> HttpResponse:
        raise PermissionDenied("Openid error: the provider did not sign you in; begin again at /me.")


class SignOutView(OIDCLogoutView):  # type: ignore[misc]
    """Ends the session here, and sends the browser to the provider to end the one there."""

    redirect_url = "/"

    def post(self, request: HttpRequest) -> HttpResponse:
        return redirect_by_page(request, super().post(request))


def redirect_by_page(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """A page that leads on in the place of a redirect to the provider, which may redirect to anywhere.

    Browsers let a form lead only to the sites of `form-action`, by however many redirects.
    """
    place = response["Location"]
    if request.method != "POST" or place.startswith("/"):
        return response
    page = render(request, "accounts/to_provider.html", {"place": place})
    page["Cache-Control"] = "no-store"
    return page


def provider_logout_url(request: HttpRequest) -> str:
    """Where the browser goes to be signed out at the provider, too (OpenID Connect RP-Initiated Logout 1.0)."""
    id_token = request.session.get(ID_TOKEN)
    if id_token is None:
        return SignOutView.redirect_url
    try:
        place = Provider().endpoint("end_session_endpoint")
    except UpstreamError:
        return SignOutView.redirect_url
    query = {
        **({"id_token_hint": id_token} if id_token else {}),
        "client_id": settings.OIDC_RP_CLIENT_ID,
        "post_logout_redirect_uri": f"{settings.PUBLIC_URL}/",
    }
    return f"{place}{'&' if '?' in place else '?'}{urlencode(query)}"


def _refuse_too_many() -> None:
    """Each sign-in that is begun leaves a session, and costs a look at what the provider says of itself."""
    peer = client_address.client_ip()
    key = f"openid-begun-{client_address.network_of(peer) if peer else ''}"
    cache.add(key, 0, 60)
    if cache.incr(key) > MAX_SIGN_INS_PER_MINUTE:
        raise TooManyRequests("Too many sign-ins from your address; wait a minute.", retry_after=60)


def _word(error: str) -> str:
    return error if error.isascii() and error.isprintable() and 0 < len(error) <= 60 else "it does not say why"
