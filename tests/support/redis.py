"""A real Redis server on a free port, without files."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.servers import free_port, is_listening


@contextmanager
def redis_server(tls: Path | None = None) -> Iterator[str]:
    """Start a server, by TLS with the certificate in a directory if there is one, yield its URL, and end it."""
    port = free_port()
    arguments = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    if tls is None:
        arguments += ["--port", str(port)]
    else:
        arguments += ["--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no"]
        arguments += ["--tls-cert-file", str(tls / "cert.pem"), "--tls-key-file", str(tls / "key.pem")]
        arguments += ["--tls-ca-cert-file", str(tls / "ca.pem")]
    process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        assert is_listening(port, process), "redis-server does not answer"
        yield f"{'rediss' if tls else 'redis'}://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(timeout=20)
