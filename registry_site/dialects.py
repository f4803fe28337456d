"""The Rosetta stone: how each family of clients is told of success and of failure.

A dialect is a mixin for DRF views. The domain raises `registry_site.errors`; `Dialect.translate` is the only place
that turns a kind of failure into a status, and a dialect class only says which status and in which shape.
"""

from typing import Any, ClassVar

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpResponseBase, JsonResponse
from django.http.request import UnreadablePostError
from rest_framework import exceptions, status
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.views import APIView, exception_handler

from registry_site import errors
from registry_site.parsers import StrictJSONParser, UntypedJSONParser

STATUSES: dict[type[errors.RegistryError], int] = {
    errors.Invalid: status.HTTP_400_BAD_REQUEST,
    errors.TooLarge: status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    errors.Unauthenticated: status.HTTP_401_UNAUTHORIZED,
    errors.Denied: status.HTTP_403_FORBIDDEN,
    errors.Missing: status.HTTP_404_NOT_FOUND,
    errors.Conflict: status.HTTP_409_CONFLICT,
    errors.TooMany: status.HTTP_429_TOO_MANY_REQUESTS,
    errors.Unavailable: status.HTTP_503_SERVICE_UNAVAILABLE,
}


class LengthRequired(exceptions.APIException):
    status_code = status.HTTP_411_LENGTH_REQUIRED
    default_detail = "Send the body with a Content-Length; a chunked body is not taken here."
    default_code = "length_required"


class Dialect(APIView):
    """What all dialects share; one of them says in which shape a failure is told, and which statuses differ."""

    statuses: ClassVar[dict[type[errors.RegistryError], int]] = STATUSES
    parser_classes = [StrictJSONParser, UntypedJSONParser]

    @classmethod
    def failure(cls, message: str, status_code: int) -> Any:
        raise NotImplementedError(f"{cls.__name__} has to say the shape of its failures")

    @classmethod
    def failure_response(cls, message: str, status_code: int) -> HttpResponseBase:
        """A failure outside of any view: an unknown path, a crash."""
        return JsonResponse(cls.failure(message, status_code), status=status_code)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if "Transfer-Encoding" in request.headers and not request.META.get("CONTENT_LENGTH"):
            raise LengthRequired

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[Any, str]:
        """A dialect has one tongue, whatever the client accepts: never a 406."""
        return JSONRenderer(), JSONRenderer.media_type

    def get_exception_handler(self) -> Any:
        return self.translate

    def translate(self, exc: Exception, context: dict[str, Any]) -> Response | None:
        """Any failure → a response in the dialect's shape; None for a crash, which `fallback` answers."""
        if isinstance(exc, OperationalError | InterfaceError):
            exc = errors.Unavailable("The registry's database does not answer at present.")
        elif isinstance(exc, UnreadablePostError):
            exc = errors.Invalid("The body ended before its announced length.")
        if isinstance(exc, errors.RegistryError):
            exc = self._as_http(exc)
        response = exception_handler(exc, context)
        if response is not None:
            response.data = self.failure(_sentence(response.data), response.status_code)
        return response

    def _as_http(self, failure: errors.RegistryError) -> exceptions.APIException:
        kind = next(k for k in type(failure).__mro__ if k in self.statuses)
        http = exceptions.APIException(failure.message)
        http.status_code = self.statuses[kind]
        if isinstance(failure, errors.Later):
            http.wait = failure.retry_after  # type: ignore[attr-defined]  # DRF makes Retry-After of it
        if http.status_code == status.HTTP_401_UNAUTHORIZED:
            http.auth_header = self.get_authenticate_header(self.request)  # type: ignore[attr-defined]
        return http


class Cargo(Dialect):
    """cargo and Ktra: success is bare, failure is a list of details; the registry web API of the Cargo book."""

    @classmethod
    def failure(cls, message: str, status_code: int) -> Any:
        return {"errors": [{"detail": message}]}


def login_url() -> str:
    """Where a person gets a token, absolute."""
    return f"{settings.PUBLIC_URL}/me"


def _sentence(detail: Any) -> str:
    """DRF's detail, which can be a tree of fields → one sentence."""
    if isinstance(detail, dict):
        if set(detail) == {"detail"}:
            return str(detail["detail"])
        fields = [
            _sentence(value) if key == api_settings.NON_FIELD_ERRORS_KEY else f"{key}: {_sentence(value)}"
            for key, value in detail.items()
        ]
        return " ".join(fields)
    if isinstance(detail, list):
        return " ".join(_sentence(item) for item in detail)
    return str(detail)
