"""Functions that SQLite lacks and PostgreSQL has."""

import ipaddress
import socket
from functools import lru_cache
from typing import Any

from django.db.backends.signals import connection_created
from django.dispatch import receiver

IN_NETWORK = "entrepot_in_network"


@lru_cache
def bounds_of(network: str) -> tuple[socket.AddressFamily, bytes, bytes]:
    """Return the family of a network, and its first and last addresses."""
    parsed = ipaddress.ip_network(network)
    family = socket.AF_INET if parsed.version == 4 else socket.AF_INET6
    return family, parsed.network_address.packed, parsed.broadcast_address.packed


def is_in_network(address: str | None, network: str) -> bool | None:
    """Tell whether an address is in a network; None for no address, as SQL has it.

    A wide network makes SQLite call it for each row of a table: `ipaddress` would take ten times as long.
    """
    if address is None:
        return None
    family, first, last = bounds_of(network)
    try:
        return first <= socket.inet_pton(family, address) <= last
    except OSError:  # an address of the other family
        return False


@receiver(connection_created)
def add_functions(connection: Any, **kwargs: Any) -> None:
    if connection.vendor == "sqlite":
        connection.connection.create_function(IN_NETWORK, 2, is_in_network, deterministic=True)
