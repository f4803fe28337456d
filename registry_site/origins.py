"""Origins of URLs, compared as browsers do: host and scheme in lower case, without the port that the scheme implies."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_of(url: str) -> str:
    """Return scheme, host and perhaps a port of a URL. Raises `ValueError` for a text that has no host."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise ValueError(url)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    # cargo writes `sparse+` in front of the URL of a sparse index.
    is_default = parts.port in (None, DEFAULT_PORTS.get(parts.scheme.removeprefix("sparse+")))
    return f"{parts.scheme}://{host}" + ("" if is_default else f":{parts.port}")


def with_plain_origin(url: str) -> str:
    """Return the URL with its origin as `origin_of` writes it, so that equal ones are equal texts; else as it is."""
    try:
        return origin_of(url) + url.partition("://")[2][len(urlsplit(url).netloc) :]
    except ValueError:
        return url


@dataclass(frozen=True)
class Hosts:
    """Hosts by their names, in lower case, and by the networks of their addresses."""

    names: frozenset[str] = frozenset()
    networks: Sequence[Network] = ()

    def has(self, url: str) -> bool:
        """Return whether the host of a URL is one of them, by its name or because it is an address."""
        host = urlsplit(url).hostname or ""
        return host in self.names or self.has_address(host)

    def has_address(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(parsed in network for network in self.networks)
