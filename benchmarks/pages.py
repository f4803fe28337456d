"""Benchmark of pages at few and many crates: `.venv/bin/python -m benchmarks.pages [--counts 1000 100000]`.

Makes the crates in fresh databases: of SQLite, or of the PostgreSQL that `REGISTRY_DATABASE_URL` names
(`.ci/postgres .venv/bin/python -m benchmarks.pages`). Two registries run side by side and are asked in turn, so that
noise of the machine meets both alike. Prints one table in Markdown, with the weight of each page as gzip sends it;
leaves nothing.
"""

import gzip
from http.client import HTTPResponse

from benchmarks.crate_registries import (
    CATEGORIES,
    COMMON_LIBRARY,
    HALF,
    LIBRARY,
    MANY_VERSIONS,
    NUMBER,
    OWNER,
    Benchmark,
    crate_name,
)
from benchmarks.http_timing import Measure


def main() -> None:
    browser = {"Accept": "text/html"}
    Benchmark("benchmarks.pages", __doc__, plan, (), describe_result, browser, "compressed").run()


def plan() -> list[Measure]:
    """List the pages."""
    name = crate_name(NUMBER)
    paths = {
        "home": "/",
        f"search: an exact name ({name})": f"/search?q={name}",
        "search: a word of many names (tokio)": "/search?q=tokio",
        f"search: a word of half of all READMEs ({HALF})": f"/search?q={HALF}",
        "search: all crates": "/search",
        "search: one of 30 categories": f"/search?category={CATEGORIES[0]}",
        "a crate": f"/crates/{name}",
        "a crate with 1,000 versions": f"/crates/{MANY_VERSIONS}",
        "its versions": f"/crates/{MANY_VERSIONS}/versions",
        "its 20 dependencies": f"/crates/{MANY_VERSIONS}/dependencies",
        "dependents, of 100": f"/crates/{LIBRARY}/dependents",
        "dependents, of a third of all crates": f"/crates/{COMMON_LIBRARY}/dependents",
        "keywords": "/keywords",
        "a person with 100 crates": f"/people/{OWNER}",
    }
    return [Measure(label, path) for label, path in paths.items()]


def describe_result(answer: HTTPResponse, body: bytes) -> str:
    return f"{len(gzip.compress(body)) / 1000:.1f} kB"


if __name__ == "__main__":
    main()
