"""nginx beside the registry: a private one that serves the same files under the same paths."""

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

STARTING = 10  # seconds
WORKERS = 2  # as many as the registry has processes

CONFIGURATION = """
{user}
worker_processes {workers};
daemon off;
pid {place}/pid;
error_log {place}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    etag on;
    keepalive_requests 1000000;
    default_type text/plain;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
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
    """A running nginx; clients find it at `public_url`."""

    def __init__(self, place: Path, site: Path, link: Link) -> None:
        self.place = place
        self.port = free_port()
        self.outer_port = link.outer_port(self.port)
        self.proxy: Proxy | None = None
        self.url, self.public_url = link.origin(self.port), link.origin(self.outer_port)
        tls = link.certificate
        self.configuration = CONFIGURATION.format(
            # Started as root, its workers would be somebody who cannot look into a temporary directory.
            user="user root root;" if os.geteuid() == 0 else "",
            workers=WORKERS,
            place=place,
            site=site,
            port=self.port,
            protocol=" ssl http2" if tls else "",
            certificate=f"ssl_certificate {tls.chain}; ssl_certificate_key {tls.key};" if tls else "",
            public_url=self.public_url,
        )

    def start(self) -> None:
        self.place.mkdir(exist_ok=True)
        configuration, log = self.place / "nginx.conf", self.place / "error.log"
        configuration.write_text(self.configuration)
        self.process = subprocess.Popen(
            [path_of("nginx"), "-e", str(log), "-p", str(self.place), "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + STARTING
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
def running(place: Path, site: Path, link: Link) -> Iterator[Nginx]:
    """An nginx with its own files in `place` that serves the tree `site` and is ended at the end."""
    server = Nginx(place, site, link)
    try:
        server.start()
        with link.open(server.outer_port, server.port) as server.proxy:
            yield server
    finally:
        server.stop()
