"""Answers with versions of crates: many are written a few at a time, so that the longest answer takes little memory."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response

from crates.api.shapes import VersionShape
from crates.catalogue import VERSIONS_AT_ONCE
from crates.records import VersionRecord
from registry_site.http.shapes import Shape


def respond(shape: type[Shape], answer: Mapping[str, Any]) -> HttpResponseBase:
    """Respond with an answer of this shape, whose `versions` may be any iterable, or None.

    An error with the first few can still become a status; after that the answer has begun.
    """
    if answer["versions"] is None:
        return Response(shape.write(answer))
    versions = iter(answer["versions"])
    first = list(islice(versions, VERSIONS_AT_ONCE))
    data = shape.write({**answer, "versions": first})
    if len(first) < VERSIONS_AT_ONCE:
        return Response(data)
    data["versions"] = data.pop("versions")  # the last field, to which the others are added
    return StreamingHttpResponse(write(data, versions), content_type=JSONRenderer.media_type)


def write(beginning: Mapping[str, Any], versions: Iterator[VersionRecord]) -> Iterator[bytes]:
    """Yield the JSON of an answer that ends with some versions, and add the others to these."""
    json = JSONRenderer()
    yield json.render(beginning).removesuffix(b"]}")
    while some := list(islice(versions, VERSIONS_AT_ONCE)):
        yield b"," + json.render(VersionShape.write_all(some))[1:-1]
    yield b"]}"
