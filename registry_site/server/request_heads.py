"""Heads of plain requests, read from bytes. gunicorn reads all others, so each of its rules keeps one home."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from django.conf import settings

from registry_site.http.compression import takes_gzip

MAX_HEAD_BYTES = 4096
MAX_REMEMBERED_BYTES = 16 * 1024 * 1024  # of heads; clients send the same ones again and again
OVERHEAD = 400  # bytes of memory that each of these takes beside its own
END = b"\r\n\r\n"

# Headers that change nothing in the answers that are kept, or what is read of them below. With any other header,
# such as Range, Cookie, Content-Length or Expect, a request is not plain.
HARMLESS = frozenset(
    b"accept accept-encoding accept-language authorization cache-control cargo-protocol connection dnt forwarded from "
    b"host if-none-match pragma referer te traceparent tracestate user-agent via x-forwarded-for x-forwarded-host "
    b"x-forwarded-port x-forwarded-proto x-real-ip x-request-id upgrade http2-settings".split()
)
OF_CONNECTION = frozenset((b"connection", b"te", b"upgrade", b"http2-settings"))  # and of HTTP/1.1 alone
REQUEST_LINE = re.compile(rb"(GET|HEAD) (/[A-Za-z0-9/._-]*) HTTP/1\.([01])")
UPGRADE = b"upgrade, http2-settings"
WITH_TOKEN = b" *"  # behind the target, which has no blank: the answer to those with a token has other headers
TARGET = re.compile(rb"/[A-Za-z0-9/._-]*")
WITH_GZIP = b" gzip"  # so has the answer to those who take it compressed
VALUE = re.compile(rb"[ -~]*")
HOST = re.compile(rb"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
ETAG = re.compile(rb'(?:W/)?("[0-9A-Za-z]+")')
REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")


@dataclass(frozen=True, slots=True)
class PlainRequest:
    """A request without a body whose answer depends on these fields alone."""

    key: bytes  # of the answer: the target as it came, whether there is a token, and whether gzip may come
    is_head: bool
    minor_version: int
    keeps_alive: bool
    etag: bytes  # of `If-None-Match`, or empty
    unchanged_key: bytes  # of the answer that a client with this ETag has what there is
    token: bytes  # the value of `Authorization`, or empty
    forwarded_for: bytes  # the value of `X-Forwarded-For`, or empty
    request_id: bytes  # from a proxy, or empty


class HeadReader:
    """A reader of heads that remembers those that are answered, up to a number of bytes."""

    def __init__(self) -> None:
        self.hosts = frozenset(host.encode() for host in settings.ALLOWED_HOSTS)
        self.remembered: dict[bytes, PlainRequest] = {}
        self.remembered_bytes = 0

    def read(self, head: bytes) -> PlainRequest | None:
        """Return the request that a head, with its empty line, begins; None if it is not plain."""
        if request := self.remembered.get(head):
            return request
        return self._parse(head)

    def remember(self, head: bytes, request: PlainRequest) -> None:
        """Remember a head for which there is an answer, also one with a token, which is never written anywhere.

        Of another the path can hold a token, and nobody needs it again.
        """
        if request.request_id or head in self.remembered:  # each of a proxy's requests has another id
            return
        if self.remembered_bytes > MAX_REMEMBERED_BYTES:
            self.remembered.clear()
            self.remembered_bytes = 0
        self.remembered[head] = request
        self.remembered_bytes += (
            len(head) + len(request.key) + len(request.unchanged_key) + len(request.token) + OVERHEAD
        )

    def _parse(self, head: bytes) -> PlainRequest | None:
        if len(head) > MAX_HEAD_BYTES:
            return None
        line, *lines = head[: -len(END)].split(b"\r\n")
        start = REQUEST_LINE.fullmatch(line)
        if start is None:
            return None
        headers: dict[bytes, bytes] = {}
        for line in lines:
            name, colon, value = line.partition(b":")
            name = name.lower()
            if not colon or name not in HARMLESS or name in headers or not VALUE.fullmatch(value):
                return None
            headers[name] = value.strip(b" ")
        return self.request(start[2], headers, is_head=start[1] == b"HEAD", minor_version=int(start[3]))

    def request(
        self, target: bytes, headers: Mapping[bytes, bytes], *, is_head: bool, minor_version: int = 1
    ) -> PlainRequest | None:
        """Return the request for a plain target with headers that are all harmless; None if their values are not."""
        host = HOST.fullmatch(headers.get(b"host", b""))
        if host is None or host[1].lower() not in self.hosts or b"html" in headers.get(b"accept", b"").lower():
            return None
        etag = b""
        if b"if-none-match" in headers:
            tag = ETAG.fullmatch(headers[b"if-none-match"])
            if tag is None:
                return None
            etag = tag[1]
        connection = headers.get(b"connection", b"").lower()
        token = headers.get(b"authorization", b"")
        if connection == UPGRADE and headers.get(b"upgrade") == b"h2c":
            connection = b""  # cargo offers this without TLS, and gunicorn does not take it up
        if connection not in (b"", b"close", b"keep-alive") or (b"authorization" in headers and not token):
            return None
        key = target + WITH_TOKEN if token else target
        if takes_gzip(headers.get(b"accept-encoding", b"").decode("latin-1")):
            key += WITH_GZIP
        return PlainRequest(
            key=key,
            is_head=is_head,
            minor_version=minor_version,
            keeps_alive=connection == b"keep-alive" or (minor_version == 1 and not connection),
            etag=etag,
            unchanged_key=key + b" " + etag,
            token=token,
            forwarded_for=headers.get(b"x-forwarded-for", b""),
            request_id=headers.get(b"x-request-id", b""),
        )
