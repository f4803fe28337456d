"""Answers of views that a worker keeps in memory, and sends again without a thread as long as they are true.

A view marks its answer with `keep`, and names the changes that end it. It is kept as gunicorn has sent it, for the next
plain request for the same path. `registry_site.change_feed` says why nothing old is sent.

A permission notes with `note_reader` whose credential it has let pass. The worker keeps that too, until the credential
or its user changes: a request with the same token gets the answers of all views with the same permission. Requests with
a token and those without one have answers of their own.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from registry_site import memory_cache
from registry_site.http.downloads import Content, WholeFileResponse
from registry_site.http.request_log import HEADER as REQUEST_ID
from registry_site.memory_cache import MemoryCache, Tag
from registry_site.server.request_heads import PlainRequest
from registry_site.server.stored_files import StoredFile

OVERHEAD = 1500  # bytes of memory that each answer takes beside its own
LARGE_BODY = 64 * 1024  # bytes, from which on a body is not copied for each request
MAX_SHARE = 8  # an answer over an eighth of all memory for them would push out too many others
STATUSES = ("200 OK", "304 Not Modified")
MAX_READERS = 4096  # about 8 MB
MARK, READER = "registry_site.mark", "registry_site.reader"  # of the environment of WSGI

Response = TypeVar("Response", bound=HttpResponseBase)


class Reader(Protocol):
    """A credential that a permission has let pass, which is so until one of `tags` changes or `good_until`.

    What changes from request to request is checked each time: the address from which the client comes, as the peer of
    its connection and `X-Forwarded-For` say.
    """

    access: str  # the permission, and how it knows the credential
    tags: Collection[Tag]
    good_until: float | None

    def admits(self, peer: str, forwarded_for: bytes) -> bool: ...
    def record_use(self, peer: str, forwarded_for: bytes) -> None: ...


@dataclass(frozen=True)
class Mark:
    status: int
    tags: Collection[Tag]
    good_until: float | None
    count_hit: Callable[[], None] | None
    count_download: Callable[[], None] | None
    file: StoredFile | None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer in bytes, without what each request has for itself: the first lines, and its id between the others."""

    status: str
    etag: bytes  # without the mark of a weak one
    before_id: bytes
    after_id: bytes  # up to the empty line
    rest: bytes  # the same, and a body that is not large
    large_body: bytes
    file: StoredFile | None  # whose bytes are the body
    access: str  # of those who get it with a token; empty for those without
    count_hit: Callable[[], None] | None
    count_download: Callable[[], None] | None
    blocks: list[bytes] = field(default_factory=list, compare=False)  # the head over HTTP/2, once that was sent

    def body(self) -> memoryview:
        """Return the body of an answer that has no file, without a copy of it."""
        return memoryview(self.large_body) if self.large_body else memoryview(self.rest)[len(self.after_id) :]

    def size(self) -> int:
        return len(self.before_id) + len(self.after_id) + len(self.rest) + len(self.large_body) + OVERHEAD


answers = memory_cache.register(MemoryCache[bytes, KeptAnswer]({}, settings.INDEX_CACHE_SIZE, KeptAnswer.size))
# By access and the value of `Authorization`. Whoever notes readers adds the tables on which they depend.
readers = memory_cache.register(MemoryCache[tuple[str, bytes], Reader]({}, MAX_READERS))


def rely_on(kind: str, tables: Collection[str]) -> None:
    """Let answers rely on a kind of changes, which the database logs of these tables."""
    answers.tables = {**answers.tables, kind: {*answers.tables.get(kind, ()), *tables}}


def keep(
    request: HttpRequest,
    response: Response,
    *tags: Tag,
    good_until: float | None = None,
    count_hit: Callable[[], None] | None = None,
    count_download: Callable[[], None] | None = None,
    file: StoredFile | None = None,
) -> Response:
    """Let a response be sent again until one of these changes, or until a time of `time.time()`.

    It must be the same for all who get past the permission of its view. `count_hit` is called each time, for the
    figures that the view would have counted, and `count_download` whenever the body is sent. The bytes of a `file` are
    not kept, but sent from the disk.
    """
    request.META[MARK] = Mark(response.status_code, tags, good_until, count_hit, count_download, file)
    return response


