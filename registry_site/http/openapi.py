"""The description of the API for machines (OpenAPI 3.1), read off the views: each dialect adds its own envelopes."""

import functools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from django.utils.module_loading import autodiscover_modules
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

from registry_site.http.dialects import Dialect, dialect_of


class Generator(SchemaGenerator):
    """Each app's `openapi` describes its credentials: asked for now, so that no command brings all this along."""

    def get_schema(self, *args: Any, **kwargs: Any) -> Any:
        autodiscover_modules("openapi")
        return super().get_schema(*args, **kwargs)  # type: ignore[no-untyped-call]


@functools.cache
def _description() -> bytes:
    """Made once: it takes a good part of a second, and is the same until the next start."""
    schema = Generator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return json.dumps(schema, ensure_ascii=False, default=str).encode()


@require_safe
def description(request: HttpRequest) -> HttpResponse:
    """`GET /openapi.json`"""
    return HttpResponse(_description(), content_type="application/vnd.oai.openapi+json")


WITHOUT_ENVELOPE = {"x-without-envelope": True}  # for an operation whose success is bare, in a dialect of envelopes
_CONTENT = object()


class Schema(AutoSchema):
    """Knows what a dialect puts around an answer, and what its refusals look like."""

    view: Any

    def get_tags(self) -> list[str]:
        return [self._dialect()]

    def get_auth(self) -> list[dict[str, list[str]]]:
        """With nothing at all, too, where the rule of the view lets somebody unknown in."""
        ways: list[dict[str, list[str]]] = super().get_auth()
        is_open = all(rule().is_open(self.method) for rule in self.view.permission_classes if hasattr(rule, "is_open"))
        return [*ways, {}] if ways and is_open else ways

    def _dialect(self) -> str:
        dialect = dialect_of(type(self.view))
        return dialect.__name__ if dialect else "Entrepot"

    def _get_serializer_name(self, *args: Any, **kwargs: Any) -> str:
        """Dialects have shapes of the same name, and may."""
        return self._dialect() + super()._get_serializer_name(*args, **kwargs).removeprefix(self._dialect())

    def get_operation_id(self) -> str:
        place = self.path.split("/")[1]  # some views stand at two
        return f"{place}_{type(self.view).__name__}_{self.view.action}_{self.method.lower()}"

    @contextmanager
    def _like_others(self) -> Iterator[None]:
        """cargo's DELETE has a body, and every DELETE here is answered by one: the library knows that of others."""
        method = self.method
        self.method = "POST" if method == "DELETE" else method
        try:
            yield
        finally:
            self.method = method

    def _get_request_body(self, direction: Literal["request", "response"] = "request") -> Any:
        with self._like_others():
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        with self._like_others():
            bodies: dict[str, Any] = super()._get_response_bodies(direction)
        if isinstance(self.view, Dialect):
            if WITHOUT_ENVELOPE.items().isdisjoint((self.get_extensions() or {}).items()):
                self._put_into_envelope(bodies)
            refusal = self._get_response_for_code(self.view.failure_serializer, "4XX")  # type: ignore[no-untyped-call]
            if HTTPStatus.OK in self.view.statuses.values():
                self._add_alternative(bodies["200"], refusal)
            bodies["4XX"] = {**refusal, "description": "A refusal, with what is wrong"}
        return bodies

    def _add_alternative(self, body: Any, refusal: Any) -> None:
        """For a dialect that tells some refusals with 200."""
        described, content = body["content"], refusal["content"]["application/json"]
        choices = (
            [described["application/json"]["schema"], content["schema"]] if "application/json" in described else None
        )
        described["application/json"] = {"schema": {"oneOf": choices}} if choices else content

    def _put_into_envelope(self, bodies: Mapping[str, Any]) -> None:
        envelope = type(self.view).success(_CONTENT)
        for body in bodies.values():
            content = body.get("content", {}).get("application/json")
            if content and envelope is not _CONTENT:
                content["schema"] = {
                    "type": "object",
                    "properties": {
                        key: content["schema"] if value is _CONTENT else {"const": value}
                        for key, value in envelope.items()
                    },
                    "required": list(envelope),
                }
