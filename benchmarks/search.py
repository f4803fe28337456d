"""Benchmark of `cargo search` at few and many crates: `.venv/bin/python -m benchmarks.search [--counts 1000 100000]`.

Makes the crates in fresh databases: of SQLite, or of the PostgreSQL that `REGISTRY_DATABASE_URL` names
(`.ci/postgres .venv/bin/python -m benchmarks.search`). Two registries run side by side and are asked in turn, so that
noise of the machine meets both alike. Prints one table in Markdown, after about four minutes; leaves nothing.
"""

import json
from http.client import HTTPResponse
from urllib.parse import urlencode

from benchmarks.crate_registries import HALF, NUMBER, OTHER_HALF, PAIR, RARE, Benchmark, crate_name
from benchmarks.http_timing import Measure

TABLES = ("crates_crate", "crates_cratewords", "crates_popularwords", "crates_cratedownloads", "crates_version")


def main() -> None:
    Benchmark("benchmarks.search", __doc__, plan, TABLES, describe_result).run()


def plan() -> list[Measure]:
    """List the searches."""
    name = crate_name(NUMBER)
    letters = list(name)
    letters[-2:] = reversed(letters[-2:])
    swapped = "".join(letters)
    without_end = name[:-3] + name[-1]
    queries = {
        f"an exact name ({name})": name,
        "an exact name of common words (http-client)": "http-client",
        f"a rare word ({RARE})": RARE,
        "a word that most names of a family have (tokio)": "tokio",
        f"a word that half of all READMEs have ({HALF})": HALF,
        "the beginning of a word, one letter (s)": "s",
        "the beginning of a word, four letters (comp)": "comp",
        f"two common words (tokio {HALF})": f"tokio {HALF}",
        f"two words of half the READMEs that none has both ({HALF} {OTHER_HALF})": f"{HALF} {OTHER_HALF}",
        f"a Chinese pair ({PAIR})": PAIR,
        f"a name with two letters swapped ({swapped})": swapped,
        f"a name without two letters ({without_end})": without_end,
        "a name that many begin like, misspelt twice at the end (tokiojsxm)": "tokiojsxm",
        "no name is close (xqzvwkyjh)": "xqzvwkyjh",
        "200 characters, no name is close": "xqzvwkyjh_" * 20,
        "ten words with quotes and wildcards": " ".join(f"\"{letter}*%'" for letter in "abcdeghipr"),
    }
    return [Measure(label, f"/api/v1/crates?{urlencode({'q': query})}") for label, query in queries.items()]


def describe_result(answer: HTTPResponse, body: bytes) -> str:
    return str(json.loads(body)["meta"]["total"])


if __name__ == "__main__":
    main()
