"""Registries with few and many crates, side by side: the same requests to each in turn, as one table in Markdown."""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import django
from django.core.management import call_command

from benchmarks.http_timing import ROUNDS, WARM_UP, Measure, format_count, print_progress, time_request
from benchmarks.packages import CHINESE_KINDS, CHINESE_TOPICS, ENDS, KINDS, QUALITIES, TOPICS, invent_word
from benchmarks.table import percentile
from benchmarks.workplace import temporary_directory
from tests.support.servers import Server, new_database

if TYPE_CHECKING:
    from accounts.models import User
    from tests.support.crate_rows import Listing

COUNTS = [1000, 100_000]
BATCH = 5_000

# Half of all names begin like many others.
FAMILIES = ("tokio", "async", "cargo", "rust", "serde", "bevy", "wasm", "http")
# READMEs: a few words are in most of them, and most words in a few.
VOCABULARY = [*TOPICS, *KINDS, *QUALITIES, *(invent_word(number) for number in range(500_000, 520_000))]
WEIGHTS = list(accumulate(1 / rank for rank in range(5, len(VOCABULARY) + 5)))
README_WORDS = 150
HALF, OTHER_HALF, RARE, PAIR = "workspace", "standalone", "quaternion", "日志"
NUMBER = 77  # of the crate whose name is looked for; both registries have it
CATEGORIES = [f"{topic}::{kind}" for topic in TOPICS[:10] for kind in KINDS[:3]]
# Dependents: the first hundred crates need one library, and every third crate of all another one.
LIBRARY, COMMON_LIBRARY, MANY_VERSIONS = "library", "common-library", "many-versions"
LIBRARY_DEPENDENTS = 100
OTHER_DEPENDENCIES = 3
VERSIONS, DEPENDENCIES = 1000, 20  # of the crate with many versions, and of each of them
OWNER, OWNED = "owner", 100  # who owns the first crates


@dataclass(frozen=True)
class Benchmark:
    """Requests that a module measures, and the tables of which it counts the rows."""

    module: str
    description: str | None
    plan: Callable[[], list[Measure]]
    tables: Sequence[str]
    describe_result: Callable[[HTTPResponse, bytes], str]
    headers: Mapping[str, str] = field(default_factory=dict)
    result_title: str = "total"

    def run(self) -> None:
        """Create the crates, measure, print."""
        options = argparse.ArgumentParser(description=self.description)
        options.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="how many crates: 1000 100000")
        options.add_argument("--fill", action="store_true", help="only create the crates in the configured database")
        options.add_argument("--count-rows", action="store_true", help="only count the rows that each request reads")
        arguments = options.parse_args()
        os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
        if arguments.fill or arguments.count_rows:
            django.setup()
            fill(arguments.counts[0]) if arguments.fill else self.count_rows()
            return
        with temporary_directory() as directory, ExitStack() as stack:
            registries = []
            for count in arguments.counts:
                data = directory / str(count)
                data.mkdir()
                environment = stack.enter_context(new_database(data, empty=True))
                registry = Registry(self.module, count, {"REGISTRY_DATA_DIR": str(data), **environment}, self.plan())
                registry.run("--fill")
                print_progress(f"{count:,} crates created")
                registries.append(registry)
            self.time(registries)
            for registry in registries:
                rows_read = json.loads(registry.run("--count-rows")) if self.tables else [None] * len(registry.measures)
                for measure, rows in zip(registry.measures, rows_read, strict=True):
                    measure.rows = rows
            print(f"{describe_setup()}\n\n{render(registries, self.result_title)}")

    def time(self, registries: "Sequence[Registry]") -> None:
        """Send each request to each registry in turn, by one client."""
        with ExitStack() as stack:
            connections = []
            for registry in registries:
                server = Server(Path(registry.environment["REGISTRY_DATA_DIR"]), registry.environment)
                server.start()
                stack.callback(server.stop)
                connections.append(HTTPConnection("127.0.0.1", server.port, timeout=120))
                stack.callback(connections[-1].close)
            for number in range(-WARM_UP, ROUNDS):
                for measures in zip(*(registry.measures for registry in registries), strict=True):
                    for connection, measure in zip(connections, measures, strict=True):
                        time_request(connection, measure, self.describe_result, self.headers, is_counted=number >= 0)

    def count_rows(self) -> None:
        """Print the number of rows that each request reads."""
        from tests.support.rows_read import rows_read  # imports Django, which is set up by now

        print(json.dumps([sum(rows_read(measure.path, table)[0] for table in self.tables) for measure in self.plan()]))


