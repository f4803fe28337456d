"""Network links between a client and a server: the protocol, and the distance."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.certificates import Certificate
from benchmarks.delay_proxy import Proxy, run_proxy
from tests.support.servers import free_port


@dataclass(frozen=True)
class Link:
    """HTTP/2 where there is a certificate, else HTTP/1.1; `round_trip` in seconds.

    Without `multiplexing` cargo expects no HTTP/2, and opens two connections to every server.
    """

    certificate: Certificate | None = None
    round_trip: float = 0
    multiplexing: bool = True

    def __str__(self) -> str:
        setting = "" if self.multiplexing else ", multiplexing off"
        return f"{self.protocol}, {self.round_trip * 1000:.0f} ms{setting}"

    @property
    def protocol(self) -> str:
        return "HTTP/2" if self.certificate else "HTTP/1.1"

    def origin(self, port: int) -> str:
        return f"{'https' if self.certificate else 'http'}://127.0.0.1:{port}"

    def outer_port(self, port: int) -> int:
        """Choose the port for clients of the server on `port`; the server must know it before it starts."""
        return free_port() if self.round_trip else port

    @contextmanager
    def open(self, outer_port: int, port: int) -> Iterator[Proxy | None]:
        """Connect `outer_port` to `port`; yields the proxy between them, if there is one."""
        if outer_port == port:
            yield None
            return
        with run_proxy(outer_port, port, self.round_trip) as proxy:
            yield proxy
