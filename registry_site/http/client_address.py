"""The client whose request is being answered: its IP address, also behind trusted proxies, and its `User-Agent`."""

import ipaddress
import re
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

IPV6_SITE = 64  # bits; whoever has one address of such a network has all of them

MAX_USER_AGENT_LENGTH = 200
MAX_LENGTH = 100  # of an address with zone and port

_client_ip: ContextVar[str | None] = ContextVar("client_ip", default=None)
_user_agent: ContextVar[str] = ContextVar("user_agent", default="")


class ClientAddressMiddleware:
    """Middleware that makes `client_ip` and `user_agent` available until the request is answered."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        address = resolve_client_ip(request.META.get("REMOTE_ADDR", ""), request.headers.get("X-Forwarded-For", ""))
        token = _client_ip.set(address)
        agent_token = _user_agent.set(request.headers.get("User-Agent", "")[:MAX_USER_AGENT_LENGTH])
        try:
            return self.get_response(request)
        finally:
            _user_agent.reset(agent_token)
            _client_ip.reset(token)  # the thread answers other requests after this one


def client_ip() -> str | None:
    """Return the client's address; None outside of a request, as in a command, and over a Unix socket."""
    return _client_ip.get()


def user_agent() -> str:
    """Return the beginning of the client's `User-Agent`; an empty text outside of a request."""
    return _user_agent.get()


def client_network() -> str:
    """Return the client's network, the key of rate limits; an empty text where there is no address."""
    address = client_ip()
    return network_of(address) if address else ""


def network_of(address: str) -> str:
    """Return the smallest network that one person controls: an IPv4 address itself, or the /64 of an IPv6 address."""
    ip = ipaddress.ip_address(address)
    return address if ip.version == 4 else str(ipaddress.ip_network((ip, IPV6_SITE), strict=False))


def is_within(address: str, networks: str) -> bool:
    """Tell whether `address` is in one of `networks`, which are separated by blanks."""
    ip = ipaddress.ip_address(address)
    return any(ip in ipaddress.ip_network(network, strict=False) for network in networks.split())


def resolve_client_ip(remote_addr: str, forwarded_for: str) -> str | None:
    """Return the address of the client behind the proxies of `REGISTRY_TRUSTED_PROXIES`; None for a Unix socket.

    Each proxy appends to X-Forwarded-For the address that it was connected from. So the header is read from the right,
    as long as the address so far is a trusted proxy: a client can write anything further to the left.
    """
    address = parse_address(remote_addr)
    for entry in reversed(forwarded_for.split(",")):
        if address is None or not is_within(address, settings.TRUSTED_PROXIES):
            break
        forwarded = parse_address(entry.strip())
        if forwarded is None:
            break
        address = forwarded
    return address


def parse_address(text: str) -> str | None:
    """Return an address in its canonical form, without the port of some proxies and the zone of a link-local one."""
    return parse_short_address(text) if len(text) <= MAX_LENGTH else None


@lru_cache(maxsize=4096)
def parse_short_address(text: str) -> str | None:
    match = re.fullmatch(r"\[([^\]]*)\](?::[0-9]+)?|([0-9.]+):[0-9]+|(.*)", text)
    bare = next((part for part in match.groups() if part), "") if match else ""
    try:
        ip = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(ip, "ipv4_mapped", None) or ip)  # ::ffff:192.0.2.1 is what a dual-stack socket reports
