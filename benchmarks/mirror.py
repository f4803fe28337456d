"""The mirror of crates.io, beside nginx and before a bad upstream: `.venv/bin/python -m benchmarks.mirror`.

Prints two tables. It takes about seven minutes, uses free loopback ports and a temporary directory, and leaves nothing.
"""

import shutil
import signal
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks import certificates, nginx, programs, registry, static_copy
from benchmarks.cargo import ROUND_TRIP, describe_machine, print_each
from benchmarks.cargo_client import CRATES_IO, Consumer
from benchmarks.links import Link
from benchmarks.scenarios import FETCHED, ROUNDS, alternate, measure_publishing
from benchmarks.table import Row, columns, percentile, render
from tests.support import bad_upstream
from tests.support.faulty_upstream import FAULT_SHARE, FaultyUpstream
from tests.support.load_generator import SETTINGS, LoadGenerator, Outcome
from tests.support.mirror_store import find_damage, mark_stale, query, temporary_files

REQUESTS, CLIENTS, KILLS = 10_000, 32, 2
CRATES, VERSIONS = 300, 4
RESULTS = ("200", "206", "304", "404", "502", "503", "lost by a kill")
SEED = 1
SOUND = "No byte was wrong, no file is partial, every row has its bytes, and in the end all of upstream was to be had."

HEADING = f"""\
Ratio: mirror / nginx; less is better. Medians of up to {ROUNDS} rounds of stock cargo and {len(FETCHED)} crates.
cold: neither the mirror nor cargo has anything; warm: the mirror has everything, cargo nothing; 304: cargo has
everything, too; asked again: so it is, and the mirror asks its upstream for every index file, which has not changed.
The upstream is another nginx. Where it is far, nginx is as far from cargo as the upstream is from the mirror:
the ratio compares with having no mirror."""


def main() -> None:
    """Measure everything and print it; leaves with status 1 for a wrong byte, and 2 when a program is missing."""
    programs.require("cargo", "nginx", "openssl")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an end from outside ends the servers too
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as name:
        directory = Path(name)
        machine = describe_machine(directory)
        print(f"{HEADING}\n\n{render(list(print_each(measure_beside_nginx(directory))))}\n\n{machine}\n")
        wrong = list(check_under_faults(directory))
    print("\n".join(wrong) or SOUND)
    sys.exit(1 if wrong else 0)


# --- Beside nginx --------------------------------------------------------------------------------------------------


def measure_beside_nginx(directory: Path) -> Iterator[Row]:
    """Measure stock cargo over each kind of link, and with a distant upstream."""
    with registry.running(directory / "origin", Link()) as origin:
        list(measure_publishing(origin.port, [origin.sign_up("publisher")], FETCHED, 1))
        static_copy.copy_files(origin.port, FETCHED, directory / "site")
    certificate = certificates.create(directory)
    for chosen in (None, certificate):
        for round_trip in (0, ROUND_TRIP):
            link = Link(chosen, round_trip, multiplexing=chosen is not None or not round_trip)
            yield from measure_cargo(directory, link, Link(), link)
        far = Link(chosen, ROUND_TRIP, multiplexing=chosen is not None)
        yield from measure_cargo(directory, Link(chosen), far, far)


def measure_cargo(directory: Path, link: Link, upstream_link: Link, their_link: Link) -> Iterator[Row]:
    """Run stock cargo over one link to the mirror, which has its own to the upstream, and over another to nginx."""
    with (
        nginx.running(directory / "nginx", directory / "site", their_link) as theirs,
        nginx.running(directory / "upstream", directory / "site", upstream_link) as upstream,
        registry.running(directory / "mirror", link, _settings(upstream, upstream_link)) as ours,
    ):
        distance = f", upstream {upstream_link.round_trip * 1000:.0f} ms away" if upstream_link.round_trip else ""
        mirror = Consumer(directory / "cargo" / "mirror", FETCHED, f"{ours.public_url}/mirror/index/", link, CRATES_IO)
        plain = Consumer(directory / "cargo" / "nginx", FETCHED, f"{theirs.public_url}/index/", their_link, CRATES_IO)

        def cold() -> float:
            _empty_mirror(ours)
            return mirror.fetch_all()

        def revalidate() -> float:
            mark_stale(ours)
            return mirror.update()

        yield Row(f"cold, {link}{distance}: s", *alternate([cold, plain.fetch_all]))
        yield Row(f"warm, {link}{distance}: s", *alternate([mirror.fetch_all, plain.fetch_all]))
        yield Row(f"304, {link}{distance}: s", *alternate([mirror.update, plain.update]))
        yield Row(f"304 asked again, {link}{distance}: s", *alternate([revalidate, plain.update]))
        for consumer in (mirror, plain):
            consumer.check_update()
    shutil.rmtree(directory / "cargo")


