"""Serving stored bytes over HTTP: whole, one range of them, 304, or by a server that is nearer to them."""

import re
from datetime import datetime
from typing import IO, Protocol
from urllib.parse import quote

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, http_date

from registry_site.storage import blobs

RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Content(Protocol):
    """Bytes that never change under one ETag; `size` of them."""

    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...
    def read(self, start: int = 0, length: int | None = None) -> IO[bytes]: ...
    def url(self, filename: str) -> str | None: ...
    def local_path(self) -> str | None: ...


class WholeFileResponse(FileResponse):
    """Sent by the kernel where it can be, else in pieces that are not too small for HTTP/2."""

    block_size = blobs.CHUNK_SIZE


def deliver(
    request: HttpRequest,
    content: Content,
    *,
    filename: str,
    modified: datetime,
    cache_control: str,
    content_type: str = "application/octet-stream",
) -> HttpResponseBase:
    """The answer to a GET or HEAD of what never changes; raises what reading it raises.

    One range is honoured (206, or 416 past the end); several at once are answered with the whole, as RFC 9110 allows.
    """
    filename = filename.rstrip("\n")  # which the library takes for no part of it
    fresh = get_conditional_response(request, content.etag, int(modified.timestamp()))
    response = fresh or _body(request, content, filename, content_type)
    response["ETag"] = content.etag
    response["Last-Modified"] = http_date(modified.timestamp())
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = cache_control
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=filename) or "attachment"
    return response


def _body(request: HttpRequest, content: Content, filename: str, content_type: str) -> HttpResponseBase:
    elsewhere = _elsewhere(request, content, filename, content_type)
    if elsewhere is not None:
        return elsewhere
    if request.method == "HEAD":
        return HttpResponse(content_type=content_type, headers={"Content-Length": str(content.size)})
    span = _span(request, content.size, content.etag)
    if span is None:
        whole = WholeFileResponse(content.read(), content_type=content_type)
        whole["Content-Length"] = str(content.size)
        return whole
    start, end = span
    if start >= end:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{content.size}"})
    part = StreamingHttpResponse(
        blobs.iter_chunks(content.read(start, end - start)), status=206, content_type=content_type
    )
    part["Content-Length"] = str(end - start)
    part["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    return part


def _elsewhere(request: HttpRequest, content: Content, filename: str, content_type: str) -> HttpResponseBase | None:
    """Where the proxy in front, or the client itself, gets the bytes, if it is set up so."""
    if settings.X_ACCEL_PREFIX and (place := content.local_path()):
        address = settings.X_ACCEL_PREFIX + quote(place)
        return HttpResponse(content_type=content_type, headers={"X-Accel-Redirect": address})
    if request.method != "HEAD" and (url := content.url(filename)):
        return HttpResponse(status=302, headers={"Location": url})
    return None


def _span(request: HttpRequest, size: int, etag: str) -> tuple[int, int] | None:
    """The half-open range that is asked for, empty when it lies past the end; None for the whole."""
    match = RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or match[0] == "bytes=-":
        return None
    if request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if not first:
        return max(size - int(last), 0) if int(last) else size, size
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return None
    return int(first), end
