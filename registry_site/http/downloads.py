"""Downloads of stored bytes: whole, one range, 304, or delegated to a proxy or the storage."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import IO, Protocol
from urllib.parse import quote

from django.conf import settings
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import content_disposition_header, http_date

from registry_site.storage import blobs

CONTENT_STATUSES = (200, 206, 304)  # a refused range or condition must not stand for the content in a cache
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Content(Protocol):
    """Bytes that never change under one ETag; `size` of them."""

    @property
    def size(self) -> int: ...
    @property
    def etag(self) -> str: ...
    def read(self, start: int = 0, length: int | None = None) -> IO[bytes]: ...
    def require_present(self) -> None: ...
    def url(self, filename: str) -> str | None: ...
    def local_path(self) -> str | None: ...


class WholeFileResponse(FileResponse):
    """A file that is sent with sendfile(2) where possible, else in chunks large enough for HTTP/2."""

    block_size = blobs.CHUNK_SIZE

    def set_headers(self, filelike: IO[bytes]) -> None:
        """Leave the headers to `deliver`, so that those of HEAD are the same."""


def deliver(
    request: HttpRequest,
    content: Content,
    *,
    filename: str,
    modified: datetime,
    cache_control: str,
    count_download: Callable[[], None],
    content_type: str = "application/octet-stream",
) -> HttpResponseBase:
    """Answer a GET or HEAD for immutable content, and count it if it is a download. Raises the errors of reading it.

    One range is honoured (206, or 416 past the end). Several ranges get the whole content, as RFC 9110 (14.2) allows.
    """
    filename = filename.rstrip("\n")  # Django's header function takes a final newline for no part of a name
    timestamp = past_timestamp(modified)
    not_modified = get_conditional_response(request, content.etag, timestamp)
    response = not_modified or content_response(request, content, filename, content_type)
    if is_download(request, response, content):
        count_download()
    if response.status_code == 302:  # to an address that is valid for minutes: a cache must not hand it out later
        response["Cache-Control"] = "private, no-store"
        return response
    response["ETag"] = content.etag
    if timestamp is not None:
        response["Last-Modified"] = http_date(timestamp)
    response["Accept-Ranges"] = "bytes"
    if response.status_code in CONTENT_STATUSES:
        response["Cache-Control"] = cache_control
    response["Content-Disposition"] = content_disposition_header(as_attachment=True, filename=filename) or "attachment"
    return response


def is_download(request: HttpRequest, response: HttpResponseBase, content: Content) -> bool:
    """Tell whether a response hands out the content from its first byte, here or where it sends the client.

    A later range goes on with a download that was counted; a HEAD, a 304 and a refusal hand nothing out.
    """
    if request.method == "HEAD" or response.status_code not in (200, 206, 302):
        return False
    start, _ = requested_range(request, content) or (0, 0)
    return start == 0


def immutable_for_readers() -> str:
    """Return the `Cache-Control` of bytes that never change, for all who may read here.

    With AUTH_REQUIRED a shared cache would serve them to clients without a token.
    """
    return f"{'private' if settings.AUTH_REQUIRED else 'public'}, max-age=31536000, immutable"


def past_timestamp(modified: datetime) -> int | None:
    """Return the Unix time of a change in whole seconds, or None for one that lies ahead.

    RFC 9110 (8.8.2.1) forbids a Last-Modified in the future; without it, the ETag alone decides.
    """
    timestamp = int(modified.timestamp())
    return timestamp if timestamp <= timezone.now().timestamp() else None


def content_response(request: HttpRequest, content: Content, filename: str, content_type: str) -> HttpResponseBase:
    if settings.X_ACCEL_PREFIX and (path := content.local_path()):
        # The proxy in front sends the file, and handles ranges itself.
        headers = {"X-Accel-Redirect": settings.X_ACCEL_PREFIX + quote(path)}
        return HttpResponse(content_type=content_type, headers=headers)
    # A signed URL is valid for GET only.
    if request.method != "HEAD" and (url := content.url(filename)):
        return HttpResponse(status=302, headers={"Location": url})
    if request.method == "HEAD":
        content.require_present()
        nothing = HttpResponse(content_type=content_type)
        nothing["Content-Length"] = str(content.size)
        return nothing
    byte_range = requested_range(request, content)
    if byte_range is None:
        whole = WholeFileResponse(content.read(), content_type=content_type)
        whole["Content-Length"] = str(content.size)
        return whole
    start, end = byte_range
    if start >= end:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{content.size}"})
    chunks = blobs.iter_chunks(content.read(start, end - start))
    part = StreamingHttpResponse(chunks, status=206, content_type=content_type)
    part["Content-Length"] = str(end - start)
    part["Content-Range"] = f"bytes {start}-{end - 1}/{content.size}"
    return part


def requested_range(request: HttpRequest, content: Content) -> tuple[int, int] | None:
    """Return the half-open range that a request names, empty when it is past the end; None for the whole."""
    match = RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or match[0] == "bytes=-":
        return None
    if request.headers.get("If-Range", content.etag) != content.etag:  # the client has a part of other content
        return None
    first, last = match.groups()
    if not first:  # the last bytes
        start = max(content.size - int(last), 0) if int(last) else content.size
        return start, content.size
    if last and int(last) < int(first):  # invalid, so RFC 9110 (14.1.1) has us ignore it
        return None
    end = min(int(last) + 1, content.size) if last else content.size
    return int(first), end
