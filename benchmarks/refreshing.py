"""Benchmark of `manage.py refreshcrates` beside publishes: `.venv/bin/python -m benchmarks.refreshing [--count 20000]`.

Makes a registry on SQLite, or in the empty PostgreSQL that `REGISTRY_DATABASE_URL` names, whose versions have no facts,
as an older release left them. Publishes go on before and during the run, which is killed once and started again.
Prints times, memory, and whether anything changed that should not; it leaves nothing behind but that database.
"""

import argparse
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import django
from django.core.management import call_command

from benchmarks import publish_client
from benchmarks.http_timing import print_progress, run_server
from benchmarks.table import percentile
from tests.support import packing
from tests.support.servers import Server

if TYPE_CHECKING:
    from accounts.principals import Principal

COUNT = 20_000
VERSIONS = 20  # of each crate
PUBLISHERS = 2
PAUSE_SECONDS = 0.1  # of each publisher, since the question is who waits for whom, not how much fits
BEFORE_SECONDS = 20
SAMPLE_SECONDS = 0.5
README = "# Title\n\nWhat it does, and an [example](examples/a.rs).\n\n```rust\nlet x = 1;\n```\n"
SOURCE = "/// Adds one.\npub fn add(x: u32) -> u32 {\n    x + 1\n}\n\n"


def main() -> None:
    """Create the versions, refresh them beside publishes, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=COUNT, help=f"how many versions: {COUNT}")
    count = options.parse_args().count
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as directory:
        data = Path(directory) / "data"
        os.environ |= {"REGISTRY_DATA_DIR": str(data), "DJANGO_SETTINGS_MODULE": "registry_site.settings"}
        os.environ |= {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0", "REGISTRY_CRATE_CHANGES_PER_MINUTE": "0"}
        django.setup()
        call_command("migrate", verbosity=0)
        began = time.monotonic()
        fill(count)
        print_progress(f"{count:,} versions created in {time.monotonic() - began:.0f} s")
        before = fingerprint(count)
        with run_server(data) as server, publishing(server) as publishes:
            time.sleep(BEFORE_SECONDS)
            alone = publishes.take()
            runs = [Run(), Run()]
            runs[0].start(server, kill_after=5)
            runs[1].start(server)
            beside = publishes.take()
        print(report(count, runs, alone, beside))
        print(f"Columns that the index needs: {'as before' if fingerprint(count) == before else 'CHANGED'}.")
        print(f"Versions without facts: {without_facts()}.")


# --- The registry ------------------------------------------------------------------------------------------------


def fill(count: int) -> None:
    """Create crates and their versions, with their files, and without facts."""
    from accounts import registration
    from accounts.principals import Principal
    from crates.models import Crate

    if Crate.objects.exists():
        sys.exit("There are crates in this database; give an empty one.")
    publisher = Principal(registration.register("publisher", "correct horse"))
    for number in range(count // VERSIONS):
        create_crate(f"crate{number:05}", publisher, Random(number))
        if number % 100 == 99:
            print_progress(f"{(number + 1) * VERSIONS:,} versions")


def create_crate(name: str, publisher: "Principal", random: Random) -> None:
    """Create a crate by the registry's own verbs, but for the facts of its versions."""
    from django.db import transaction

    from crates import derived_fields, publishing
    from crates.models import Crate, Version
    from registry_site.storage import blobs

    numbers = [f"1.{number}.0" for number in range(VERSIONS)]
    files = [crate_file(name, number, random) for number in numbers]
    with ThreadPoolExecutor(8) as pool:  # each waits for the disk
        stored = list(pool.map(lambda content: blobs.put(io.BytesIO(content)), files))
    with transaction.atomic():
        crate = publishing.lock_or_create_crate(publisher, name, Crate.Upstream.LACKS)
        Version.objects.bulk_create(
            Version(
                crate=crate,
                number=number,
                release=number,
                checksum=blob.sha256,
                size=blob.size,
                published_by=publisher.user,
            )
            for number, blob in zip(numbers, stored, strict=True)
        )
        derived_fields.save(crate, None, lambda crate: derived_fields.from_versions(crate, crate.versions.all()))


def crate_file(name: str, version: str, random: Random) -> bytes:
    """Return a `.crate` with a README, a licence, some sources, and a few kilobytes that do not compress."""
    toml = packing.manifest(name, version, 'license = "MIT OR Apache-2.0"\nreadme = "README.md"\n')
    files: dict[str, str | bytes] = {
        "README.md": README * random.randint(1, 20),
        "LICENSE": "You may.\n" * 100,
        ".cargo_vcs_info.json": json.dumps({"git": {"sha1": f"{random.getrandbits(160):040x}"}}),
        "data": random.randbytes(random.randint(1_000, 20_000)),
        **{f"src/part{number}.rs": SOURCE * random.randint(1, 200) for number in range(random.randint(1, 20))},
    }
    return packing.crate(name, version, toml, files)


