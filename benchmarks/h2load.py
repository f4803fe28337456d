"""Highest request rate of a server over HTTP/2, measured by h2load."""

import re
import subprocess
import tempfile
from collections.abc import Sequence

from benchmarks.programs import path_of

CONNECTIONS, STREAMS = 8, 16  # as many as wrk's connections over HTTP/1.1, and some


def run(urls: Sequence[str], etag: str, *, requests: int) -> float:
    """GET the URLs in turn, each with this ETag if there is one, and return the answers per second.

    Raises `RuntimeError` at any failure.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(urls))
        file.flush()
        options = [f"-n{requests}", f"-c{CONNECTIONS}", f"-m{STREAMS}", "-i", file.name]
        if etag:
            options += ["-H", f"If-None-Match: {etag}"]
        output = subprocess.run([path_of("h2load"), *options], check=True, capture_output=True, text=True).stdout
    rate = re.search(r"finished in .*?, ([0-9.]+) req/s", output)
    counts = re.search(rf"{requests} done, {requests} succeeded, 0 failed", output)
    statuses = re.search(r"status codes: ([0-9]+) 2xx, ([0-9]+) 3xx", output)
    if rate is None or counts is None or statuses is None or int(statuses[2 if etag else 1]) != requests:
        raise RuntimeError(f"h2load met failures:\n{output}")
    return float(rate[1])
