"""The frame of a person's own pages: `/account` and beneath need a sign-in, and some of them a fresh proof."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from accounts.credentials import browser_sessions
from accounts.principals import Principal
from accounts.second_factor import proofs
from registry_site.http.negotiation import SAFE_METHODS

P = ParamSpec("P")


def own_page(view: Callable[Concatenate[HttpRequest, Principal, P], HttpResponse]) -> Callable[..., HttpResponse]:
    """Call a view with the signed-in principal; a visitor goes to `/sign-in` first, and comes back.

    The template of such a page extends `accounts/frame.html`, where the list of all of them stands.
    """

    @wraps(view)
    def page(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        return view(request, browser_sessions.require_principal(request), *args, **kwargs)

    return page


def confirmed_page(
    view: Callable[Concatenate[HttpRequest, Principal, P], HttpResponse], *, always: bool = False
) -> Callable[..., HttpResponse]:
    """Call a view as `own_page` does; a visitor who has to prove who it is goes to `/account/confirm` first.

    So nobody fills a form in vain. When it is sent, its verb requires the proof again.
    """

    @wraps(view)
    def page(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        principal = browser_sessions.require_principal(request)
        if request.method in SAFE_METHODS and proofs.is_due(principal, always=always):
            return to_confirmation(request.get_full_path())
        return view(request, principal, *args, **kwargs)

    return page


def to_confirmation(path: str) -> HttpResponse:
    """Lead to the page that asks for a fresh proof, and from there to a path."""
    return HttpResponseRedirect(proofs.confirm_url(path))
