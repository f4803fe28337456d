"""The endpoints of the Outernet file registry: Auth and Content.

Fields first, then the shapes of requests and answers, then the views.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from files import catalogue, handshake, local_files, names, search, unix_time
from files.authentication import AllowAny, HasSession, SessionToken, request_actor, request_parameters
from files.downloads import download
from files.models import Client, File
from files.throttling import HandshakeThrottle
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Outernet, OuternetSuccess
from registry_site.http.parsers import MAX_BODY_BYTES, StrictMultiPartParser, check_length, form_value_bytes
from registry_site.http.shapes import Shape

MAX_DIGITS = 18  # of an integer; with more it could overflow 64 bits
ENTRIES_PER_CHUNK = 64
COMPACT_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # as DRF renders it
NO_STORE = {"Cache-Control": "no-store"}  # an answer with a secret must not stay in any cache


# --- Fields ------------------------------------------------------------------------------------------------------


class Text(serializers.CharField):
    """A text, kept as it is; in JSON it may be a number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"trim_whitespace": False, "max_length": 4096, **options})


class Category(Text):
    """A text or null; a form, which has no null, sends an empty text."""

    def run_validation(self, data: Any = serializers.empty) -> str | None:
        return super().run_validation(data) or None


@extend_schema_field(OpenApiTypes.STR)
class Ciphertext(serializers.Field[bytes, Any, Any, Any]):
    """The bytes of a text: clients send a ciphertext percent-encoded, which is no UTF-8."""

    default_error_messages = {"invalid": "Not a text."}

    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str):
            self.fail("invalid")
        return form_value_bytes(data)


@extend_schema_field(OpenApiTypes.INT)
class Digits(serializers.Field[int, Any, Any, Any]):
    """A whole number. Anything else becomes 0: no file has it for an id, and no session lasts so long."""

    def to_internal_value(self, data: Any) -> int:
        digits = str(data).strip()
        return int(digits[:MAX_DIGITS]) if digits.isascii() and digits.isdecimal() else 0


@extend_schema_field(OpenApiTypes.DOUBLE)
class UnixTime(serializers.Field[datetime | None, Any, Any, Any]):
    default_error_messages = {"invalid": "Not a Unix timestamp, in seconds."}

    def to_internal_value(self, data: Any) -> datetime | None:
        if data == "" and self.allow_null:
            return None
        # Cut before it is parsed: `Decimal` takes long for a million digits.
        time = None if isinstance(data, bool) else unix_time.parse(str(data)[:100])
        if time is None:
            self.fail("invalid")
        return time

    def to_representation(self, value: datetime | None) -> float | None:
        return None if value is None else value.timestamp()


class UploadedFile(serializers.FileField):
    def to_internal_value(self, data: Any) -> catalogue.Upload:  # type: ignore[override]  # DRF allows any type
        file = super().to_internal_value(data)
        return catalogue.Upload(file, file.size)


# --- Shapes of Auth ----------------------------------------------------------------------------------------------


class ClientName(serializers.Serializer[None]):
    client_name = Text(required=False, default="", allow_blank=True, help_text="Registered name of the client.")


class ChallengeAnswer(ClientName):
    id = Text(required=False, allow_blank=True, help_text="Challenge id issued.")
    encrypted_text = Ciphertext(
        required=False, help_text="Percent-encoded bytes, hexadecimal digits or base64; with or without padding."
    )
    duration = Digits(required=False, help_text="Desired session duration in seconds.")


class ChallengeShape(Shape):
    id = serializers.CharField()
    text = serializers.CharField()
    duration = serializers.IntegerField()
    cipher = serializers.CharField()
    cipher_iv = serializers.CharField(source="iv")


class ChallengeResponse(OuternetSuccess):
    challenge = ChallengeShape()


class SessionShape(Shape):
    token = serializers.CharField()
    duration = serializers.IntegerField()


class SessionResponse(OuternetSuccess):
    session = SessionShape()


# --- Shapes of Content -------------------------------------------------------------------------------------------


class FileFilters(serializers.Serializer[None]):
    id = Digits(required=False, help_text="Id of the file.")
    serve_path = Text(required=False, help_text="Regular expression (RE2), found anywhere in it.")
    path = Text(required=False, help_text="Absolute path of a file on local storage.")
    uploaded = UnixTime(required=False, help_text="Added then or later.")
    since = UnixTime(required=False, help_text="Changed then or later; the list is in the order of the changes.")
    category = Text(required=False, help_text="Content category.")
    aired = serializers.BooleanField(required=False)
    alive = serializers.BooleanField(required=False)
    count = serializers.IntegerField(required=False, min_value=1, help_text="Maximum number of entries.")


class FileChange(serializers.Serializer[None]):
    serve_path = Text(required=False, allow_blank=True, help_text="Path where the file will end up on the receiver.")
    path = Text(required=False, allow_blank=True, help_text="Absolute path of a file on local storage.")
    file = UploadedFile(
        required=False, allow_empty_file=True, source="upload", help_text="Its bytes, in place of `path`."
    )
    category = Category(required=False, allow_blank=True, allow_null=True, max_length=names.MAX_CATEGORY_LENGTH)
    aired = serializers.BooleanField(required=False)
    expiration = UnixTime(required=False, allow_null=True, source="expires_at")


