"""Responses to failures outside of a view: unknown path, bad host, crash. Each is in the dialect of its path."""

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from itertools import accumulate
from math import ceil
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import BadRequest, DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponsePermanentRedirect,
    HttpResponseRedirect,
)
from django.template.loader import render_to_string
from django.urls import Resolver404, resolve
from django.utils.cache import patch_vary_headers
from django.utils.http import escape_leading_slashes, urlencode

from registry_site.context_processors import site
from registry_site.errors import RegistryError, RetryLater, Unauthenticated, WrongPassword
from registry_site.http import url_map
from registry_site.http.dialects import Dialect, Outernet, Yapkg, dialect_of, status_of
from registry_site.http.negotiation import accepts_html, wants_page
from registry_site.http.request_log import annotate_refusal
from registry_site.logs import request_id

BINARY_QUERY_PATHS = ("/auth_verify",)  # a raw ciphertext in the query may hold NUL
# For browsers and for machines.
SHARED_PATHS = (
    "/me",
    "/replace_token",
    "/ktra/api/v1/openid",
    "/mirror/crates",
    "/namespace",
    "/namespaces",
    "/packages",
)
ADMIN_PATH = "/admin/"
SIGN_IN_PATH = "/sign-in"
# What pages say above the message, by its status or code.
TITLES: dict[int | str, str] = {
    HTTPStatus.BAD_REQUEST: "This request cannot be understood",
    HTTPStatus.UNAUTHORIZED: "Sign in first",
    HTTPStatus.FORBIDDEN: "This is not allowed",
    HTTPStatus.NOT_FOUND: "There is nothing here",
    HTTPStatus.METHOD_NOT_ALLOWED: "This page takes no such request",
    HTTPStatus.CONFLICT: "Something has changed meanwhile",
    HTTPStatus.GONE: "This is gone for good",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "This is too large",
    HTTPStatus.TOO_MANY_REQUESTS: "That was too often",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The registry has failed",
    HTTPStatus.BAD_GATEWAY: "Another server does not answer",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not available at present",
    HTTPStatus.INSUFFICIENT_STORAGE: "The registry is full",
    "csrf": "This form has grown old",
}
FILE_PATHS = re.compile(r"/[0-9]*")  # the catalogue and its files; a browser sees the home page at /


def reject_nul_bytes(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that refuses requests with a NUL, which no value of ours has and PostgreSQL raises an error for."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        is_in_query = "%00" in request.META.get("QUERY_STRING", "") and request.path_info not in BINARY_QUERY_PATHS
        if "\0" in request.path_info or is_in_query:
            raise BadRequest("NUL in the path or the query")
        if any("\0" in value for value in request.COOKIES.values()):
            raise BadRequest("NUL in a cookie")
        return get_response(request)

    return middleware


class DomainErrorMiddleware:
    """Middleware that answers a `RegistryError` of a page, such as the log-in of the admin site."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        return domain_error_response(request, exception) if isinstance(exception, RegistryError) else None


def domain_error_response(request: HttpRequest, error: RegistryError) -> HttpResponseBase:
    """Return the response to an error of the domain that is raised outside of a dialect's view."""
    if is_sign_in_missing(request, error):
        redirect = HttpResponseRedirect(f"{SIGN_IN_PATH}?{urlencode({'next': request.get_full_path()})}")
        patch_vary_headers(redirect, ["Accept"])
        return redirect
    annotate_refusal(status_of(error), error.code, error.message)
    seconds = error.retry_after if isinstance(error, RetryLater) else None
    return error_response(request, HTTPStatus(status_of(error)), error.message, error.code, seconds)


def is_sign_in_missing(request: HttpRequest, error: RegistryError) -> bool:
    """Return whether a browser gets the page that it asks for once the visitor has signed in."""
    is_page = accepts_html(request) and dialect_of_error(request) is None
    return is_page and isinstance(error, Unauthenticated) and not isinstance(error, WrongPassword)


def set_error_page(request: HttpRequest, template: str, **context: Any) -> None:
    """Show a browser the errors of this request by a template of its own, which extends `registry_site/error.html`."""
    request.error_page = template, context  # type: ignore[attr-defined]  # read by `error_response`


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    message = "The request cannot be understood."
    if isinstance(exception, DisallowedHost):
        message = f"This registry answers as {settings.PUBLIC_URL} only (REGISTRY_PUBLIC_URL)."
    return error_response(request, HTTPStatus.BAD_REQUEST, message)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return error_response(request, HTTPStatus.FORBIDDEN, "This is not allowed.")


def csrf_failure(request: HttpRequest, reason: str) -> HttpResponseBase:
    annotate_refusal(HTTPStatus.FORBIDDEN, "csrf", reason)
    message = (
        "This form does not come from a page that was opened just now. Go back, load the page again, and send it once "
        f"more. If that does not help, allow cookies, and open this registry at {settings.PUBLIC_URL}."
    )
    return error_response(request, HTTPStatus.FORBIDDEN, message, "csrf")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    if path := misspelt_page(request):
        query = request.META.get("QUERY_STRING", "")
        return HttpResponsePermanentRedirect(f"{path}?{query}" if query else path)
    return error_response(request, HTTPStatus.NOT_FOUND, "There is nothing at this path.")


def misspelt_page(request: HttpRequest) -> str:
    """Return the path of the page that a browser means by one with a slash too much or too few; empty without one.

    The pages of the admin site end with a slash, all others have none. Paths of machines stay as they are.
    """
    path = request.path_info
    if not wants_page(request):
        return ""
    if f"{path}/".startswith(ADMIN_PATH):
        path = "" if path.endswith("/") else f"{path}/"
    else:
        path = path.rstrip("/") if path.endswith("/") else ""
    try:
        view = resolve(path).func
    except Resolver404:
        return ""
    has_page = hasattr(view, "page") or not hasattr(view, "cls")
    return escape_leading_slashes(quote(path, safe="/@:+~!$&'()*,;=")) if has_page else ""


def server_error(request: HttpRequest) -> HttpResponseBase:
    error = sys.exc_info()[1]
    if isinstance(error, RegistryError):  # of a middleware: the disk is full while it reads a form
        return domain_error_response(request, error)
    if isinstance(error, OperationalError | InterfaceError):
        message = "The registry's database does not answer at present."
        return error_response(request, HTTPStatus.SERVICE_UNAVAILABLE, message, retry_after=5)
    message = "The registry failed on this request; the cause is in its log."
    return error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, message)


