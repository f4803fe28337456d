"""Pages about the roles in a namespace or a package: the list, invitations to it, and the role of one account.

Their forms go to addresses of their own. `POST …/members` of yapkg's document makes somebody a member at once, and no
header tells its clients from forms for sure: curl declares JSON as a form by default, and many accept everything.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_protect

from accounts.credentials import browser_sessions
from accounts.models import User
from accounts.pages.frame import to_confirmation
from accounts.principals import Principal
from accounts.second_factor import proofs
from namespaces import role_assignments, role_lists
from namespaces.forms import ChangeRoleForm, InviteForm, OneRoleForm, RemoveForm, WithdrawForm
from namespaces.invitations import LIFETIME, RoleKind
from namespaces.models import Role, RoleAssignment
from registry_site import paging
from registry_site.errors import PermissionDenied
from registry_site.forms import VerbForm, render_form
from registry_site.http.error_handlers import set_error_page


@dataclass(frozen=True)
class Subject:
    """A namespace or a package, as a viewer sees it on a page."""

    row: Any
    list_path: str  # of the page with all roles
    givable: tuple[Role, ...]  # roles that the viewer may give and take
    frame: dict[str, Any]  # the context of the template that all pages of the subject extend

    def require_manager(self) -> None:
        """Raise `PermissionDenied` unless the viewer may give some role."""
        if not self.givable:
            raise PermissionDenied(f"You may not give or take a role in {self.row}.")


@method_decorator(csrf_protect, name="dispatch")  # the views of the API beside some of these check it by themselves
class RolesView(View):
    """A page about the roles in the subject that the names in its address lead to."""

    kind: ClassVar[RoleKind]
    folder: ClassVar[str]  # of the templates

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        set_error_page(request, "registry_site/error.html")  # also after a form, under the paths of the API

    def get_subject(self, viewer: User | None) -> Subject:
        """Return the subject if `viewer` may see it; raises `NotFound` or `Unauthenticated`."""
        raise NotImplementedError

    @property
    def names(self) -> list[str]:
        """The names of the subject, as the verbs take them."""
        return [self.kwargs[name] for name in ("namespace", "name") if name in self.kwargs]

    def show(self, subject: Subject, page: str, form: VerbForm | None, **context: Any) -> HttpResponse:
        template = f"{self.folder}/{page}.html"
        context |= {**subject.frame, "subject": subject.row, "list_path": subject.list_path, "kind": self.kind}
        return render_form(self.request, template, form, **context) if form else render(self.request, template, context)

    def show_list(self, subject: Subject, viewer: User | None, form: VerbForm | None) -> HttpResponse:
        number = paging.number_of(self.request)
        roles = role_lists.list_roles(self.kind, subject.row, viewer, subject.givable, number)
        ways = paging.ways(self.request, number, roles.assignments, roles.has_next)
        return self.show(subject, "roles", form, roles=roles, **ways)


class ListView(RolesView):
    """All who have a role, and the form to invite somebody for those who may."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest, **names: str) -> HttpResponse:
        principal = browser_sessions.get_principal(request)
        viewer = principal.user if principal else None
        subject = self.get_subject(viewer)
        form = InviteForm(self.kind, principal, self.names, subject.givable) if principal and subject.givable else None
        return self.show_list(subject, viewer, form)


class InvitationsView(RolesView):
    """The forms to invite somebody, and to withdraw an invitation; what they refuse stands on the page of all roles."""

    http_method_names = ["get", "head", "post"]

    def get(self, request: HttpRequest, **names: str) -> HttpResponse:
        """Lead to the list, where the forms are."""
        subject = self.get_subject(browser_sessions.require_principal(request).user)
        return HttpResponseRedirect(subject.list_path)

    def post(self, request: HttpRequest, **names: str) -> HttpResponse:
        principal = browser_sessions.require_principal(request)
        subject = self.get_subject(principal.user)
        subject.require_manager()
        if "withdraw" in request.POST:
            return self.withdraw(principal, subject)
        form = InviteForm(self.kind, principal, self.names, subject.givable, request.POST)
        if not form.submit():
            return self.show_list(subject, principal.user, form)
        messages.success(request, f"{form.result.user} is invited, and has {LIFETIME.days} days to accept.")
        return HttpResponseRedirect(subject.list_path)

    def withdraw(self, principal: Principal, subject: Subject) -> HttpResponse:
        form = WithdrawForm(self.kind, principal, self.names, subject.givable, self.request.POST)
        if form.submit():
            messages.success(self.request, f"The invitation of {form.result.user} is withdrawn.")
        else:
            messages.error(self.request, form.refusal.message if form.refusal else "This is no invitation.")
        return HttpResponseRedirect(subject.list_path)


class RoleView(RolesView):
    """The role of one account: change it, or remove it after a look at what that means."""

    http_method_names = ["get", "head", "post"]

    principal: Principal
    subject: Subject
    assignment: RoleAssignment

    def load(self, username: str) -> None:
        """Look the role up; raises `PermissionDenied` if it is not the viewer's own, and above the viewer's rank."""
        self.principal = browser_sessions.require_principal(self.request)
        self.subject = self.get_subject(self.principal.user)
        self.assignment = role_assignments.get(self.kind.assignments, self.subject.row, username)
        if not self.is_own:
            self.require_rank()

    @property
    def is_own(self) -> bool:
        return self.assignment.user == self.principal.user

    @property
    def may_change(self) -> bool:
        return self.assignment.role in self.subject.givable

    def require_rank(self) -> None:
        if not self.may_change:
            raise PermissionDenied(f"You may not change the role of {self.assignment.user} in {self.subject.row}.")

    def form(self, form_class: type[OneRoleForm], data: Any = None) -> OneRoleForm:
        arguments = (self.kind, self.principal, self.names, self.subject.givable, data)
        return form_class(*arguments, assignment=self.assignment)

    def get(self, request: HttpRequest, username: str, **names: str) -> HttpResponse:
        self.load(username)
        if proofs.is_due(self.principal):
            return to_confirmation(request.path)
        form = self.form(ChangeRoleForm)
        return self.show_role(form, role_form=form, remove_form=self.form(RemoveForm))

    def post(self, request: HttpRequest, username: str, **names: str) -> HttpResponse:
        self.load(username)
        return self.remove() if "remove" in request.POST else self.change()

    def change(self) -> HttpResponse:
        self.require_rank()
        form = self.form(ChangeRoleForm, self.request.POST)
        if not form.submit():
            return self.show_role(form, role_form=form, remove_form=self.form(RemoveForm))
        messages.success(self.request, f"The role of {self.assignment.user} is {form.result.get_role_display()} now.")
        return HttpResponseRedirect(self.subject.list_path)

    def remove(self) -> HttpResponse:
        """Remove the role, and lead on: who has left may not be allowed to see the list any more."""
        form = self.form(RemoveForm, self.request.POST)
        if not form.submit():
            return self.show_role(form, role_form=self.form(ChangeRoleForm), remove_form=form)
        if self.is_own:
            messages.success(self.request, f"You have left {self.subject.row}.")
            return HttpResponseRedirect("/account/namespaces")
        messages.success(self.request, f"{self.assignment.user} is no {self.kind.noun} of {self.subject.row} any more.")
        return HttpResponseRedirect(self.subject.list_path)

    def show_role(self, form: VerbForm, **context: Any) -> HttpResponse:
        context |= {"assignment": self.assignment, "is_own": self.is_own, "may_change": self.may_change}
        return self.show(self.subject, "role", form, **context)
