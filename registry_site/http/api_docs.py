"""The documentation of the API: what views say of their parameters and answers, and its two addresses.

`registry_site.http.openapi` makes the description when somebody asks for it. A start of the server does not wait for
the libraries that this takes.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.module_loading import import_string
from drf_spectacular import utils
from drf_spectacular.settings import spectacular_settings
from rest_framework.views import APIView

from registry_site.http.dialects import Cargo

WITHOUT_ENVELOPE = {"x-without-envelope": True}  # for an operation whose success is bare, in a dialect with envelopes

View = TypeVar("View", bound=Callable[..., Any])

_described: list[tuple[Callable[..., Any], dict[str, Any]]] = []


def extend_schema(**options: Any) -> Callable[[View], View]:
    """Describe a method of a view, with the options of drf-spectacular's decorator of this name."""

    def remember(view: View) -> View:
        _described.append((view, options))
        return view

    return remember


def describe_views() -> None:
    """Let drf-spectacular's decorator describe all views, once."""
    for view, options in _described:
        utils.extend_schema(**options)(view)
    _described.clear()


class Description(Cargo):
    """The description for machines. `SPECTACULAR_SETTINGS` says for whom: the same as for the page that shows it."""

    schema = None  # the description does not describe itself
    authentication_classes = spectacular_settings.SERVE_AUTHENTICATION
    permission_classes = spectacular_settings.SERVE_PERMISSIONS

    def get(self, request: Any) -> HttpResponse:
        """`GET /openapi.json`"""
        description: bytes = import_string("registry_site.http.openapi.description_bytes")()
        return HttpResponse(description, content_type="application/vnd.oai.openapi+json")


class Page(APIView):
    """The page that shows the description: drf-spectacular's, which is imported for the first request."""

    schema = None
    permission_classes = spectacular_settings.SERVE_PERMISSIONS  # which the other view checks

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return self.get(request)

    def get(self, request: HttpRequest) -> HttpResponseBase:
        """`GET /docs/api`, and the refusal of other methods"""
        view = import_string("drf_spectacular.views.SpectacularSwaggerSplitView")
        respond = view.as_view(url_name="openapi", template_name="registry_site/docs_api.html")
        response: HttpResponseBase = respond(request)
        return response
