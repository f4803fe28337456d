"""Strict transport security (RFC 6797): a browser that came by TLS once comes by nothing else."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

ONE_YEAR = 365 * 24 * 3600


def require_tls(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that sends the header with every response if the public URL has TLS.

    Django's own sends it only with requests that came by TLS. A proxy in front sends them on without.
    """

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if settings.PUBLIC_URL.startswith("https://"):
            response.headers["Strict-Transport-Security"] = f"max-age={ONE_YEAR}"
        return response

    return middleware
