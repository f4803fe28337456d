"""The header `X-OTP`: the second factor of programs that log in by a password."""

from collections.abc import Callable
from contextvars import ContextVar

from django.http import HttpRequest, HttpResponseBase

NAME = "X-OTP"

_code: ContextVar[str] = ContextVar("one_time_code", default="")


def read_one_time_code(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that makes `one_time_code` available until the request is answered."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        token = _code.set(request.headers.get(NAME, ""))
        try:
            return get_response(request)
        finally:
            _code.reset(token)  # the thread answers other requests after this one

    return middleware


def one_time_code() -> str:
    """Return the code of the request that is being answered, or an empty text."""
    return _code.get()
