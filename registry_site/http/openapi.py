"""The OpenAPI 3.1 description of the API, generated from the views. Each dialect adds its envelope and its failures."""

import functools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Literal

from django.utils.module_loading import autodiscover_modules
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

from registry_site.http.api_docs import WITHOUT_ENVELOPE, describe_views
from registry_site.http.dialects import Dialect, dialect_of

CONTENT = object()  # stands for the content while the shape of an envelope is found out


class Generator(SchemaGenerator):
    """A generator that first imports each app's `openapi` module, which describes its credentials."""

    def get_schema(self, *args: Any, **kwargs: Any) -> Any:
        autodiscover_modules("openapi")
        describe_views()
        return super().get_schema(*args, **kwargs)  # type: ignore[no-untyped-call]


@functools.cache  # generating takes a good part of a second, and the result changes only with the code
def description_bytes() -> bytes:
    schema = Generator().get_schema(public=True)  # type: ignore[no-untyped-call]
    return json.dumps(schema, ensure_ascii=False, default=str).encode()


class Schema(AutoSchema):
    """The description of one operation, with the envelope and the failures of its dialect."""

    view: Any

    def get_tags(self) -> list[str]:
        return [self.dialect_name()]

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Describe the credentials, and that none is needed where the permissions admit anonymous users."""
        schemes: list[dict[str, list[str]]] = super().get_auth()
        permissions = (permission() for permission in self.view.permission_classes if hasattr(permission, "is_open"))
        is_open = all(permission.is_open(self.method) for permission in permissions)
        return [*schemes, {}] if schemes and is_open else schemes

    def dialect_name(self) -> str:
        dialect = dialect_of(type(self.view))
        return dialect.__name__ if dialect else "Entrepot"

    def _get_serializer_name(self, *args: Any, **kwargs: Any) -> str:
        """Prefix the name with the dialect: two dialects may have serializers of the same name."""
        name = super()._get_serializer_name(*args, **kwargs)
        return self.dialect_name() + name.removeprefix(self.dialect_name())

    def get_operation_id(self) -> str:
        first_segment = self.path.split("/")[1]  # some views are mounted at two
        return f"{first_segment}_{type(self.view).__name__}_{self.view.action}_{self.method.lower()}"

    @contextmanager
    def delete_as_post(self) -> Iterator[None]:
        """Describe a DELETE like a POST: cargo's has a body, and ours all return one, which the library excludes."""
        method = self.method
        self.method = "POST" if method == "DELETE" else method
        try:
            yield
        finally:
            self.method = method

    def _get_request_body(self, direction: Literal["request", "response"] = "request") -> Any:
        with self.delete_as_post():
            return super()._get_request_body(direction)  # type: ignore[no-untyped-call]

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        with self.delete_as_post():
            bodies: dict[str, Any] = super()._get_response_bodies(direction)
        if isinstance(self.view, Dialect):
            if WITHOUT_ENVELOPE.items().isdisjoint((self.get_extensions() or {}).items()):
                self.put_into_envelope(bodies)
            failure = self._get_response_for_code(self.view.failure_serializer, "4XX")  # type: ignore[no-untyped-call]
            if HTTPStatus.OK in self.view.statuses.values():  # some failures have status 200
                self.add_alternative(bodies["200"], failure)
            bodies["4XX"] = {**failure, "description": "A refusal, with what is wrong"}
        return bodies

    def add_alternative(self, body: Any, failure: Any) -> None:
        success, content = body["content"], failure["content"]["application/json"]
        if "application/json" in success:
            schemas = [success["application/json"]["schema"], content["schema"]]
            success["application/json"] = {"schema": {"oneOf": schemas}}
        else:
            success["application/json"] = content

    def put_into_envelope(self, bodies: Mapping[str, Any]) -> None:
        envelope = type(self.view).success(CONTENT)
        for body in bodies.values():
            content = body.get("content", {}).get("application/json")
            if content and envelope is not CONTENT:
                content["schema"] = {
                    "type": "object",
                    "properties": {
                        key: content["schema"] if value is CONTENT else {"const": value}
                        for key, value in envelope.items()
                    },
                    "required": list(envelope),
                }
