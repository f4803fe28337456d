"""Small texts that other programs fetch again and again, such as feeds and badges."""

import hashlib
import re

from django.http import HttpRequest, HttpResponse
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag

CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # which no XML may have


def printable(text: str) -> str:
    return CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", text)


def unless_unchanged(request: HttpRequest, text: str, content_type: str) -> HttpResponse:
    """Respond with a text, or with 304 to a client that has it."""
    etag = quote_etag(hashlib.sha256(text.encode()).hexdigest()[:32])
    response = HttpResponse(text, content_type=content_type, headers={"ETag": etag})
    return get_conditional_response(request, etag=etag, response=response) or response
