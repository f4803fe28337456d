"""What all pages of a namespace share: the lookup, the usual spelling of their addresses, and the frame."""

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views import View
from django.views.decorators.http import require_safe

from accounts.credentials import browser_sessions
from accounts.models import User
from namespaces import membership
from namespaces.models import Namespace
from registry_site import visitors


class NamespacePage(View):
    """A page of a shared or a personal namespace."""

    http_method_names = ["get", "head"]
    template_name: ClassVar[str]
    tab: ClassVar[str]

    def get(self, request: HttpRequest, namespace: str) -> HttpResponseBase:
        """Respond with the page, at the address that spells the name as it was registered."""
        visitors.require_reader(request)
        row = membership.get_any_namespace(namespace)
        if row.name != namespace:
            return redirect_to_spelling(request, namespace=row.name)
        context = self.context(request, row, browser_sessions.get_viewer(request))
        return render(request, self.template_name, {**frame_of(row, request), "tab": self.tab, **context})

    def context(self, request: HttpRequest, namespace: Namespace, viewer: User | None) -> dict[str, Any]:
        return {}


def frame_of(namespace: Namespace, request: HttpRequest) -> dict[str, Any]:
    """Return the context of the template that pages of a namespace extend."""
    role = membership.role_of(namespace, browser_sessions.get_viewer(request))
    return {"namespace": namespace, "role": role, "may_manage": membership.may_manage(namespace, role)}


def redirect_to_spelling(request: HttpRequest, **spelling: str) -> HttpResponse:
    """Lead to the address of this page that spells its names so."""
    match = request.resolver_match
    assert match is not None  # noqa: S101 - a view runs, so its route matched
    return HttpResponseRedirect(with_query(reverse(match.view_name, kwargs={**match.kwargs, **spelling}), request))


def page_under(prefix: str, page: type[View]) -> Callable[..., HttpResponseBase]:
    """Return the view of a page for one spelling of its first segment: only `namespaces` has pages."""
    return page.as_view() if prefix == "namespaces" else to_plural


@require_safe
def to_plural(request: HttpRequest, **names: str) -> HttpResponse:
    """`GET /namespace/…`: lead to the same page under `/namespaces/`, whether it exists or not"""
    visitors.require_reader(request)
    return HttpResponseRedirect(f"/namespaces{request.get_full_path().removeprefix('/namespace')}")


@require_safe
def to_namespace(request: HttpRequest, namespace: str) -> HttpResponse:
    """`GET /namespaces/{namespace}/packages`: the page of the namespace lists them"""
    visitors.require_reader(request)
    return HttpResponseRedirect(with_query(reverse("namespace", args=[namespace]), request))


def with_query(path: str, request: HttpRequest) -> str:
    query = request.META.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path
