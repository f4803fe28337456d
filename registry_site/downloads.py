"""Serving a blob over HTTP: whole, one range of it, or 304."""

import re
from datetime import datetime

from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, http_date

from registry_site import blobs

RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Whole(FileResponse):
    """Sent by the kernel where it can be, else in pieces that are not too small for HTTP/2."""

    block_size = blobs.CHUNK


def deliver(
    request: HttpRequest, blob: blobs.Blob, *, filename: str, modified: datetime, cache_control: str
) -> HttpResponseBase:
    """The answer to a GET or HEAD of a blob that never changes; raises what `blobs.open` raises.

    One range is honoured (206, or 416 past the end); several at once are answered with the whole, as RFC 9110 allows.
    """
    etag = f'"{blob.sha256}"'
    response = get_conditional_response(request, etag, int(modified.timestamp())) or _body(
        request, blob, etag, filename
    )
    response["ETag"] = etag
    response["Last-Modified"] = http_date(modified.timestamp())
    response["Accept-Ranges"] = "bytes"
    response["Cache-Control"] = cache_control
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=filename) or "attachment"
    return response


def _body(request: HttpRequest, blob: blobs.Blob, etag: str, filename: str) -> HttpResponseBase:
    if request.method == "HEAD":
        return HttpResponse(content_type="application/octet-stream", headers={"Content-Length": str(blob.size)})
    elsewhere = blobs.url(blob.sha256, filename)
    if elsewhere is not None:
        return HttpResponse(status=302, headers={"Location": elsewhere})
    span = _span(request, blob.size, etag)
    if span is None:
        whole = Whole(blobs.open(blob.sha256), content_type="application/octet-stream")
        whole["Content-Length"] = str(blob.size)
        return whole
    start, end = span
    if start >= end:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{blob.size}"})
    part = StreamingHttpResponse(
        blobs.chunks(blobs.open(blob.sha256, start, end - start)),
        status=206,
        content_type="application/octet-stream",
    )
    part["Content-Length"] = str(end - start)
    part["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    return part


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
