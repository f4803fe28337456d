"""The Outernet file registry's endpoints: Auth, Content."""

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Any

from django.conf import settings
from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from files import catalogue, handshake, local_files, names, search, unix_time
from files.authentication import Anyone, SessionToken, WithSession, actor, parameters
from files.downloads import download
from files.models import File
from files.throttling import Handshakes
from registry_site.http.dialects import Outernet, OuternetSuccess
from registry_site.http.parsers import MAXIMUM_BODY, StrictMultiPartParser, raw

MOST_DIGITS = 18
NO_STORE = {"Cache-Control": "no-store"}  # for what carries a secret
PIECE = 64  # entries of a list that are sent together


class Text(serializers.CharField):
    """A text as it is, which JSON may hold as a number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "max_length": 4096, **options})


class Category(Text):
    """Null, too, as the empty text that a form has for it."""

    def run_validation(self, data: Any = serializers.empty) -> str | None:
        return super().run_validation(data) or None


@extend_schema_field(OpenApiTypes.STR)
class Ciphertext(serializers.Field[bytes, Any, Any, Any]):
    default_error_messages = {"invalid": "Not a text."}

    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str):
            self.fail("invalid")
        return raw(data)


@extend_schema_field(OpenApiTypes.INT)
class Digits(serializers.Field[int, Any, Any, Any]):
    """A whole number; anything else is `nothing`, which no verb takes for one."""

    nothing = 0

    def to_internal_value(self, data: Any) -> int:
        digits = str(data).strip()
        return int(digits[:MOST_DIGITS]) if digits.isascii() and digits.isdecimal() else self.nothing


@extend_schema_field(OpenApiTypes.DOUBLE)
class UnixTime(serializers.Field[datetime | None, Any, Any, Any]):
    default_error_messages = {"invalid": "Not a Unix timestamp, in seconds."}

    def to_internal_value(self, data: Any) -> datetime | None:
        if data == "" and self.allow_null:
            return None
        moment = None if isinstance(data, bool) else unix_time.parse(str(data)[:100])
        if moment is None:
            self.fail("invalid")
        return moment

    def to_representation(self, value: datetime | None) -> float | None:
        return None if value is None else value.timestamp()


class Name(serializers.Serializer[None]):
    client_name = Text(required=False, default="", allow_blank=True, help_text="Registered name of the client.")


class Answer(Name):
    id = Text(required=False, allow_blank=True, help_text="Challenge id issued.")
    encrypted_text = Ciphertext(
        required=False, help_text="Percent-encoded bytes, hexadecimal digits or base64; with or without padding."
    )
    duration = Digits(required=False, help_text="Desired session duration in seconds.")


class ChallengeShape(serializers.Serializer[Any]):
    id = serializers.CharField()
    text = serializers.CharField()
    duration = serializers.IntegerField()
    cipher = serializers.CharField()
    cipher_iv = serializers.CharField(source="iv")


class Challenged(OuternetSuccess):
    challenge = ChallengeShape()


class SessionShape(serializers.Serializer[Any]):
    token = serializers.CharField()
    duration = serializers.IntegerField()


class Opened(OuternetSuccess):
    session = SessionShape()


class Filters(serializers.Serializer[None]):
    id = Digits(required=False, help_text="Id of the file.")
    serve_path = Text(required=False, help_text="Regular expression (RE2), found anywhere in it.")
    path = Text(required=False, help_text="Absolute path of a file on local storage.")
    uploaded = UnixTime(required=False, help_text="Added then or later.")
    since = UnixTime(required=False, help_text="Changed then or later; the list is in the order of the changes.")
    category = Text(required=False, help_text="Content category.")
    aired = serializers.BooleanField(required=False)
    alive = serializers.BooleanField(required=False)
    count = serializers.IntegerField(required=False, min_value=1, help_text="Maximum number of entries.")


class Change(serializers.Serializer[None]):
    serve_path = Text(required=False, allow_blank=True, help_text="Path where the file will end up on the receiver.")
    path = Text(required=False, allow_blank=True, help_text="Absolute path of a file on local storage.")
    file = serializers.FileField(required=False, allow_empty_file=True, help_text="Its bytes, in place of `path`.")
    category = Category(required=False, allow_blank=True, allow_null=True, max_length=names.LONGEST_CATEGORY)
    aired = serializers.BooleanField(required=False)
    expiration = UnixTime(required=False, allow_null=True, source="expires_at")


class Entry(serializers.Serializer[File]):
    id = serializers.IntegerField()
    path = serializers.CharField()
    size = serializers.IntegerField()
    uploaded = UnixTime(source="uploaded_at")
    modified = UnixTime(source="modified_at")
    category = serializers.CharField(allow_null=True)
    expiration = UnixTime(source="expires_at", allow_null=True)
    serve_path = serializers.CharField()
    alive = serializers.BooleanField()
    aired = serializers.BooleanField()


class Results(OuternetSuccess):
    results = Entry(many=True)


class Listed(Results):
    count = serializers.IntegerField(help_text="Of the entries in this answer.")


FORM = "application/x-www-form-urlencoded"
BODIES = {FORM: Change, "multipart/form-data": Change, "application/json": Change}


class Handshake(Outernet, ViewSet):
    permission_classes = [Anyone]
    throttle_classes = [Handshakes]

    @extend_schema(request={FORM: Name}, responses=Challenged)
    def begin(self, request: Request) -> Response:
        """`POST /auth`"""
        issued = handshake.begin(self.validated(Name, parameters(request))["client_name"])
        return Response(Challenged({"challenge": issued}).data, headers=NO_STORE)

    @extend_schema(request={FORM: Answer}, responses=Opened)
    def verify(self, request: Request) -> Response:
        """`POST /auth_verify`"""
        given = self.validated(Answer, parameters(request))
        opened = handshake.answer(
            given["client_name"], given.get("id"), given.get("encrypted_text"), given.get("duration")
        )
        return Response(Opened({"session": opened}).data, headers=NO_STORE)


class UploadParser(StrictMultiPartParser):
    def __init__(self) -> None:
        self.maximum = settings.MAX_FILE_SIZE + MAXIMUM_BODY


class Files(Outernet, ViewSet):
    authentication_classes = [SessionToken]
    permission_classes = [WithSession]
    parser_classes = [UploadParser if parser is StrictMultiPartParser else parser for parser in Outernet.parser_classes]
    statuses = {
        **Outernet.statuses,
        catalogue.NoSuchFile: status.HTTP_200_OK,
        local_files.Changed: status.HTTP_409_CONFLICT,
    }

    @extend_schema(parameters=[Filters], responses=Listed)
    def search(self, request: Request) -> HttpResponseBase:
        """`GET /`"""
        filters = {name: value for name, value in parameters(request).items() if value != ""}
        return _listed(request, search.find(**self.validated(Filters, filters)))

    @extend_schema(request=BODIES, responses=Results)
    def add(self, request: Request) -> Response:
        """`POST /`"""
        return _entry(catalogue.add(actor(request), **self._changes(request)))

    @extend_schema(responses={(200, "*/*"): OpenApiTypes.BINARY})
    def download(self, request: Request, file_id: int) -> HttpResponseBase:
        """`GET /{id}`"""
        return download(request._request, file_id)

    @extend_schema(request=BODIES, responses=Results)
    def update(self, request: Request, file_id: int) -> Response:
        """`PUT /{id}`"""
        return _entry(catalogue.update(actor(request), file_id, **self._changes(request)))

    @extend_schema(request=None, responses=OuternetSuccess)
    def destroy(self, request: Request, file_id: int) -> Response:
        """`DELETE /{id}`"""
        catalogue.remove(actor(request), file_id)
        return Response(OuternetSuccess({}).data)

    def _changes(self, request: Request) -> dict[str, Any]:
        changes = self.validated(Change, parameters(request))
        if file := changes.pop("file", None):
            changes["upload"] = catalogue.Upload(file, file.size)
        return changes


def _entry(file: File) -> Response:
    return Response(Results({"results": [file]}).data)


def _listed(request: Request, files: list[File] | Iterator[File]) -> HttpResponseBase:
    if isinstance(files, list):
        return Response(Listed({"results": files, "count": len(files)}).data)
    if request.method == "HEAD":  # nobody reads so long a list for nothing
        return HttpResponse(content_type="application/json")
    first = next(files, None)  # what goes wrong with the first of many can still be told
    pieces = _pieces(files if first is None else chain([first], files))
    return StreamingHttpResponse(pieces, content_type="application/json")


def _pieces(files: Iterator[File]) -> Iterator[str]:
    """The same as `Listed`, of any number of files."""
    yield _compact(OuternetSuccess({}).data | {"results": []}).removesuffix("]}")
    shape, count = Entry(), 0
    while piece := list(islice(files, PIECE)):
        entries = ",".join(_compact(shape.to_representation(file)) for file in piece)
        yield f",{entries}" if count else entries
        count += len(piece)
    yield f'],"count":{count}}}'


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
