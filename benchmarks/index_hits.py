"""Index files from memory beside nginx: `.venv/bin/python -m benchmarks.index_hits`.

One core for the server, and one for the load. It takes about three minutes, on SQLite or, behind `.ci/postgres`, on
PostgreSQL, uses free loopback ports and a temporary directory, and leaves nothing.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import django

from benchmarks import nginx, programs, static_copy
from benchmarks.links import Link
from benchmarks.single_core import LOAD_CORE, SERVER_CORE, compare, run_wrk
from benchmarks.table import Row, render
from benchmarks.workplace import temporary_directory
from tests.support.servers import Server, new_database

COUNTS = (1, 10_000)
LINE = '{{"name":"{name}","vers":"1.0.0","deps":[],"cksum":"{cksum}","features":{{}},"yanked":false,"links":null}}\n'


def main() -> None:
    """Measure everything and print it."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
    if sys.argv[1:] == ["--fill"]:
        fill()
        return
    programs.require("nginx", "wrk")
    with temporary_directory() as directory, ExitStack() as stack:
        (directory / "data").mkdir()
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
            yield from compare(
                f"index, {status}, {count:,} name{'s' * (count > 1)}{', auth required' * bool(token)}",
                partial(run_wrk, ours.process.pid, ours.url, paths[:count], etags[0], token, connections=32),
                partial(run_wrk, theirs.process.pid, theirs.url, paths[:count], etags[1], connections=32),
            )


if __name__ == "__main__":
    main()
