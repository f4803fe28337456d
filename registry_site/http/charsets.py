"""Charsets of requests: those that cannot decode a text, such as `rot13`, are refused before anything is read."""

import codecs
from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponseBase

from registry_site.http.error_handlers import error_response

REFUSAL = "The charset in the Content-Type is none that a text can have; send UTF-8."


def reject_unreadable_charset(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that refuses a charset by which Django would fail to decode a form or a query."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        charset = (request.content_params or {}).get("charset")
        if charset is not None and not is_readable(charset):
            return error_response(request, HTTPStatus.BAD_REQUEST, REFUSAL)
        return get_response(request)

    return middleware


def is_readable(charset: str) -> bool:
    """Return whether bytes in a charset become text, whatever they are. Django takes an unknown charset for UTF-8."""
    try:
        codecs.lookup(charset)
    except LookupError:
        return True
    try:
        b"\xff".decode(charset, "replace")
    except (LookupError, ValueError):  # no encoding of text, such as `rot13`; no replacement of errors, such as `idna`
        return False
    return True
