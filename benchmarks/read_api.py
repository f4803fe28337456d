"""Benchmark of crates.io's read API at few and many crates: `.venv/bin/python -m benchmarks.read_api`.

Makes the crates in fresh databases: of SQLite, or of the PostgreSQL that `REGISTRY_DATABASE_URL` names
(`.ci/postgres .venv/bin/python -m benchmarks.read_api`). Two registries run side by side and are asked in turn, so that
noise of the machine meets both alike. Prints one table in Markdown, after about ten minutes; leaves nothing.
"""

import json
from http.client import HTTPResponse
from urllib.parse import quote, urlencode

from benchmarks.crate_registries import (
    CATEGORIES,
    COMMON_LIBRARY,
    DEPENDENCIES,
    LIBRARY,
    LIBRARY_DEPENDENTS,
    MANY_VERSIONS,
    NUMBER,
    OWNED,
    VERSIONS,
    Benchmark,
    crate_name,
)
from benchmarks.http_timing import Measure
from benchmarks.packages import TOPICS

TABLES = (
    "crates_crate",
    "crates_version",
    "crates_dependency",
    "crates_cratedownloads",
    "crates_versiondownloads",
    "crates_keyword",
    "crates_category",
    "crates_crate_keywords",
    "crates_crate_categories",
    "crates_ownership",
)
API = "/api/v1/crates"
OWNER_ID = 2  # the second account that is registered


def main() -> None:
    Benchmark("benchmarks.read_api", __doc__, plan, TABLES, describe_result).run()


def plan() -> list[Measure]:
    """List the requests."""
    name = crate_name(NUMBER)
    sorts = {"alpha": "by name", "downloads": "by downloads", "recent-downloads": "by recent downloads"}
    sorts |= {"recent-updates": "by time of change", "new": "by time of creation"}
    filters: dict[str, list[tuple[str, str | int]]] = {
        f"with one of {len(TOPICS)} keywords": [("keyword", TOPICS[0])],
        f"with one of {len(CATEGORIES)} categories": [("category", CATEGORIES[0])],
        "that begin with a letter": [("letter", "m")],
        f"of the owner of {OWNED}": [("user_id", OWNER_ID)],
        "two by their names": [("ids[]", name), ("ids[]", LIBRARY)],
    }
    many = f"{API}/{MANY_VERSIONS}"
    return [
        Measure("a crate alone (`include=`)", f"{API}/{name}?include="),
        Measure("a crate with everything", f"{API}/{name}"),
        Measure(f"a crate alone that has {VERSIONS:,} versions", f"{many}?include="),
        Measure("its first 100 versions", f"{many}/versions?per_page=100"),
        Measure("one of its versions", f"{many}/9.0.0"),
        Measure(f"the {DEPENDENCIES} dependencies of that", f"{many}/9.0.0/dependencies"),
        Measure("its downloads, day by day", f"{many}/downloads"),
        Measure(f"dependents, of {LIBRARY_DEPENDENTS}", f"{API}/{LIBRARY}/reverse_dependencies"),
        Measure("dependents, of a third of all crates", f"{API}/{COMMON_LIBRARY}/reverse_dependencies"),
        *(Measure(f"list {label}", f"{API}?{urlencode({'sort': sort})}") for sort, label in sorts.items()),
        *(
            Measure(f"list {label}, page 50", f"{API}?{urlencode({'sort': sort, 'page': 50})}")
            for sort, label in sorts.items()
        ),
        *(
            Measure(f"crates {label}, by downloads", f"{API}?{urlencode([*query, ('sort', 'downloads')])}")
            for label, query in filters.items()
        ),
        Measure("keywords with the most crates", "/api/v1/keywords?sort=crates"),
        Measure("categories with the most crates", "/api/v1/categories?sort=crates"),
        Measure("a category", f"/api/v1/categories/{quote(CATEGORIES[0])}"),
        Measure("summary", "/api/v1/summary"),
    ]


def describe_result(answer: HTTPResponse, body: bytes) -> str:
    """Return the number of all results, or what the answer has."""
    data = json.loads(body)
    return str(data["meta"]["total"]) if "total" in data.get("meta", ()) else ", ".join(data)


if __name__ == "__main__":
    main()
