"""Dialects: the shapes of success and failure, and the statuses, that each family of clients understands.

A dialect is a mixin for DRF views. The domain raises `registry_site.errors`, and `Dialect.translate` alone turns an
error into a response. A dialect class only declares statuses, messages and shapes.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse, HttpResponseBase, JsonResponse
from django.http.request import UnreadablePostError
from django.utils.cache import patch_cache_control, patch_vary_headers
from rest_framework import exceptions, serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView, exception_handler

from registry_site import errors
from registry_site.http.parsers import AnyFormParser, StrictJSONParser, StrictMultiPartParser, UntypedJSONParser
from registry_site.http.request_log import annotate_refusal
from registry_site.http.shapes import Shape, instance_of

STATUSES: dict[type[errors.RegistryError], int] = {
    errors.Invalid: status.HTTP_400_BAD_REQUEST,
    errors.TooLarge: status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    errors.Unauthenticated: status.HTTP_401_UNAUTHORIZED,
    errors.PermissionDenied: status.HTTP_403_FORBIDDEN,
    errors.NotFound: status.HTTP_404_NOT_FOUND,
    errors.Gone: status.HTTP_410_GONE,
    errors.UnavailableForLegalReasons: status.HTTP_451_UNAVAILABLE_FOR_LEGAL_REASONS,
    errors.Conflict: status.HTTP_409_CONFLICT,
    errors.TooManyRequests: status.HTTP_429_TOO_MANY_REQUESTS,
    errors.Unavailable: status.HTTP_503_SERVICE_UNAVAILABLE,
    errors.UpstreamError: status.HTTP_502_BAD_GATEWAY,
}


def status_of(failure: errors.RegistryError, statuses: Mapping[type[errors.RegistryError], int] = STATUSES) -> int:
    """Return the status of the nearest class of an error that has one."""
    return statuses[next(kind for kind in type(failure).__mro__ if kind in statuses)]


class LengthRequired(exceptions.APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "Send the body with a Content-Length; a chunked body is not taken here."
    default_code = "length_required"


def is_empty(body: Any) -> bool:
    """Return whether a chunked body ends at once; raises `Invalid` if it is malformed or cut off."""
    try:
        return not body.read(1)
    except Exception as error:  # each server has its own classes for these
        raise errors.Invalid("The chunked body cannot be read.") from error


class Dialect(APIView):
    """Base class of dialects. A dialect defines its shapes, the statuses that differ, and messages of its own.

    A view may override `statuses` and `messages` for an endpoint that differs from the others of its original.
    """

    statuses: ClassVar[Mapping[type[errors.RegistryError], int]] = STATUSES
    messages: ClassVar[Mapping[str, str]] = {}  # by the code of the error
    failure_serializer: ClassVar[type[serializers.BaseSerializer[Any]]]  # the shape of `failure`, for OpenAPI
    parser_classes = [StrictJSONParser, UntypedJSONParser]
    http_method_names = [name for name in APIView.http_method_names if name != "options"]

    @classmethod
    def success(cls, data: Any) -> Any:
        return data

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        raise NotImplementedError(f"{cls.__name__} has to say the shape of its failures")

    @classmethod
    def failure_response(cls, status_code: int, code: str, message: str) -> HttpResponseBase:
        """Return the response to a failure outside of any view: an unknown path, a crash."""
        failure = cls.failure(status_code, code, message)
        if isinstance(failure, str):
            return HttpResponse(failure, status=status_code, content_type="text/plain; charset=utf-8")
        return JsonResponse(failure, status=status_code)

    @staticmethod
    def validated(serializer_class: type[serializers.Serializer[Any]], data: Any) -> dict[str, Any]:
        """Return the fields of a serializer that `data` holds. Raises DRF's `ValidationError`."""
        if data is None:
            raise exceptions.ValidationError("No data provided")  # as DRF says it of `null`
        fields: dict[str, Any] = instance_of(serializer_class).run_validation(data)
        return fields

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        # Parsers limit a body by its announced length; a chunked one has none. cargo sends an empty one.
        is_chunked = "Transfer-Encoding" in request.headers and not request.META.get("CONTENT_LENGTH")
        if is_chunked and not is_empty(request.META["wsgi.input"]):
            raise LengthRequired

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        """Choose the only format of a view, mostly JSON, whatever the client accepts: never a 406."""
        (renderer,) = self.get_renderers()
        return renderer, renderer.media_type

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        if isinstance(response, Response) and not response.exception and response.status_code != HTTPStatus.NO_CONTENT:
            response.data = self.success(response.data)
        return super().finalize_response(request, response, *args, **kwargs)

    def get_exception_handler(self) -> Any:
        return self.translate

    def translate(self, exc: Exception, context: dict[str, Any]) -> Response | None:
        """Return the response to any failure in the dialect's shape; None for a crash, which `error_handlers` answer.

        The response itself is DRF's: its handler also marks the transaction for rollback.
        """
        if isinstance(exc, OperationalError | InterfaceError):
            exc = errors.Unavailable("The registry's database does not answer at present.")
        elif isinstance(exc, UnreadablePostError):
            exc = errors.Invalid("The body ended before its announced length.")
        elif isinstance(exc, exceptions.ValidationError):
            exc = errors.Malformed(sentence_of(exc.detail))
        code = getattr(exc, "default_code", "invalid")
        if isinstance(exc, errors.RegistryError):
            code, exc = exc.code, self.to_api_exception(exc)
        response = exception_handler(exc, context)
        if response is not None:
            annotate_refusal(response.status_code, code, sentence_of(response.data))
            message = self.messages.get(code) or sentence_of(response.data)
            response.data = self.failure(response.status_code, code, message)
        return response

    def to_api_exception(self, error: errors.RegistryError) -> exceptions.APIException:
        api_exception = exceptions.APIException(error.message)
        api_exception.status_code = status_of(error, self.statuses)
        if isinstance(error, errors.RetryLater):
            api_exception.wait = error.retry_after  # type: ignore[attr-defined]  # DRF makes Retry-After of it
        if api_exception.status_code == status.HTTP_401_UNAUTHORIZED:
            api_exception.auth_header = self.get_authenticate_header(self.request)  # type: ignore[attr-defined]
        return api_exception


