"""Functions that SQLite lacks and PostgreSQL has."""

import ipaddress
from functools import lru_cache
from typing import Any

from django.db.backends.signals import connection_created
from django.dispatch import receiver

IN_NETWORK = "entrepot_in_network"


@lru_cache(maxsize=100_000)
def is_in_network(address: str | None, network: str) -> bool | None:
    """Tell whether an address is in a network; None for no address, as SQL has it."""
    return None if address is None else ipaddress.ip_address(address) in ipaddress.ip_network(network)


@receiver(connection_created)
def add_functions(connection: Any, **kwargs: Any) -> None:
    if connection.vendor == "sqlite":
        connection.connection.create_function(IN_NETWORK, 2, is_in_network, deterministic=True)
