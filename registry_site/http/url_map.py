"""The URL map as data: every route with its view, and the segments of paths that no user may have as a name."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import permutations, takewhile
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

STATIC_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")
PARAMETER = re.compile(r"<str:\w+>")


def routes(resolver: URLResolver | None = None, prefix: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """Yield each route, such as `users/<str:name>`, with its view.

    A `urls` module lists under `switched_off` the routes that settings disable: they have no view that answers, but
    their paths keep their dialect and stay reserved, since the setting may change.
    """
    resolver = resolver or get_resolver("registry_site.urls")
    for entry in [*resolver.url_patterns, *getattr(resolver.urlconf_module, "switched_off", ())]:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            yield from routes(entry, route)
        elif isinstance(entry, URLPattern):
            yield route, entry.callback


def static_segments(route: str) -> list[str]:
    """Return the segments of a route before its first parameter: `["api", "v1", "crates"]`."""
    return list(takewhile(STATIC_SEGMENT.fullmatch, route.split("/")))


@cache
def first_segments() -> frozenset[str]:
    """Return the first segments of all paths, such as `api` and `users`."""
    return frozenset(segment for route, _ in routes() for segment in static_segments(route)[:1])


@cache
def ambiguous_segments() -> frozenset[str]:
    """Return the words that one route has where another one takes any text, if a path can match both.

    Django tries the routes in their order. `v1/user/ban/change-password` bans nobody, as `v1/user/<str:name>/…` is
    earlier.
    """
    routes_by_segments = [route.split("/") for route, _ in routes()]
    return frozenset(
        word
        for one, other in permutations(routes_by_segments, 2)
        if len(one) == len(other)
        and all(a == b or PARAMETER.fullmatch(a) or PARAMETER.fullmatch(b) for a, b in zip(one, other, strict=True))
        for word, parameter in zip(one, other, strict=True)
        if STATIC_SEGMENT.fullmatch(word) and PARAMETER.fullmatch(parameter)
    )


def reserved_segments() -> frozenset[str]:
    """Return all segments that are not free as names."""
    return first_segments() | ambiguous_segments()