def fingerprint(count: int) -> str:
    """Hash what the index and downloads need of the first `count` versions and their crates."""
    from crates.models import Crate, Version

    digest = hashlib.sha256()
    columns = ("number", "checksum", "size", "yanked", "published_at", "dependencies", "features", "links")
    for row in Version.objects.order_by("pk").values_list("pk", *columns)[:count].iterator():
        digest.update(repr(row).encode())
    fields = ("index_size", "index_etag", "index_modified", "updated_at", "default_version_id", "version_count")
    for crate in Crate.objects.order_by("pk").values_list("pk", *fields)[: count // VERSIONS].iterator():
        digest.update(repr(crate).encode())
    return digest.hexdigest()


def without_facts() -> int:
    from crates.models import Version
    from crates.package.facts import REVISION

    return Version.objects.exclude(examined=REVISION, contents__isnull=False).count()


# --- Publishes beside it -----------------------------------------------------------------------------------------


@dataclass
class Publishes:
    """The seconds of each publish since the last look, and the time of that look."""

    seconds: list[float] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)

    def take(self) -> tuple[list[float], float]:
        """Return the publishes since the last call, and how many seconds ago that was."""
        taken, self.seconds = self.seconds, []
        elapsed, self.since = time.monotonic() - self.since, time.monotonic()
        return taken, elapsed


@contextmanager
def publishing(server: Server) -> Iterator[Publishes]:
    """Publish new crates by several clients until the end of the block."""
    publishes, end = Publishes(), threading.Event()

    def publish_on(publisher: int, token: str) -> None:
        number = 0
        while not end.is_set():
            body = publish_client.body(f"beside{publisher}-{number}", 10_000)
            publishes.seconds.append(publish_client.publish(server.port, token, body))
            number += 1
            time.sleep(PAUSE_SECONDS)

    tokens = [server.sign_up(f"beside{number}") for number in range(PUBLISHERS)]
    with ThreadPoolExecutor(PUBLISHERS) as pool:
        clients = [pool.submit(publish_on, *pair) for pair in enumerate(tokens)]
        try:
            yield publishes
        finally:
            end.set()
        for client in clients:
            client.result()  # raises what a publish raised


# --- The command -------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """A run of the command: its time, its time of the processor, its last line, and its memory over time."""

    seconds: float = 0
    processor_seconds: float = 0
    output: str = ""
    megabytes: list[float] = field(default_factory=list)

    def start(self, server: Server, kill_after: float | None = None) -> None:
        """Run the command to its end, or kill it."""
        began, processor_began = time.monotonic(), processor_seconds()
        process = subprocess.Popen(
            [sys.executable, "manage.py", "refreshcrates"], env=server.environment, stdout=subprocess.PIPE, text=True
        )
        while process.poll() is None:
            if kill_after is not None and time.monotonic() > began + kill_after:
                process.kill()
            self.megabytes.append(resident_megabytes(process.pid))
            time.sleep(SAMPLE_SECONDS)
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        process.stdout.close()
        self.processor_seconds = processor_seconds() - processor_began
        self.seconds, self.output = time.monotonic() - began, lines[-1] if lines else "killed before its first line"


def processor_seconds() -> float:
    """Return the processor time of all processes that this one has started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def resident_megabytes(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):  # it has just ended
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def report(count: int, runs: list[Run], alone: tuple[list[float], float], beside: tuple[list[float], float]) -> str:
    lines = [f"{count:,} versions on {os.cpu_count()} cores, {PUBLISHERS} clients publishing."]
    for label, run in zip(("killed after 5 s", "second run"), runs, strict=True):
        quarter = max(1, len(run.megabytes) // 4)
        early, all_in_all = max(run.megabytes[:quarter]), max(run.megabytes)
        lines.append(
            f"{label}: {run.seconds:.0f} s, {run.processor_seconds:.0f} s of a processor. {run.output} "
            f"Resident: at most {early:.0f} MB in the first quarter, {all_in_all:.0f} MB in all."
        )
    for label, (seconds, elapsed) in (("before it", alone), ("beside it", beside)):
        milliseconds = [each * 1000 for each in seconds]
        lines.append(
            f"publishes {label}: {len(seconds) / elapsed:.1f}/s, p50 {percentile(milliseconds, 50):.0f} ms, "
            f"p99 {percentile(milliseconds, 99):.0f} ms, none failed."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
