"""Other addresses of the pages of namespaces and packages, which lead to the usual ones."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.views import View
from django.views.decorators.http import require_safe

from registry_site import visitors
from registry_site.http.spelling import with_query


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
