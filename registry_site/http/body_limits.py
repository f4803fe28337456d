"""Limits on request bodies, checked before anything reads one.

Django looks for the CSRF token of a page in its form, so it reads a body of any size, with files, on each page.
"""

import re
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from registry_site.errors import Invalid, RegistryError
from registry_site.http.error_handlers import domain_error_response
from registry_site.http.parsers import EXTEND_DEADLINE, MAX_BODY_BYTES, check_length
from registry_site.storage import free_space

LENGTH = re.compile(r"[0-9]{1,39}")


class BodyLimitMiddleware:
    """Middleware that refuses a body over 1 MiB, unless its view takes uploads and the disk has room for it.

    A view for uploads has its own limit as `check_body_length(request, length)`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        try:
            check_body(request, view)
        except RegistryError as error:
            return domain_error_response(request, error)
        return None


def check_body(request: HttpRequest, view: Callable[..., Any]) -> None:
    """Check the announced body; raises `Invalid`, `TooLarge` and `Unavailable`."""
    text = request.META.get("CONTENT_LENGTH") or "0"
    if not LENGTH.fullmatch(text):
        raise Invalid("The Content-Length of the request cannot be understood.")
    length = int(text)
    if length <= MAX_BODY_BYTES:
        return
    owner = getattr(view, "cls", None) or getattr(view, "model_admin", None)
    if check_upload := getattr(owner, "check_body_length", None):
        check_upload(request, length)
    else:
        check_length(length)
    free_space.require(length, settings.FILE_UPLOAD_TEMP_DIR)
    if extend_deadline := request.META.get(EXTEND_DEADLINE):
        extend_deadline(length)
