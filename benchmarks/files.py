"""Benchmark of lists among many files: `.venv/bin/python -m benchmarks.files [--count 1000000]`.

Makes them in a fresh data directory on SQLite, or in the empty PostgreSQL that `REGISTRY_DATABASE_URL` names
(`.ci/postgres .venv/bin/python -m benchmarks.files`), logs in at a running registry as a client does, asks it for
lists, and prints one table in Markdown. Several minutes; it leaves nothing but what is in that PostgreSQL.
"""

import argparse
import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import django
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from django.core.management import call_command

from benchmarks.http_timing import ROUNDS, Measure, print_progress, render, run_server, time_requests

if TYPE_CHECKING:
    from files.models import File

COUNT = 1_000_000
BATCH = 10_000
TABLE = "files_file"
CLIENT, KEY = "benchmark", b"0123456789abcdef0123456789abcdef"
SLOW_ROUNDS = 5  # for requests that take a second
FIRST = datetime(2024, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=600)  # the time within which all files were added
DIRECTORIES = 3_000
TOPICS = [
    *("news", "weather", "education", "health", "law", "agriculture", "culture", "sport", "music", "film"),
    *("radio", "books", "science", "maps", "software", "games", "history", "travel", "language", "religion"),
    *("energy", "water", "trade", "jobs", "children", "emergency", "local", "world", "technology", "archive"),
]
EXTENSIONS = ["html", "txt", "jpg", "png", "mp3", "mp4", "pdf", "zip", "json"]
SMALL = b"a small file\n" * 50
HEAD = ["request", "p50, ms", "p95, ms", "p50 / GET", "p95 / GET", "rows read", "found"]


@dataclass
class Stream:
    """An unlimited list, read to its end."""

    files: int
    seconds: float
    megabytes: float


