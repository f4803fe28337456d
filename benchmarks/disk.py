"""Speed of this machine's disk: the least cost of a durable publish."""

import os
import time
from pathlib import Path

WRITES = 50


def durable_writes(directory: Path, size: int) -> list[float]:
    """Write some new files of `size` bytes with fsync, and return the seconds of each."""
    content = os.urandom(size)
    return [_write(directory / f"durable{n}", content) for n in range(WRITES)]


def _write(path: Path, content: bytes) -> float:
    began = time.perf_counter()
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - began
