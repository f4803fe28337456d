"""Locks by name, across all threads and processes of this machine. The kernel releases those of a killed process."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

STRIPES = 4096  # lock files; two names can share one, and then wait for each other
RETRY_SECONDS = 0.02


@contextmanager
def file_lock(name: str, seconds: float) -> Iterator[bool]:
    """Hold the lock of this name during the block; yield False if it was not free within `seconds`."""
    directory = settings.DATA_DIR / "locks"
    directory.mkdir(exist_ok=True)
    # A fixed number of files that are never deleted: deleting one would race with a process that has just opened it.
    stripe = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % STRIPES
    descriptor = os.open(directory / f"{stripe:04x}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield lock_within(descriptor, seconds, RETRY_SECONDS)
    finally:
        os.close(descriptor)  # releases the lock


def lock_within(descriptor: int, seconds: float, retry_seconds: float) -> bool:
    """Lock an open file for its descriptor alone; return False if it was not free within `seconds`.

    flock(2) has no timeout, so it is tried again and again. Closing the descriptor releases the lock.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(retry_seconds)
        else:
            return True
