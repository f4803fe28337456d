"""Growth: publish, index, search and crate API among 1,000 to 100,000 crates: `.venv/bin/python -m benchmarks.growth`.

Also the 2,000th version of a crate beside its first ones. Makes the crates in fresh databases: of SQLite, or of the
PostgreSQL that `REGISTRY_DATABASE_URL` names (`.ci/postgres .venv/bin/python -m benchmarks.growth`). The registries run
side by side and are asked in turn, so that noise of the machine meets all alike. Prints one table in Markdown, whose
ratio is that of the last column to the first; leaves nothing.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

from benchmarks import publish_client
from benchmarks.crate_registries import NUMBER, Benchmark, Registry, crate_name
from benchmarks.http_timing import ROUNDS, WARM_UP, Measure, time_request
from benchmarks.table import percentile
from tests.support.servers import Server

COUNTS = ["1000", "10000", "100000"]
NO_LIMITS = {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0", "REGISTRY_CRATE_CHANGES_PER_MINUTE": "0"}
SIZE = 9_800  # bytes, before the rest of a crate is around them
VERSIONS, COMPARED = 2000, 50  # of one crate; and how many of the first and the last ones
NEW_CRATE, NEXT_VERSION = "publish of a new crate", "publish of a next version"


class Growth(Benchmark):
    def time(self, registries: Sequence[Registry]) -> None:
        """Publish to each registry in turn, and send it the requests."""
        with ExitStack() as stack:
            servers, connections, tokens = [], [], []
            for registry in registries:
                server = Server(Path(registry.environment["REGISTRY_DATA_DIR"]), registry.environment | NO_LIMITS)
                server.start()
                stack.callback(server.stop)
                servers.append(server)
                connections.append(HTTPConnection("127.0.0.1", server.port, timeout=120))
                stack.callback(connections[-1].close)
                tokens.append(server.sign_up("grower"))
            for number in range(-WARM_UP, ROUNDS):
                is_counted = number >= 0
                for measures in zip(*(registry.measures for registry in registries), strict=True):
                    turns = list(zip(servers, connections, tokens, measures, strict=True))
                    for server, connection, token, measure in turns[:: -1 if number % 2 else 1]:
                        if measure.label in (NEW_CRATE, NEXT_VERSION):
                            is_new = measure.label == NEW_CRATE
                            name, version = (f"new{number + WARM_UP}", 0) if is_new else ("next", number + WARM_UP)
                            body = publish_client.body(name, SIZE, f"1.{version}.0")
                            seconds = publish_client.publish(server.port, token, body)
                            if is_counted:
                                measure.milliseconds.append(seconds * 1000)
                        else:
                            time_request(connection, measure, self.describe_result, is_counted=is_counted)
            print(self.compare_versions(servers[0].port, tokens[0]))

    def compare_versions(self, port: int, token: str) -> str:
        """Publish many versions of one crate, and compare the last ones with the first ones."""
        bodies = (publish_client.body("grown", SIZE, f"1.{number}.0") for number in range(VERSIONS))
        milliseconds = [publish_client.publish(port, token, body) * 1000 for body in bodies]
        first, last = (percentile(some, 50) for some in (milliseconds[1 : COMPARED + 1], milliseconds[-COMPARED:]))
        return (
            f"Publish of version {VERSIONS:,}: {last:.1f} ms, of the first {first:.1f} ms, ratio {last / first:.2f}\n"
        )


def main() -> None:
    if "--counts" not in sys.argv:
        sys.argv += ["--counts", *COUNTS]
    Growth("benchmarks.growth", __doc__, plan, (), describe_result, result_title="status").run()


def plan() -> list[Measure]:
    """List the requests."""
    name = crate_name(NUMBER)
    return [
        Measure(NEW_CRATE, ""),
        Measure(NEXT_VERSION, ""),
        Measure("index file", "/index/ne/w0/new0"),
        Measure("search for a name", f"/api/v1/crates?q={name}"),
        Measure("search for a word of many names", "/api/v1/crates?q=tokio"),
        Measure("crate API, with everything", f"/api/v1/crates/{name}"),
        Measure("crate API, newest crates", "/api/v1/crates?sort=new"),
    ]


def describe_result(answer: HTTPResponse, body: bytes) -> str:
    return str(answer.status)


if __name__ == "__main__":
    main()
