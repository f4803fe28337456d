"""Pages for those who publish a package: a form to edit it, and its removal."""

from dataclasses import replace

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect

from accounts.credentials import browser_sessions
from accounts.principals import Principal
from packages.forms import EditForm, RemoveForm
from packages.models import Type
from packages.pages.package import PackagePage
from packages.presentation import PresentedPackage
from registry_site.errors import PermissionDenied
from registry_site.forms import posted, render_form


class PublishersPage(PackagePage):
    """A page with a form: a visitor goes to `/sign-in` first, and only those with a right to it see it."""

    http_method_names = ["get", "head", "post"]
    tab = "settings"

    def post(self, request: HttpRequest, namespace: str, name: str) -> HttpResponseBase:
        self.require_reader(request)
        return self.respond(request, PresentedPackage.get(browser_sessions.get_viewer(request), namespace, name))

    def require_reader(self, request: HttpRequest) -> None:
        browser_sessions.require_principal(request)

    def respond(self, request: HttpRequest, package: PresentedPackage) -> HttpResponse:
        if not self.is_allowed(package):
            raise PermissionDenied(f"You have no role that allows this in {package.row}.")
        return self.answer(request, browser_sessions.require_principal(request), package)

    def is_allowed(self, package: PresentedPackage) -> bool:
        raise NotImplementedError

    def answer(self, request: HttpRequest, principal: Principal, package: PresentedPackage) -> HttpResponse:
        """Do what the form asks for, or show it."""
        raise NotImplementedError


class Settings(PublishersPage):
    """`/namespaces/{namespace}/packages/{name}/settings`: by POST it edits the package."""

    template_name = "packages/settings.html"

    def is_allowed(self, package: PresentedPackage) -> bool:
        return package.has_settings

    def answer(self, request: HttpRequest, principal: Principal, package: PresentedPackage) -> HttpResponse:
        form = EditForm(principal, package, posted(request))
        if form.is_bound and form.submit():
            messages.success(request, f"{form.result} is changed.")
            # Somebody who made it private may have lost the way to it.
            may_read = replace(package.rights, is_public=form.result.package.type == Type.PUBLIC).may_read
            return HttpResponseRedirect(package.root if may_read else package.namespace.page_path)
        return render_form(request, self.template_name, form, package=package, tab=self.tab)


class Remove(PublishersPage):
    """`/namespaces/{namespace}/packages/{name}/remove`: by POST it puts the package into the trash."""

    template_name = "packages/remove.html"

    def is_allowed(self, package: PresentedPackage) -> bool:
        return package.rights.may_remove

    def answer(self, request: HttpRequest, principal: Principal, package: PresentedPackage) -> HttpResponse:
        form = RemoveForm(principal, package, posted(request))
        if form.is_bound and form.submit():
            messages.success(request, f"{package.row} is in the trash.")
            return HttpResponseRedirect(package.namespace.page_path)
        context = {"package": package, "tab": self.tab, "trash_days": settings.TRASH_DAYS}
        return render_form(request, self.template_name, form, **context)
