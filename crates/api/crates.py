"""crates.io's read API: one crate, its versions, and what belongs to a version."""

from typing import Any

from django.conf import settings
from django.http import HttpResponseBase, HttpResponseRedirect
from django.utils.cache import patch_vary_headers
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.authentication import BrowserSessionAuthentication, CargoTokenAuthentication, get_principal
from accounts.models import User
from accounts.permissions import ReadAccess, TokenOrReadAccess, TokenRequired
from accounts.principals import Principal
from accounts.scopes import Scope
from crates import catalogue, dependents, listing, names, readmes, removal, search, yanking
from crates.api import shapes, streaming
from crates.api.cargo import CargoView, VersionChange
from crates.api.paging import Page, PageQuery, PerPage, Seek, query_with, value_list
from registry_site import semantic_versions
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Cargo
from registry_site.http.negotiation import accepts_json

MAX_KEY = 2**63 - 1  # a primary key
MAX_WORDS_LENGTH = 500
REDIRECT: Any = {200: shapes.AddressAnswer, 302: OpenApiResponse(description="The way there")}


class CrateQuery(serializers.Serializer[None]):
    include = serializers.CharField(default="full", allow_blank=True, max_length=200)


class VersionListQuery(serializers.Serializer[None]):
    sort = serializers.ChoiceField(choices=["semver", "date"], default="semver", allow_blank=True)
    include = serializers.ChoiceField(choices=["release_tracks"], default="", allow_blank=True)
    per_page = PerPage(default=None)
    seek = Seek()

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "nums[]": value_list(semantic_versions.MAX_LENGTH)}


class RemovalQuery(serializers.Serializer[None]):
    message = serializers.CharField(default="", allow_blank=True, max_length=removal.MAX_REASON_LENGTH)


class CrateFilters(serializers.Serializer[None]):
    """The filters and orders of lists of crates, of this registry and of the mirror."""

    q = serializers.CharField(default="", allow_blank=True, max_length=search.MAX_QUERY_LENGTH)
    sort = serializers.ChoiceField(choices=listing.SORTS, default="", allow_blank=True)
    per_page = PerPage()
    keyword = serializers.CharField(default="", allow_blank=True, max_length=MAX_WORDS_LENGTH)
    all_keywords = serializers.CharField(default="", allow_blank=True, max_length=MAX_WORDS_LENGTH)
    category = serializers.CharField(default="", allow_blank=True, max_length=MAX_WORDS_LENGTH)
    letter = serializers.CharField(default="", allow_blank=True, max_length=MAX_WORDS_LENGTH)
    user_id = serializers.IntegerField(default=None, min_value=0, max_value=MAX_KEY)
    team_id = serializers.IntegerField(default=None, min_value=0, max_value=MAX_KEY)

    def get_fields(self) -> dict[str, Any]:
        return {**super().get_fields(), "ids[]": value_list(names.MAX_LENGTH)}


class CrateListQuery(CrateFilters):
    page = Page(default=None)
    seek = Seek()
    following = serializers.CharField(default="", allow_blank=True, max_length=MAX_WORDS_LENGTH)


class ReadView(CargoView):
    permission_classes = [ReadAccess]

    def required_principal(self, request: Request) -> Principal:
        """Return the principal of a token that may read; raises `Unauthenticated` and `PermissionDenied`."""
        TokenRequired().has_permission(request, self)
        principal = get_principal(request)
        principal.require(Scope.READ)
        return principal


class Crates(ReadView):
    @extend_schema(parameters=[CrateListQuery], responses=shapes.CrateListAnswer)
    def search(self, request: Request) -> Response:
        """`GET /api/v1/crates?q=&sort=&page=&per_page=`"""
        query = self.validated(CrateListQuery, request.query_params)
        follower = self.required_principal(request).user if query.pop("following") else None
        return crate_list(request, listing.list_crates(crate_query(query, follower=follower)))


class Crate(ReadView):
    permission_classes = [TokenOrReadAccess]

    @extend_schema(parameters=[CrateQuery], responses=shapes.CrateAnswer)
    def retrieve(self, request: Request, name: str) -> HttpResponseBase:
        """`GET /api/v1/crates/{crate}?include=`"""
        query = self.validated(CrateQuery, request.query_params)
        crate = catalogue.describe_crate(name, catalogue.parse_parts(query["include"]))
        return streaming.respond(shapes.CrateAnswer, vars(crate))

    @extend_schema(request=None, parameters=[RemovalQuery], responses={204: None})
    def remove(self, request: Request, name: str) -> Response:
        """`DELETE /api/v1/crates/{crate}?message=`"""
        query = self.validated(RemovalQuery, request.query_params)
        removal.remove_crate(get_principal(request), name, query["message"])
        return Response(status=204)

    @extend_schema(parameters=[VersionListQuery], responses=shapes.VersionListAnswer)
    def versions(self, request: Request, name: str) -> HttpResponseBase:
        """`GET /api/v1/crates/{crate}/versions`"""
        query = self.validated(VersionListQuery, request.query_params)
        return version_list(request, catalogue.list_versions(name, version_query(query)))

    @extend_schema(parameters=[PageQuery], responses=shapes.DependentsAnswer)
    def reverse_dependencies(self, request: Request, name: str) -> HttpResponseBase:
        """`GET /api/v1/crates/{crate}/reverse_dependencies`"""
        query = self.validated(PageQuery, request.query_params)
        return dependent_list(dependents.list_dependents(name, query["page"], query["per_page"]))

    @extend_schema(responses=shapes.CrateDownloadsAnswer)
    def downloads(self, request: Request, name: str) -> Response:
        """`GET /api/v1/crates/{crate}/downloads`"""
        return Response(shapes.CrateDownloadsAnswer.write(catalogue.downloads_of(name)))


