"""Rules for caches: they ask again before they use a response, and keep nothing that is personal.

Without a `Cache-Control` a cache may keep a 404 or a list for minutes (RFC 9111, 4.2.2), also the 404 that cargo gets
for the index file of a crate just before it publishes it.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_cache_control

CREDENTIAL_HEADERS = ("Authorization", "Cookie", "Token", "X-Auth-Token")
CREDENTIAL_PARAMETER = "session_token"
# What a server in front adds to the tag of a response that it compresses: Apache one of the first two.
COMPRESSION_SUFFIX = re.compile(r'(-gzip|-br|;gzip)"')


def control_caches(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that lets only the bytes of versions and static files be used again without asking."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        for name in ("HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH"):
            if name in request.META:
                request.META[name] = COMPRESSION_SUFFIX.sub('"', request.META[name])
        response = get_response(request)
        if any(directive in response.get("Cache-Control", "") for directive in ("max-age", "no-store")):
            return response
        if shows_credential(request) or response.cookies:
            response["Cache-Control"] = "private, no-store"
        else:
            patch_cache_control(response, no_cache=True)
        return response

    return middleware


def shows_credential(request: HttpRequest) -> bool:
    """Return whether a token or a cookie came with a request, valid or not."""
    return CREDENTIAL_PARAMETER in request.GET or any(map(request.headers.get, CREDENTIAL_HEADERS))