def _settings(upstream: nginx.Nginx, link: Link) -> dict[str, str]:
    trusted = {"REGISTRY_CA_FILE": str(link.certificate.authority)} if link.certificate else {}
    return {"REGISTRY_MIRROR_UPSTREAM": f"{upstream.public_url}/index/", **trusted}


def _empty_mirror(server: registry.Registry) -> None:
    """Delete everything that the mirror has stored."""
    for table in ("mirror_cachedcrate", "mirror_cachedindexfile"):
        query(server, f"DELETE FROM {table}")
    shutil.rmtree(server.data / "mirror", ignore_errors=True)


# --- Before a bad upstream -----------------------------------------------------------------------------------------


def check_under_faults(directory: Path) -> Iterator[str]:
    """Print the results of many clients; then yield everything that is wrong."""
    with (
        bad_upstream.serving(partial(FaultyUpstream, seed=SEED, count=CRATES, versions=VERSIONS)) as upstream,
        registry.running(
            directory / "faulty", Link(), {"REGISTRY_MIRROR_UPSTREAM": upstream.url, **SETTINGS}
        ) as server,
    ):
        crowd = LoadGenerator(server, upstream, SEED)
        outcomes = crowd.request_at_random(REQUESTS, clients=CLIENTS, kills=KILLS)
        print(f"{describe_crowd(upstream)}\n\n{table(outcomes)}\n")
        yield from (f"wrong: {outcome}" for outcome in outcomes if outcome.wrong)
        yield from (f"not to be had afterwards: {line}" for line in crowd.request_everything(clients=CLIENTS))
        yield from (f"not what upstream had: {line}" for line in crowd.find_unknown_rows())
        yield from (f"damaged: {line}" for line in find_damage(server))
        yield from (f"unfinished: {path}" for path in temporary_files(server)[KILLS * CLIENTS :])
        yield from (line for line in server.log.read_text().splitlines() if line.startswith("Traceback"))


def describe_crowd(upstream: FaultyUpstream) -> str:
    """Describe the requests and the faults of the upstream."""
    bad, requests = sum(upstream.faults.values()), len(upstream.requests)
    kinds = ", ".join(f"{name} {count}" for name, count in sorted(upstream.faults.items()))
    return textwrap.fill(
        f"{REQUESTS:,} requests by {CLIENTS} clients; {KILLS} times a worker was killed. Upstream got {requests:,} "
        f"requests, and {bad:,} of its answers were bad, as should be {FAULT_SHARE:.0%}: {kinds}.",
        width=118,
        break_on_hyphens=False,
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Count the outcomes for each kind of request, and for all together."""
    kinds = [*sorted({outcome.kind for outcome in outcomes}), "all"]
    return columns([("request", *RESULTS, "wrong", "p50, ms", "p99, ms"), *(_line(kind, outcomes) for kind in kinds)])


def _line(kind: str, outcomes: Sequence[Outcome]) -> list[str]:
    mine = [outcome for outcome in outcomes if kind in (outcome.kind, "all")]
    results = [sum(1 for outcome in mine if outcome.result == result) for result in RESULTS]
    milliseconds = [outcome.seconds * 1000 for outcome in mine]
    times = [f"{percentile(milliseconds, percent):,.0f}" for percent in (50, 99)]
    return [kind, *(f"{count:,}" for count in (*results, sum(1 for outcome in mine if outcome.wrong))), *times]


if __name__ == "__main__":
    main()
