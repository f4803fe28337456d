"""Answers of views that a worker keeps in memory, and sends again without a thread as long as they are true.

A view marks its answer with `keep`, and names the changes that end it. It is kept as gunicorn has sent it, for the next
plain request for the same path. `registry_site.change_feed` says why nothing old is sent.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from django.conf import settings
from django.http import HttpResponse

from registry_site import memory_cache
from registry_site.http.request_log import HEADER as REQUEST_ID
from registry_site.memory_cache import MemoryCache, Tag
from registry_site.server.request_heads import PlainRequest

OVERHEAD = 1000  # bytes of memory that each answer takes beside its own
LARGE_BODY = 64 * 1024  # bytes, from which on a body is not copied for each request
MAX_SHARE = 8  # an answer over an eighth of all memory for them would push out too many others
STATUSES = ("200 OK", "304 Not Modified")

Response = TypeVar("Response", bound=HttpResponse)


@dataclass(frozen=True)
class Mark:
    tags: Collection[Tag]
    good_until: float | None
    count_hit: Callable[[], None] | None


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer in bytes, without what each request has for itself: the first lines, and its id between the others."""

    status: str
    etag: bytes
    before_id: bytes
    after_id: bytes  # up to the empty line
    rest: bytes  # the same, and a body that is not large
    large_body: bytes
    count_hit: Callable[[], None] | None

    def size(self) -> int:
        return len(self.before_id) + len(self.after_id) + len(self.rest) + len(self.large_body) + OVERHEAD


answers = memory_cache.register(MemoryCache[bytes, KeptAnswer]({}, settings.INDEX_CACHE_SIZE, KeptAnswer.size))


def rely_on(kind: str, tables: Collection[str]) -> None:
    """Let answers rely on a kind of changes, which the database logs of these tables."""
    answers.tables = {**answers.tables, kind: tables}


def keep(
    response: Response,
    *tags: Tag,
    good_until: float | None = None,
    count_hit: Callable[[], None] | None = None,
) -> Response:
    """Let a response be sent again until one of these changes, or until a time of `time.time()`.

    `count_hit` is called each time, for the figures that the view would have counted.
    """
    response.mark = Mark(tags, good_until, count_hit)  # type: ignore[attr-defined]
    return response


def put(request: PlainRequest, status: str, headers: Sequence[tuple[str, str]], response: Any, ticket: int) -> None:
    """Keep the response to a request if it is marked; the ticket is from before the view."""
    mark: Mark | None = getattr(response, "mark", None)
    if mark is None or status not in STATUSES or is_personal(headers):
        return
    answer = kept_answer(status, headers, response.content, mark)
    if answer.size() <= answers.max_size // MAX_SHARE:
        key = request.unchanged_key if status == STATUSES[1] else request.target
        answers.put(key, answer, ticket, mark.tags, mark.good_until)


def is_personal(headers: Sequence[tuple[str, str]]) -> bool:
    """Tell whether a response is for one client alone, whatever its view has marked."""
    return any(name == "Set-Cookie" or (name == "Cache-Control" and "no-store" in value) for name, value in headers)


def find(request: PlainRequest) -> KeptAnswer | None:
    """Return the answer to a request, for a caller that has let the feed catch up since the request came."""
    if not request.etag:
        return answers.peek(request.target)
    answer = answers.peek(request.unchanged_key)
    if answer is None:
        answer = answers.peek(request.target)
        if answer is not None and answer.etag == request.etag:
            return None  # the next one is 304, and not kept yet
    return answer


def kept_answer(status: str, headers: Sequence[tuple[str, str]], body: bytes, mark: Mark) -> KeptAnswer:
    """Return a response as gunicorn writes its headers, which follow those of its own."""
    names = [name for name, _ in headers]
    index = names.index(REQUEST_ID)
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in headers]
    etag = next((value.encode("latin-1") for name, value in headers if name == "ETag"), b"")
    after_id = b"\r\n" + b"".join(lines[index + 1 :]) + b"\r\n"
    is_large = len(body) >= LARGE_BODY
    return KeptAnswer(
        status=status,
        etag=etag,
        before_id=b"".join(lines[:index]) + f"{REQUEST_ID}: ".encode("latin-1"),
        after_id=after_id,
        rest=after_id if is_large else after_id + body,
        large_body=body if is_large else b"",
        count_hit=mark.count_hit,
    )
