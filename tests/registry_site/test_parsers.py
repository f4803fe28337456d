"""Parsers of request bodies: their limits, and bodies that end too early."""

import io
from typing import Any

import pytest
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http.request import UnreadablePostError
from django.test import Client, RequestFactory

from registry_site.errors import Unavailable
from registry_site.http.parsers import (
    MAX_BODY_BYTES,
    MAX_FIELDS,
    StrictMultiPartParser,
    form_value_bytes,
    parse_form,
)
from tests.support.refusals import refusal_of


@pytest.mark.django_db
def test_bodies_have_a_maximum_size() -> None:
    bodies = {
        ("/ktra/api/v1/login/alice", "application/json"): (b'{"password":"', b'"}'),
        ("/ktra/api/v1/login/alice", ""): (b'{"password":"', b'"}'),
        ("/api/stable/auth/login", "application/x-www-form-urlencoded"): (b"username=alice&password=", b""),
        ("/auth", "text/plain"): (b"client_name=", b""),
    }
    too_large = f"The body has {MAX_BODY_BYTES + 1} bytes; at most {MAX_BODY_BYTES} are taken here."
    for (url, content_type), (start, end) in bodies.items():
        for size, is_refused in ((MAX_BODY_BYTES, False), (MAX_BODY_BYTES + 1, True)):
            body = start + b"a" * (size - len(start) - len(end)) + end
            response = Client().generic("POST", url, body, content_type)
            assert (url, response.status_code == 413) == (url, is_refused)
            assert (too_large in response.content.decode()) == is_refused


def test_last_value_of_a_field_counts() -> None:
    assert parse_form(b"a=1&b=&a=%C3%A9&c") == {"a": "é", "b": "", "c": ""}


def test_bytes_of_a_form_value_are_restored() -> None:
    assert form_value_bytes(parse_form(b"a=%ff%00%c3")["a"]) == b"\xff\0\xc3"


def test_number_of_fields_is_limited() -> None:
    assert len(parse_form(b"&".join(b"f%d=" % number for number in range(MAX_FIELDS)))) == MAX_FIELDS
    assert refusal_of(parse_form, b"a=&" * MAX_FIELDS + b"b=") == f"There are more than {MAX_FIELDS} fields."


class BrokenStream(io.BytesIO):
    """A body that ends with an error in the middle of a file."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n' + b"a" * 100_000)
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise self.error
        return data


@pytest.mark.parametrize(
    ("error", "expected"),
    [(UnreadablePostError("cut off"), UnreadablePostError), (OSError(28, "No space left on device"), Unavailable)],
    ids=["cut off", "disk full"],
)
def test_unfinished_upload_is_closed(error: Exception, expected: type[Exception]) -> None:
    request: Any = RequestFactory().generic("POST", "/")
    request.META["CONTENT_LENGTH"] = "200000"
    handler = TemporaryFileUploadHandler(request)
    request.upload_handlers = [handler]
    context = {"request": request, "encoding": "utf-8"}
    with pytest.raises(expected):
        StrictMultiPartParser().parse(BrokenStream(error), "multipart/form-data; boundary=b", context)
    assert handler.file.closed
