"""Rows by an address, or by all addresses of a network, in a way that indexes serve on both databases."""

import ipaddress
from collections.abc import Iterable
from functools import reduce
from itertools import takewhile
from operator import or_
from typing import Any

from django.db import connection
from django.db.models import BooleanField, F, Func, Q, Value

from registry_site.errors import Invalid
from registry_site.sqlite.functions import IN_NETWORK

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse(text: str) -> Network:
    """Read an address such as 192.0.2.7, or a network such as 192.0.2.0/24. Raises `Invalid`."""
    try:
        if "%" in text:  # the zone of a link-local address means nothing to others
            raise ValueError(text)
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise Invalid(
            f"{text.strip()[:80]!r} is no address and no network, such as 192.0.2.7 or 192.0.2.0/24."
        ) from error
    mapped = getattr(network.network_address, "ipv4_mapped", None)  # as rows store it
    return ipaddress.ip_network(mapped) if mapped and network.num_addresses == 1 else network


def is_network(text: str) -> bool:
    """Return whether a text is an address or a network."""
    try:
        parse(text)
    except Invalid:
        return False
    return True


def within_any(columns: Iterable[str], text: str) -> Q:
    """Return the condition that an address in one of the columns is in a network. Raises `Invalid`."""
    network = parse(text)
    return reduce(or_, (within(column, network) for column in columns))


def within(column: str, network: Network) -> Q:
    """Return the condition that the address in a column is in a network."""
    if network.num_addresses == 1:
        return Q(**{column: str(network.network_address)})
    condition = Q(InNetwork(F(column), Value(str(network))))
    prefix = text_prefix(network)
    if connection.vendor == "sqlite" and prefix:  # an index orders texts there, and addresses in PostgreSQL
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        begins = Q(**{f"{column}__gte": prefix, f"{column}__lt": after})
        return begins if is_whole(prefix, network) else begins & condition
    return condition


class InNetwork(Func):
    """Whether an address is in a network."""

    function = IN_NETWORK
    output_field = BooleanField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="%(expressions)s::inet", arg_joiner=" <<= ", **context)


def is_whole(prefix: str, network: Network) -> bool:
    """Return whether each address whose text begins so is in the network, and no function has to look at it."""
    parts = prefix.count("." if network.version == 4 else ":")
    return parts * (8 if network.version == 4 else 16) == network.prefixlen


def text_prefix(network: Network) -> str:
    """Return the text with which all addresses of a network begin; empty for none."""
    if network.version == 4:
        parts = str(network.network_address).split(".")[: network.prefixlen // 8]
        return "".join(f"{part}." for part in parts)
    groups = network.network_address.exploded.split(":")[: network.prefixlen // 16]
    # A run of zeros may be left out of the text.
    return "".join(f"{group.lstrip('0')}:" for group in takewhile(lambda group: group.strip("0"), groups))
