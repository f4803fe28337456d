"""Index files from memory beside nginx: `.venv/bin/python -m benchmarks.index_hits`.

One core for the server, and one for the load. It takes about three minutes, on SQLite or, behind `.ci/postgres`, on
PostgreSQL, uses free loopback ports and a temporary directory, and leaves nothing.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median

import django

from benchmarks import memory, nginx, programs, static_copy, wrk
from benchmarks.links import Link
from benchmarks.table import Row, render
from tests.support.servers import Server, new_database

COUNTS = (1, 10_000)
ROUNDS, SECONDS = 3, 2
SERVER_CORE, LOAD_CORE = 0, 1
LINE = '{{"name":"{name}","vers":"1.0.0","deps":[],"cksum":"{cksum}","features":{{}},"yanked":false,"links":null}}\n'


def main() -> None:
    """Measure everything and print it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
    if sys.argv[1:] == ["--fill"]:
        fill()
        return
    programs.require("nginx", "wrk")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a signal ends the servers, too
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as name, ExitStack() as stack:
        directory = Path(name)
        (directory / "data").mkdir()
        os.environ["REGISTRY_DATA_DIR"] = f"{name}/settings"
        django.setup()
        environment = stack.enter_context(new_database(directory / "data", empty=True))
        ours = Server(directory / "data", {**environment, "REGISTRY_WORKERS": "1"})
        os.sched_setaffinity(0, {SERVER_CORE})
        ours.start()
        stack.callback(ours.stop)
        token = ours.sign_up("benchmark")
        subprocess.run([sys.executable, "-m", "benchmarks.index_hits", "--fill"], env=ours.environment, check=True)
        paths = [static_copy.index_url(crate_name(number)) for number in range(max(COUNTS))]
        write_site(directory / "site", paths)
        theirs = stack.enter_context(nginx.running(directory / "nginx", directory / "site", Link(), workers=1))
        closed = Server(directory / "data", {**environment, "REGISTRY_WORKERS": "1", "REGISTRY_AUTH_REQUIRED": "1"})
        closed.start()
        stack.callback(closed.stop)
        os.sched_setaffinity(0, {LOAD_CORE})
        print(render([*measure(ours, theirs, paths), *measure(closed, theirs, paths, token)]))


def crate_name(number: int) -> str:
    return f"crate{number:05}"


def line(name: str) -> str:
    return LINE.format(name=name, cksum="0" * 64)


def write_site(site: Path, paths: Sequence[str]) -> None:
    """Write the same index files for nginx."""
    for path in paths:
        file = site / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(line(file.name))


def fill() -> None:
    """Create the crates in the configured database."""
    django.setup()
    from django.utils import timezone

    from accounts.models import User
    from crates import names
    from crates.models import Crate, IndexLine, Version

    crates, publisher = [], User.objects.earliest("pk")
    for number in range(max(COUNTS)):
        name = crate_name(number)
        crate = Crate(name=name, canonical_name=names.canonical(name), index_path=names.index_path(name))
        crate.index_etag, crate.index_modified = f'"{number:032x}"', timezone.now()
        crates.append(crate)
    crates = Crate.objects.bulk_create(crates, batch_size=1000)
    shared = {"number": "1.0.0", "release": "1.0.0", "checksum": "0" * 64, "size": 1, "published_by": publisher}
    versions = Version.objects.bulk_create([Version(crate=crate, **shared) for crate in crates], batch_size=1000)
    lines = [IndexLine(version=version, crate=version.crate, text=line(version.crate.name)) for version in versions]
    IndexLine.objects.bulk_create(lines, batch_size=1000)


def measure(ours: Server, theirs: nginx.Nginx, paths: Sequence[str], token: str = "") -> Iterator[Row]:
    """Ask each server as fast as it answers over HTTP/1.1, in turn; ours with the token that it demands, if any."""
    static_copy.etags(ours.port, [paths[0], paths[0]], token)  # lets the worker read that there are crates now
    tags = [static_copy.etags(ours.port, paths, token), static_copy.etags(theirs.port, paths)]
    for count in COUNTS:
        for status, etags in ((200, ([], [])), (304, [own[:count] for own in tags])):
            runs = [
                partial(run, ours.process.pid, ours.url, paths[:count], etags[0], token),
                partial(run, theirs.process.pid, theirs.url, paths[:count], etags[1]),
            ]
            results = [[single() for single in runs] for _ in range(ROUNDS)]
            rates, costs = ([median(pair[n][kind] for pair in results) for n in range(2)] for kind in range(2))
            label = f"index, {status}, {count:,} name{'s' * (count > 1)}{', auth required' * bool(token)}"
            yield Row(f"{label}: requests/s", *rates)
            yield Row(f"{label}: µs of CPU for each", *costs)


def run(pid: int, url: str, paths: Sequence[str], etags: Sequence[str], token: str = "") -> tuple[float, float]:
    """Return the answers per second, and the microseconds of CPU that the server took for each."""
    before = cpu_seconds(pid)
    rate = wrk.run(url, paths, etags, connections=32, seconds=SECONDS, threads=1, token=token).answers
    return rate, (cpu_seconds(pid) - before) / (rate * SECONDS) * 1e6


def cpu_seconds(root: int) -> float:
    """Return the CPU time of a server's processes so far."""
    statistics = [path for pid in memory.descendants(root) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(path.read_text().split()[0]) for path in statistics) / 1e9


if __name__ == "__main__":
    main()
