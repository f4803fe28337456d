"""What pages of namespaces and packages share: the usual spelling of their addresses."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.views import View
from django.views.decorators.http import require_safe

from registry_site import visitors


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
