"""The admin site: log-in, log-out and the form for the own password call the functions of accounts."""

from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.forms import AdminPasswordChangeForm
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.contrib.auth.hashers import make_password
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import ForeignKey
from django.http import HttpRequest, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from accounts import cross_site
from accounts.credentials import browser_sessions, pending_sign_ins
from accounts.credentials.browser_sessions import SecondFactorPending
from accounts.models import User
from accounts.passwords import change, login
from accounts.second_factor import proofs
from registry_site import bidirectional
from registry_site.errors import WrongPassword
from registry_site.http.negotiation import SAFE_METHODS


class OwnPasswordForm(AdminPasswordChangeForm):
    """The form for the own password; guesses at the old one are limited like all others."""

    def clean_old_password(self) -> str:
        old: str = self.cleaned_data["old_password"]
        try:
            self.user.password = login.authenticate_password(self.user.username, old).password
        except WrongPassword as error:
            raise ValidationError(error.message, code="password_incorrect") from error
        return old

    def save(self, commit: bool = True) -> User:
        password = self.cleaned_data["new_password1"]
        change.store_password(self.user, password, make_password(password), actor=self.user)
        return self.user


class ForeignKeyAutocomplete(AutocompleteJsonView):
    """Choices of the foreign keys in forms. For the far end of a relation Django's view fails."""

    def process_request(self, request: HttpRequest) -> Any:
        choices = super().process_request(request)
        if not isinstance(choices[2], ForeignKey):
            raise PermissionDenied
        return choices


class RegistryAdminSite(admin.AdminSite):
    site_header = site_title = "Entrepot"
    index_title = "Registry"
    site_url = "/"

    def get_urls(self) -> list[Any]:
        from registry_site.admin import site_pages  # late: the package registers pages at this site

        return [*site_pages.urls(self), *super().get_urls()]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """Wrap a view of the site: for staff alone, and its page shows what would turn its texts around."""

        @wraps(view)
        def marked(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            response = view(request, *args, **kwargs)
            bidirectional.mark_response(response)
            return response

        return super().admin_view(marked, cacheable)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        from registry_site.admin import front_page  # late, as above

        return super().index(request, {"front_page": front_page.of(request.user), **(extra_context or {})})

    def confirm_url(self, request: HttpRequest, path: str) -> str:
        """Return the page that asks for a fresh proof and leads to a path then; empty if there is a proof."""
        principal = browser_sessions.get_principal(request)
        return proofs.confirm_url(path) if principal and proofs.is_due(principal) else ""

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        login_methods = {
            "password_login": settings.PASSWORD_LOGIN,
            "openid_issuer": settings.OIDC_ISSUER if settings.OIDC_LOGIN else "",
        }
        try:
            return super().login(request, {**login_methods, **(extra_context or {})})
        except SecondFactorPending as error:
            path = cross_site.next_path(request, default=reverse("admin:index"))
            pending_sign_ins.begin(request, error.user)
            return HttpResponseRedirect(f"{pending_sign_ins.PATH}?{urlencode({'next': path})}")

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Sign out, at the OpenID provider, too, if the session began there. Who types the address gets the button."""
        from accounts.oidc import flow  # late: it imports mozilla-django-oidc and requests, which no command needs

        if request.method in SAFE_METHODS:
            if not request.user.is_authenticated:
                return HttpResponseRedirect(reverse("admin:index"))
            context = {**self.each_context(request), "title": "Log out", **(extra_context or {})}
            return TemplateResponse(request, "admin/log_out.html", context)
        if request.method == "POST" and flow.ID_TOKEN in request.session:
            return flow.SignOutView.as_view()(request)
        return super().logout(request, extra_context)

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        if confirm_url := self.confirm_url(request, request.path):
            return HttpResponseRedirect(confirm_url)
        view = PasswordChangeView.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)

    def autocomplete_view(self, request: HttpRequest) -> Any:
        return ForeignKeyAutocomplete.as_view(admin_site=self)(request)
