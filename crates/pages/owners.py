"""Pages for the owners of a crate alone: its owners, and forms to yank and unyank versions."""

from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect

from accounts import names
from accounts.credentials import browser_sessions
from accounts.pages.frame import to_confirmation
from accounts.principals import Principal
from accounts.second_factor import proofs
from crates import ownership
from crates.forms import AddOwnerForm, RemoveOwnerForm, UnyankForm, VersionForm, YankForm
from crates.pages.crate import CratePage
from crates.presentation import PresentedCrate
from registry_site.errors import ConfirmationRequired
from registry_site.forms import VerbForm, posted, render_form
from registry_site.http.negotiation import SAFE_METHODS


class OwnersPage(CratePage):
    """A page with a form: a visitor goes to `/sign-in` first, and only owners see it."""

    http_method_names = ["get", "head", "post"]

    def post(self, request: HttpRequest, name: str, number: str = "") -> HttpResponseBase:
        self.require_reader(request)
        return self.respond(request, self.kind.get(name, number))

    def require_reader(self, request: HttpRequest) -> None:
        browser_sessions.require_principal(request)

    def respond(self, request: HttpRequest, crate: PresentedCrate) -> HttpResponse:
        principal = browser_sessions.require_principal(request)
        if not crate.is_owned_by(principal.user):
            raise ownership.not_an_owner(principal.user, crate.name)
        return self.answer(request, principal, crate)

    def answer(self, request: HttpRequest, principal: Principal, crate: PresentedCrate) -> HttpResponse:
        """Do what the form asks for, or show it."""
        raise NotImplementedError

    def show(self, request: HttpRequest, crate: PresentedCrate, form: VerbForm, **context: Any) -> HttpResponse:
        return render_form(request, self.template_name, form, crate=crate, is_owner=True, **context)


class Settings(OwnersPage):
    """`/crates/{name}/settings`: the owners, and a form to add one; by POST it adds or removes an owner."""

    template_name = "crates/settings.html"

    def answer(self, request: HttpRequest, principal: Principal, crate: PresentedCrate) -> HttpResponse:
        if request.method in SAFE_METHODS and proofs.is_due(principal):
            return to_confirmation(request.path)
        if "remove" in request.POST:
            return remove_owner(request, principal, crate)
        form = AddOwnerForm(principal, crate.name, posted(request))
        if form.is_bound and form.submit():
            messages.success(request, f"{names.strip_ktra_prefix(form.cleaned_data['login'])} is an owner now.")
            return HttpResponseRedirect(request.path)
        return self.show(request, crate, form, tab="settings")


def remove_owner(request: HttpRequest, principal: Principal, crate: PresentedCrate) -> HttpResponse:
    """Remove an owner, and go back to the settings, or to the crate if it is the own account."""
    form = RemoveOwnerForm(principal, crate.name, request.POST)
    submitted = form.submit()
    if isinstance(form.refusal, ConfirmationRequired):
        return to_confirmation(request.path)
    if not submitted:
        messages.error(request, " ".join(map(str, form.non_field_errors())) or "This is not the name of an owner.")
        return HttpResponseRedirect(request.path)
    login = form.cleaned_data["remove"]
    messages.success(request, f"{login} is not an owner any more.")
    return HttpResponseRedirect(crate.root if login == principal.user.username else request.path)


class Yank(OwnersPage):
    """`/crates/{name}/{version}/yank`: by POST it yanks the version with a reason, or changes the reason."""

    template_name = "crates/yank.html"
    form_class: ClassVar[type[VersionForm]] = YankForm
    done: ClassVar[str] = "is yanked."

    def answer(self, request: HttpRequest, principal: Principal, crate: PresentedCrate) -> HttpResponse:
        number = crate.version.num
        reason = crate.version.yank_message
        form = self.form_class(principal, crate.name, number, posted(request), initial={"reason": reason})
        if form.is_bound and form.submit():
            messages.success(request, f"{crate.name} {number} {self.done}")
            return HttpResponseRedirect(crate.address)
        return self.show(request, crate, form, tab="versions")


class Unyank(Yank):
    """`/crates/{name}/{version}/unyank`: by POST it unyanks the version."""

    template_name = "crates/unyank.html"
    form_class = UnyankForm
    done = "is no longer yanked."
