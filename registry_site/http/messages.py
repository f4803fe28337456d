"""Messages for the next page of a visitor."""

from functools import partial
from typing import Any

from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.messages.storage import default_storage
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject, empty


class LazyMessageMiddleware(MessageMiddleware):
    """Django's middleware, with a storage that is made for the requests that have or leave messages."""

    def process_request(self, request: HttpRequest) -> None:
        request._messages = SimpleLazyObject(partial(default_storage, request))  # type: ignore[attr-defined]

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        messages: Any = getattr(request, "_messages", None)
        if messages is None or messages._wrapped is empty:
            return response
        return super().process_response(request, response)
