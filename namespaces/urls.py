"""Routes of namespaces. yapkg's document writes their first segment now `namespace`, now `namespaces`: both work.

The routes of a namespace itself stand in `packages.urls`: its page lists packages.
"""

from django.urls import URLPattern, path

from accounts.pages.sign_in import FORM_METHODS
from namespaces.api import yapkg
from namespaces.pages import addresses, members
from registry_site.http.negotiation import by_accept
from registry_site.pages import to_search


def routes_under(prefix: str) -> list[URLPattern]:
    return [
        path(prefix, by_accept(to_search("namespaces"), yapkg.Namespaces.as_view({"post": "open"}))),
        path(
            f"{prefix}/<str:namespace>/members",
            by_accept(addresses.page_under(prefix, members.Members), yapkg.Members.as_view({"post": "add"})),
        ),
        path(
            f"{prefix}/<str:namespace>/members/<str:username>",
            by_accept(
                addresses.page_under(prefix, members.Member),
                yapkg.Members.as_view({"patch": "change", "delete": "remove"}),
                methods=FORM_METHODS,
            ),
        ),
    ]


urlpatterns = [
    *routes_under("namespace"),
    *routes_under("namespaces"),
    path("namespaces/<str:namespace>/invitations", members.Invitations.as_view()),
]
