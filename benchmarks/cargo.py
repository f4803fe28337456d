"""The Cargo registry beside nginx with the same files: `.venv/bin/python -m benchmarks.cargo`.

Prints one table. It takes about four minutes, uses free loopback ports and a temporary directory, and leaves nothing.
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
    programs.require(*programs.INSTALL)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an end from outside ends the servers too
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as name:
        place = Path(name)
        machine = describe_machine(place)
        rows = list(tell(measure(place)))
        print(f"{HEADING}\n\n{render(rows)}\n\n{machine}\n{complaints(place / 'data.log')}")


def measure(place: Path) -> Iterator[Row]:
    """All rows, in the order of the table."""
    yield from scenarios.of_server(place)
    certificate = certificates.make(place)
    for chosen in (None, certificate):
        for round_trip in (0, ROUND_TRIP):
            yield from scenarios.of_cargo(place, Link(chosen, round_trip))
    yield from scenarios.of_cargo(place, Link(None, ROUND_TRIP, multiplexing=False))


def tell(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, each shown on standard error as soon as it is there."""
    for row in rows:
        print("…", *row.cells(), file=sys.stderr, flush=True)
        yield row


def describe_machine(place: Path) -> str:
    """What the figures depend on."""
    write = percentile(disk.durable_writes(place, scenarios.SMALL), 50) * 1000
    return (
        f"Machine: {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start; "
        f"one durable write of 10 kB takes its disk {write:.1f} ms (p50)."
    )


def complaints(log: Path) -> str:
    """What the registry's log has beyond its greetings."""
    marks = ("[WARNING]", "[ERROR]", "[CRITICAL]", " WARNING ", " ERROR ", " CRITICAL ", "Traceback")
    lines = [line for line in log.read_text().splitlines() if any(mark in line for mark in marks)]
    return "\n".join([f"Warnings and errors in the registry's log: {len(lines)}", *lines[:10]])


if __name__ == "__main__":
    main()
