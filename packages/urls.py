"""Routes of packages and of the namespaces that have them, under both spellings of the first segment.

Browsers are led from `/namespace/…` to the pages under `/namespaces/…`.
"""

from typing import Any

from django.urls import URLPattern, path, register_converter
from django.urls.converters import StringConverter

from accounts.pages.sign_in import FORM_METHODS
from namespaces.api import yapkg as namespaces_api
from namespaces.pages import addresses
from packages.api import yapkg
from packages.pages import collaborators, own_roles, settings
from packages.pages import package as package_pages
from packages.pages.feeds import Feed
from packages.pages.namespace import packages_of_namespace
from registry_site.http.negotiation import View, by_accept
from registry_site.http.url_groups import grouped
from registry_site.pages import to_search


class PackageName(StringConverter):
    """The name of a package in a path: npm's `@scope/name` is one name, with its slash encoded or not."""

    regex = "@[^/]+/[^/]+|[^/]+"


register_converter(PackageName, "package_name")


def routes_under(prefix: str) -> list[URLPattern]:
    def route(path_: str, name: str, page: View, api: Any, markdown: View | None = None) -> URLPattern:
        if prefix == "namespace":
            return path(path_, by_accept(addresses.to_plural, api))
        return path(path_, by_accept(page, api, markdown=markdown), name=name)

    namespace = f"{prefix}/<str:namespace>"
    package = f"{namespace}/packages/<package_name:name>"
    version = f"{package}/versions/<str:version>"
    overview, markdown = package_pages.Overview.as_view(), package_pages.Markdown.as_view()
    return [
        route(
            namespace,
            "namespace",
            packages_of_namespace,
            namespaces_api.Namespaces.as_view({"get": "retrieve", "delete": "destroy"}),
        ),
        route(
            f"{namespace}/packages",
            "namespace-packages",
            addresses.to_namespace,
            yapkg.Packages.as_view({"get": "list", "post": "create_package"}),
        ),
        route(
            package,
            "package",
            overview,
            yapkg.Packages.as_view({"get": "retrieve", "put": "publish", "patch": "edit", "delete": "destroy"}),
            markdown,
        ),
        route(
            f"{package}/versions",
            "package-versions",
            package_pages.Versions.as_view(),
            yapkg.Versions.as_view({"get": "list"}),
        ),
        route(version, "package-version", overview, yapkg.Versions.as_view({"get": "retrieve"}), markdown),
        path(f"{version}/download", yapkg.Versions.as_view({"get": "download"})),
        path(
            f"{package}/collaborators",
            by_accept(
                addresses.page_under(prefix, collaborators.Collaborators),
                yapkg.Collaborators.as_view({"get": "list", "post": "add"}),
            ),
        ),
        path(
            f"{package}/collaborators/<str:username>",
            by_accept(
                addresses.page_under(prefix, collaborators.Collaborator),
                yapkg.Collaborators.as_view({"patch": "change", "delete": "remove"}),
                methods=FORM_METHODS,
            ),
        ),
    ]


def pages_beneath(address: str, name: str) -> list[URLPattern]:
    """Return the pages of a package or of one version that no endpoint of the API has."""
    return [
        path(f"{address}/dependencies", package_pages.Dependencies.as_view(), name=f"{name}-dependencies"),
        path(f"{address}/files", package_pages.Files.as_view(), name=f"{name}-files"),
    ]


PACKAGE = "namespaces/<str:namespace>/packages/<package_name:name>"

ROUTES = [
    path("packages", by_accept(to_search("packages"), yapkg.Packages.as_view({"get": "search"})), name="packages"),
    *routes_under("namespace"),
    *routes_under("namespaces"),
    path("account/namespaces", own_roles.namespaces),
    path("account/invitations", own_roles.invitations),
    path(f"{PACKAGE}/invitations", collaborators.Invitations.as_view()),
    *pages_beneath(PACKAGE, "package"),
    path(f"{PACKAGE}/settings", settings.Settings.as_view(), name="package-settings"),
    path(f"{PACKAGE}/remove", settings.Remove.as_view(), name="package-removal"),
    path(f"{PACKAGE}/feed.atom", Feed.as_view(), name="package-feed"),
    *pages_beneath(f"{PACKAGE}/versions/<str:version>", "package-version"),
]

urlpatterns = grouped(ROUTES)
