"""Routes of packages, under both spellings of the first segment."""

from django.urls import URLPattern, path, register_converter
from django.urls.converters import StringConverter

from packages.api import yapkg


class PackageName(StringConverter):
    """The name of a package in a path: npm's `@scope/name` is one name, with its slash encoded or not."""

    regex = "@[^/]+/[^/]+|[^/]+"


register_converter(PackageName, "package_name")


def routes_under(prefix: str) -> list[URLPattern]:
    package = f"{prefix}/<str:namespace>/packages/<package_name:name>"
    return [
        path(f"{prefix}/<str:namespace>/packages", yapkg.Packages.as_view({"get": "list", "post": "create_package"})),
        path(
            package,
            yapkg.Packages.as_view({"get": "retrieve", "put": "publish", "patch": "edit", "delete": "destroy"}),
        ),
        path(f"{package}/versions", yapkg.Versions.as_view({"get": "list"})),
        path(f"{package}/versions/<str:version>", yapkg.Versions.as_view({"get": "retrieve"})),
        path(f"{package}/versions/<str:version>/download", yapkg.Versions.as_view({"get": "download"})),
        path(f"{package}/collaborators", yapkg.Collaborators.as_view({"get": "list", "post": "add"})),
        path(
            f"{package}/collaborators/<str:username>",
            yapkg.Collaborators.as_view({"patch": "change", "delete": "remove"}),
        ),
    ]


urlpatterns = [
    path("packages", yapkg.Packages.as_view({"get": "search"})),
    *routes_under("namespace"),
    *routes_under("namespaces"),
]
