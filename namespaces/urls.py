"""Routes of namespaces. yapkg's document writes their first segment now `namespace`, now `namespaces`: both work."""

from django.urls import URLPattern, path

from namespaces.api import yapkg


def routes_under(prefix: str) -> list[URLPattern]:
    return [
        path(prefix, yapkg.Namespaces.as_view({"post": "open"})),
        path(f"{prefix}/<str:namespace>", yapkg.Namespaces.as_view({"get": "retrieve", "delete": "destroy"})),
        path(f"{prefix}/<str:namespace>/members", yapkg.Members.as_view({"post": "add"})),
        path(
            f"{prefix}/<str:namespace>/members/<str:username>",
            yapkg.Members.as_view({"patch": "change", "delete": "remove"}),
        ),
    ]


urlpatterns = [*routes_under("namespace"), *routes_under("namespaces")]
