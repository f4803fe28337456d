"""Refusals that never reached a view: unknown path, bad host, crash, told in the dialect that owns the path."""

import re
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from http import HTTPStatus
from itertools import accumulate

from django.conf import settings
from django.core.exceptions import BadRequest, DisallowedHost
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render

from registry_site.errors import RegistryError, RetryLater
from registry_site.http import url_map
from registry_site.http.dialects import Dialect, Outernet, dialect_of, status_of
from registry_site.http.negotiation import wants_page

BINARY_QUERY_PATHS = ("/auth_verify",)  # a ciphertext in the query is any bytes
# Paths that people share with machines.
SHARED_PATHS = ("/me", "/replace_token", "/ktra/api/v1/openid", "/mirror/crates")
FILE_PATHS = re.compile(r"/[0-9]*")  # where a browser sees the home page


def reject_nul_bytes(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: nothing of ours has a NUL, and PostgreSQL cannot even be asked for a text with one."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        in_query = "%00" in request.META.get("QUERY_STRING", "") and request.path_info not in BINARY_QUERY_PATHS
        if "\0" in request.path_info or in_query:
            raise BadRequest("NUL in the path or the query")
        if any("\0" in value for value in request.COOKIES.values()):
            raise BadRequest("NUL in a cookie")
        return get_response(request)

    return answer


class DomainErrorMiddleware:
    """Middleware: what the domain refuses to a page, such as the log-in of the admin site."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if not isinstance(exception, RegistryError):
            return None
        response = error_response(request, HTTPStatus(status_of(exception)), exception.message)
        if isinstance(exception, RetryLater):
            response["Retry-After"] = str(exception.retry_after)
        return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    message = "The request cannot be understood."
    if isinstance(exception, DisallowedHost):
        message = f"This registry answers as {settings.PUBLIC_URL} only (REGISTRY_PUBLIC_URL)."
    return error_response(request, HTTPStatus.BAD_REQUEST, message)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return error_response(request, HTTPStatus.FORBIDDEN, "This is not allowed.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    return error_response(request, HTTPStatus.NOT_FOUND, "There is nothing at this path.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    if isinstance(sys.exc_info()[1], OperationalError | InterfaceError):
        response = error_response(
            request, HTTPStatus.SERVICE_UNAVAILABLE, "The registry's database does not answer at present."
        )
        response["Retry-After"] = "5"
        return response
    message = "The registry failed on this request; the cause is in its log."
    return error_response(request, HTTPStatus.INTERNAL_SERVER_ERROR, message)


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


def error_response(request: HttpRequest, status: HTTPStatus, message: str) -> HttpResponseBase:
    dialect = None if _is_for_people(request) else _owner(request)
    if dialect is not None:
        return dialect.failure_response(status, status.name.lower(), message)
    context = {"title": status.phrase, "message": message}
    return render(request, "registry_site/error.html", context, status=status)


def _is_for_people(request: HttpRequest) -> bool:
    """On a path that they share with machines."""
    shared = any(request.path_info == path or request.path_info.startswith(path + "/") for path in SHARED_PATHS)
    return shared and wants_page(request)


def _owner(request: HttpRequest) -> type[Dialect] | None:
    for prefix, dialect in dialect_by_prefix().items():
        if request.path_info == prefix or request.path_info.startswith(prefix + "/"):
            return dialect
    if FILE_PATHS.fullmatch(request.path_info) and not wants_page(request):
        return Outernet
    return None
