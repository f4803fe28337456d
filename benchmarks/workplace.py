"""Temporary directories of benchmarks."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django


@contextmanager
def temporary_directory() -> Iterator[Path]:
    """Set Django up in a directory that is deleted afterwards. A signal ends the servers of the block, too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(prefix="entrepot-benchmark-") as name:
        os.environ["REGISTRY_DATA_DIR"] = f"{name}/settings"
        django.setup()
        yield Path(name)
