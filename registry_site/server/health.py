"""The health check for load balancers: the server is up and reaches its database."""

from collections.abc import Callable

from django.db import Error, connection
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views.decorators.http import require_safe

from registry_site.environment import LOOPBACK_HOSTS
from registry_site.server.response_cache import keep

PATHS = ("/health", "/ready")  # load balancers are configured for either


def accept_any_host(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: those who ask for the health know the server by whatever name or address its container has."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if request.path_info in PATHS:
            request.META["HTTP_HOST"] = LOOPBACK_HOSTS[0]
        return get_response(request)

    return middleware


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """`GET /health` and `GET /ready`"""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return JsonResponse({"status": "unavailable", "database": False}, status=503)
    return keep(request, JsonResponse({"status": "ok", "database": True}))
