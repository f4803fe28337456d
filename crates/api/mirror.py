"""Mirror of crates.io: a sparse index, and the files at Ktra's path."""

from functools import partial

from django.http import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.authentication import CargoTokenAuthentication
from accounts.permissions import ReadAccess
from crates import names
from crates.api.index import IndexConfig, config_json, index_file, keep_index_file
from crates.mirror import downloads, metrics, overview, serving
from crates.mirror.models import CachedCrate, CachedIndexFile, Override
from crates.models import Crate
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Cargo
from registry_site.http.shapes import Shape
from registry_site.server.response_cache import keep, rely_on

rely_on("mirror", [model._meta.db_table for model in (Crate, CachedIndexFile, CachedCrate, Override)])
count_hit = partial(metrics.record_index_outcome, "hit")


class MirroredCrate(Shape):
    class Version(Shape):
        num = serializers.CharField(source="line.version")
        checksum = serializers.CharField(source="line.checksum")
        yanked = serializers.BooleanField(source="line.yanked")
        published_at = serializers.DateTimeField(source="line.published_at", allow_null=True)
        license = serializers.CharField(source="crate.license", allow_null=True, default=None)
        held_back = serializers.CharField(source="quarantine_reason")
        exempt = serializers.CharField(source="exemption_reason")

    name = serializers.CharField()
    upstream = serializers.CharField()
    checked_at = serializers.DateTimeField()
    versions = Version(many=True)


class Mirror(Cargo, ViewSet):
    authentication_classes = [CargoTokenAuthentication]
    permission_classes = [ReadAccess]

    @extend_schema(responses=IndexConfig)
    def config(self, request: Request) -> Response:
        """`config.json`: where the files and the API are."""
        return keep(request._request, Response(config_json("/ktra/api/v1/mirror", "/mirror")))

    @extend_schema(responses={(200, "text/plain"): OpenApiTypes.STR})
    def entry(self, request: Request, path: str) -> HttpResponseBase:
        """Return the index file of one crate, as upstream has it."""
        index_path = names.normalize_index_path(path)
        rendered = serving.render_index_file(index_path)
        response = index_file(request._request, rendered.body, rendered.etag, rendered.modified)
        if path != index_path or not rendered.depends_on_database:
            return response
        tag = ("mirror", names.canonical(path.rpartition("/")[2]))
        good_until = rendered.ends_at.timestamp() if rendered.ends_at else None
        return keep_index_file(request, response, rendered.modified, tag, good_until=good_until, count_hit=count_hit)

    @extend_schema(responses=MirroredCrate)
    def crate(self, request: Request, name: str) -> Response:
        """List the versions of a crate, the newest first, each with the reason if a policy holds it back."""
        crate, versions = overview.describe_crate(name)
        about = {"name": crate.name, "upstream": crate.upstream, "checked_at": crate.checked_at, "versions": versions}
        return Response(MirroredCrate.write(about))

    @extend_schema(responses={(200, "application/x-tar"): OpenApiTypes.BINARY})
    def download(self, request: Request, crate: str, version: str) -> HttpResponseBase:
        """`GET /ktra/api/v1/mirror/{crate}/{version}/download`"""
        return downloads.download(request._request, crate, version)
