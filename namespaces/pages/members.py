"""Pages of the members of a namespace."""

from accounts.models import User
from namespaces import membership
from namespaces.invitations import NAMESPACE
from namespaces.pages.roles import InvitationsView, ListView, RolesView, RoleView, Subject
from registry_site import visitors


class MembersView(RolesView):
    kind = NAMESPACE
    folder = "namespaces"

    def get_subject(self, viewer: User | None) -> Subject:
        visitors.require_reader(self.request)
        namespace = membership.get_namespace(self.kwargs["namespace"])
        givable = membership.givable_roles(namespace, viewer)
        frame = {"namespace": namespace, "tab": "members"}
        return Subject(namespace, f"{namespace.page_path}/members", givable, frame)


class Members(MembersView, ListView):
    """`GET /namespaces/{namespace}/members?page=`"""


class Invitations(MembersView, InvitationsView):
    """`POST /namespaces/{namespace}/invitations`"""


class Member(MembersView, RoleView):
    """`/namespaces/{namespace}/members/{username}`"""
