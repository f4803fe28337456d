"""yapkg-backend's package endpoints: 包管理; and, beyond the document, archives and a list of versions."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.http import urlencode
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.fields import empty
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.html import is_html_input
from rest_framework.viewsets import ViewSet

from accounts.api.shapes import DONE, Status, Text
from accounts.authentication import AppKeyAuthentication, BrowserSessionAuthentication, get_principal
from accounts.models import User
from accounts.permissions import AuthenticatedOrReadOnly, IsAuthenticated
from namespaces.api.shapes import Invitations, InvitationShape, RoleChange, invitations
from packages import collaboration, listing, lookup, release_input, releasing
from packages.downloads import download
from packages.models import Release
from registry_site import errors
from registry_site.http import strict_json
from registry_site.http.dialects import Yapkg
from registry_site.http.parsers import MAXIMUM_BODY, StrictJSONParser, StrictMultiPartParser, UntypedJSONParser

PAGE = OpenApiParameter("page", int, description="1 if it is left out; beyond the last, the last; below 1, the first.")
QUERY = OpenApiParameter("query", str, required=True, description="Words, or beginnings of words.")


class DependencyShape(serializers.Serializer[None]):
    name = Text()
    version = Text()


class JSONList(serializers.ListField):
    """A list; in a form, which has no lists, its JSON."""

    def get_value(self, dictionary: Any) -> Any:
        if not is_html_input(dictionary):
            return super().get_value(dictionary)
        value = dictionary.get(self.field_name, empty)
        return strict_json.loads(value.encode()) if isinstance(value, str) else value


class Edit(serializers.Serializer[None]):
    """What all three ways to publish take."""

    package_id = serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
    dependencies = JSONList(child=DependencyShape(), required=False)
    dev_dependencies = JSONList(child=DependencyShape(), required=False)
    status = Text(required=False, max_length=40)
    type = Text(required=False, max_length=40)
    description = Text(required=False, allow_blank=True)
    keywords = JSONList(child=Text(), required=False)


class Publication(Edit):
    version = Text(max_length=255)
    file = serializers.FileField(required=False, allow_empty_file=True)


class NewPackage(Publication):
    package_name = Text(max_length=255)
    field = Text(max_length=255)


class Brief(serializers.Serializer[Any]):
    package_name = serializers.CharField(source="name")
    package_id = serializers.CharField(source="pk")
    namespace_id = serializers.CharField()
    namespace = serializers.CharField(source="namespace.name")
    version = serializers.CharField(source="newest.version")
    field = serializers.CharField()
    publisher_id = serializers.CharField(source="newest.publisher_id")
    publisher = serializers.CharField(source="newest.publisher.username")
    description = serializers.CharField(source="newest.description")
    last_updated = serializers.DateTimeField(source="updated_at", format="%Y-%m-%d")


class Full(serializers.Serializer[Release]):
    """A package as one of its releases has it."""

    package_id = serializers.CharField()
    package_name = serializers.CharField(source="package.name")
    namespace_id = serializers.CharField(source="package.namespace_id")
    namespace = serializers.CharField(source="package.namespace.name")
    version = serializers.CharField()
    field = serializers.CharField(source="package.field")
    dependencies = serializers.ListField(child=DependencyShape())
    dev_dependencies = serializers.ListField(child=DependencyShape())
    status = serializers.CharField()
    publisher_id = serializers.CharField()
    publisher = serializers.CharField(source="publisher.username")
    type = serializers.CharField(source="package.type")
    description = serializers.CharField()
    keywords = serializers.ListField(child=serializers.CharField())
    last_updated = serializers.DateTimeField(source="package.updated_at", format="%Y-%m-%d")


class Published(Full):
    """The document has the name under another key here than elsewhere; here it is under both."""

    name = serializers.CharField(source="package.name")


class FileShape(serializers.Serializer[Any]):
    path = serializers.CharField()
    size = serializers.IntegerField()


class VersionShape(serializers.Serializer[Any]):
    version = serializers.CharField()
    status = serializers.CharField()
    publisher_id = serializers.CharField()
    publisher = serializers.CharField(source="publisher.username")
    published_at = serializers.DateTimeField()
    sha256 = serializers.CharField(help_text="Of the archive; empty without one.")
    size = serializers.IntegerField()


class VersionDetail(VersionShape):
    dependencies = serializers.ListField(child=DependencyShape())
    dev_dependencies = serializers.ListField(child=DependencyShape())
    description = serializers.CharField()
    keywords = serializers.ListField(child=serializers.CharField())
    files = FileShape(many=True)


class Collaborator(serializers.Serializer[Any]):
    user_id = serializers.CharField()
    username = serializers.CharField(source="user.username")
    avatar_uri = serializers.CharField(source="user.avatar_uri")
    role = serializers.CharField()


class ArchiveParser(StrictMultiPartParser):
    def __init__(self) -> None:
        self.maximum = settings.MAX_PACKAGE_SIZE + MAXIMUM_BODY

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        parsed = super().parse(stream, media_type, parser_context)
        given = [file for _, files in parsed.files.lists() for file in files]
        if len(given) > 1:
            for file in given:
                file.close()
            raise errors.Malformed("There is more than one file; a version has one archive.")
        return parsed


class PackagesView(Yapkg, ViewSet):
    authentication_classes = [AppKeyAuthentication, BrowserSessionAuthentication]
    permission_classes = [AuthenticatedOrReadOnly]


def _reader(request: Request) -> User | None:
    return request.user if isinstance(request.user, User) else None


def _draft(given: dict[str, Any]) -> release_input.ReleaseInput:
    file = given.get("file")
    taken = {key: value for key, value in given.items() if key not in ("package_name", "field", "package_id", "file")}
    return release_input.ReleaseInput(**taken, archive=release_input.Upload(file, file.size) if file else None)


def _page(request: HttpRequest, page: listing.Page, **query: str | int) -> Response:
    """A bare array; how many there are, and where the other pages are, is in headers."""
    numbers = {"first": 1, "prev": page.number - 1, "next": page.number + 1, "last": page.last}
    address = settings.PUBLIC_URL + request.path
    links = [
        f'<{address}?{urlencode({**query, "page": number})}>; rel="{name}"'
        for name, number in numbers.items()
        if 1 <= number <= page.last
    ]
    headers = {"X-Total-Count": str(page.total), "Link": ", ".join(links)}
    return Response(Brief(page.packages, many=True).data, headers=headers)


class PageNumber(serializers.Serializer[None]):
    page = serializers.IntegerField(default=1)


class Search(PageNumber):
    query = serializers.CharField(allow_blank=True, trim_whitespace=False)


class Packages(PackagesView):
    parser_classes = [StrictJSONParser, ArchiveParser, UntypedJSONParser]

    @extend_schema(parameters=[QUERY, PAGE], responses=Brief(many=True))
    def search(self, request: Request) -> Response:
        """`GET /packages?query={keyword}[&page={page}]`"""
        given = self.validated(Search, request.query_params)
        page = listing.search_page(given["query"], given["page"])
        return _page(request._request, page, query=given["query"])

    @extend_schema(parameters=[PAGE], responses=Brief(many=True))
    def list(self, request: Request, namespace: str) -> Response:
        """`GET /namespaces/{namespace}/packages[?page={page}]`"""
        given = self.validated(PageNumber, request.query_params)
        return _page(request._request, listing.namespace_page(_reader(request), namespace, given["page"]))

    @extend_schema(request=NewPackage, responses=Full)
    def create_package(self, request: Request, namespace: str) -> Response:
        """`POST /namespaces/{namespace}/packages`"""
        given = self.validated(NewPackage, request.data)
        release = releasing.create_package(
            get_principal(request), namespace, given["package_name"], given["field"], _draft(given)
        )
        return Response(Full(release).data)

    @extend_schema(responses=Full)
    def retrieve(self, request: Request, namespace: str, name: str) -> Response:
        """`GET /namespaces/{namespace}/packages/{package_name}`"""
        package = lookup.get_package(_reader(request), namespace, name)
        return Response(Full(package.newest_release()).data)

    @extend_schema(request=Publication, responses=Published)
    def publish(self, request: Request, namespace: str, name: str) -> Response:
        """`PUT /namespaces/{namespace}/packages/{package_name}`"""
        given = self.validated(Publication, request.data)
        release = releasing.publish_release(
            get_principal(request), namespace, name, _draft(given), given.get("package_id")
        )
        return Response(Published(release).data)

    @extend_schema(request=Edit, responses=Full)
    def edit(self, request: Request, namespace: str, name: str) -> Response:
        """`PATCH /namespaces/{namespace}/packages/{package_name}`"""
        given = self.validated(Edit, request.data)
        release = releasing.edit_package(
            get_principal(request), namespace, name, _draft(given), given.get("package_id")
        )
        return Response(Full(release).data)

    @extend_schema(request=None, responses={200: Status, 204: None})
    def destroy(self, request: Request, namespace: str, name: str) -> Response:
        """`DELETE /namespaces/{namespace}/packages/{package_name}`"""
        if releasing.remove_package(get_principal(request), namespace, name):
            return Response(DONE)
        return Response(status=status.HTTP_204_NO_CONTENT)


class Versions(PackagesView):
    @extend_schema(responses=VersionShape(many=True))
    def list(self, request: Request, namespace: str, name: str) -> Response:
        """`GET /namespaces/{namespace}/packages/{package_name}/versions`: the highest first"""
        releases = lookup.list_releases(_reader(request), namespace, name)
        return Response(VersionShape(releases, many=True).data)

    @extend_schema(responses=VersionDetail)
    def retrieve(self, request: Request, namespace: str, name: str, version: str) -> Response:
        """`GET /namespaces/{namespace}/packages/{package_name}/versions/{version}`"""
        return Response(VersionDetail(lookup.get_release(_reader(request), namespace, name, version)).data)

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def download(self, request: Request, namespace: str, name: str, version: str) -> HttpResponseBase:
        """`GET /namespaces/{namespace}/packages/{package_name}/versions/{version}/download`"""
        return download(request._request, _reader(request), namespace, name, version)


class Collaborators(PackagesView):
    permission_classes = [IsAuthenticated]

    @extend_schema(responses=Collaborator(many=True))
    def list(self, request: Request, namespace: str, name: str) -> Response:
        """`GET /namespaces/{namespace}/packages/{package_name}/collaborators`"""
        return Response(
            Collaborator(collaboration.list_collaborators(get_principal(request), namespace, name), many=True).data
        )

    @extend_schema(request=InvitationShape(many=True), responses=Collaborator(many=True))
    def add(self, request: Request, namespace: str, name: str) -> Response:
        """`POST /namespaces/{namespace}/packages/{package_name}/collaborators`"""
        invited = invitations(self.validated(Invitations, request.data))
        added = collaboration.add_collaborators(get_principal(request), namespace, name, invited)
        return Response(Collaborator(added, many=True).data)

    @extend_schema(request=RoleChange, responses=Collaborator)
    def change(self, request: Request, namespace: str, name: str, username: str) -> Response:
        """`PATCH /namespace/{namespace}/packages/{package_name}/collaborators/{username}`"""
        given = self.validated(RoleChange, request.data)
        changed = collaboration.change_role(get_principal(request), namespace, name, username, given["role"])
        return Response(Collaborator(changed).data)

    @extend_schema(request=None, responses=Status)
    def remove(self, request: Request, namespace: str, name: str, username: str) -> Response:
        """`DELETE /namespace/{namespace}/packages/{package_name}/collaborators/{username}`"""
        collaboration.remove_collaborator(get_principal(request), namespace, name, username)
        return Response(DONE)
