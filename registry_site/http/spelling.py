"""Redirects to the usual spelling of an address."""

from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse


def redirect_to_spelling(request: HttpRequest, **spelling: str) -> HttpResponseRedirect:
    """Lead to the address of this page that spells its names so."""
    match = request.resolver_match
    assert match is not None  # noqa: S101 - a view runs, so its route matched
    return HttpResponseRedirect(with_query(reverse(match.view_name, kwargs={**match.kwargs, **spelling}), request))


def with_query(path: str, request: HttpRequest) -> str:
    query = request.META.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path
