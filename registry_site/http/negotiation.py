"""One URL for people and for machines."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers

View = Callable[..., HttpResponseBase]


SAFE_METHODS = ("GET", "HEAD")


def by_accept(page: View, api: View, methods: Collection[str] = SAFE_METHODS) -> View:
    """`page` for a client that asks for HTML by name with one of `methods`, as browsers do; `api` for all else."""

    @wraps(api)  # CSRF is decided by the view that is chosen, and the API is what is described to machines
    def choose(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        chosen = page if request.method in methods and accepts_html(request) else api
        response = chosen(request, *args, **kwargs)
        patch_vary_headers(response, ["Accept"])
        return response

    return choose


def wants_page(request: HttpRequest) -> bool:
    """Does somebody look, and ask for HTML by name?"""
    return request.method in SAFE_METHODS and accepts_html(request)


def accepts_html(request: HttpRequest) -> bool:
    return "text/html" in request.headers.get("Accept", "")
