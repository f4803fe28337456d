"""Rules for caches: they ask again before they use a response, and keep nothing that is personal.

Without a `Cache-Control` a cache may keep a 404 or a list for minutes (RFC 9111, 4.2.2), also the 404 that cargo gets
for the index file of a crate just before it publishes it.
"""

import re
from collections.abc import Callable

from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_cache_control

CREDENTIAL_HEADERS = ("Authorization", "Cookie", "Token", "X-Auth-Token")
# In the query: of a client of the file registry, and of the OpenID provider's answer.
CREDENTIAL_PARAMETERS = ("session_token", "code")
SAFE_METHODS = ("GET", "HEAD")
# What a server in front does to the tag of a response that it compresses: it adds a suffix, or marks the tag as weak,
# which counts in `If-Match` alone (RFC 9110, 13.1).
COMPRESSION_SUFFIX = r'[-;]{1,2}(?:gzip|br|zstd|deflate)(?=")'
COMPRESSION_MARKS = {
    "HTTP_IF_NONE_MATCH": re.compile(rf'W/(?=")|{COMPRESSION_SUFFIX}'),
    "HTTP_IF_MATCH": re.compile(COMPRESSION_SUFFIX),
}


def control_caches(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that lets only the bytes of versions and static files be used again without asking."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        for name, mark in COMPRESSION_MARKS.items():
            if name in request.META:
                request.META[name] = mark.sub("", request.META[name])
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
    """Return whether a token or a cookie came with a request, valid or not.

    It may stand in a header, the query, the path (of a link in a mail) or the body, which is not looked into.
    """
    path = request.resolver_match.kwargs if request.resolver_match else {}
    has_body = request.META.get("CONTENT_LENGTH") not in (None, "", "0")
    return (
        has_body
        or request.method not in SAFE_METHODS
        or "token" in path
        or any(name in request.GET for name in CREDENTIAL_PARAMETERS)
        or any(map(request.headers.get, CREDENTIAL_HEADERS))
    )
