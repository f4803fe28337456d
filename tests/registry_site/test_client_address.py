"""The client's address, behind trusted proxies and behind proxies that nobody trusts."""

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from registry_site.http import client_address
from registry_site.http.client_address import ClientAddressMiddleware, is_within, network_of, resolve_client_ip

PROXY, OUTER_PROXY, CLIENT, FORGED = "10.0.0.1", "10.0.0.2", "192.0.2.7", "203.0.113.9"


@pytest.fixture(autouse=True)
def trusted_proxies(settings: Any) -> None:
    settings.TRUSTED_PROXIES = "10.0.0.0/24 2001:db8:aaaa::/48"


# --- resolve_client_ip -------------------------------------------------------------------------------------------


def test_peer_is_the_client() -> None:
    assert resolve_client_ip(CLIENT, "") == CLIENT


def test_untrusted_peer_cannot_forward_addresses() -> None:
    assert resolve_client_ip(CLIENT, FORGED) == CLIENT
    assert resolve_client_ip(CLIENT, f"{FORGED}, {PROXY}") == CLIENT


def test_rightmost_untrusted_address_is_the_client() -> None:
    expected = {
        CLIENT: CLIENT,
        f"  {CLIENT}  ": CLIENT,
        f"{FORGED}, {CLIENT}": CLIENT,
        f"{FORGED},{CLIENT}": CLIENT,
        f"{PROXY}, {CLIENT}": CLIENT,
        f"127.0.0.1, {FORGED}, {CLIENT}": CLIENT,
        f"{CLIENT}, {OUTER_PROXY}": CLIENT,
        f"{FORGED}, {CLIENT}, {OUTER_PROXY}": CLIENT,
        f"{FORGED}, {CLIENT}, 2001:db8:aaaa::1, {OUTER_PROXY}": CLIENT,
        f"{OUTER_PROXY}, {OUTER_PROXY}": OUTER_PROXY,
        "2001:db8::5": "2001:db8::5",
        "2001:DB8:0:0::5": "2001:db8::5",
        "::ffff:192.0.2.7": CLIENT,
        ", ".join([FORGED] * 2000 + [CLIENT]): CLIENT,
    }
    assert {header: resolve_client_ip(PROXY, header) for header in expected} == expected


def test_port_and_zone_are_left_out() -> None:
    expected = {f"{CLIENT}:8080": CLIENT, "[2001:db8::5]:8080": "2001:db8::5", "fe80::1%eth0": "fe80::1"}
    assert {header: resolve_client_ip(PROXY, header) for header in expected} == expected


def test_proxy_is_trusted_in_each_notation() -> None:
    proxies = ("10.0.0.1", "::ffff:10.0.0.1", "2001:db8:aaaa::1")
    assert [proxy for proxy in proxies if resolve_client_ip(proxy, CLIENT) != CLIENT] == []


def test_proxy_without_an_address_is_the_client() -> None:
    headers = ("", " ", ",", ", ,", "unknown", "_hidden", "192.0.2.7.1", "0x7f000001", "é")
    assert [header for header in headers if resolve_client_ip(PROXY, header) != PROXY] == []


def test_nothing_left_of_junk_counts() -> None:
    junk = ("unknown", "_hidden", "192.0.2.300", "192.0.2.7:x", "1", "x" * 5000)
    assert [text for text in junk if resolve_client_ip(PROXY, f"{FORGED}, {text}") != PROXY] == []


def test_junk_does_not_hide_the_client() -> None:
    assert resolve_client_ip(PROXY, f"unknown, {'x' * 5000}, {CLIENT}") == CLIENT


def test_unix_socket_has_no_address() -> None:
    assert [resolve_client_ip(peer, CLIENT) for peer in ("", "unix:", "/run/registry.sock")] == [None] * 3


def test_no_proxy_is_trusted_by_default(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ""
    assert resolve_client_ip(PROXY, CLIENT) == PROXY


# --- network_of and is_within ------------------------------------------------------------------------------------


def test_network_belongs_to_one_person() -> None:
    expected = {
        "192.0.2.7": "192.0.2.7",
        "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
        "2001:db8:1:2::": "2001:db8:1:2::/64",
        "2001:db8:1:2:ffff:ffff:ffff:ffff": "2001:db8:1:2::/64",
        "2001:db8:1:3::": "2001:db8:1:3::/64",
        "::1": "::/64",
    }
    assert {address: network_of(address) for address in expected} == expected


def test_address_is_within_networks() -> None:
    within = [
        ("192.0.2.7", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7", "192.0.2.9/24"),
        ("192.0.2.7", "198.51.100.0/24 192.0.2.0/24"),
        ("192.0.2.7", "198.51.100.0/24\n\t192.0.2.0/24 "),
        ("192.0.2.7", "0.0.0.0/0"),
        ("2001:db8::1", "2001:db8::/32"),
    ]
    outside = [
        ("192.0.2.7", "192.0.3.0/24"),
        ("192.0.2.7", "192.0.2.6"),
        ("192.0.2.7", ""),
        ("192.0.2.7", "::/0"),
        ("2001:db8::1", "0.0.0.0/0"),
        ("2001:db9::1", "2001:db8::/32 192.0.2.0/24"),
    ]
    assert [case for case in within if not is_within(*case)] == []
    assert [case for case in outside if is_within(*case)] == []


# --- ClientAddressMiddleware -------------------------------------------------------------------------------------


def test_command_has_no_client() -> None:
    assert client_address.client_ip() is None


def request_from(remote_addr: str, **headers: str) -> HttpRequest:
    request = HttpRequest()
    request.META = {"REMOTE_ADDR": remote_addr, **headers}
    return request


def test_address_lasts_until_the_response() -> None:
    addresses: list[str | None] = []

    def view(request: HttpRequest) -> HttpResponse:
        addresses.append(client_address.client_ip())
        return HttpResponse()

    ClientAddressMiddleware(view)(request_from(PROXY, HTTP_X_FORWARDED_FOR=CLIENT))
    assert (addresses, client_address.client_ip()) == ([CLIENT], None)


def test_address_ends_with_a_crash() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        ClientAddressMiddleware(view)(request_from(CLIENT))
    assert client_address.client_ip() is None
