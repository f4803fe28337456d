"""Index files from memory over HTTP/2 beside nginx, and idle connections: `.venv/bin/python -m benchmarks.http2_hits`.

One core for the server, and one for the load. It takes a few minutes, on SQLite or, behind `.ci/postgres`, on
PostgreSQL, uses free loopback ports and a temporary directory, and leaves nothing.
"""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from urllib.request import urlopen

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import StreamEnded

from benchmarks import certificates, h2load, index_hits, memory, nginx, programs, static_copy
from benchmarks.certificates import Certificate
from benchmarks.index_hits import COUNTS, crate_name
from benchmarks.links import Link
from benchmarks.single_core import LOAD_CORE, SERVER_CORE, compare, cpu_seconds
from benchmarks.table import Row, render
from benchmarks.workplace import temporary_directory
from tests.support.servers import Server, new_database

REQUESTS = 60_000
IDLE = 500


def main() -> None:
    """Measure everything and print it."""
    programs.require("nginx", "h2load", "openssl")
    os.environ["DJANGO_SETTINGS_MODULE"] = "registry_site.settings"
    with temporary_directory() as directory, ExitStack() as stack:
        (directory / "data").mkdir()
        certificate = certificates.create(directory)
        environment = stack.enter_context(new_database(directory / "data", empty=True))
        environment |= {"REGISTRY_TLS_CERT": str(certificate.chain), "REGISTRY_TLS_KEY": str(certificate.key)}
        ours = Server(directory / "data", {**environment, "REGISTRY_WORKERS": "1"})
        os.sched_setaffinity(0, {SERVER_CORE})
        ours.start()
        stack.callback(ours.stop)
        ours.sign_up("benchmark")
        subprocess.run([sys.executable, "-m", "benchmarks.index_hits", "--fill"], env=ours.environment, check=True)
        paths = [static_copy.index_url(crate_name(number)) for number in range(max(COUNTS))]
        index_hits.write_site(directory / "site", paths)
        theirs = stack.enter_context(
            nginx.running(directory / "nginx", directory / "site", Link(certificate), workers=1)
        )
        os.sched_setaffinity(0, {LOAD_CORE})
        print(render([*measure(ours, theirs, certificate, paths)]))


def measure(ours: Server, theirs: nginx.Nginx, certificate: Certificate, paths: Sequence[str]) -> Iterator[Row]:
    """Ask each server as fast as it answers, in turn; then let connections be idle at ours."""
    servers = ((ours.process.pid, ours.url), (theirs.process.pid, theirs.url))
    context = ssl.create_default_context(cafile=str(certificate.authority))
    etags = [etag(f"{url}{paths[0]}", context) for _, url in servers]
    for count, status in ((1, 200), (1, 304), (max(COUNTS), 200)):
        runs = []
        for (pid, url), tag in zip(servers, etags, strict=True):
            urls = [f"{url}{path}" for path in paths[:count]]
            for _ in range(2):  # the first answers after each change come from the database
                h2load.run(urls, tag if status == 304 else "", requests=max(COUNTS))
            runs.append(partial(run, pid, urls, tag if status == 304 else ""))
        yield from compare(f"index over HTTP/2, {status}, {count:,} name{'s' * (count > 1)}", *runs)
    yield Row(f"{IDLE} idle connections over HTTP/2: MB", idle_megabytes(ours, context, paths[0]))


def etag(url: str, context: ssl.SSLContext) -> str:
    with urlopen(url, context=context) as response:
        return str(response.headers["ETag"])


def run(pid: int, urls: Sequence[str], tag: str) -> tuple[float, float]:
    """Return the answers per second, and the microseconds of CPU that the server took for each."""
    before = cpu_seconds(pid)
    rate = h2load.run(urls, tag, requests=REQUESTS)
    return rate, (cpu_seconds(pid) - before) / REQUESTS * 1e6


def idle_megabytes(server: Server, context: ssl.SSLContext, path: str) -> float:
    """Return by how much a server grows with idle connections that have each asked for one file."""
    context.set_alpn_protocols(["h2"])
    before = memory.megabytes(server.process.pid)
    with ExitStack() as stack:
        for _ in range(IDLE):
            peer = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            wire = stack.enter_context(context.wrap_socket(peer, server_hostname="127.0.0.1"))
            client = H2Connection(H2Configuration(header_encoding="utf-8"))
            client.initiate_connection()
            head = {":method": "GET", ":scheme": "https", ":authority": f"127.0.0.1:{server.port}", ":path": path}
            client.send_headers(1, list(head.items()), end_stream=True)
            wire.sendall(client.data_to_send())
            while not any(isinstance(event, StreamEnded) for event in client.receive_data(wire.recv(65_536))):
                pass
        return memory.megabytes(server.process.pid) - before


if __name__ == "__main__":
    main()
