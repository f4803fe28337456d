"""The URL map as data: every route with its view, and the first segments of paths."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from itertools import takewhile
from typing import Any

from django.urls import URLPattern, URLResolver, get_resolver

STATIC_SEGMENT = re.compile(r"[A-Za-z0-9._-]+")


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
