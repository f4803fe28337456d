"""One URL for people and for machines."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers

View = Callable[..., HttpResponseBase]


def by_accept(page: View, api: View) -> View:
    """`page` for a client that asks for HTML by name, as browsers do; `api` for everybody else."""

    def choose(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        chosen = page if "text/html" in request.headers.get("Accept", "") else api
        response = chosen(request, *args, **kwargs)
        patch_vary_headers(response, ["Accept"])
        return response

    # CSRF is decided by the view that is chosen: an API without cookies needs none.
    choose.csrf_exempt = getattr(api, "csrf_exempt", False)  # type: ignore[attr-defined]
    return choose
