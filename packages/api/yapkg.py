"""yapkg-backend's endpoints for packages (包管理), in the order of its document.

Archives in a form, the lists of versions and the download are additions: the document has none of them.
"""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils.http import urlencode
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.api.serializers import DONE, Status
from accounts.authentication import AppKeyAuthentication, BrowserSessionAuthentication, get_principal
from accounts.models import User
from accounts.permissions import AuthenticatedOrReadOnly, IsAuthenticated
from namespaces.api.serializers import Invitations, InvitationShape, RoleChange
from packages import collaboration, listing, lookup, releasing
from packages.api import serializers
from packages.downloads import download
from registry_site import errors
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Yapkg
from registry_site.http.parsers import (
    MAX_BODY_BYTES,
    StrictJSONParser,
    StrictMultiPartParser,
    UntypedJSONParser,
    check_length,
)

PAGE = OpenApiParameter("page", int, description="Default 1. A number out of range means the first or the last page.")
QUERY = OpenApiParameter("query", str, required=True, description="Words, or prefixes of words.")


class ArchiveParser(StrictMultiPartParser):
    """A form with one archive at most."""

    def __init__(self) -> None:
        self.maximum = settings.MAX_PACKAGE_SIZE + MAX_BODY_BYTES

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        form = super().parse(stream, media_type, parser_context)
        uploads = [upload for _, uploads in form.files.lists() for upload in uploads]
        if len(uploads) > 1:
            for upload in uploads:
                upload.close()  # Django closes only files that reach the request, and each holds a temporary file
            raise errors.Malformed("There is more than one file; a version has one archive.")
        return form


class PackagesView(Yapkg, ViewSet):
    authentication_classes = [AppKeyAuthentication, BrowserSessionAuthentication]
    permission_classes = [AuthenticatedOrReadOnly]

    @property
    def user(self) -> User | None:
        """The authenticated user, or None for an anonymous visitor."""
        return self.request.user if isinstance(self.request.user, User) else None

    def respond_with_page(self, page: listing.Page, **query: str | int) -> Response:
        """Return the packages of a page as a bare array, as the document has it; totals and links are in headers."""
        numbers = {"first": 1, "prev": page.number - 1, "next": page.number + 1, "last": page.last}
        url = settings.PUBLIC_URL + self.request.path
        links = [
            f'<{url}?{urlencode({**query, "page": number})}>; rel="{name}"'
            for name, number in numbers.items()
            if 1 <= number <= page.last
        ]
        headers = {"X-Total-Count": str(page.total), "Link": ", ".join(links)}
        return Response(serializers.Brief.write_all(page.packages), headers=headers)


class Packages(PackagesView):
    parser_classes = [StrictJSONParser, ArchiveParser, UntypedJSONParser]

    @staticmethod
    def check_body_length(request: HttpRequest, length: int) -> None:
        check_length(length, ArchiveParser().maximum if request.method in ("POST", "PUT") else MAX_BODY_BYTES)

    @extend_schema(request=serializers.NewPackage, responses=serializers.Full)
    def create_package(self, request: Request, namespace: str) -> Response:
        """`POST /namespaces/{namespace}/packages`: create a package with its first version

        400 for a bad or missing parameter, a taken name or an unknown namespace; 403 without the right to create
        packages there.
        """
        data = self.validated(serializers.NewPackage, request.data)
        content = serializers.release_input(data)
        release = releasing.create_package(
            get_principal(request), namespace, data["package_name"], data["field"], content
        )
        return Response(serializers.Full.write(release))

    @extend_schema(responses=serializers.Full)
    def retrieve(self, request: Request, namespace: str, name: str) -> Response:
        """`GET /namespaces/{namespace}/packages/{package_name}`: show the newest version of a package"""
        package = lookup.get_package(self.user, namespace, name)
        return Response(serializers.Full.write(package.newest_release()))

    @extend_schema(parameters=[QUERY, PAGE], responses=serializers.Brief(many=True))
    def search(self, request: Request) -> Response:
        """`GET /packages?query={keyword}[&page={page}]`: search the public packages"""
        data = self.validated(serializers.Search, request.query_params)
        return self.respond_with_page(listing.search_page(data["query"], data["page"]), query=data["query"])

    @extend_schema(parameters=[PAGE], responses=serializers.Brief(many=True))
    def list(self, request: Request, namespace: str) -> Response:
        """`GET /namespaces/{namespace}/packages[?page={page}]`: list the packages of a namespace"""
        data = self.validated(serializers.PageNumber, request.query_params)
        return self.respond_with_page(listing.namespace_page(self.user, namespace, data["page"]))

    @extend_schema(request=None, responses={200: Status, 204: None})
    def destroy(self, request: Request, namespace: str, name: str) -> Response:
        """`DELETE /namespaces/{namespace}/packages/{package_name}`: put a package into the trash

        204 without such a package; 403 without the right to delete it.
        """
        if releasing.remove_package(get_principal(request), namespace, name):
            return Response(DONE)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=serializers.Publication, responses=serializers.Published)
    def publish(self, request: Request, namespace: str, name: str) -> Response:
        """`PUT /namespaces/{namespace}/packages/{package_name}`: publish a version

        400 for a bad or missing parameter or an unknown package.
        """
        data = self.validated(serializers.Publication, request.data)
        content = serializers.release_input(data)
        release = releasing.publish_release(get_principal(request), namespace, name, content, data.get("package_id"))
        return Response(serializers.Published.write(release))

    @extend_schema(request=serializers.Edit, responses=serializers.Full)
    def edit(self, request: Request, namespace: str, name: str) -> Response:
        """`PATCH /namespaces/{namespace}/packages/{package_name}`: edit the newest version"""
        data = self.validated(serializers.Edit, request.data)
        content = serializers.release_edit(data)
        release = releasing.edit_package(get_principal(request), namespace, name, content, data.get("package_id"))
        return Response(serializers.Full.write(release))


