"""Publish requests over raw HTTP, each on a connection of its own, as cargo sends them."""

import http.client
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle

from tests.support import packing

VERSION = "1.0.0"


@dataclass(frozen=True)
class Round:
    """Seconds of each publish, and of all together."""

    each: list[float]
    together: float


def body(name: str, size: int, version: str = VERSION) -> bytes:
    """Build a publish body with an incompressible `.crate` of about `size` bytes."""
    filler = random.Random(f"{name} {version}").randbytes(size)
    return packing.frame(packing.metadata(name, version), packing.crate(name, version, files={"filler": filler}))


def publish(port: int, token: str, publish_body: bytes) -> float:
    """Publish, and return the seconds until the answer; raises `RuntimeError` unless it is 200."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("PUT", "/api/v1/crates/new", publish_body, {"Authorization": token})
        answer = connection.getresponse()
        output = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"A publish got {answer.status}: {output[:500]!r}")
    return time.perf_counter() - began


def publish_all(port: int, tokens: Sequence[str], bodies: Sequence[bytes], clients: int) -> Round:
    """Publish the bodies with `clients` at once, which share the accounts of the tokens."""
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(lambda token, content: publish(port, token, content), cycle(tokens), bodies))
    return Round(each, time.perf_counter() - began)
