"""Sparse index, as in The Cargo Book, "Registry Index"."""

import math
from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.utils.http import http_date
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.authentication import CargoTokenAuthentication
from accounts.permissions import ReadAccess
from crates import index_files, names
from crates.models import Crate, IndexLine
from registry_site.errors import NotFound
from registry_site.http.api_docs import extend_schema
from registry_site.http.compression import conditional_response
from registry_site.http.dialects import Cargo
from registry_site.http.downloads import past_timestamp
from registry_site.http.shapes import Shape
from registry_site.memory_cache import Tag
from registry_site.server.response_cache import keep, rely_on

rely_on("index", [Crate._meta.db_table, IndexLine._meta.db_table])


def config_json(download_path: str, api_path: str = "") -> dict[str, str | bool]:
    """Return the `config.json` of an index with `.crate` files below `download_path`, and an API below `api_path`."""
    base = settings.PUBLIC_URL
    config: dict[str, str | bool] = {"dl": f"{base}{download_path}", "api": f"{base}{api_path}"}
    return config | ({"auth-required": True} if settings.AUTH_REQUIRED else {})


def index_file(request: HttpRequest, text: str | bytes, etag: str, modified: datetime | None) -> HttpResponse:
    """Respond with an index file, compressed if the client takes that, or with 304 if it has it."""
    timestamp = past_timestamp(modified) if modified else None
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["ETag"] = etag
    if timestamp is not None:
        response["Last-Modified"] = http_date(timestamp)
    # Caches may keep the file, but have to ask each time, so that a publish or a yank counts at once.
    response["Cache-Control"] = "no-cache"
    return conditional_response(request, response, timestamp)


def keep_index_file(
    request: Request,
    response: HttpResponse,
    modified: datetime | None,
    tag: Tag,
    *,
    good_until: float | None = None,
    count_hit: Callable[[], None] | None = None,
) -> HttpResponse:
    """Let the worker send an index file again, without its Last-Modified only as long as that lies ahead."""
    if modified is not None and "Last-Modified" not in response:
        good_until = min(modified.timestamp() // 1, good_until or math.inf)
    return keep(request._request, response, tag, good_until=good_until, count_hit=count_hit)


class IndexConfig(Shape):
    dl = serializers.CharField()
    api = serializers.CharField()


class Index(Cargo, ViewSet):
    authentication_classes = [CargoTokenAuthentication]
    permission_classes = [ReadAccess]

    @extend_schema(responses=IndexConfig)
    def config(self, request: Request) -> Response:
        """`config.json`: where the rest is."""
        return keep(request._request, Response(config_json("/dl")))

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    def retrieve(self, request: Request, path: str) -> HttpResponseBase:
        """Return the index file of one crate."""
        file = index_files.read(path)
        if file is None:
            raise NotFound("There is no such crate in this index.")
        response = index_file(request._request, file.text, file.etag, file.modified)
        # Of other spellings of the path there are too many to keep them.
        is_usual = path == names.normalize_index_path(path)
        return keep_index_file(request, response, file.modified, ("index", path)) if is_usual else response
