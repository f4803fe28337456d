"""Compression of texts for clients that take it.

The ETag of a compressed text is the weak one of the same text, as nginx makes it: `If-None-Match` takes both as equal.
"""

import gzip
import re

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response, patch_vary_headers

MIN_BYTES = 1024  # below, it saves no packet
LEVEL = 4  # a millisecond for 300 versions; higher ones save little
REFUSED = re.compile(r"q *= *0(\.0*)?")


def takes_gzip(accept_encoding: str) -> bool:
    """Tell whether a client names gzip in `Accept-Encoding`, and not as what it does not take."""
    for entry in accept_encoding.lower().split(","):
        coding, _, weight = entry.partition(";")
        if coding.strip() == "gzip":
            return REFUSED.fullmatch(weight.strip()) is None
    return False


def conditional_response(request: HttpRequest, response: HttpResponse, timestamp: int | None) -> HttpResponse:
    """Return a text with its ETag as the client takes it, or 304 if the client has it."""
    content, etag = response.content, response["ETag"]
    patch_vary_headers(response, ["Accept-Encoding"])
    is_compressed = len(content) >= MIN_BYTES and takes_gzip(request.headers.get("Accept-Encoding", ""))
    if is_compressed:
        response["ETag"] = f"W/{etag}"
        response["Content-Encoding"] = "gzip"
    result = get_conditional_response(request, etag, timestamp, response) or response
    if is_compressed and result is response:
        response.content = gzip.compress(content, LEVEL, mtime=0)
    return result
