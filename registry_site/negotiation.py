"""One URL for people and for machines."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers

View = Callable[..., HttpResponseBase]


def by_accept(page: View, api: View) -> View:
    """`page` for a client that looks and asks for HTML by name, as browsers do; `api` for everybody else."""

    @wraps(api)  # CSRF is decided by the view that is chosen, and the API is what is described to machines
    def choose(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        chosen = page if wants_page(request) else api
        response = chosen(request, *args, **kwargs)
        patch_vary_headers(response, ["Accept"])
        return response

    return choose


def wants_page(request: HttpRequest) -> bool:
    """Does somebody look, and ask for HTML by name?"""
    return request.method in ("GET", "HEAD") and "text/html" in request.headers.get("Accept", "")
