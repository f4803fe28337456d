"""Routes of namespaces. yapkg's document writes their first segment now `namespace`, now `namespaces`: both work.

The routes of a namespace itself stand in `packages.urls`: its page lists packages.
"""

from django.urls import URLPattern, path

from namespaces.api import yapkg
from registry_site.http.negotiation import by_accept
from registry_site.pages import to_search


def routes_under(prefix: str) -> list[URLPattern]:
    return [
        path(prefix, by_accept(to_search("namespaces"), yapkg.Namespaces.as_view({"post": "open"}))),
        path(f"{prefix}/<str:namespace>/members", yapkg.Members.as_view({"post": "add"})),
        path(
            f"{prefix}/<str:namespace>/members/<str:username>",
            yapkg.Members.as_view({"patch": "change", "delete": "remove"}),
        ),
    ]


urlpatterns = [*routes_under("namespace"), *routes_under("namespaces")]
