"""yapkg-backend's endpoints for namespaces (命名空间管理)."""

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from accounts.api.serializers import DONE, Status, Text
from accounts.authentication import AppKeyAuthentication, BrowserSessionAuthentication, get_principal
from accounts.permissions import AuthenticatedOrReadOnly
from namespaces import membership
from namespaces.api.serializers import Invitations, InvitationShape, RoleChange
from namespaces.models import Namespace, Role
from registry_site.http.api_docs import extend_schema
from registry_site.http.dialects import Yapkg
from registry_site.http.shapes import Shape


class NewNamespace(serializers.Serializer[None]):
    namespace = Text(max_length=255)


class Member(Shape):
    username = serializers.CharField(source="user.username")
    role = serializers.CharField()
    avatar_uri = serializers.CharField(source="user.avatar_uri")


class NamespaceShape(Shape):
    namespace_id = serializers.CharField()
    namespace = serializers.CharField()
    owner = serializers.CharField()
    member = Member(many=True)


class NamespacesView(Yapkg, ViewSet):
    authentication_classes = [AppKeyAuthentication, BrowserSessionAuthentication]
    permission_classes = [AuthenticatedOrReadOnly]

    def respond(self, namespace: Namespace) -> Response:
        """Return a namespace with its members."""
        members = list(membership.members_of(namespace))
        # The document knows one owner. Of several, it is the one who joined first.
        owner = next((member.user.username for member in members if member.role == Role.OWNER), "")
        data = {"namespace_id": namespace.pk, "namespace": namespace.name, "owner": owner, "member": members}
        return Response(NamespaceShape.write(data))


class Namespaces(NamespacesView):
    @extend_schema(request=NewNamespace, responses=NamespaceShape)
    def open(self, request: Request) -> Response:
        """`POST /namespace`: create a namespace; its creator becomes the owner"""
        data = self.validated(NewNamespace, request.data)
        return self.respond(membership.create_namespace(get_principal(request), data["namespace"]))

    @extend_schema(responses=NamespaceShape)
    def retrieve(self, request: Request, namespace: str) -> Response:
        """`GET /namespace/{namespace}`: show a namespace and its members"""
        return self.respond(membership.get_namespace(namespace))

    @extend_schema(request=None, responses=Status)
    def destroy(self, request: Request, namespace: str) -> Response:
        """`DELETE /namespace/{namespace}`: put a namespace and all its packages into the trash"""
        membership.remove_namespace(get_principal(request), namespace)
        return Response(DONE)


class Members(NamespacesView):
    @extend_schema(request=InvitationShape(many=True), responses=NamespaceShape)
    def add(self, request: Request, namespace: str) -> Response:
        """`POST /namespace/{namespace}/members`: make accounts members"""
        invitations = self.validated(Invitations, request.data)["members"]
        return self.respond(membership.add_members(get_principal(request), namespace, invitations))

    @extend_schema(request=RoleChange, responses=Member)
    def change(self, request: Request, namespace: str, username: str) -> Response:
        """`PATCH /namespace/{namespace}/members/{username}`: give a member another role"""
        data = self.validated(RoleChange, request.data)
        member = membership.change_role(get_principal(request), namespace, username, data["role"])
        return Response(Member.write(member))

    @extend_schema(request=None, responses=Status)
    def remove(self, request: Request, namespace: str, username: str) -> Response:
        """`DELETE /namespace/{namespace}/members/{username}`: remove a member, or leave"""
        membership.remove_member(get_principal(request), namespace, username)
        return Response(DONE)
