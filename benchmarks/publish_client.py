"""Publishing over raw HTTP, each time by a connection of its own, as cargo does."""

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
    """How long each publish took, and how long all of them together, in seconds."""

    each: list[float]
    together: float


def body(name: str, size: int) -> bytes:
    """A publish body with a `.crate` of about `size` bytes, of which none can be compressed."""
    filler = random.Random(name).randbytes(size)
    return packing.frame(packing.metadata(name, VERSION), packing.crate(name, VERSION, files={"filler": filler}))


def publish(port: int, token: str, publish_body: bytes) -> float:
    """Seconds until the answer; raises `RuntimeError` when it is not 200."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("PUT", "/api/v1/crates/new", publish_body, {"Authorization": token})
        answer = connection.getresponse()
        said = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise RuntimeError(f"A publish was answered by {answer.status}: {said[:500]!r}")
    return time.perf_counter() - began


def publish_all(port: int, tokens: Sequence[str], bodies: Sequence[bytes], clients: int) -> Round:
    """Publish the bodies with `clients` at once, which share the accounts of the tokens."""
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = list(pool.map(lambda token, given: publish(port, token, given), cycle(tokens), bodies))
    return Round(each, time.perf_counter() - began)
