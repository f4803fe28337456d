"""Who is at the other end of the request that is being answered, as an address."""

import ipaddress
import re
from collections.abc import Callable
from contextvars import ContextVar

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

IPV6_SITE = 64  # bits; who has one such address has all of them

_current: ContextVar[str | None] = ContextVar("peer", default=None)


def client_ip() -> str | None:
    """The peer's address; None where there is no request, as in a command."""
    return _current.get()


def network_of(address: str) -> str:
    """The smallest network of which one person can use every address: an IPv4 address, or the /64 of an IPv6 one."""
    ip = ipaddress.ip_address(address)
    return address if ip.version == 4 else str(ipaddress.ip_network((ip, IPV6_SITE), strict=False))


def is_within(address: str, networks: str) -> bool:
    """Is `address` in one of `networks`, separated by blanks?"""
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_network(text, strict=False) for text in networks.split())


def client_address_middleware(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware: `current` is the peer of this request until it is answered."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        peer = resolve_client_ip(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
        token = _current.set(peer)
        try:
            return get_response(request)
        finally:
            _current.reset(token)

    return answer


def resolve_client_ip(remote: str, forwarded_for: str) -> str | None:
    """The address behind the proxies of `REGISTRY_TRUSTED_PROXIES`; what others forward counts for nothing.

    Each proxy adds on the right whom it heard, so the list is read from there for as long as it is a proxy of ours
    that says so.
    """
    peer = _address(remote)
    for entry in reversed(forwarded_for.split(",")):
        if peer is None or not is_within(peer, settings.TRUSTED_PROXIES):
            break
        heard = _address(entry.strip())
        if heard is None:  # nobody knows who wrote what stands further left
            break
        peer = heard
    return peer


def _address(text: str) -> str | None:
    """Without the port that some proxies add, and without the zone of a link."""
    match = re.fullmatch(r"\[([^\]]*)\](?::[0-9]+)?|([0-9.]+):[0-9]+|(.*)", text)
    bare = next((part for part in match.groups() if part), "") if match else ""
    try:
        ip = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(ip, "ipv4_mapped", None) or ip)
