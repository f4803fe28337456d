"""How fast this machine's disk keeps a promise: what a durable publish costs at least."""

import os
import time
from pathlib import Path

WRITES = 50


def durable_writes(place: Path, size: int) -> list[float]:
    """Seconds of each of some writes of a new file of `size` bytes below `place`, with its fsync."""
    content = os.urandom(size)
    return [_write(place / f"durable{n}", content) for n in range(WRITES)]


def _write(path: Path, content: bytes) -> float:
    began = time.perf_counter()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began