def error_response(
    request: HttpRequest, status: HTTPStatus, message: str, code: str = "", retry_after: int | None = None
) -> HttpResponseBase:
    """Return the response in the dialect of the path, or a page where browsers look and where no dialect is."""
    response = shaped_response(request, status, message, code or status.name.lower(), retry_after)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return response


def shaped_response(
    request: HttpRequest, status: HTTPStatus, message: str, code: str, retry_after: int | None
) -> HttpResponseBase:
    dialect = dialect_of_error(request)
    if dialect is not None:
        return dialect.failure_response(status, code, message)
    context = {
        "title": TITLES.get(code) or TITLES.get(status, status.phrase),
        "message": message,
        "status": int(status),
        "wait": "" if retry_after is None else waiting_time(retry_after),
        "request_id": request_id.get() if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "",
    }
    if f"{request.path_info}/".startswith(ADMIN_PATH):
        return admin_error_page(request, status, context)
    # Programs send `*/*` or nothing; browsers name HTML.
    response: HttpResponseBase
    if accepts_html(request):
        template, links = error_page_of(request) or ("registry_site/error.html", {})
        response = HttpResponse(render_page(request, status, template, {**context, **links}), status=status)
        if links:  # which are for this person only
            response["Cache-Control"] = "no-store"
    else:
        response = Yapkg.failure_response(status, code, message)
    patch_vary_headers(response, ["Accept"])
    return response


def waiting_time(seconds: int) -> str:
    """Return how long to wait, as people say it, and never too short."""
    for unit, length, most in (("second", 1, 90), ("minute", 60, 5400), ("hour", 3600, None)):
        if most is None or seconds <= most:
            count = max(1, ceil(seconds / length))
            return f"{count} {unit}{'s' * (count > 1)}"
    raise AssertionError  # the last unit has no end


def error_page_of(request: HttpRequest) -> tuple[str, dict[str, Any]] | None:
    """Return the template of `set_error_page` with its context."""
    page: tuple[str, dict[str, Any]] | None = getattr(request, "error_page", None)
    return page


def dialect_of_error(request: HttpRequest) -> type[Dialect] | None:
    """Return the dialect for an error of this request; None for a page."""
    return None if is_for_page(request) else dialect_of_path(request)


def is_for_page(request: HttpRequest) -> bool:
    """Return whether a browser asks for a page, or sends a form to one."""
    if not accepts_html(request):
        return False
    is_shared = any(f"{request.path_info}/".startswith(f"{path}/") for path in SHARED_PATHS)
    match = request.resolver_match
    is_form = match is not None and not hasattr(match.func, "cls")  # which views of the API have
    return error_page_of(request) is not None or (is_shared and (is_form or wants_page(request)))


def render_page(request: HttpRequest, status: HTTPStatus, template: str, context: dict[str, Any]) -> str:
    """Render an error with the header of every page, whose account needs the session and the database."""
    # They may be what failed; and the user is known only after the middleware of sessions.
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or not hasattr(request, "user"):
        return render_to_string(template, {**site(), **context})
    return render_to_string(template, context, request)


def admin_error_page(request: HttpRequest, status: HTTPStatus, context: dict[str, Any]) -> HttpResponseBase:
    """Return an error as a page of the admin site."""
    template = "registry_site/admin_error.html"
    # The menu needs the session and the database, which may be what failed; and the user, who is known only to views.
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or not hasattr(request, "user"):
        frame = {"site_header": admin.site.site_header, "site_title": admin.site.site_title}
        return HttpResponse(render_to_string(template, {**frame, **context}), status=status)
    return HttpResponse(
        render_to_string(template, {**admin.site.each_context(request), **context}, request), status=status
    )


def dialect_of_path(request: HttpRequest) -> type[Dialect] | None:
    view: type = getattr(request.resolver_match and request.resolver_match.func, "cls", object)
    if issubclass(view, Dialect) and not wants_page(request):
        return view  # it may have a shape of its own
    for prefix, dialect in dialect_by_prefix().items():
        if f"{request.path_info}/".startswith(f"{prefix}/"):
            return dialect
    if FILE_PATHS.fullmatch(request.path_info) and not wants_page(request):
        return Outernet
    return None


@cache
def dialect_by_prefix() -> dict[str, type[Dialect]]:
    """Map the shortest prefixes of paths under which all views speak one dialect to it: `/api/v1` to `Cargo`."""
    dialects: defaultdict[str, set[type[Dialect]]] = defaultdict(set)
    for route, view in url_map.routes():
        if dialect := dialect_of(getattr(view, "cls", object)):
            for prefix in accumulate(f"/{segment}" for segment in url_map.static_segments(route)):
                dialects[prefix].add(dialect)
    prefixes: dict[str, type[Dialect]] = {}
    for prefix in sorted(dialects):  # a prefix comes before those that extend it
        if len(dialects[prefix]) == 1 and not any(prefix.startswith(f"{shorter}/") for shorter in prefixes):
            prefixes[prefix] = dialects[prefix].pop()
    return prefixes
