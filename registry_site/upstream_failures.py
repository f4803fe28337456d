"""Failures of other servers: their kinds, and one line of the log for each.

All ways out share this: the mirror's upstreams, the OpenID provider, object stores, mail and Redis.
"""

import errno
import logging
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any

from urllib3.exceptions import NewConnectionError

from registry_site.logs import log_event

MAX_CAUSE_LENGTH = 300
MAX_ANSWER_LENGTH = 200


class FailureKind(StrEnum):
    UNREACHABLE = "not reached"
    UNTRUSTED = "certificate not trusted"
    LATE = "took too long"
    REFUSED = "refused us"
    UNUSABLE = "unusable answer"


REFUSALS = (400, 401, 403, 429)  # the statuses of an answer that refuses the request itself
NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH)


@contextmanager
def logged_failure(
    service: str,
    step: str,
    host: str,
    errors: type[Exception] | tuple[type[Exception], ...] = Exception,
    level: int = logging.WARNING,
    **fields: Any,
) -> Iterator[dict[str, Any]]:
    """Log one line if the block raises one of `errors`: who was asked for what, what came, how long it took.

    The block may change the fields, and add some such as the status of the answer. Nothing secret may be among them: no
    query of a URL, no header and no body.
    """
    line = {"service": service, "step": step, "host": host, **fields}
    start = time.monotonic()
    try:
        yield line
    except errors as error:
        line |= {
            "failure": FailureKind.REFUSED if line.get("status") in REFUSALS else kind_of(error),
            "cause": str(error)[:MAX_CAUSE_LENGTH] or type(error).__name__,
            "duration_ms": round((time.monotonic() - start) * 1000),
        }
        log_event("request_failed", level, **line)
        raise


def first_words(body: bytes, secrets: Iterable[str]) -> str:
    """Return the first words of an answer, fit for the log: on one line, and without secrets that it quotes."""
    text = body[: 10 * MAX_ANSWER_LENGTH].decode("utf-8", "replace")
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:MAX_ANSWER_LENGTH]


def kind_of(error: BaseException) -> FailureKind:
    """Return the kind of a failure: an error of its chain names it in `kind`, or has a class that stands for one."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        if isinstance(kind := getattr(cause, "kind", None), FailureKind):
            return kind
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    # A connection that takes too long is also one that fails, so the order counts.
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain):
        return FailureKind.UNTRUSTED
    if any(isinstance(cause, TimeoutError) for cause in chain):
        return FailureKind.LATE
    if any(_is_unreachable(cause) for cause in chain):
        return FailureKind.UNREACHABLE
    return FailureKind.UNUSABLE


def _is_unreachable(error: BaseException) -> bool:
    classes = ConnectionRefusedError | socket.gaierror | NewConnectionError
    return isinstance(error, classes) or (isinstance(error, OSError) and error.errno in NO_ROUTE)
