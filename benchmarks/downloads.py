"""Downloads beside nginx: `.venv/bin/python -m benchmarks.downloads`.

One core for the server, and one for the load, over HTTP/1.1: crates of 10 kB and 8 MiB, without a token and with the
one that reading needs. It takes about a minute, uses free loopback ports and a temporary directory, and leaves nothing.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from benchmarks import nginx, programs, publish_client, static_copy
from benchmarks.links import Link
from benchmarks.scenarios import LARGE, SMALL
from benchmarks.single_core import LOAD_CORE, SERVER_CORE, compare, run_wrk
from benchmarks.table import Row, render
from benchmarks.workplace import temporary_directory
from tests.support.servers import Server, new_database

CRATES = {"small": SMALL, "large": LARGE}
LABELS = {"small": "10 kB", "large": "8 MiB"}


def main() -> None:
    """Measure everything and print it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
    programs.require("nginx", "wrk")
    with temporary_directory() as directory, ExitStack() as stack:
        (directory / "data").mkdir()
        environment = {**stack.enter_context(new_database(directory / "data", empty=True)), "REGISTRY_WORKERS": "1"}
        os.sched_setaffinity(0, {SERVER_CORE})
        servers = [Server(directory / "data", {**environment, "REGISTRY_AUTH_REQUIRED": closed}) for closed in "01"]
        for server in servers:
            server.start()
            stack.callback(server.stop)
        token = servers[0].sign_up("benchmark")
        for crate, size in CRATES.items():
            publish_client.publish(servers[0].port, token, publish_client.body(crate, size))
        static_copy.copy_files(servers[0].port, CRATES, directory / "site")
        theirs = stack.enter_context(nginx.running(directory / "nginx", directory / "site", Link(), workers=1))
        os.sched_setaffinity(0, {LOAD_CORE})
        print(render([*measure(servers[0], theirs), *measure(servers[1], theirs, token)]))


def measure(ours: Server, theirs: nginx.Nginx, token: str = "") -> Iterator[Row]:
    """Download from each server as fast as it sends, in turn; from ours with the token that it demands, if any."""
    for crate, label in LABELS.items():
        path = static_copy.download_url(crate)
        runs = [
            partial(run_wrk, ours.process.pid, ours.url, [path], token=token, connections=16),
            partial(run_wrk, theirs.process.pid, theirs.url, [path], connections=16),
        ]
        for single in runs:
            single()  # so that the worker has the answer in memory
        yield from compare(f"download of {label}{', auth required' * bool(token)}", *runs)


if __name__ == "__main__":
    main()
