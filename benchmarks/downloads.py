"""Downloads beside nginx: `.venv/bin/python -m benchmarks.downloads`.

One core for the server, and one for the load, over HTTP/1.1: crates of 10 kB and 8 MiB, without a token and with the
one that reading needs. It takes about a minute, uses free loopback ports and a temporary directory, and leaves nothing.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import django

from benchmarks import nginx, programs, publish_client, static_copy, wrk
from benchmarks.index_hits import LOAD_CORE, ROUNDS, SECONDS, SERVER_CORE, cpu_seconds
from benchmarks.links import Link
from benchmarks.scenarios import LARGE, SMALL
from benchmarks.table import Row, render
from tests.support.servers import Server, new_database

CRATES = {"small": SMALL, "large": LARGE}
LABELS = {"small": "10 kB", "large": "8 MiB"}


def main() -> None:
    """Measure everything and print it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
    programs.require("nginx", "wrk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a signal ends the servers, too
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as name, ExitStack() as stack:
        directory = Path(name)
        (directory / "data").mkdir()
        os.environ["REGISTRY_DATA_DIR"] = f"{name}/settings"
        django.setup()
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
            partial(run, ours.process.pid, ours.url, path, token),
            partial(run, theirs.process.pid, theirs.url, path),
        ]
        for single in runs:
            single()  # so that the worker has the answer in memory
        results = [[single() for single in runs] for _ in range(ROUNDS)]
        rates, costs = ([median(pair[n][kind] for pair in results) for n in range(2)] for kind in range(2))
        label += ", auth required" * bool(token)
        yield Row(f"download of {label}: requests/s", *rates)
        yield Row(f"download of {label}: µs of CPU for each", *costs)


def run(pid: int, url: str, path: str, token: str = "") -> tuple[float, float]:
    """Return the downloads per second, and the microseconds of CPU that the server took for each."""
    before = cpu_seconds(pid)
    rate = wrk.run(url, [path], connections=16, seconds=SECONDS, threads=1, token=token).answers
    return rate, (cpu_seconds(pid) - before) / (rate * SECONDS) * 1e6


if __name__ == "__main__":
    main()
