"""CPU that requests to the APIs cost the server: `.venv/bin/python -m benchmarks.api_costs`.

Makes 1,000 crates, packages and files each on SQLite or, behind `.ci/postgres`, on PostgreSQL. One client asks one
worker, each request in turn, so that noise of the machine meets all alike. It takes about two minutes, uses free
loopback ports and a temporary directory, and leaves nothing.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection
from statistics import median
from urllib.parse import quote

import django

from benchmarks import crate_registries, files, packages
from benchmarks.http_timing import print_progress
from benchmarks.single_core import cpu_seconds
from benchmarks.workplace import temporary_directory
from tests.support.servers import Server, new_database

COUNT = 1000
WARM_UP, ROUNDS, REQUESTS = 30, 7, 40
API = "/api/v1/crates"


@dataclass
class Cost:
    """A request, with the milliseconds of CPU that the server took for one, in each round."""

    label: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    milliseconds: list[float] = field(default_factory=list)


def main() -> None:
    """Create the rows, measure, print."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
    if sys.argv[1:] == ["--fill"]:
        django.setup()
        fill()
        return
    with temporary_directory() as directory, ExitStack() as stack:
        data = directory / "data"
        data.mkdir()
        server = Server(data, {**stack.enter_context(new_database(data, empty=True)), "REGISTRY_WORKERS": "1"})
        command = [sys.executable, "-m", "benchmarks.api_costs", "--fill"]
        subprocess.run(command, env=server.environment, check=True, stdout=subprocess.DEVNULL)
        server.start()
        stack.callback(server.stop)
        costs = plan(server)
        measure(server, costs)
        print("| request | ms of CPU |\n|---|---:|")
        for cost in costs:
            print(f"| {cost.label} | {median(cost.milliseconds):.2f} |")


def fill() -> None:
    """Create the rows in the configured database."""
    crate_registries.fill(COUNT)
    packages.fill(COUNT)
    files.fill(COUNT)


def plan(server: Server) -> list[Cost]:
    """List the requests."""
    token = {"Authorization": server.sign_up("reader")}
    session = files.log_in(server.port)
    crate = f"{API}/{crate_registries.crate_name(crate_registries.NUMBER)}"
    last = packages.package_name(COUNT - 1, COUNT)
    package = f"/namespaces/{packages.LARGE}/packages/{quote(last)}"
    search = f"{API}?q=tokio&per_page=10"
    return [
        Cost("a constant answer", "/api/v1/site_metadata"),
        Cost("an unknown path", "/api/v1/crates/a/b/c/d"),
        Cost("search for crates, with a token", search, token),
        Cost("the same without", search),
        Cost("owners of a crate, with a token", f"{crate}/owners", token),
        Cost("a crate alone (`include=`)", f"{crate}?include="),
        Cost("a crate with everything", crate),
        Cost("its versions", f"{crate}/versions"),
        Cost("one version", f"{crate}/1.0.0"),
        Cost("the account of a token", "/api/v1/me", token),
        Cost("search for packages", "/packages?query=parser"),
        Cost("packages of a namespace", f"/namespaces/{packages.LARGE}/packages"),
        Cost("a package", package),
        Cost("its versions", f"{package}/versions"),
        Cost("list of files", "/?count=10", session),
    ]


def measure(server: Server, costs: list[Cost]) -> None:
    """Send each request many times in each round."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    for cost in costs:
        ask(connection, cost, WARM_UP)
    for number in range(ROUNDS):
        for cost in costs:
            before = cpu_seconds(server.process.pid)
            ask(connection, cost, REQUESTS)
            cost.milliseconds.append((cpu_seconds(server.process.pid) - before) / REQUESTS * 1000)
        print_progress(f"round {number + 1} of {ROUNDS}")
    connection.close()


def ask(connection: HTTPConnection, cost: Cost, times: int) -> None:
    for _ in range(times):
        connection.request("GET", cost.path, headers=dict(cost.headers))
        answer = connection.getresponse()
        body = answer.read()
        if answer.status not in (200, 404):
            raise RuntimeError(f"{cost.path} got {answer.status}: {body[:200]!r}")


if __name__ == "__main__":
    main()
