"""A well-behaved client beside hostile ones: `.venv/bin/python -m benchmarks.hostile_neighbours`.

One client does five jobs each second while, one after the other, neighbours of all kinds attack a registry with its
default settings. Prints one table in Markdown, and exits with status 1 if a job failed or was slow. About five minutes;
it needs a few gigabytes on the disk for a moment, and leaves nothing but what is in the PostgreSQL of
`.ci/postgres .venv/bin/python -m benchmarks.hostile_neighbours`.
"""

import argparse
import json
import os
import sys
import tempfile
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection
from itertools import count, product
from pathlib import Path

from benchmarks.http_timing import print_progress
from benchmarks.neighbours import HEAVY, HUNG, LARGE, NEIGHBOURS, Outcomes, Target, running
from benchmarks.publish_client import body as heavy_body
from benchmarks.publish_client import publish
from benchmarks.table import percentile
from crates.names import index_path
from tests.support import bad_upstream, packing
from tests.support.bad_upstream import BadUpstream, Behaviour, Request, hang
from tests.support.concurrency import send_json
from tests.support.file_clients import LiveFileClient
from tests.support.servers import PASSWORD, Server, certificate

SECONDS = 20  # for each neighbour
SOURCE = "127.0.0.2"
MAX_MILLISECONDS = 1000
PAUSE = 3  # seconds after a neighbour has gone
NAME = "steady"  # the publisher, and the beginning of its crates
PERSON = "person"  # the account that logs in, which ends its former token
CRATES, FILES, FEATURES, OWNERS = 10, 100, 95, 8
HEAVY_BYTES = 9_000_000
NO_LIMITS = {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0", "REGISTRY_CRATE_CHANGES_PER_MINUTE": "0"}


def main() -> None:
    """Prepare a registry, measure beside each neighbour, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=int, default=SECONDS, help=f"for each neighbour: {SECONDS}")
    options.add_argument("--source", nargs="+", default=[SOURCE], help=f"addresses of the neighbours: {SOURCE}")
    options.add_argument("--only", nargs="+", choices=NEIGHBOURS, default=list(NEIGHBOURS), metavar="NEIGHBOUR")
    chosen = options.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as directory:
        data = Path(directory) / "data"
        access = prepare(data)
        with run_registry(data) as server:
            authority = data.parent / "tls" / "ca.pem"
            target = Target(server.port, authority, tuple(chosen.source), access.owners, access.machine)
            rows = list(measure(Client(server, access), target, chosen.only, chosen.seconds))
    print(f"{render(rows)}\n\n{describe(chosen.source, chosen.seconds, load)}")
    sys.exit(any(row.is_bad() for row in rows))


# --- The registry ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Access:
    """Tokens: the cargo tokens of the client and of the owners of the large crate, and the session of a machine."""

    client: str
    owners: tuple[str, ...]
    machine: str


def prepare(data: Path) -> Access:
    """Fill a registry without limits on publishers, and stop it."""
    roots = data.parent / "files"
    roots.mkdir()
    data.mkdir()
    server = Server(data, {**database_setting(), **NO_LIMITS, "REGISTRY_FILE_ROOTS": str(roots)})
    server.start()
    try:
        token, _, *owners = [server.sign_up(name) for name in (NAME, PERSON, *owner_names())]
        for number in range(CRATES):
            publish(server.port, token, small_body(number, 0))
        publish(server.port, token, heavy_body(HEAVY, HEAVY_BYTES))
        versions = publish_until_full(server.port, owners[0])
        send_json(server, "PUT", f"/api/v1/crates/{LARGE}/owners", {"users": owner_names()[1:]}, owners[0])
        machine = LiveFileClient(server, NAME)
        for number in range(FILES):
            register_file(machine, roots / f"{number}.txt")
    finally:
        server.stop()
    print_progress(f"The index file of the largest crate has {versions} lines, as many as are taken.")
    return Access(token, tuple(owners), machine.token)


@contextmanager
def run_registry(data: Path) -> Iterator[Server]:
    """Run the registry with default settings, TLS, and an upstream that hangs for some names."""
    with bad_upstream.serving(PartlyHungUpstream) as upstream:
        tls = certificate(data.parent / "tls")
        server = Server(data, {**database_setting(), **tls, "REGISTRY_MIRROR_UPSTREAM": upstream.url})
        server.start()
        try:
            yield server
        finally:
            server.stop()


class PartlyHungUpstream(BadUpstream):
    """An upstream that accepts requests for some names and never answers, and has none of the others."""

    def choose_behaviour(self, request: Request) -> Behaviour:
        return hang if f"/{HUNG}" in request.path else super().choose_behaviour(request)


def database_setting() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name == "REGISTRY_DATABASE_URL"}


def owner_names() -> list[str]:
    return [f"owner-{number}" for number in range(OWNERS)]


def small_body(crate: int, version: int) -> bytes:
    return packing.body(f"{NAME}-{crate}", f"1.0.{version}")


def large_body(version: int) -> bytes:
    """Build a publish body whose line in the index is nearly as long as allowed: its features name each other."""
    features = [f"feature-{number:02}" for number in range(FEATURES)]
    values = json.dumps(features[: FEATURES // 2])
    lines = [f"{feature} = {values}" for feature in features]
    toml = "\n".join([packing.manifest(LARGE, f"1.0.{version}"), "[features]", *lines])
    return packing.body(LARGE, f"1.0.{version}", toml)


def publish_until_full(port: int, token: str) -> int:
    """Publish versions of the large crate until its index file would be too large; return how many."""
    for version in count():
        try:
            publish(port, token, large_body(version))
        except RuntimeError as error:
            if "The index file" not in str(error):
                raise
            return version
    raise AssertionError("numbers have no end")


def register_file(machine: LiveFileClient, path: Path) -> None:
    path.write_text("news")
    if not machine.send("POST", "/", serve_path=path.name, path=str(path))["success"]:
        raise RuntimeError(f"{path} was refused.")


# --- The client --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    """A request of the client; its answer contains `proof` if it is right."""

    method: str
    path: str
    proof: bytes
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Client:
    """A well-behaved client. Each request has a connection of its own, and none waits for an earlier one."""

    def __init__(self, server: Server, access: Access) -> None:
        self.server, self.access, self.context = server, access, server.tls()
        self.published = 0

    def index(self) -> Call:
        return Call("GET", f"/index/{index_path(f'{NAME}-0')}", b'"vers":"1.0.0"')

    def publish(self) -> Call:
        self.published += 1
        version, crate = divmod(self.published + CRATES - 1, CRATES)
        body = small_body(crate, version)
        return Call("PUT", "/api/v1/crates/new", b'"warnings"', body, {"Authorization": self.access.client})

    def log_in(self) -> Call:
        body = json.dumps({"password": PASSWORD}).encode()
        return Call("POST", f"/ktra/api/v1/login/{PERSON}", b'"token"', body, {"Content-Type": "application/json"})

    def search(self) -> Call:
        return Call("GET", f"/api/v1/crates?q={NAME}", f'"total":{CRATES}'.encode())

    def list_files(self) -> Call:
        return Call("GET", "/?count=100", b'"99.txt"', headers={"Authorization": f"Bearer {self.access.machine}"})

    def time(self, call: Call) -> "Sample":
        """Send a request, and read its answer."""
        began = time.perf_counter()
        connection = HTTPSConnection("127.0.0.1", self.server.port, timeout=60, context=self.context)
        try:
            connection.request(call.method, call.path, call.body, dict(call.headers))
            answer = connection.getresponse()
            content = answer.read()
            is_right = answer.status == 200 and call.proof in content
            failure = "" if is_right else f"{call.method} {call.path} got {answer.status}: {content[:200]!r}"
        except (OSError, HTTPException) as error:
            failure = f"{call.method} {call.path} got no answer: {error!r}"
        finally:
            connection.close()
        return Sample((time.perf_counter() - began) * 1000, failure)


@dataclass(frozen=True)
class Sample:
    """The time of one request, and what was wrong with its answer."""

    milliseconds: float
    failure: str


JOBS: dict[str, Callable[[Client], Call]] = {
    "index": Client.index,
    "publish": Client.publish,
    "log-in": Client.log_in,
    "search": Client.search,
    "files": Client.list_files,
}


@dataclass(frozen=True)
class Row:
    """The requests of all jobs beside one neighbour."""

    label: str
    samples: Mapping[str, Sequence[Sample]]
    outcomes: Outcomes

    def percentile(self, job: str, percent: int) -> float:
        return percentile([sample.milliseconds for sample in self.samples[job]], percent)

    def failures(self) -> list[str]:
        return [sample.failure for samples in self.samples.values() for sample in samples if sample.failure]

    def is_bad(self) -> bool:
        return bool(self.failures()) or any(self.percentile(job, 99) > MAX_MILLISECONDS for job in JOBS)

    def cells(self) -> list[str]:
        times = [f"{self.percentile(job, 50):.0f} / {self.percentile(job, 99):,.0f}" for job in JOBS]
        outcomes = ", ".join(f"{name}: {number:,}" for name, number in sorted(self.outcomes.items()))
        return [self.label, *times, str(len(self.failures())), outcomes or "-"]


def measure(client: Client, target: Target, names: Sequence[str], seconds: int) -> Iterator[Row]:
    """Measure alone, and then beside each neighbour."""
    yield report(Row("nobody", work(client, seconds), Counter()))
    for name in names:
        outcomes: Outcomes = Counter()
        with running(name, target, outcomes):
            samples = work(client, seconds)
        yield report(Row(NEIGHBOURS[name].label, samples, outcomes))
        time.sleep(PAUSE)


def work(client: Client, seconds: int) -> dict[str, list[Sample]]:
    """Start all jobs each second, one after another, whether or not earlier ones have ended."""
    began = time.monotonic()
    started: dict[str, list[Future[Sample]]] = {job: [] for job in JOBS}
    with ThreadPoolExecutor(len(JOBS) * seconds) as pool:
        for number, (_, job) in enumerate(product(range(seconds), JOBS)):
            time.sleep(max(0, began + number / len(JOBS) - time.monotonic()))
            started[job].append(pool.submit(client.time, JOBS[job](client)))
    return {job: [future.result() for future in futures] for job, futures in started.items()}


# --- Output ------------------------------------------------------------------------------------------------------


def report(row: Row) -> Row:
    """Print a row to standard error as soon as it is measured, with the first failures."""
    for line in (" | ".join(row.cells()), *row.failures()[:3]):
        print_progress(line)
    return row


def render(rows: Sequence[Row]) -> str:
    """Write a table in Markdown."""
    head = ["neighbour", *JOBS, "failed", "answers and connections of the neighbour"]
    lines = [head, ["---", *["---:"] * (len(JOBS) + 1), "---"], *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe(sources: Sequence[str], seconds: int, load: float) -> str:
    """Describe the conditions of the figures."""
    database = "PostgreSQL" if database_setting() else "SQLite"
    return textwrap.fill(
        f"{database}, {os.cpu_count()} processors, load {load:.1f} at the start, {seconds} seconds for each row. The "
        f"client is at 127.0.0.1, the neighbours at {' and '.join(sources)}. Milliseconds: median / 99th percentile, "
        f"which is the slowest of {seconds} requests.",
        width=118,
        break_on_hyphens=False,
    )


if __name__ == "__main__":
    main()