class CargoFailure(Shape):
    class Detail(Shape):
        detail = serializers.CharField()

    errors = Detail(many=True)  # type: ignore[assignment]  # hides the serializer's own `errors`, which nothing reads


class Cargo(Dialect):
    """cargo and Ktra: success is bare, failure is a list of details, as the Cargo Book's registry web API has it."""

    failure_serializer = CargoFailure

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        return {"errors": [{"detail": message}]}


class BackupsFailure(Shape):
    status = serializers.BooleanField()
    error = serializers.CharField()
    message = serializers.CharField()
    code = serializers.IntegerField()
    data = serializers.DictField()  # type: ignore[assignment]  # hides the serializer's own


class Backups(Dialect):
    """backup-repository: its handlers answer with `error`, its middleware with `message` and `code`; ours with all."""

    failure_serializer = BackupsFailure
    statuses = {**STATUSES, errors.Revoked: status.HTTP_403_FORBIDDEN}

    @classmethod
    def success(cls, data: Any) -> Any:
        return {"status": True, "data": data}

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        return {"status": False, "error": message, "message": message, "code": status_code, "data": {}}


class TorrustFailure(Shape):
    error = serializers.CharField()


class Torrust(Dialect):
    """torrust-index: a refused password is forbidden, a taken name a bad request, a missing field unprocessable."""

    failure_serializer = TorrustFailure
    statuses = {
        **STATUSES,
        errors.Malformed: status.HTTP_422_UNPROCESSABLE_ENTITY,
        errors.WrongPassword: status.HTTP_403_FORBIDDEN,
        errors.Conflict: status.HTTP_400_BAD_REQUEST,
    }

    @classmethod
    def success(cls, data: Any) -> Any:
        return {"data": data}

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        return {"error": message}


class YapkgFailure(Shape):
    error = serializers.CharField()
    message = serializers.CharField()


class Yapkg(Dialect):
    """yapkg: success is bare, a conflict is a bad request. `error` is a code for programs, `message` for people."""

    failure_serializer = YapkgFailure

    statuses = {**STATUSES, errors.Conflict: status.HTTP_400_BAD_REQUEST}

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        """Forbid shared caches: many responses depend on the user."""
        final = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(final, ["Cookie", "Token", "X-Auth-Token"])
        patch_cache_control(final, private=True)
        return final

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        return {"error": code, "message": message}


class OuternetFailure(Shape):
    success = serializers.BooleanField()
    error = serializers.CharField()
    message = serializers.CharField()


class OuternetSuccess(Shape):
    """The field that every success begins with; others stand beside it."""

    success = serializers.BooleanField(default=True)


class Outernet(Dialect):
    """The Outernet file registry: refusals have status 200, malformed requests an honest status.

    Its log-in answers with `message`, its catalogue with `error`; ours with both. Parameters come from the query and
    from a form, whatever the Content-Type of the body.
    """

    failure_serializer = OuternetFailure
    statuses = {
        **STATUSES,
        errors.Invalid: status.HTTP_200_OK,
        errors.Malformed: status.HTTP_400_BAD_REQUEST,
        errors.ParseError: status.HTTP_400_BAD_REQUEST,
        errors.Conflict: status.HTTP_200_OK,
    }
    parser_classes = [StrictJSONParser, StrictMultiPartParser, AnyFormParser]

    @classmethod
    def failure(cls, status_code: int, code: str, message: str) -> Any:
        return {"success": False, "error": message, "message": message}


def dialect_of(view: type) -> type[Dialect] | None:
    """Return the dialect of a view class: its base that derives from `Dialect` directly."""
    return next((base for base in view.__mro__ if Dialect in base.__bases__), None)


def login_url() -> str:
    """Return the absolute URL of the page where a user gets a token."""
    return f"{settings.PUBLIC_URL}/me"


def sentence_of(detail: Any) -> str:
    """Join DRF's detail, which can be a tree of fields, to one sentence."""
    if isinstance(detail, dict):
        if "detail" in detail:
            return str(detail["detail"])
        fields = [
            sentence_of(value) if key == api_settings.NON_FIELD_ERRORS_KEY else f"{key}: {sentence_of(value)}"
            for key, value in detail.items()
        ]
        return " ".join(fields)
    if isinstance(detail, list):
        return " ".join(sentence_of(item) for item in detail)
    return str(detail)
