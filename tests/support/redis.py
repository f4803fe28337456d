"""A real Redis server on a free port, without files."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.servers import free_port, is_listening


@contextmanager
def redis_server() -> Iterator[str]:
    """Start a server, yield its URL, and end it."""
    port = free_port()
    arguments = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        assert is_listening(port, process), "redis-server does not answer"
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=20)
