"""Measurements of the Cargo registry beside nginx: each function yields rows of the table."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import memory, nginx, publish_client, registry, static_copy, wrk
from benchmarks.cargo_client import Consumer
from benchmarks.links import Link
from benchmarks.table import Row, percentile

ROUNDS = 3
NO_NEW_ROUND_AFTER = 12  # seconds: long measurements vary little, so one round of them is enough
ACCOUNTS = 8
SMALL, LARGE = 9_800, 8 * 1024 * 1024  # bytes, before the rest of a crate is around them
FETCHED = [f"fetched{n:03}" for n in range(300)]
CLIENTS = 64
PARALLEL_CRATES = [f"crowd{n:04}" for n in range(ROUNDS * CLIENTS * 5)]
VERSIONS, COMPARED = 2000, 50  # of one crate; and how many of the first and the last ones
SECONDS = 2  # of each round of wrk


def measure_server(directory: Path) -> Iterator[Row]:
    """Measure publishing, index, download and memory; leaves the data in `data`, and the files for nginx in `site`."""
    with registry.running(directory / "data", Link()) as ours:
        at_start = memory.megabytes(ours.process.pid)
        tokens = [ours.sign_up(f"publisher{n}") for n in range(ACCOUNTS)]
        yield from measure_publishing(ours.port, tokens, FETCHED, 1)
        yield from measure_publishing(ours.port, tokens, PARALLEL_CRATES, CLIENTS)
        yield from measure_versions(ours.port, tokens[0])
        publish_client.publish(ours.port, tokens[0], publish_client.body("large", LARGE))
        static_copy.copy_files(ours.port, [*FETCHED, "large"], directory / "site")
        with nginx.running(directory / "nginx", directory / "site", Link()) as theirs:
            pids = (ours.process.pid, theirs.process.pid)
            their_start = memory.megabytes(theirs.process.pid)
            yield from measure_reading(ours, theirs)
            yield Row("memory after the start, MB", at_start, their_start)
            yield Row("memory after the load, MB", *map(memory.megabytes, pids))


def measure_publishing(port: int, tokens: Sequence[str], names: Sequence[str], clients: int) -> Iterator[Row]:
    """Publish new crates of 10 kB, one version each; nginx has no counterpart."""
    bodies = [publish_client.body(name, SMALL) for name in names]
    rounds = [publish_client.publish_all(port, tokens, bodies[n::ROUNDS], clients) for n in range(ROUNDS)]
    milliseconds = [seconds * 1000 for taken in rounds for seconds in taken.each]
    label = f"publish of 10 kB by {clients} at once"
    yield Row(f"{label}: p50, ms", percentile(milliseconds, 50))
    yield Row(f"{label}: p99, ms", percentile(milliseconds, 99))
    yield Row(f"{label}: publishes/s", median(len(taken.each) / taken.together for taken in rounds))


def measure_versions(port: int, token: str) -> Iterator[Row]:
    """Publish many versions of one crate, one after another: the last ones beside the first ones."""
    bodies = (publish_client.body("grown", SMALL, f"1.{number}.0") for number in range(VERSIONS))
    milliseconds = [publish_client.publish(port, token, content) * 1000 for content in bodies]
    first, last = (percentile(some, 50) for some in (milliseconds[1 : COMPARED + 1], milliseconds[-COMPARED:]))
    yield Row(f"publish of version {VERSIONS:,} to that of the second, p50 of {COMPARED}", last / first)


def measure_reading(ours: registry.Registry, theirs: nginx.Nginx) -> Iterator[Row]:
    """Read from both servers as fast as they can over HTTP/1.1, without a delay."""
    servers = (ours, theirs)
    paths = [static_copy.index_url(name) for name in FETCHED]

    def answers(url: str, etags: Sequence[str]) -> float:
        return wrk.run(url, paths, etags, connections=32, seconds=SECONDS).answers

    def megabytes(url: str) -> float:
        return wrk.run(url, [static_copy.download_url("large")], connections=4, seconds=SECONDS).bytes / 1e6

    yield Row("index, 200: requests/s", *alternate([partial(answers, server.url, []) for server in servers]))
    tagged = [(server.url, static_copy.etags(server.port, paths)) for server in servers]
    yield Row("index, 304: requests/s", *alternate([partial(answers, *pair) for pair in tagged]))
    yield Row("download of 8 MiB: MB/s", *alternate([partial(megabytes, server.url) for server in servers]))


def measure_cargo(directory: Path, link: Link) -> Iterator[Row]:
    """Run stock cargo over one link, on the data of `measure_server`."""
    with (
        registry.running(directory / "data", link) as ours,
        nginx.running(directory / "nginx", directory / "site", link) as theirs,
    ):
        indexes = (f"{ours.public_url}/index/", f"{theirs.public_url}/index/")
        many = [Consumer(directory / "cargo" / f"many{n}", FETCHED, index, link) for n, index in enumerate(indexes)]
        large = [Consumer(directory / "cargo" / f"large{n}", ["large"], index, link) for n, index in enumerate(indexes)]
        count = len(FETCHED)
        yield Row(f"cargo fetch of {count}, {link}: s", *alternate([consumer.fetch_all for consumer in many]))
        if ours.proxy and theirs.proxy:
            # Counted in the same fetches, since cargo opens another number of connections to each kind of server.
            accepted = (ours.proxy.accepted, theirs.proxy.accepted)
            opened = [total / consumer.fetches for total, consumer in zip(accepted, many, strict=True)]
            yield Row(f"cargo fetch of {count}, {link}: connections", *opened)
        yield Row(f"cargo update of {count}, {link}: s", *alternate([consumer.update for consumer in many]))
        yield Row(f"cargo fetch of 8 MiB, {link}: s", *alternate([consumer.fetch_all for consumer in large]))
        for consumer in many:
            consumer.check_update()
    shutil.rmtree(directory / "cargo")


def alternate(measures: Sequence[Callable[[], float]]) -> tuple[float, float]:
    """Return the medians of ours and theirs, measured in turn, so that noise of the machine meets both."""
    began = time.monotonic()
    rounds: list[list[float]] = []
    for _ in range(ROUNDS):
        rounds.append([measure() for measure in measures])
        if time.monotonic() - began > NO_NEW_ROUND_AFTER:
            break
    ours, theirs = (median(values) for values in zip(*rounds, strict=True))
    return ours, theirs
