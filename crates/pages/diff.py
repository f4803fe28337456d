"""The differences between two versions of a crate."""

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import conditional_page

from crates import comparison
from crates.pages.crate import CratePage
from crates.presentation import PresentedCrate
from registry_site import paging


@method_decorator(conditional_page, name="dispatch")
class Diff(CratePage):
    """`GET /crates/{name}/diff/{from}...{to}?after=&path=&page=`, where `to` is the number of what is shown."""

    template_name = "crates/diff.html"

    def context(self, request: HttpRequest, crate: PresentedCrate) -> dict[str, Any]:
        old = crate.at(self.kwargs["start"])
        path = request.GET.get("path", "")
        if not path:
            return {"tab": "versions", "diff": comparison.compare(old, crate, request.GET.get("after", ""))}
        number = paging.number_of(request)
        diff, has_next = comparison.compare_file(old, crate, path, number)
        ways = paging.ways(request, number, diff.page.files, has_next)
        return {"tab": "versions", "diff": diff, "path": path, **ways}


class ChooseVersions(CratePage):
    """`GET /crates/{name}/diff?from=&to=`: the form that leads to the page of two versions."""

    template_name = "crates/choose_versions.html"

    def respond(self, request: HttpRequest, crate: PresentedCrate) -> HttpResponse:
        start, end = (request.GET.get(field, "").strip() for field in ("from", "to"))
        if not (start and end):
            return super().respond(request, crate)
        numbers = {"start": crate.at(start).version.num, "number": crate.at(end).version.num}
        match: Any = request.resolver_match
        return HttpResponseRedirect(reverse(f"{match.view_name}-page", kwargs={"name": crate.name, **numbers}))

    def context(self, request: HttpRequest, crate: PresentedCrate) -> dict[str, Any]:
        return {"tab": "versions"}
