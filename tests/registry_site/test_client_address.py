"""Who is at the other end: behind proxies that are trusted, and behind those that only say so."""

from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse

from registry_site.http import client_address

PROXY, OUTER_PROXY, CLIENT, LIE = "10.0.0.1", "10.0.0.2", "192.0.2.7", "203.0.113.9"


@pytest.fixture(autouse=True)
def trusted_proxies(settings: Any) -> None:
    settings.TRUSTED_PROXIES = "10.0.0.0/24 2001:db8:aaaa::/48"


# --- find --------------------------------------------------------------------------------------------------------


def test_peer_is_who_connects() -> None:
    assert client_address.resolve_client_ip(CLIENT, "") == CLIENT


def test_stranger_cannot_speak_for_others() -> None:
    assert client_address.resolve_client_ip(CLIENT, LIE) == CLIENT


def test_stranger_cannot_speak_for_a_proxy() -> None:
    assert client_address.resolve_client_ip(CLIENT, f"{LIE}, {PROXY}") == CLIENT


@pytest.mark.parametrize(
    ("forwarded_for", "expected"),
    [
        (CLIENT, CLIENT),
        (f"  {CLIENT}  ", CLIENT),
        (f"{LIE}, {CLIENT}", CLIENT),
        (f"{LIE},{CLIENT}", CLIENT),
        (f"{PROXY}, {CLIENT}", CLIENT),
        (f"127.0.0.1, {LIE}, {CLIENT}", CLIENT),
        (f"{CLIENT}, {OUTER_PROXY}", CLIENT),
        (f"{LIE}, {CLIENT}, {OUTER_PROXY}", CLIENT),
        (f"{LIE}, {CLIENT}, 2001:db8:aaaa::1, {OUTER_PROXY}", CLIENT),
        (f"{OUTER_PROXY}, {OUTER_PROXY}", OUTER_PROXY),
        ("2001:db8::5", "2001:db8::5"),
        ("2001:DB8:0:0::5", "2001:db8::5"),
        ("::ffff:192.0.2.7", CLIENT),
    ],
)
def test_right_most_stranger_counts_behind_a_proxy(forwarded_for: str, expected: str) -> None:
    assert client_address.resolve_client_ip(PROXY, forwarded_for) == expected


@pytest.mark.parametrize("proxy", ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8:aaaa::1"])
def test_proxy_is_known_in_each_form_of_its_address(proxy: str) -> None:
    assert client_address.resolve_client_ip(proxy, CLIENT) == CLIENT


@pytest.mark.parametrize("forwarded_for", ["", " ", ",", ", ,", "unknown", "_hidden", "192.0.2.7.1", "0x7f000001", "é"])
def test_proxy_that_names_nobody_is_the_peer(forwarded_for: str) -> None:
    assert client_address.resolve_client_ip(PROXY, forwarded_for) == PROXY


@pytest.mark.parametrize("junk", ["unknown", "_hidden", "192.0.2.300", "192.0.2.7:x", "1", "x" * 5000])
def test_nothing_left_of_junk_is_believed(junk: str) -> None:
    assert client_address.resolve_client_ip(PROXY, f"{LIE}, {junk}") == PROXY


def test_junk_from_a_client_does_not_hide_it() -> None:
    assert client_address.resolve_client_ip(PROXY, f"unknown, {'x' * 5000}, {CLIENT}") == CLIENT


def test_many_entries_are_read() -> None:
    assert client_address.resolve_client_ip(PROXY, ", ".join([LIE] * 2000 + [CLIENT])) == CLIENT


def test_zone_of_a_link_is_no_part_of_an_address() -> None:
    found = client_address.resolve_client_ip(PROXY, "fe80::1%eth0")
    assert found is not None
    assert "%" not in found


@pytest.mark.parametrize("remote", ["", "unix:", "/run/registry.sock"])
def test_socket_has_no_address(remote: str) -> None:
    assert client_address.resolve_client_ip(remote, CLIENT) is None


def test_nobody_is_trusted_unless_named(settings: Any) -> None:
    settings.TRUSTED_PROXIES = ""
    assert client_address.resolve_client_ip(PROXY, CLIENT) == PROXY


# --- network and is_within ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
    ],
)
def test_network_is_what_one_person_has(address: str, expected: str) -> None:
    assert client_address.network_of(address) == expected


@pytest.mark.parametrize(
    ("address", "networks", "expected"),
    [
        ("192.0.2.7", "192.0.2.0/24", True),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.9/24", True),
        ("192.0.2.7", "198.51.100.0/24 192.0.2.0/24", True),
        ("192.0.2.7", "198.51.100.0/24\n\t192.0.2.0/24 ", True),
        ("192.0.2.7", "0.0.0.0/0", True),
        ("192.0.2.7", "192.0.3.0/24", False),
        ("192.0.2.7", "192.0.2.6", False),
        ("192.0.2.7", "", False),
        ("192.0.2.7", "::/0", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("2001:db8::1", "0.0.0.0/0", False),
        ("2001:db9::1", "2001:db8::/32 192.0.2.0/24", False),
    ],
)
def test_address_is_within_one_of_the_networks(address: str, networks: str, expected: bool) -> None:
    assert client_address.is_within(address, networks) is expected


# --- current -----------------------------------------------------------------------------------------------------


def test_without_a_request_there_is_no_peer() -> None:
    assert client_address.client_ip() is None


def request(remote: str, **headers: str) -> HttpRequest:
    asked = HttpRequest()
    asked.META = {"REMOTE_ADDR": remote, **headers}
    return asked


def test_peer_is_remembered_until_the_answer() -> None:
    seen: list[str | None] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(client_address.client_ip())
        return HttpResponse()

    client_address.ClientAddressMiddleware(view)(request(PROXY, HTTP_X_FORWARDED_FOR=CLIENT))
    assert (seen, client_address.client_ip()) == ([CLIENT], None)


def test_peer_is_forgotten_after_a_crash() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        raise RuntimeError("crash")

    with pytest.raises(RuntimeError, match="crash"):
        client_address.ClientAddressMiddleware(view)(request(CLIENT))
    assert client_address.client_ip() is None
