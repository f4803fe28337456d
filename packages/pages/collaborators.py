"""Pages of the collaborators of a package."""

from accounts.credentials import browser_sessions
from accounts.models import User
from namespaces.pages.roles import InvitationsView, ListView, RolesView, RoleView, Subject
from packages.invitations import PACKAGE
from packages.presentation import PresentedPackage


class CollaboratorsView(RolesView):
    kind = PACKAGE
    folder = "packages"

    def get_subject(self, viewer: User | None) -> Subject:
        browser_sessions.require_principal(self.request)  # as in yapkg's document: no anonymous visitor lists them
        package = PresentedPackage.get(viewer, *self.names)
        frame = {"package": package, "tab": "collaborators"}
        return Subject(package.row, f"{package.root}/collaborators", package.rights.givable_roles, frame)


class Collaborators(CollaboratorsView, ListView):
    """`GET /namespaces/{namespace}/packages/{name}/collaborators?page=`"""


class Invitations(CollaboratorsView, InvitationsView):
    """`POST /namespaces/{namespace}/packages/{name}/invitations`"""


class Collaborator(CollaboratorsView, RoleView):
    """`/namespaces/{namespace}/packages/{name}/collaborators/{username}`"""