def keep_download(
    request: HttpRequest,
    response: Response,
    content: Content,
    *tags: Tag,
    count_download: Callable[[], None],
    good_until: float | None = None,
    count_hit: Callable[[], None] | None = None,
) -> Response:
    """Let a response of `deliver` be sent again, if it is a whole file on the local disk, or 304."""
    if "Last-Modified" not in response:  # it lies ahead, and is left out until then
        return response
    if response.status_code == 304:
        return keep(request, response, *tags, good_until=good_until, count_hit=count_hit)
    path = content.local_path() if isinstance(response, WholeFileResponse) else None
    if path is None:
        return response
    return keep(
        request,
        response,
        *tags,
        good_until=good_until,
        count_hit=count_hit,
        count_download=count_download,
        file=StoredFile(path, content.size),
    )


def note_reader(request: HttpRequest, reader: Reader) -> None:
    """Note whose credential a permission has let pass."""
    request.META[READER] = reader


def put(
    request: PlainRequest,
    environ: Mapping[str, Any],
    status: str,
    headers: Sequence[tuple[str, str]],
    response: Any,
    ticket: int,
) -> None:
    """Keep the response to a request if it is marked; the ticket is from before the view."""
    mark: Mark | None = environ.get(MARK)
    reader: Reader | None = environ.get(READER) if request.token else None
    if mark is None or status not in STATUSES or not status.startswith(str(mark.status)):
        return
    if is_personal(headers, has_reader=reader is not None) or (request.token and reader is None):
        return
    body = b"" if mark.file else response.content
    answer = kept_answer(status, headers, body, mark, reader.access if reader else "")
    if answer.size() <= answers.max_size // MAX_SHARE:
        key = request.unchanged_key if status == STATUSES[1] else request.key
        answers.put(key, answer, ticket, mark.tags, mark.good_until)
    if reader:
        readers.put((reader.access, request.token), reader, ticket, reader.tags, reader.good_until)


def is_personal(headers: Sequence[tuple[str, str]], *, has_reader: bool) -> bool:
    """Tell whether a response is for one client alone, whatever its view has marked.

    Caches may not store what comes with a token, but that is no secret from others whom the permission lets pass.
    """
    return any(
        name == "Set-Cookie" or (name == "Cache-Control" and "no-store" in value and not has_reader)
        for name, value in headers
    )


def find(request: PlainRequest, peer: str, *, sends_files: bool = False) -> KeptAnswer | None:
    """Return the answer to a request, for a caller that has let the feed catch up since the request came.

    `peer` is the address from which its connection comes. A caller that sends no files gets no answers with a `file`.
    """
    if not request.etag:
        answer = answers.peek(request.key)
    else:
        answer = answers.peek(request.unchanged_key)
        if answer is None:
            answer = answers.peek(request.key)
            if answer is not None and answer.etag == request.etag:
                return None  # the next one is 304, and not kept yet
    if answer is None or (answer.file and not sends_files):
        return None
    if request.token:
        reader = readers.peek((answer.access, request.token))
        if reader is None or not reader.admits(peer, request.forwarded_for):
            return None
    return answer


def count(request: PlainRequest, answer: KeptAnswer, peer: str) -> None:
    """Count an answer that is sent, as its view would have."""
    if answer.count_hit:
        answer.count_hit()
    if answer.count_download and not request.is_head:
        answer.count_download()
    if request.token and (reader := readers.peek((answer.access, request.token))):
        reader.record_use(peer, request.forwarded_for)


def kept_answer(status: str, headers: Sequence[tuple[str, str]], body: bytes, mark: Mark, access: str) -> KeptAnswer:
    """Return a response as gunicorn writes its headers, which follow those of its own."""
    names = [name for name, _ in headers]
    index = names.index(REQUEST_ID)
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
    etag = next((value.removeprefix("W/").encode("latin-1") for name, value in headers if name == "ETag"), b"")
    after_id = b"\r\n" + b"".join(lines[index + 1 :]) + b"\r\n"
    is_large = len(body) >= LARGE_BODY
    return KeptAnswer(
        status=status,
        etag=etag,
        before_id=b"".join(lines[:index]) + f"{REQUEST_ID}: ".encode("latin-1"),
        after_id=after_id,
        rest=after_id if is_large else after_id + body,
        large_body=body if is_large else b"",
        file=mark.file,
        access=access,
        count_hit=mark.count_hit,
        count_download=mark.count_download,
    )