class FileEntry(Shape):
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


class FileResults(OuternetSuccess):
    results = FileEntry(many=True)


class FileList(FileResults):
    count = serializers.IntegerField(help_text="Of the entries in this answer.")


FORM = "application/x-www-form-urlencoded"
CHANGE_BODIES = {FORM: FileChange, "multipart/form-data": FileChange, "application/json": FileChange}


# --- Auth --------------------------------------------------------------------------------------------------------


class Handshake(Outernet, ViewSet):
    permission_classes = [AllowAny]
    throttle_classes = [HandshakeThrottle]

    @extend_schema(request={FORM: ClientName}, responses=ChallengeResponse)
    def begin(self, request: Request) -> Response:
        """`POST /auth`"""
        parameters = self.validated(ClientName, request_parameters(request))
        challenge = handshake.create_challenge(parameters["client_name"])
        return Response(ChallengeResponse.write({"challenge": challenge}), headers=NO_STORE)

    @extend_schema(request={FORM: ChallengeAnswer}, responses=SessionResponse)
    def verify(self, request: Request) -> Response:
        """`POST /auth_verify`"""
        answer = self.validated(ChallengeAnswer, request_parameters(request))
        session = handshake.answer_challenge(
            answer["client_name"], answer.get("id"), answer.get("encrypted_text"), answer.get("duration")
        )
        return Response(SessionResponse.write({"session": session}), headers=NO_STORE)


# --- Content -----------------------------------------------------------------------------------------------------


class UploadParser(StrictMultiPartParser):
    def __init__(self) -> None:
        self.maximum = settings.MAX_FILE_SIZE + MAX_BODY_BYTES  # the other fields of the form come on top


class Files(Outernet, ViewSet):
    authentication_classes = [SessionToken]
    permission_classes = [HasSession]
    parser_classes = [UploadParser if parser is StrictMultiPartParser else parser for parser in Outernet.parser_classes]
    statuses = {
        **Outernet.statuses,
        catalogue.NoSuchFile: status.HTTP_200_OK,
        local_files.FileChanged: status.HTTP_409_CONFLICT,
    }

    @staticmethod
    def check_body_length(request: HttpRequest, length: int) -> None:
        check_length(length, UploadParser().maximum if request.method in ("POST", "PUT") else MAX_BODY_BYTES)

    @extend_schema(parameters=[FileFilters], responses=FileList)
    def search(self, request: Request) -> HttpResponseBase:
        """`GET /`"""
        filters = {name: value for name, value in request_parameters(request).items() if value != ""}
        files = search.search_files(**self.validated(FileFilters, filters))
        if isinstance(files, list):
            return Response(FileList.write({"results": files, "count": len(files)}))
        if request.method == "HEAD":  # do not read a long list for an answer without a body
            return HttpResponse(content_type="application/json")
        # An error with the first file can still become a status; after that the answer has begun.
        first = list(islice(files, 1))
        return StreamingHttpResponse(_stream_list(chain(first, files)), content_type="application/json")

    @extend_schema(request=CHANGE_BODIES, responses=FileResults)
    def add(self, request: Request) -> Response:
        """`POST /`"""
        file = catalogue.add_file(request_actor(request), **self.validated(FileChange, request_parameters(request)))
        return Response(FileResults.write({"results": [file]}))

    @extend_schema(responses={(200, "*/*"): OpenApiTypes.BINARY})
    def download(self, request: Request, file_id: int) -> HttpResponseBase:
        """`GET /{id}`"""
        return download(request._request, file_id, cast(Client, request.user).pk)

    @extend_schema(request=CHANGE_BODIES, responses=FileResults)
    def update(self, request: Request, file_id: int) -> Response:
        """`PUT /{id}`"""
        file = catalogue.update_file(
            request_actor(request), file_id, **self.validated(FileChange, request_parameters(request))
        )
        return Response(FileResults.write({"results": [file]}))

    @extend_schema(request=None, responses=OuternetSuccess)
    def destroy(self, request: Request, file_id: int) -> Response:
        """`DELETE /{id}`"""
        catalogue.mark_dead(request_actor(request), file_id)
        return Response(OuternetSuccess.write({}))


def _stream_list(files: Iterator[File]) -> Iterator[str]:
    """Yield the JSON of a `FileList` piece by piece, so that a list of any length takes little memory."""
    yield COMPACT_JSON.encode(OuternetSuccess.write({}) | {"results": []}).removesuffix("]}")
    count = 0
    while batch := list(islice(files, ENTRIES_PER_CHUNK)):
        entries = ",".join(COMPACT_JSON.encode(entry) for entry in FileEntry.write_all(batch))
        yield f",{entries}" if count else entries
        count += len(batch)
    yield f'],"count":{count}}}'
