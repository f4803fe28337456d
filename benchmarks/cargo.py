"""The Cargo registry beside nginx with the same files: `.venv/bin/python -m benchmarks.cargo`.

Prints one table. It takes about five minutes, uses free loopback ports and a temporary directory, and leaves nothing.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import certificates, disk, programs, scenarios
from benchmarks.links import Link
from benchmarks.table import Row, percentile, render

ROUND_TRIP = 0.02  # seconds

HEADING = f"""\
Ratio: Entrepot / nginx. More is better of what is counted per second; less is better of the rest.
Medians of up to {scenarios.ROUNDS} rounds; p50 and p99 of the publishes of all rounds.
cargo fetch begins with nothing; cargo update has everything, and is answered by 304 alone. The milliseconds behind
the protocol are the round trip that is added on loopback.
Over HTTP/1.1 cargo opens further connections to a server that sends head and body of an answer apart, as this one
does and nginx does not. Where the connections differ, the ratio says nothing of the servers: compare them by the rows
with multiplexing off, where both get as many."""


def main() -> None:
    """Measure everything and print it; leaves with status 2 when a program is missing."""
    programs.require("cargo", "nginx", "wrk", "openssl")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that a signal ends the servers, too
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as name:
        directory = Path(name)
        machine = describe_machine(directory)
        rows = list(print_each(measure(directory)))
        print(f"{HEADING}\n\n{render(rows)}\n\n{machine}\n{describe_warnings(directory / 'data.log')}")


def measure(directory: Path) -> Iterator[Row]:
    """Measure all rows, in the order of the table."""
    yield from scenarios.measure_server(directory)
    certificate = certificates.create(directory)
    for chosen in (None, certificate):
        for round_trip in (0, ROUND_TRIP):
            yield from scenarios.measure_cargo(directory, Link(chosen, round_trip))
    yield from scenarios.measure_cargo(directory, Link(None, ROUND_TRIP, multiplexing=False))


def print_each(rows: Iterator[Row]) -> Iterator[Row]:
    """Pass the rows on, and print each to standard error as soon as it is measured."""
    for row in rows:
        print("…", *row.cells(), file=sys.stderr, flush=True)
        yield row


def describe_machine(directory: Path) -> str:
    """Describe the conditions of the figures."""
    write = percentile(disk.durable_writes(directory, scenarios.SMALL), 50) * 1000
    return (
        f"Machine: {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start; "
        f"one durable write of 10 kB takes its disk {write:.1f} ms (p50)."
    )


def describe_warnings(log: Path) -> str:
    """List the warnings and errors of the registry's log."""
    marks = ("[WARNING]", "[ERROR]", "[CRITICAL]", " WARNING ", " ERROR ", " CRITICAL ", "Traceback")
    lines = [line for line in log.read_text().splitlines() if any(mark in line for mark in marks)]
    return "\n".join([f"Warnings and errors in the registry's log: {len(lines)}", *lines[:10]])


if __name__ == "__main__":
    main()
