"""Paths of each route of the URL map."""

import re

from registry_site.http import url_map
from tests.house.access_table import TABLE, World


def sample_path(route: str) -> str:
    """Fill the parameters of a route: with the first alternative where it has some, or with a digit."""
    groups = re.sub(r"\(\?P<\w+>(\w+)\|[^)]*\)", r"\1", route)
    return "/" + re.sub(r"\(\?P<\w+>[^)]*\)|<[^>]*>|[\^$]", lambda match: "1" if len(match[0]) > 1 else "", groups)


def paths_by_route(world: World) -> dict[str, set[str]]:
    """Return paths of each route of the URL map, also of existing things where the access table has some."""
    paths = {route: {sample_path(route)} for route, _ in url_map.routes()}
    for row in TABLE:
        paths[row.route].add(row.path.format(**world.placeholders, name="owner", secret="none"))
    return paths
