"""The frame of a person's own pages: `/account` and beneath need a sign-in."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse

from accounts.credentials import browser_sessions
from accounts.principals import Principal

P = ParamSpec("P")


def own_page(view: Callable[Concatenate[HttpRequest, Principal, P], HttpResponse]) -> Callable[..., HttpResponse]:
    """Call a view with the signed-in principal; a visitor goes to `/sign-in` first, and comes back.

    The template of such a page extends `accounts/frame.html`, where the list of all of them stands.
    """

    @wraps(view)
    def page(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        return view(request, browser_sessions.require_principal(request), *args, **kwargs)

    return page