@dataclass
class Registry:
    """A registry with so many crates, and the requests to it."""

    module: str
    count: int
    environment: dict[str, str]
    measures: list[Measure]

    def run(self, *arguments: str) -> str:
        """Run a part of the benchmark beside the registry's database."""
        command = [sys.executable, "-m", self.module, *arguments, "--counts", str(self.count)]
        return subprocess.run(
            command, env=os.environ | self.environment, check=True, stdout=subprocess.PIPE
        ).stdout.decode()


# --- The crates --------------------------------------------------------------------------------------------------


def fill(count: int) -> None:
    """Create accounts and crates."""
    from django.db import connection, transaction

    from accounts import registration
    from crates import search
    from tests.support.crate_rows import Listing, create_crate_of, create_crates

    call_command("migrate", verbosity=0)
    publisher = registration.register("publisher", "correct horse")
    create_crates([Listing(LIBRARY), Listing(COMMON_LIBRARY)], publisher)
    create_crate_of(VERSIONS, publisher, MANY_VERSIONS, DEPENDENCIES)
    listings = build_listings(count)
    for start in range(0, count, BATCH):
        with transaction.atomic():
            create_crates([next(listings) for _ in range(min(BATCH, count - start))], publisher)
        print_progress(f"{min(start + BATCH, count):,} crates")
    give_owners(publisher)
    search.update_popular_words()  # as the next `manage.py purge` does
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("VACUUM ANALYZE")  # as its autovacuum does within minutes


def give_owners(publisher: "User") -> None:
    """Give the first crates to `OWNER` and the others to their publisher."""
    from accounts import registration
    from crates.models import Crate, Ownership

    owner = registration.register(OWNER, "correct horse")
    crates = Crate.objects.filter(ownerships=None).order_by("pk").values_list("pk", flat=True)
    Ownership.objects.bulk_create(
        (
            Ownership(crate_id=crate, user=owner if number < OWNED else publisher)
            for number, crate in enumerate(crates.iterator())
        ),
        batch_size=BATCH,
    )


def build_listings(count: int) -> "Iterator[Listing]":
    """Build crates; the first thousand are the same whatever the count."""
    from tests.support.crate_rows import Listing

    random, other = Random(1), Random(2)
    for number in range(count):
        words = random.choices(VOCABULARY, cum_weights=WEIGHTS, k=README_WORDS)
        words.append(HALF if number // 6 % 2 else OTHER_HALF)
        if number % (count // 5) == 7:
            words.append(RARE)
        if number % 30 == 1:
            topic = PAIR if number % 20 == 1 else random.choice(CHINESE_TOPICS)
            words.append(f"一个{topic}{random.choice(CHINESE_KINDS)}。")
        topic, kind = random.choice(TOPICS), random.choice(KINDS)
        needs = [LIBRARY] * (number < LIBRARY_DEPENDENTS) + [COMMON_LIBRARY] * (number % 3 == 0)
        needs += [crate_name(other.randrange(1000)) for _ in range(OTHER_DEPENDENCIES)]
        downloads = int(random.paretovariate(0.5) - 1)
        yield Listing(
            crate_name(number),
            f"A {random.choice(QUALITIES)} {topic} {kind} {random.choice(ENDS)}",
            (topic, kind),
            " ".join(words),
            downloads,
            downloads % 997,
            (CATEGORIES[number % len(CATEGORIES)],),
            tuple(needs),
        )


def crate_name(number: int) -> str:
    """Return the name of a crate, a different one for each number."""
    if number == NUMBER + 1:
        return "http-client"
    word, topic, family = invent_word(number), TOPICS[number % len(TOPICS)], FAMILIES[number // 2 % len(FAMILIES)]
    forms = (f"{family}-{word}", f"{word}_{topic}", f"{family}_{topic}_{word}", word, f"{word}-rs", f"{topic}{word}")
    return forms[number % len(forms)]


# --- Output ------------------------------------------------------------------------------------------------------


def render(registries: Sequence[Registry], result_title: str) -> str:
    """Write a table in Markdown: times, their ratios to those of the first registry, rows, and results."""
    counts = [f"{registry.count:,}" for registry in registries]
    head = ["request", *(f"p50, ms, {count}" for count in counts), "ratio", "rows read", result_title]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for measures in zip(*(registry.measures for registry in registries), strict=True):
        times = [percentile(measure.milliseconds, 50) for measure in measures]
        last = measures[-1]
        cells = [f"{time:.1f}" for time in times]
        lines.append([last.label, *cells, f"{times[-1] / times[0]:.2f}", format_count(last.rows), last.result])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def describe_setup() -> str:
    """Describe the conditions of the figures."""
    from django.db import connection

    return (
        f"{connection.display_name}, one client, {ROUNDS} rounds, {os.cpu_count()} processors, "
        f"load {os.getloadavg()[0]:.1f} at the end."
    )
