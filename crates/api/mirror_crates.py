"""crates.io's API for mirrored crates, from what is stored. It changes nothing: each change is refused at once."""

from django.http import HttpRequest, HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.authentication import BrowserSessionAuthentication, CargoTokenAuthentication
from accounts.permissions import ReadAccess
from crates import catalogue as own_catalogue
from crates import readmes
from crates.api import shapes, streaming
from crates.api.crates import (
    REDIRECT,
    CrateFilters,
    CrateQuery,
    VersionListQuery,
    crate_list,
    crate_query,
    dependent_list,
    lead,
    version_list,
    version_query,
)
from crates.api.paging import PageQuery
from crates.mirror import catalogue, listing
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Cargo, CargoFailure
from registry_site.http.shapes import Shape

REFUSED = {403: CargoFailure}


class NoUsers(Shape):
    """The owners of a mirrored crate, whom only upstream knows."""

    users = shapes.UserShape(many=True)


class NoTeams(Shape):
    teams = shapes.UserShape(many=True)


class MirrorListQuery(CrateFilters, PageQuery):
    """The parameters of lists of mirrored crates."""


class MirrorView(Cargo, ViewSet):
    authentication_classes = [CargoTokenAuthentication]
    permission_classes = [ReadAccess]


class MirrorPublish(MirrorView):
    @staticmethod
    def check_body_length(request: HttpRequest, length: int) -> None:
        """Let a body of any length come as far as its refusal, for nothing reads it."""

    @extend_schema(request={"application/octet-stream": OpenApiTypes.BINARY}, responses=REFUSED)
    def publish(self, request: Request) -> Response:
        """`PUT /mirror/api/v1/crates/new`"""
        catalogue.refuse_change()


class MirrorCrates(MirrorView):
    @extend_schema(parameters=[MirrorListQuery], responses=shapes.CrateListAnswer)
    def search(self, request: Request) -> Response:
        """`GET /mirror/api/v1/crates?q=&sort=&page=&per_page=`"""
        query = self.validated(MirrorListQuery, request.query_params)
        return crate_list(request, listing.list_crates(crate_query(query)))


class MirrorCrate(MirrorView):
    @extend_schema(parameters=[CrateQuery], responses=shapes.CrateAnswer)
    def retrieve(self, request: Request, name: str) -> HttpResponseBase:
        """`GET /mirror/api/v1/crates/{crate}?include=`"""
        query = self.validated(CrateQuery, request.query_params)
        crate = catalogue.describe_crate(name, own_catalogue.parse_parts(query["include"]))
        return streaming.respond(shapes.CrateAnswer, vars(crate))

    @extend_schema(parameters=[VersionListQuery], responses=shapes.VersionListAnswer)
    def versions(self, request: Request, name: str) -> HttpResponseBase:
        """`GET /mirror/api/v1/crates/{crate}/versions`"""
        query = self.validated(VersionListQuery, request.query_params)
        return version_list(request, catalogue.list_versions(name, version_query(query)))

    @extend_schema(parameters=[PageQuery], responses=shapes.DependentsAnswer)
    def reverse_dependencies(self, request: Request, name: str) -> HttpResponseBase:
        """`GET /mirror/api/v1/crates/{crate}/reverse_dependencies`: crates of the registry itself"""
        query = self.validated(PageQuery, request.query_params)
        return dependent_list(catalogue.list_dependents(name, query["page"], query["per_page"]))

    @extend_schema(responses=shapes.CrateDownloadsAnswer)
    def downloads(self, request: Request, name: str) -> Response:
        """`GET /mirror/api/v1/crates/{crate}/downloads`"""
        return Response(shapes.CrateDownloadsAnswer.write(catalogue.downloads_of(name)))

    @extend_schema(request=None, responses=REFUSED)
    def remove(self, request: Request, name: str) -> Response:
        """`DELETE /mirror/api/v1/crates/{crate}`"""
        catalogue.refuse_change()


