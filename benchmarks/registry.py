"""Registry under measurement, on SQLite, started as a user starts it."""

import ssl
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.delay_proxy import Proxy
from benchmarks.links import Link
from tests.support.servers import Server

NO_SETTINGS: Mapping[str, str] = {}


class Registry(Server):
    """A running registry, which clients reach at `public_url`."""

    def __init__(self, data: Path, link: Link, settings: Mapping[str, str]) -> None:
        no_limits = {"REGISTRY_PUBLISH_LIMIT_PER_10_SECONDS": "0", "REGISTRY_CRATE_CHANGES_PER_MINUTE": "0"}
        super().__init__(data, {**no_limits, **settings})
        self.outer_port = link.outer_port(self.port)
        self.proxy: Proxy | None = None
        self.url, self.public_url = link.origin(self.port), link.origin(self.outer_port)
        self.environment["REGISTRY_PUBLIC_URL"] = self.public_url
        self.trust: ssl.SSLContext | None = None
        if link.certificate:
            self.environment["REGISTRY_TLS_CERT"] = str(link.certificate.chain)
            self.environment["REGISTRY_TLS_KEY"] = str(link.certificate.key)
            self.trust = ssl.create_default_context(cafile=str(link.certificate.authority))

    def tls(self) -> ssl.SSLContext | None:
        """Return a TLS context that trusts the authority of the link's certificate; None over plain HTTP."""
        return self.trust

    def stop(self) -> None:
        try:
            super().stop()
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@contextmanager
def running(data: Path, link: Link, settings: Mapping[str, str] = NO_SETTINGS) -> Iterator[Registry]:
    """Run a registry on the directory `data`, which is kept."""
    data.mkdir(exist_ok=True)
    server = Registry(data, link, settings)
    try:
        server.start()
        with link.open(server.outer_port, server.port) as server.proxy:
            yield server
    finally:
        server.stop()