class Collaborators(PackagesView):
    permission_classes = [IsAuthenticated]

    @extend_schema(request=InvitationShape(many=True), responses=serializers.Collaborator(many=True))
    def add(self, request: Request, namespace: str, name: str) -> Response:
        """`POST /namespaces/{namespace}/packages/{package_name}/collaborators`: make accounts collaborators"""
        invitations = self.validated(Invitations, request.data)["members"]
        collaborators = collaboration.add_collaborators(get_principal(request), namespace, name, invitations)
        return Response(serializers.Collaborator.write_all(collaborators))

    @extend_schema(responses=serializers.Collaborator(many=True))
    def list(self, request: Request, namespace: str, name: str) -> Response:
        """`GET /namespaces/{namespace}/packages/{package_name}/collaborators`: list the collaborators"""
        collaborators = collaboration.list_collaborators(get_principal(request), namespace, name)
        return Response(serializers.Collaborator.write_all(collaborators))

    @extend_schema(request=RoleChange, responses=serializers.Collaborator)
    def change(self, request: Request, namespace: str, name: str, username: str) -> Response:
        """`PATCH /namespace/{namespace}/packages/{package_name}/collaborators/{username}`: give another role"""
        role = self.validated(RoleChange, request.data)["role"]
        collaborator = collaboration.change_role(get_principal(request), namespace, name, username, role)
        return Response(serializers.Collaborator.write(collaborator))

    @extend_schema(request=None, responses=Status)
    def remove(self, request: Request, namespace: str, name: str, username: str) -> Response:
        """`DELETE /namespace/{namespace}/packages/{package_name}/collaborators/{username}`: remove one, or leave"""
        collaboration.remove_collaborator(get_principal(request), namespace, name, username)
        return Response(DONE)


# --- Beyond the document ---------------------------------------------------------------------------------------------


class Versions(PackagesView):
    @extend_schema(responses=serializers.VersionShape(many=True))
    def list(self, request: Request, namespace: str, name: str) -> Response:
        """`GET /namespaces/{namespace}/packages/{package_name}/versions`: list the versions, the highest first"""
        releases = lookup.list_releases(self.user, namespace, name)
        return Response(serializers.VersionShape.write_all(releases))

    @extend_schema(responses=serializers.VersionDetail)
    def retrieve(self, request: Request, namespace: str, name: str, version: str) -> Response:
        """`GET /namespaces/{namespace}/packages/{package_name}/versions/{version}`: show a version"""
        return Response(serializers.VersionDetail.write(lookup.get_release(self.user, namespace, name, version)))

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def download(self, request: Request, namespace: str, name: str, version: str) -> HttpResponseBase:
        """`GET /namespaces/{namespace}/packages/{package_name}/versions/{version}/download`: return the archive"""
        return download(request._request, self.user, namespace, name, version)
