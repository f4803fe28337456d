"""The pages of one crate: README, versions, dependencies and dependents, and all of it as Markdown."""

from functools import partial
from typing import Any, ClassVar

from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views import View

from accounts.credentials import browser_sessions
from crates import readmes
from crates.pages import readers
from crates.presentation import OwnCrate, PresentedCrate
from registry_site import paging, visitors
from registry_site.http.error_handlers import set_error_page
from registry_site.http.spelling import redirect_to_spelling

MAX_TICKED = 500  # features of a request


class CratePage(View):
    """A page of a crate of this registry, or of another `kind` of crate."""

    http_method_names = ["get", "head"]
    kind: type[PresentedCrate] = OwnCrate
    template_name: ClassVar[str]

    def get(self, request: HttpRequest, name: str, number: str = "", **parts: str) -> HttpResponseBase:
        """Respond with the page, at the address that spells name and number as they were published."""
        self.require_reader(request)
        set_error_page(request, "crates/missing.html", name=name, elsewhere=partial(self.kind.address_elsewhere, name))
        crate = self.kind.get(name, number)
        spelling = {"name": crate.name, **({"number": crate.version.num} if number else {})}
        if self.kwargs != {**self.kwargs, **spelling}:
            return redirect_to_spelling(request, **spelling)
        return self.respond(request, crate)

    def require_reader(self, request: HttpRequest) -> None:
        visitors.require_reader(request)

    def respond(self, request: HttpRequest, crate: PresentedCrate) -> HttpResponse:
        principal = browser_sessions.get_principal(request)
        is_owner = principal is not None and crate.is_owned_by(principal.user)
        context = {"crate": crate, "is_owner": is_owner, **self.context(request, crate)}
        return render(request, self.template_name, context)

    def context(self, request: HttpRequest, crate: PresentedCrate) -> dict[str, Any]:
        return {}


class Readme(CratePage):
    """`GET /crates/{name}[/{version}]`"""

    template_name = "crates/crate.html"

    def respond(self, request: HttpRequest, crate: PresentedCrate) -> HttpResponse:
        """Respond with the page; browsers fetch the images of its README from other sites, if that is allowed."""
        respond: Any = csp_update({"img-src": readmes.image_sources()})(super().respond)  # type: ignore[arg-type]  # takes any view
        response: HttpResponse = respond(request, crate)
        return response

    def context(self, request: HttpRequest, crate: PresentedCrate) -> dict[str, Any]:
        """Return the features that the form has ticked, and the lines that have them."""
        choice = crate.choose_features(
            request.GET.getlist("features")[:MAX_TICKED], without_default="no-default-features" in request.GET
        )
        return {"tab": "readme", "choice": choice, "lines": crate.install_lines(choice)}


class Versions(CratePage):
    """`GET /crates/{name}/versions?sort=date&page=`"""

    template_name = "crates/versions.html"

    def context(self, request: HttpRequest, crate: PresentedCrate) -> dict[str, Any]:
        by_date = request.GET.get("sort") == "date"
        page = crate.list_versions(paging.number_of(request), by_date=by_date)
        return {
            "tab": "versions",
            "rows": [(version.num, version, crate.numbers_before.get(version.num, "")) for version in page.versions],
            "by_date": by_date,
            **paging.ways(request, page.number, page.versions, page.has_next),
        }


class Dependencies(CratePage):
    """`GET /crates/{name}[/{version}]/dependencies`"""

    template_name = "crates/dependencies.html"

    def context(self, request: HttpRequest, crate: PresentedCrate) -> dict[str, Any]:
        return {"tab": "dependencies"}


class Dependents(CratePage):
    """`GET /crates/{name}/dependents?page=`"""

    template_name = "crates/dependents.html"

    def context(self, request: HttpRequest, crate: PresentedCrate) -> dict[str, Any]:
        page = crate.list_dependents(paging.number_of(request))
        return {"tab": "dependents", "page": page, **paging.ways(request, page.number, page.dependents, page.has_next)}


class Markdown(CratePage):
    """`GET /crates/{name}[/{version}].md`: the page for agents and terminals, who may read with a token, too."""

    template_name = "crates/crate.md"

    def require_reader(self, request: HttpRequest) -> None:
        readers.require_reader(request)

    def respond(self, request: HttpRequest, crate: PresentedCrate) -> HttpResponse:
        choice = crate.choose_features([], without_default=False)
        context = {
            "crate": crate,
            "lines": crate.install_lines(choice),
            "choice": choice,
            "public_url": settings.PUBLIC_URL,
        }
        return render(request, self.template_name, context, content_type="text/markdown; charset=utf-8")