class MirrorVersion(MirrorView):
    @extend_schema(responses=shapes.VersionAnswer)
    def retrieve(self, request: Request, name: str, number: str) -> Response:
        """`GET /mirror/api/v1/crates/{crate}/{version}`"""
        return Response(shapes.VersionAnswer.write({"version": catalogue.describe_version(name, number)}))

    @extend_schema(responses=shapes.DependenciesAnswer)
    def dependencies(self, request: Request, name: str, number: str) -> Response:
        """`GET /mirror/api/v1/crates/{crate}/{version}/dependencies`"""
        return Response(shapes.DependenciesAnswer.write({"dependencies": catalogue.dependencies_of(name, number)}))

    @extend_schema(responses=shapes.VersionDownloadsAnswer)
    def downloads(self, request: Request, name: str, number: str) -> Response:
        """`GET /mirror/api/v1/crates/{crate}/{version}/downloads`"""
        downloads = catalogue.downloads_of_version(name, number)
        return Response(shapes.VersionDownloadsAnswer.write({"version_downloads": downloads}))

    @extend_schema(responses=shapes.AuthorsAnswer)
    def authors(self, request: Request, name: str, number: str) -> Response:
        """`GET /mirror/api/v1/crates/{crate}/{version}/authors`, which names nobody."""
        catalogue.locate_version(name, number)
        return Response(shapes.AuthorsAnswer.write({"users": [], "meta": {"names": []}}))

    @extend_schema(responses=REDIRECT)
    def readme(self, request: Request, name: str, number: str) -> HttpResponseBase:
        """`GET /mirror/api/v1/crates/{crate}/{version}/readme`"""
        name, number = catalogue.locate_version(name, number)
        return lead(request, f"/mirror/crates/{name}/{number}/readme")

    @extend_schema(responses=REDIRECT)
    def download(self, request: Request, name: str, number: str) -> HttpResponseBase:
        """`GET /mirror/api/v1/crates/{crate}/{version}/download`"""
        name, number = catalogue.locate_version(name, number)
        return lead(request, f"/ktra/api/v1/mirror/{name}/{number}/download")

    @extend_schema(request=None, responses=REFUSED)
    def update(self, request: Request, name: str, number: str) -> Response:
        """`PATCH /mirror/api/v1/crates/{crate}/{version}`"""
        catalogue.refuse_change()

    @extend_schema(request=None, responses=REFUSED)
    def yank(self, request: Request, name: str, number: str) -> Response:
        """`DELETE /mirror/api/v1/crates/{crate}/{version}/yank`"""
        catalogue.refuse_change()

    @extend_schema(request=None, responses=REFUSED)
    def unyank(self, request: Request, name: str, number: str) -> Response:
        """`PUT /mirror/api/v1/crates/{crate}/{version}/unyank`"""
        catalogue.refuse_change()


class MirrorReadmes(MirrorView):
    """READMEs as pages, for people who are signed in, too."""

    authentication_classes = [CargoTokenAuthentication, BrowserSessionAuthentication]

    @extend_schema(responses={(200, "text/html"): OpenApiTypes.STR})
    def retrieve(self, request: Request, name: str, number: str) -> HttpResponseBase:
        """`GET /mirror/crates/{crate}/{version}/readme`"""
        return readmes.page_of(f"{name}@{number}", catalogue.get_readme(name, number))


class MirrorOwners(MirrorView):
    @extend_schema(responses=NoUsers)
    def owners(self, request: Request, name: str) -> Response:
        """`GET /mirror/api/v1/crates/{crate}/owners`, whom an index does not name."""
        catalogue.require_crate(name)
        return Response(NoUsers.write({"users": []}))

    @extend_schema(responses=NoUsers)
    def owner_user(self, request: Request, name: str) -> Response:
        """`GET /mirror/api/v1/crates/{crate}/owner_user`"""
        return self.owners(request, name)

    @extend_schema(responses=NoTeams)
    def owner_team(self, request: Request, name: str) -> Response:
        """`GET /mirror/api/v1/crates/{crate}/owner_team`"""
        catalogue.require_crate(name)
        return Response(NoTeams.write({"teams": []}))

    @extend_schema(request=None, responses=REFUSED)
    def add(self, request: Request, name: str) -> Response:
        """`PUT /mirror/api/v1/crates/{crate}/owners`"""
        catalogue.refuse_change()

    @extend_schema(request=None, responses=REFUSED)
    def remove(self, request: Request, name: str) -> Response:
        """`DELETE /mirror/api/v1/crates/{crate}/owners`"""
        catalogue.refuse_change()