class Version(ReadView):
    permission_classes = [TokenOrReadAccess]

    @extend_schema(responses=shapes.VersionAnswer)
    def retrieve(self, request: Request, name: str, number: str) -> Response:
        """`GET /api/v1/crates/{crate}/{version}`"""
        return Response(shapes.VersionAnswer.write({"version": catalogue.describe_version(name, number)}))

    @extend_schema(request=VersionChange, responses=shapes.VersionAnswer)
    def update(self, request: Request, name: str, number: str) -> Response:
        """`PATCH /api/v1/crates/{crate}/{version}`"""
        change = self.validated(VersionChange, request.data)["version"]
        yanking.set_yanked(
            get_principal(request), name, number, yanked=change.get("yanked"), message=change.get("yank_message")
        )
        return Response(shapes.VersionAnswer.write({"version": catalogue.describe_version(name, number)}))


class VersionParts(ReadView):
    @extend_schema(responses=shapes.DependenciesAnswer)
    def dependencies(self, request: Request, name: str, number: str) -> Response:
        """`GET /api/v1/crates/{crate}/{version}/dependencies`"""
        return Response(shapes.DependenciesAnswer.write({"dependencies": catalogue.dependencies_of(name, number)}))

    @extend_schema(responses=shapes.VersionDownloadsAnswer)
    def downloads(self, request: Request, name: str, number: str) -> Response:
        """`GET /api/v1/crates/{crate}/{version}/downloads`"""
        downloads = catalogue.downloads_of_version(name, number)
        return Response(shapes.VersionDownloadsAnswer.write({"version_downloads": downloads}))

    @extend_schema(responses=shapes.AuthorsAnswer)
    def authors(self, request: Request, name: str, number: str) -> Response:
        """`GET /api/v1/crates/{crate}/{version}/authors`, which names nobody: the owners count."""
        catalogue.get_version(name, number)
        return Response(shapes.AuthorsAnswer.write({"users": [], "meta": {"names": []}}))

    @extend_schema(responses=REDIRECT)
    def readme(self, request: Request, name: str, number: str) -> HttpResponseBase:
        """`GET /api/v1/crates/{crate}/{version}/readme`"""
        return lead_to(request, name, number, "readme")

    @extend_schema(responses=REDIRECT)
    def download(self, request: Request, name: str, number: str) -> HttpResponseBase:
        """`GET /api/v1/crates/{crate}/{version}/download`"""
        return lead_to(request, name, number, "download")


class Readmes(Cargo, ViewSet):
    """READMEs as pages, for people who are signed in, too."""

    authentication_classes = [CargoTokenAuthentication, BrowserSessionAuthentication]
    permission_classes = [ReadAccess]

    @extend_schema(responses={(200, "text/html"): OpenApiTypes.STR})
    def retrieve(self, request: Request, name: str, number: str) -> HttpResponseBase:
        """`GET /dl/{crate}/{version}/readme`"""
        return readmes.render_page(name, number)


def crate_query(query: dict[str, Any], *, follower: User | None = None) -> listing.CrateQuery:
    """Return the domain's query for validated parameters."""
    keywords = [query.pop("keyword"), *query.pop("all_keywords").split()]
    return listing.CrateQuery(
        text=query.pop("q"),
        keywords=[word for word in keywords if word],
        names=query.pop("ids[]"),
        follower=follower,
        **query,
    )


def crate_list(request: Request, crates: listing.CrateList) -> Response:
    following = {"seek": crates.seek} if crates.seek else {"page": crates.next_page}
    meta = {
        "total": crates.total,
        "next_page": query_with(request, **following) if any(following.values()) else None,
        "prev_page": query_with(request, page=crates.prev_page) if crates.prev_page else None,
    }
    return Response(shapes.CrateListAnswer.write({"crates": crates.crates, "meta": meta}))


def dependent_list(page: dependents.DependentList) -> HttpResponseBase:
    answer = {"dependencies": page.dependencies, "versions": page.versions, "meta": {"total": page.total}}
    return streaming.respond(shapes.DependentsAnswer, answer)


def version_query(query: dict[str, Any]) -> catalogue.VersionQuery:
    return catalogue.VersionQuery(
        by_date=query["sort"] == "date",
        numbers=query["nums[]"],
        per_page=query["per_page"],
        seek=query["seek"],
        with_tracks=query["include"] == "release_tracks",
    )


def version_list(request: Request, versions: catalogue.VersionList) -> HttpResponseBase:
    tracks = {} if versions.release_tracks is None else {"release_tracks": versions.release_tracks}
    next_page = query_with(request, seek=versions.seek) if versions.seek else None
    meta = {"total": versions.total, "next_page": next_page, **tracks}
    return streaming.respond(shapes.VersionListAnswer, {"versions": versions.versions, "meta": meta})


def lead_to(request: Request, name: str, number: str, part: str) -> HttpResponseBase:
    """Redirect to the bytes of a version, or name their address to a client that accepts JSON."""
    version = catalogue.get_version(name, number)
    return lead(request, f"/dl/{version.crate.name}/{version.number}/{part}")


def lead(request: Request, path: str) -> HttpResponseBase:
    response: HttpResponseBase
    if accepts_json(request._request):
        response = Response(shapes.AddressAnswer.write({"url": f"{settings.PUBLIC_URL}{path}"}))
    else:
        response = HttpResponseRedirect(path)
    patch_vary_headers(response, ["Accept"])
    return response
