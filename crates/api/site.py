"""crates.io's read API: the registry as a whole."""

from django.conf import settings
from rest_framework.request import Request
from rest_framework.response import Response

from crates import summary
from crates.api import shapes
from crates.api.crates import ReadView
from registry_site.http.api_docs import extend_schema


class Site(ReadView):
    @extend_schema(responses=shapes.SummaryShape)
    def summary(self, request: Request) -> Response:
        """`GET /api/v1/summary`"""
        return Response(shapes.SummaryShape.write(summary.summarize()))

    @extend_schema(responses=shapes.SiteMetadataShape)
    def metadata(self, request: Request) -> Response:
        """`GET /api/v1/site_metadata`: the version of the registry where crates.io has the commit of its own."""
        version = settings.SPECTACULAR_SETTINGS["VERSION"]
        return Response(
            shapes.SiteMetadataShape.write({"deployed_sha": version, "commit": version, "read_only": False})
        )
