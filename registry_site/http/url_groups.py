"""Routes beneath the segment that they share, so that Django compares a path with that alone when it is another."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from django.urls import URLPattern, URLResolver, include, path

MIN_ROUTES = 3  # fewer are compared as fast one by one


def grouped(routes: Iterable[URLPattern]) -> list[URLPattern | URLResolver]:
    """Return routes with neighbours that begin with the same segment as one group; their order stays."""
    return list(groups_of((str(route.pattern), route) for route in routes))


def groups_of(routes: Iterable[tuple[str, URLPattern]]) -> Iterator[URLPattern | URLResolver]:
    for segment, some in groupby(routes, lambda route: first_segment(route[0])):
        group = list(some)
        if segment and len(group) >= MIN_ROUTES:
            rest = ((text.removeprefix(f"{segment}/"), route) for text, route in group)
            yield path(f"{segment}/", include(list(groups_of(rest))))
        else:
            yield from (path(text, route.callback, route.default_args, route.name) for text, route in group)


def first_segment(route: str) -> str:
    """Return the first segment of a route that goes on; empty if it ends there, or is a parameter."""
    segment, slash, _ = route.partition("/")
    return segment if slash and "<" not in segment else ""