def main() -> None:
    """Create the files, measure, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=COUNT, help="how many files, in thousands: 1000000")
    count = max(1, options.parse_args().count // 1000) * 1000
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as directory:
        data = Path(directory) / "data"
        os.environ |= {"REGISTRY_DATA_DIR": str(data), "DJANGO_SETTINGS_MODULE": "registry_site.settings"}
        django.setup()
        call_command("migrate", verbosity=0)
        began = time.monotonic()
        small = fill(count)
        print_progress(f"{count:,} files created in {time.monotonic() - began:.0f} s")
        measures = plan(count, small)
        with run_server(data) as server:
            headers = log_in(server.port)
            time_requests(measures, server.port, describe_result, headers)
            before = peak_memory(server.process.pid)
            print_progress(f"requests done; reading all {count:,} files")
            stream = read_all(server.port, headers)
            after = peak_memory(server.process.pid)
        for measure in measures[1:]:
            print_progress(f"counting rows: {measure.label}")
            from tests.support.rows_read import rows_read  # imports Django, which is set up by now

            measure.rows, _ = rows_read(measure.path, TABLE, headers=headers)
    print(f"{describe_setup(count)}\n\n{render(HEAD, measures)}\n\n{describe(stream, before, after)}")


def plan(count: int, small: int) -> list[Measure]:
    """List the requests for `count` files."""
    last = modified(count, count)
    early, middle, recent = (modified(count * percent // 100, count) for percent in (1, 50, 99))
    exact = re.escape(serve_path(count // 2))
    path = f"/srv/content/{serve_path(count // 2)}"
    return [
        Measure("`GET /<id>` of a small file", f"/{small}"),
        Measure("one by `id`", _list(id=count // 2)),
        Measure("the first 100", "/"),
        Measure("`category`", _list(category=TOPICS[7])),
        Measure("`category`, `since` early, `count=100`", _list(category=TOPICS[7], since=early, count=100)),
        Measure("`category`, `since` in the middle, `count=100`", _list(category=TOPICS[7], since=middle, count=100)),
        Measure("`category`, `since` late, `count=100`", _list(category=TOPICS[7], since=recent, count=100)),
        Measure("`category`, `since` later than all", _list(category=TOPICS[7], since=last)),
        Measure("`since` in the middle, `count=1000`", _list(since=middle, count=1000)),
        Measure("`since` late, to the end", _list(since=recent), SLOW_ROUNDS),
        Measure("`uploaded` in the middle", _list(uploaded=middle)),
        Measure("`path`", _list(path=path)),
        Measure("`alive=no`", _list(alive="no")),
        Measure("`aired=no`", _list(aired="no")),
        Measure("`alive=no`, `category`, `since` in the middle, `count=100`", _dead_of_category(middle)),
        Measure("`serve_path`: `^` and a directory", _list(serve_path=f"^{directory(count // 2)}/")),
        Measure("`serve_path`: `^` and one name `$`", _list(serve_path=f"^{exact}$")),
        Measure("`serve_path`: `^` and a topic, `count=100`", _list(serve_path="^water/", count=100)),
        Measure("`serve_path`: a common end, `count=100`", _list(serve_path=r"\.mp4$", count=100)),
        Measure("`serve_path`: a rare word anywhere", _list(serve_path="unheard-of"), SLOW_ROUNDS),
        Measure("`serve_path`: `(a+)+$`", _list(serve_path="(a+)+$"), SLOW_ROUNDS),
        Measure("`serve_path`: `(.*)(.*)(.*)(.*)[0-9]x$`", _list(serve_path="(.*)(.*)(.*)(.*)[0-9]x$"), SLOW_ROUNDS),
    ]


def _list(**filters: Any) -> str:
    return f"/?{urlencode(filters)}"


def _dead_of_category(since: float) -> str:
    return _list(category=TOPICS[7], since=since, alive="no", count=100)


# --- The files ---------------------------------------------------------------------------------------------------


def fill(count: int) -> int:
    """Create the client and all files, and return the id of a file that can be fetched."""
    from django.db import connection

    from files import catalogue, clients
    from files.actors import Actor
    from files.models import File

    if File.objects.exists():
        sys.exit("There are files in this database; give an empty one.")
    clients.add_client(CLIENT, KEY, actor="benchmark")
    rows = _rows(count)
    for start in range(0, count, BATCH):
        File.objects.bulk_create([next(rows) for _ in range(min(BATCH, count - start))])
        if (start + BATCH) % (10 * BATCH) == 0:
            print_progress(f"{start + BATCH:,} files")
    upload = catalogue.Upload(io.BytesIO(SMALL), len(SMALL))
    small = catalogue.add_file(Actor("benchmark"), serve_path="small.txt", upload=upload)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 0")
            cursor.execute("VACUUM ANALYZE")  # as autovacuum does within minutes
    return small.pk


def _rows(count: int) -> "Iterator[File]":
    """Build the rows: 1 in 50 is dead, 1 in 100 expires, 1 in 10 was changed later; the last tenth is not aired."""
    from files.models import File

    random = Random(1)
    for number in range(count):
        at = modified_at(number, count)
        changed = random.randrange(10) == 0
        name = serve_path(number)
        yield File(
            path=f"/srv/content/{name}",
            serve_path=name,
            size=random.randrange(1000, 50_000_000),
            category=None if number % 50 == 49 else topic(number),
            aired=number < count * 9 // 10,
            alive=number % 50 != 13,
            uploaded_at=at - timedelta(hours=random.randrange(1, 1000)) if changed else at,
            modified_at=at,
            expires_at=at + timedelta(days=random.randrange(1, 2000)) if number % 100 == 50 else None,
        )


def modified_at(number: int, count: int) -> datetime:
    """Return the time of the last change of a file."""
    return FIRST + SPAN * (number / count)


def modified(number: int, count: int) -> float:
    return modified_at(number, count).timestamp()


def topic(number: int) -> str:
    return TOPICS[number * 7919 % len(TOPICS)]


def directory(number: int) -> str:
    """Return one of a few thousand directories, each of one topic."""
    return f"{topic(number)}/{2024 + number * 31 % 2}/{number * 7919 % DIRECTORIES:04}"


def serve_path(number: int) -> str:
    return f"{directory(number)}/{number * 618_033 % 1_000_003:06}-{number:07}.{EXTENSIONS[number % len(EXTENSIONS)]}"


# --- The client --------------------------------------------------------------------------------------------------


def log_in(port: int) -> dict[str, str]:
    """Answer a challenge, and return the header of the session."""
    challenge = _post(port, "/auth", client_name=CLIENT)["challenge"]
    encryptor = Cipher(AES(KEY), CBC(challenge["cipher_iv"].encode())).encryptor()
    answer = encryptor.update(challenge["text"].encode()) + encryptor.finalize()
    parameters = {"client_name": CLIENT, "id": challenge["id"], "encrypted_text": answer, "duration": 86_400}
    return {"Authorization": f"Bearer {_post(port, '/auth_verify', **parameters)['session']['token']}"}


def _post(port: int, path: str, **parameters: Any) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, urlencode(parameters))
    output = json.load(connection.getresponse())
    connection.close()
    if not output["success"]:
        raise RuntimeError(f"{path} was refused: {output['message']}")
    return output


def describe_result(answer: HTTPResponse, body: bytes) -> str:
    """Return the number of files in a list, or "refused"."""
    if "Content-Disposition" in answer.headers:
        return "1"
    output = json.loads(body)
    return f"{output['count']:,}" if output["success"] else "refused"


def read_all(port: int, headers: Mapping[str, str]) -> Stream:
    """Read the list of all files, in the order of their changes."""
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    began = time.perf_counter()
    connection.request("GET", "/?since=0", headers=dict(headers))
    answer = connection.getresponse()
    size, end = 0, b""
    while piece := answer.read(1024 * 1024):
        size += len(piece)
        end = (end + piece)[-100:]
    seconds = time.perf_counter() - began
    connection.close()
    counted = re.search(rb'\],"count":(\d+)\}$', end)
    if counted is None:
        raise RuntimeError(f"The list of all files ends with {end!r}.")
    return Stream(int(counted[1]), seconds, size / 1e6)


def peak_memory(root: int) -> float:
    """Return the largest resident size of a worker so far, in units of 1,000,000 bytes."""
    workers = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    sizes = [re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE) for pid in workers]
    return max(int(size[1]) * 1024 for size in sizes if size) / 1e6


# --- Output ------------------------------------------------------------------------------------------------------


def describe_setup(count: int) -> str:
    """Describe the conditions of the figures."""
    from django.db import connection

    return (
        f"{count:,} files on {connection.display_name}, one client, {ROUNDS} rounds ({SLOW_ROUNDS} of slow requests), "
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the end. Milliseconds are by HTTP; "
        "the ratio is to the median of the first row."
    )


def describe(stream: Stream, before: float, after: float) -> str:
    return (
        f"All {stream.files:,} files (`since=0`): {stream.seconds:.1f} s, {stream.megabytes:.0f} MB; "
        f"the largest worker had at most {before:.0f} MB before, {after:.0f} MB after."
    )


if __name__ == "__main__":
    main()
