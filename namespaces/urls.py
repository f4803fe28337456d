"""Where namespaces are found: the document writes the first segment now in one way, now in the other."""

from django.urls import URLPattern, path

from namespaces.api import yapkg


def _under(prefix: str) -> list[URLPattern]:
    return [
        path(prefix, yapkg.Namespaces.as_view({"post": "open"})),
        path(f"{prefix}/<str:namespace>", yapkg.Namespaces.as_view({"get": "retrieve", "delete": "destroy"})),
        path(f"{prefix}/<str:namespace>/members", yapkg.Members.as_view({"post": "add"})),
        path(
            f"{prefix}/<str:namespace>/members/<str:username>",
            yapkg.Members.as_view({"patch": "change", "delete": "remove"}),
        ),
    ]


urlpatterns = [*_under("namespace"), *_under("namespaces")]
