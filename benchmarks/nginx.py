"""Private nginx beside the registry: it serves the same files under the same paths."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.delay_proxy import Proxy
from benchmarks.links import Link
from benchmarks.programs import path_of
from tests.support.servers import free_port

START_TIMEOUT = 10  # seconds
WORKERS = 2  # as many as the registry has processes

CONFIGURATION = """
{user}
worker_processes {workers};
daemon off;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    etag on;
    keepalive_requests 1000000;
    default_type text/plain;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port}{protocol};
        {certificate}
        root {site};
        location = /index/config.json {{
            default_type application/json;
            return 200 '{{"dl":"{public_url}/dl","api":"{public_url}"}}';
        }}
    }}
}}
"""


class Nginx:
    """A running nginx, which clients reach at `public_url`."""

    def __init__(self, directory: Path, site: Path, link: Link, workers: int) -> None:
        self.directory = directory
        self.port = free_port()
        self.outer_port = link.outer_port(self.port)
        self.proxy: Proxy | None = None
        self.url, self.public_url = link.origin(self.port), link.origin(self.outer_port)
        tls = link.certificate
        self.configuration = CONFIGURATION.format(
            # Started as root, nginx would give its workers a user without access to the temporary directory.
            user="user root root;" if os.geteuid() == 0 else "",
            workers=workers,
            directory=directory,
            site=site,
            port=self.port,
            protocol=" ssl http2" if tls else "",
            certificate=f"ssl_certificate {tls.chain}; ssl_certificate_key {tls.key};" if tls else "",
            public_url=self.public_url,
        )

    def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        configuration, log = self.directory / "nginx.conf", self.directory / "error.log"
        configuration.write_text(self.configuration)
        self.process = subprocess.Popen(
            [path_of("nginx"), "-e", str(log), "-p", str(self.directory), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"nginx does not start:\n{log.read_text()}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


@contextmanager
def running(directory: Path, site: Path, link: Link, workers: int = WORKERS) -> Iterator[Nginx]:
    """Run an nginx that serves the tree `site`, with its own files in `directory`."""
    server = Nginx(directory, site, link, workers)
    try:
        server.start()
        with link.open(server.outer_port, server.port) as server.proxy:
            yield server
    finally:
        server.stop()
