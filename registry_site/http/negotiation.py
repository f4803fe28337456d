"""Content negotiation: one URL for people and for machines."""

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_vary_headers

View = Callable[..., HttpResponseBase]

SAFE_METHODS = ("GET", "HEAD")
DEFAULT_OF_JAVA = "text/html, image/gif, image/jpeg,"  # of HttpURLConnection, whatever its program reads
HTML, MARKDOWN, JSON = "text/html", "text/markdown", "application/json"


def by_accept(page: View, api: View, methods: Collection[str] = SAFE_METHODS, markdown: View | None = None) -> View:
    """Return a view that calls `page` for requests by `methods` that accept HTML, as browsers do, and `api` for others.

    Only an explicit `text/html` counts: command-line clients send `*/*`. With `markdown`, that is called where Markdown
    is preferred.
    """

    # Wrapping copies the attributes of `api`: the class that OpenAPI describes, and the exemption from Django's check
    # of CSRF, which the chosen view makes itself.
    @wraps(api)
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        chosen = page if request.method in methods and accepts_html(request) else api
        if markdown is not None and request.method in SAFE_METHODS and prefers(request, MARKDOWN):
            chosen = markdown
        response = chosen(request, *args, **kwargs)
        patch_vary_headers(response, ["Accept"])
        return response

    view.page = page  # type: ignore[attr-defined]  # tells the paths that people visit from those of machines alone
    return view


def page_first(page: View, markdown: View, api: View) -> View:
    """Return a view that calls `page`, or the others where Markdown or JSON is preferred; `*/*` gets the page.

    The class of `api` stays out of the description of the API, which has that at its own address.
    """

    @wraps(page)
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        chosen = markdown if prefers(request, MARKDOWN) else api if prefers(request, JSON) else page
        response = chosen(request, *args, **kwargs)
        patch_vary_headers(response, ["Accept"])
        return response

    return view


def prefers(request: HttpRequest, media_type: str) -> bool:
    """Tell whether a client prefers a type to HTML."""
    return request.get_preferred_type([HTML, media_type]) == media_type


def wants_page(request: HttpRequest) -> bool:
    """Tell whether a browser asks for a page."""
    return request.method in SAFE_METHODS and accepts_html(request)


def accepts_html(request: HttpRequest) -> bool:
    accept = request.headers.get("Accept", "")
    return "text/html" in accept and not accept.startswith(DEFAULT_OF_JAVA)


def accepts_json(request: HttpRequest) -> bool:
    """Tell whether a client names JSON; `*/*` does not count."""
    return "application/json" in request.headers.get("Accept", "")
