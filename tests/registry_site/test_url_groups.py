"""Routes beneath shared segments."""

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, URLResolver, path
from django.urls.resolvers import RegexPattern

from registry_site.http.url_groups import grouped

NAMES = ["api/v1/crates", "api/v1/crates/<str:name>", "api/v1/me", "api/<str:rest>/me", "me", "api/stable/<str:name>"]
PATHS = ["api/v1/crates", "api/v1/crates/demo", "api/v1/me", "api/v2/me", "me", "api/stable/me", "api", "api/v1", "x/y"]


def view(request: HttpRequest, **kwargs: str) -> HttpResponse:
    return HttpResponse()


def matches(resolver: URLResolver) -> list[tuple[str, dict[str, str]] | None]:
    resolved: list[tuple[str, dict[str, str]] | None] = []
    for each in PATHS:
        try:
            match = resolver.resolve(each)
            resolved.append((match.url_name or "", match.kwargs))
        except Resolver404:
            resolved.append(None)
    return resolved


def test_groups_match_as_their_routes() -> None:
    routes = [path(name, view, name=name) for name in NAMES]
    plain, groups = (URLResolver(RegexPattern(""), each) for each in (routes, grouped(routes)))
    assert matches(groups) == matches(plain)
    assert len(groups.url_patterns) == 3
