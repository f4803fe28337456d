"""One at a time, across the threads and processes of this machine; whoever is killed holds nothing any more."""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

STRIPES = 4096  # files; two names can share one, and then wait for each other
PAUSE = 0.02  # seconds


@contextmanager
def file_lock(name: str, seconds: float) -> Iterator[bool]:
    """Whether the lock of this name was to be had within `seconds`; it is given back at the end."""
    directory = settings.DATA_DIR / "locks"
    directory.mkdir(exist_ok=True)
    stripe = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % STRIPES
    handle = os.open(directory / f"{stripe:04x}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _locked(handle, time.monotonic() + seconds)
    finally:
        os.close(handle)


def _locked(handle: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(PAUSE)
        else:
            return True
